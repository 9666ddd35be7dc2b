"""The table of arms: one row for each arm with its error, its change against the baseline, and its cost.

The report and the terminal both show it.
"""

from collections.abc import Callable

from tesseral.analysis.report.change_columns import change_columns
from tesseral.analysis.statistics.arms import ArmSummary
from tesseral.analysis.statistics.comparisons.paired import Comparison
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import interval, p_value, signed_percent
from tesseral.analysis.terms.metric_label import describe, error_cell, typeset
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.wording import duration, scaled

WORDS = ("arm", "matched in", "notes")
"""Columns that hold words; the others hold numbers."""

_LEFT_OUT = (
    "trials",
    "Holm p",
    "live parameters",
    "components",
    "matched in",
    "residual, %",
    "FLOPs per step",
    "error in its unit",
    "notes",
)
"""Columns that only the page shows, because a terminal is 80 characters wide. Notes are printed below the table."""


def arm_table(results: Results) -> list[dict[str, str]]:
    """The arms as text: one dictionary (heading → cell) for each arm."""
    study, arms = results.study, results.arms
    metric = describe(study.metric, study.target)
    other = _other_heading(results)
    units = {arm.match for arm in arms} - {"none"}
    flops = any(arm.flops is not None for arm in arms)
    changes = change_columns([arm.comparison.change if arm.comparison else None for arm in arms], study.sampling.here)
    return [
        {
            "arm": arm.arm,
            "trials": str(arm.error.trials),
            metric.heading: error_cell(study.metric, arm.error.error, arm.target, metric),
            **({other: _other_error(arm, study.metric, other)} if other else {}),
            **(change | {next(iter(change)): "baseline"} if arm.baseline == arm.arm else change),
            "Holm p": _p(arm.comparison),
            **_size(arm, units),
            **({"FLOPs per step": _in_all(arm, "flops", scaled)} if flops else {}),
            "time": "–" if arm.seconds is None else duration(arm.seconds),
            "notes": "; ".join(arm.flags),
        }
        for arm, change in zip(arms, changes, strict=True)
    ]


def short_table(results: Results) -> list[dict[str, str]]:
    """The columns of `arm_table` that a terminal has room for."""
    return [{key: cell for key, cell in row.items() if key not in _LEFT_OUT} for row in arm_table(results)]


def flag_lines(results: Results) -> list[str]:
    """The column `notes` as sentences for below a table: one for each note, with the arms that have it."""
    arms: dict[str, list[str]] = {}
    for arm in results.arms:
        for flag in arm.flags:
            arms.setdefault(flag, []).append(arm.arm)
    return [
        f"{'every arm' if len(having) == len(results.arms) else '; '.join(having)}: {flag}"
        for flag, having in arms.items()
    ]


def error_note(results: Results) -> str:
    """A sentence that explains the second column of errors; empty if there is none."""
    study = results.study
    if not _other_heading(results):
        return ""
    if not _of_spread(study.metric):
        return f"The second error is the relative error: {METRICS['relative_error'].description}."
    dense = (
        "; for a density, ε = 100·∫|ρ_ML − ρ| / ∫ρ, where ρ is the fitted density" if study.predicts_densities else ""
    )
    return (
        "The second error is the mean absolute error in the target’s unit (for vectors and tensors, the mean norm of "
        f"the error{dense})."
    )


_IN_ITS_UNIT = "error in its unit"


def _other_heading(results: Results) -> str:
    """Heading of a second column of errors: in the target's unit if the first is relative to its spread, or vice versa.

    Empty for a study of densities only, whose ε is a share already, and if nothing is recorded.
    """
    metric, arms = results.study.metric, results.arms
    if all(METRICS[arm.target.quantity.own_metric].unit == "%" for arm in arms):
        return ""
    if not any(arm.errors.get(_other_metric(metric, arm)) for arm in arms):
        return ""
    names = {(_other_metric(metric, arm), arm.target) for arm in arms}
    headings = {describe(f"test.{name}", target).heading for name, target in names}
    return headings.pop() if len(headings) == 1 else _IN_ITS_UNIT


def _of_spread(metric: str) -> bool:
    """Whether a metric such as `test.relative_error` is a share of the target's spread."""
    declared = METRICS.get(metric.partition(".")[2])
    return declared is not None and declared.of_spread


def _other_metric(metric: str, arm: ArmSummary) -> str:
    """The metric of the second column of errors for an arm, without its split."""
    return arm.target.quantity.own_metric if _of_spread(metric) else "relative_error"


def _other_error(arm: ArmSummary, metric: str, heading: str) -> str:
    """The cell of an arm in the second column of errors; it names its unit if the heading names none."""
    name = _other_metric(metric, arm)
    measured = arm.errors.get(name)
    if measured is None or measured.error is None:
        return "–"
    text = interval(measured.error, typeset(measured.unit) if heading == _IN_ITS_UNIT else "")
    return f"{METRICS[name].symbol} {text}".lstrip()


def _size(arm: ArmSummary, units: set[str]) -> dict[str, str]:
    """Cells for the size of an arm: what was matched if arms are matched, and by how much the arm misses it."""
    if not units:
        return {"parameters": _in_all(arm, "parameters")}
    cells = {"live parameters": _in_all(arm, "parameters_live")}
    if "components" in units:
        cells["components"] = _in_all(arm, "components")
    if len(units) > 1:
        cells["matched in"] = arm.match
    matched = arm.match != "none" and arm.residual is not None
    return cells | {"residual, %": signed_percent(arm.residual or 0.0) if matched else "–"}


def _in_all(arm: ArmSummary, size: str, text: Callable[[int], str] = "{:,}".format) -> str:
    """A size of an arm; the median and the range where its searches chose networks of different size."""
    value, span = getattr(arm, size), arm.spans.get(size)
    if value is None:
        return "–"
    return text(value) if span is None else f"{text(value)} ({text(span[0])}–{text(span[1])})"


def _p(comparison: Comparison | None) -> str:
    return "" if comparison is None or comparison.p_holm is None else p_value(comparison.p_holm)
