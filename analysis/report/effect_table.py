"""The main effects and two-factor interactions of a study as a table."""

from tesseral.analysis.report.change_columns import change_columns
from tesseral.analysis.statistics.comparisons.factors import Effect
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import SIGNIFICANCE, p_value


def effect_table(results: Results) -> list[dict[str, str]]:
    """One dictionary (heading → cell) for each effect; empty if fewer than two factors vary."""
    found = results.effects
    changes = change_columns([effect.change for effect in found], results.study.sampling.here)
    grouped = any(effect.where for effect in found)
    aliased = any(effect.aliases for effect in found)
    return [
        {
            "effect": effect.name,
            **({"group": effect.where} if grouped else {}),
            "arms": str(effect.arms),
            **change,
            "Holm p": "" if effect.p_holm is None else p_value(effect.p_holm),
            "verdict": _verdict(effect),
            **({"aliases": "; ".join(effect.aliases)} if aliased else {}),
        }
        for effect, change in zip(found, changes, strict=True)
    ]


def _verdict(effect: Effect) -> str:
    """For new data, after Holm's correction: of an interaction, in which direction the ratio differs."""
    if effect.p_holm is None:
        return "without an interval"
    if effect.p_holm >= SIGNIFICANCE:
        return "undecided"
    return "lower" if effect.change.value < 0 else "higher"
