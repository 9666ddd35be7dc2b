"""The design of a study in words: its arms, their sizes, their tuning, and the number of blocks."""

from collections.abc import Sequence

from tesseral.analysis.statistics.arms import ArmSummary
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.design.allocation import FIRST_LOOK, MORE
from tesseral.study.design.match import LOOSE
from tesseral.study.design.search_budget import shares_text
from tesseral.study.wording import count

UNEQUAL = 1.01
"""Arms whose numbers of parameters differ by more than this ratio are not alike in size."""

_KINDS = {
    "factorial": "full factorial: every combination of levels",
    "one-factor-out": "one factor out: the first levels of all factors, and an arm for each other level",
    "one-factor-in": "one factor in: the last levels of all factors, and an arm for each other level",
    "fractional": "two-level fractional factorial",
}
_SIZES = {
    "parameters": "live parameters (those that a gradient can reach)",
    "components": "components of the hidden features",
    "flops": "floating-point operations (FLOPs) of a training step, per structure",
}


def kind(study: StudyInfo) -> str:
    """The kind of design: which combinations of levels became arms."""
    return f"{_KINDS.get(study.design, study.design)}; {count(len(study.arms), 'arm')}"


def matching(study: StudyInfo, arms: Sequence[ArmSummary]) -> str:
    """How arms were made equal in size; empty if none was."""
    units = dict.fromkeys(arm.match for arm in arms if arm.match != "none")
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
    each = " (as the table states for each arm)" if len(units) > 1 or any(arm.match == "none" for arm in arms) else ""
    return (
        f"multiplicities of the hidden irreps are scaled{each} to equal {' or '.join(_SIZES[unit] for unit in units)}"
        f"{within}; the target is {target}{_worst(arms)}"
    )


def _worst(arms: Sequence[ArmSummary]) -> str:
    residuals = [abs(arm.residual) for arm in arms if arm.match != "none" and arm.residual is not None]
    return f"; the largest residual is {100 * max(residuals):.2g} %" if residuals else ""


CAUTION = ", so a change may come from size as well as from the factor."
"""The end of `sizes` where arms differ in size."""


def sizes(study: StudyInfo, arms: Sequence[ArmSummary]) -> str | None:
    """A sentence on whether a change may be due to size as well as to the factor; None if there is nothing to say."""
    known = [arm for arm in arms if arm.parameters is not None]
    units = {arm.match for arm in known}
    if units == {"none"}:
        spans = {arm.arm: arm.bounds("parameters") or (0, 0) for arm in known}
        parameters = [value for span in spans.values() for value in span]
        compared = [[value for arm in group for value in spans.get(arm, ())] for group in study.groups.values()]
        if all(max(alike) <= UNEQUAL * min(alike) for alike in compared if alike):
            return None
        return f"The arms are not matched in size ({min(parameters):,} to {max(parameters):,} parameters){CAUTION}"
    if any(len({arm.match for arm in known if arm.arm in group}) > 1 for group in study.groups.values()):
        return f"The arms are matched in different ways ({', '.join(sorted(units))}){CAUTION}"
    if not units:
        return None
    which = "The matched arms" if "none" in units else "The arms"
    matched = f"{which} are matched in {' or '.join(_SIZES[unit] for unit in sorted(units - {'none'}))}"
    loose = [arm for arm in known if arm.residual is not None and abs(arm.residual) > LOOSE]
    if loose:
        deviate = f"{count(len(loose), 'arm')} deviate{'s' if len(loose) == 1 else ''} by more than {100 * LOOSE:g} %"
        return f"{matched}, but {deviate}{CAUTION}"
    return f"{matched} to within {100 * LOOSE:g} %."


def searching(study: StudyInfo) -> str:
    """How hyperparameters were tuned, after a colon; empty for a study without a search."""
    search = study.search
    if search is None:
        return ""
    names = [
        describe(name, study.target).noun.removeprefix("the ") if "." in name else name for name in study.objectives
    ]
    others = f" and {', '.join(names[1:])} (the first decides)" if names[1:] else ""
    shared = (
        f", shared out among {study.searches} independent searches ({shares_text(search.trials, study.searches)} each),"
        if study.searches > 1
        else ""
    )
    proposals = (
        f"{count(search.trials, 'distinct proposal')} in each arm{shared} by Optuna’s sampler {search.sampler}, "
        f"minimising {names[0]}{others}"
    )
    within = "search" if study.searches > 1 else "arm"
    if search.asha is None:
        return f"{proposals}; no early stopping"
    return (
        f"{proposals}; early stopping by asynchronous successive halving within each {within}, from epoch "
        f"{search.asha.min_epochs}, with one trial in {search.asha.reduction} continuing at each rung (an epoch at "
        "which trials are compared)"
    )


def blocks_planned(study: StudyInfo) -> str:
    """The planned blocks: '4 blocks', or '3 to 12 blocks' for a sequential allocation; and whether they are folds."""
    folds = " of disjoint test folds" if study.folds else ""
    if study.most_blocks == study.blocks:
        return count(study.blocks, "block") + folds
    return f"{study.blocks} to {study.most_blocks} blocks{folds}"


def allocating(study: StudyInfo) -> str:
    """The rule by which blocks are added; empty for a fixed allocation."""
    if not study.sequential:
        return ""
    return (
        f"sequential. Whole blocks are added to an arm and its baseline until, with at least {FIRST_LOOK} blocks, the "
        f"95 % interval of the paired change for these data is no wider than ±{study.precision:g} %; {MORE} more "
        "blocks follow. For new data the interval does not vanish with blocks: n_test/n_train bounds it from below. At "
        f"most {study.most_blocks} blocks are given. The rule looks at the width of the interval only, never at the "
        "side of zero on which it lies."
    )
