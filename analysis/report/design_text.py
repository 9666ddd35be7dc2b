"""How a study was designed, in words: which arms, of what size, tuned how, and in how many pairs."""

from tesseral.analysis.statistics.arms import LOOSE, Row
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.wording import describe
from tesseral.study.design.allocation import FIRST_LOOK, MORE
from tesseral.study.wording import count

UNEQUAL = 1.01
"""Ratio of parameters from which arms are not alike in size."""

_KINDS = {
    "factorial": "factorial: every combination of levels",
    "one-factor-out": "one factor out: the first level of every factor, and each other level of one factor at a time",
    "one-factor-in": "one factor in: the last level of every factor, and each other level of one factor at a time",
    "fractional": "two-level fractional factorial",
}
_SIZES = {
    "parameters": "live parameters",
    "components": "components of the hidden features",
    "flops": "floating-point operations of a training step, per structure",
}


def kind(study: StudyInfo) -> str:
    """Which combinations of levels became arms."""
    return f"{_KINDS.get(study.design, study.design)}; {count(len(study.arms), 'arm')}"


def matching(study: StudyInfo, summary: list[Row]) -> str:
    """How arms were made equal in size; empty where none was."""
    units = dict.fromkeys(row.match for row in summary if row.match != "none")
    if not units:
        return ""
    match study.match.to:
        case None:
            target = "the largest arm"
        case int(number):
            target = f"{number:,}"
        case label:
            target = f"arm {label}"
    within = f" within each level of {' and '.join(study.match.within)}" if study.match.within else ""
    each = ", each arm as the table says," if len(units) > 1 or any(row.match == "none" for row in summary) else ""
    return (
        f"multiplicities of the hidden irreps were scaled{each} to equal {' or '.join(_SIZES[unit] for unit in units)}"
        f"{within}: those of {target}{_worst(summary)}"
    )


def _worst(summary: list[Row]) -> str:
    residuals = [abs(row.residual) for row in summary if row.match != "none" and row.residual is not None]
    return f"; the largest residual is {100 * max(residuals):.2g} %" if residuals else ""


def sizes(study: StudyInfo, summary: list[Row]) -> str | None:
    """Whether a change may come from size as well as from the factor: a sentence, or None with nothing to say."""
    known = [row for row in summary if row.parameters is not None]
    units = {row.match for row in known}
    caution = "so a change may come from size as well as from the factor."
    if units == {"none"}:
        parameters = [row.parameters for row in known if row.parameters is not None]
        compared = [[row.parameters or 0 for row in known if row.arm in arms] for arms in study.groups.values()]
        if all(max(alike) <= UNEQUAL * min(alike) for alike in compared if alike):
            return None
        return f"The arms are not matched in size ({min(parameters):,} to {max(parameters):,} parameters), {caution}"
    if any(len({row.match for row in known if row.arm in arms}) > 1 for arms in study.groups.values()):
        return f"The arms are matched in different ways ({', '.join(sorted(units))}), {caution}"
    if not units:
        return None
    told = f"The arms are matched in {' or '.join(_SIZES[unit] for unit in sorted(units - {'none'}))}"
    if "none" in units:
        told += " where they are matched at all"
    loose = [row for row in known if row.residual is not None and abs(row.residual) > LOOSE]
    if loose:
        return f"{told}, but {count(len(loose), 'arm')} not to {100 * LOOSE:g} %, {caution}"
    return f"{told}, to {100 * LOOSE:g} % or better."


def searching(study: StudyInfo) -> str:
    """How hyperparameters were tuned; empty for a study without a search."""
    search = study.search
    if search is None:
        return ""
    names = [
        describe(name, study.target).noun.removeprefix("the ") if "." in name else name for name in study.objectives
    ]
    told = f"{count(search.trials, 'distinct proposal')} in each arm by Optuna's sampler {search.sampler}, to minimise "
    told += names[0] + (f" and {', '.join(names[1:])} (the first decides)" if names[1:] else "")
    if search.asha is None:
        return f"{told}; no early stopping"
    return (
        f"{told}; asynchronous successive halving from epoch {search.asha.min_epochs}, one in "
        f"{search.asha.reduction} going on, in each arm apart"
    )


def blocks_planned(study: StudyInfo) -> str:
    """Such as '4 blocks', or '3 to 12 blocks' of a sequential allocation."""
    if study.most_blocks == study.blocks:
        return count(study.blocks, "block")
    return f"{study.blocks} to {study.most_blocks} blocks"


def allocating(study: StudyInfo) -> str:
    """How many blocks arms are given, and when no more are; empty for a fixed allocation."""
    if not study.sequential:
        return ""
    return (
        f"sequential: whole blocks are added to an arm and the baseline until the 95 % interval of the paired change "
        f"is no wider than ±{study.precision:g} %, with {FIRST_LOOK} blocks or more, and then {MORE} more; or until "
        f"{study.most_blocks} blocks are given. It stops on the width alone, never on which side of zero the interval "
        "lies."
    )
