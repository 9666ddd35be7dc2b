"""When a study grew, which arms were dropped, and what that does to its p-values, in sentences."""

from datetime import datetime

from tesseral.analysis.statistics.comparisons.looks import chance_of_claim
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import FEWEST_UNITS
from tesseral.study.records.growth import Grown
from tesseral.study.wording import count


def growth_sentences(study: StudyInfo) -> list[str]:
    """What is told of a study's growth; empty for one that is as it was started.

    :param study: of which growth, dropped arms, blocks and arms count.
    """
    sentences = [
        f"The study grew on {_day(each['when'])}, after {count(each['complete'], 'complete trial')}: "
        f"{'; '.join(each['changes'])}."
        for each in study.grown
    ]
    if known := _known(study):
        sentences += [*_more_blocks(study, known), *_more_arms(study, known), *_other_comparisons(known)]
    return sentences + [
        f"Arm {each['arm']} was dropped on {_day(each['when'])}, after {count(each['complete'], 'complete trial')}: "
        "its trials are kept and left out here. If its results were the reason, the other p-values are corrected for "
        "too few comparisons."
        for each in study.dropped
    ]


def growth_line(study: StudyInfo) -> str | None:
    """For a terminal: that the page has more to tell; None for a study that did not grow after results were known."""
    told = "The study grew after results were known: the page says what that does to p-values."
    return told if _known(study) else None


def _known(study: StudyInfo) -> list[Grown]:
    """The times when it grew after results were known."""
    return [each for each in study.grown if each["complete"]]


def _more_blocks(study: StudyInfo, known: list[Grown]) -> list[str]:
    """If blocks or replicates were added after results were known; of fewer blocks than three nothing is claimed."""
    seen = {each["blocks"] for each in known} | {study.blocks}
    looks = sorted(blocks for blocks in seen if blocks >= FEWEST_UNITS)
    blocks = len(looks) > 1 and not study.sequential
    replicates = any(" replicate" in change for each in known for change in each["changes"])
    if not blocks and not replicates:
        return []
    added = " or ".join(["blocks"] * blocks + ["replicates"] * replicates)
    told = f"If {added} were added because of the results that were known, p-values are too small"
    if replicates or study.sampling.unit != "block":
        return [f"{told}."]
    chance = chance_of_claim(looks)
    return [
        f"{told}: of a comparison of equal arms, p < 0.05 at one of {count(len(looks), 'look')}, at "
        f"{' and '.join(map(str, looks))} blocks, has a chance of {100 * chance:.0f} % in place of 5 %."
    ]


def _more_arms(study: StudyInfo, known: list[Grown]) -> list[str]:
    """If arms were added after results were known."""
    before = min(len(each["arms"]) for each in known)
    if len(study.arms) <= before:
        return []
    return [
        f"p-values are corrected for the comparisons of {len(study.arms)} arms; before the study grew, for those of "
        f"{before}: a change that was significant then may not be now."
    ]


def _other_comparisons(known: list[Grown]) -> list[str]:
    """If the baseline, the groups or the metric were chosen after results were known."""
    chosen = [change for each in known for change in each["changes"]]
    told = []
    if any(change.startswith(("the baseline", "study.within")) for change in chosen):
        told.append(
            "Comparisons were chosen after results were known; p-values are corrected for those shown here only."
        )
    if any(change.startswith("the metric") for change in chosen):
        told.append("The metric was chosen after results were known; p-values are not corrected for the choice.")
    return told


def _day(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d}"
