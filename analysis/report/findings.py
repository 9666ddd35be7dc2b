"""The findings of a study in sentences; each claims no more than its interval does."""

import re
from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Literal

from tesseral.analysis.report.design_text import CAUTION, sizes
from tesseral.analysis.report.growth_text import growth_sentences
from tesseral.analysis.report.notes import chosen_baseline
from tesseral.analysis.report.step_text import step_sentences
from tesseral.analysis.statistics.arms import ArmSummary
from tesseral.analysis.statistics.comparisons.best import Best
from tesseral.analysis.statistics.comparisons.outliers import FEWEST_BLOCKS, failing_sentences, unseen_sentences
from tesseral.analysis.statistics.comparisons.paired import ArmError, Comparison
from tesseral.analysis.statistics.comparisons.scaling import scaling_sentences
from tesseral.analysis.statistics.fit_floor import floor_sentence
from tesseral.analysis.statistics.orders.order_trend import trend_sentences
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import (
    AGGREGATES,
    FEWEST_UNITS,
    SIGNIFICANCE,
    Aggregate,
    interval_here,
    intervals,
    p_value,
)
from tesseral.analysis.terms.metric_label import describe
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.records.rate_scan import scan_sentences
from tesseral.study.wording import count, listed

_IRREP = re.compile(r"\d+[eo]")
_MOST_SENTENCES = 6
"""With more comparisons than this, a count replaces the sentences."""

Verdict = Literal["lower", "higher", "undecided", "without an interval"]


def findings(results: Results) -> list[str]:
    """The sentences of the report: its verdicts, what else is told of the arms, and what limits it."""
    return verdicts(results) + of_arms(results) + limits(results)


def verdicts(results: Results) -> list[str]:
    """The verdicts of the first screen, a sentence each.

    The steps of ordered factors, or else the comparisons with the baseline; the benefit by order; the exponents of
    learning curves. They share one level of significance (`results.analyse`), so all that they claim together is false
    in at most 5 % of studies. What is not significant is told as undecided, with what would decide it where that can be
    said.
    """
    sentences = [*chosen_baseline(results.study), *_preliminary(results)]
    if all(arm.error.error is None for arm in results.arms):
        which = "trial of the confirm stage" if results.search_progress else "trial"
        return [*sentences, f"There is nothing to compare yet, because no {which} is complete."]
    answers = step_sentences(results) or _against_baselines(results) or _lowest(results)
    return (
        sentences
        + answers
        + trend_sentences(results.trends)
        + scaling_sentences(results.scaling, results.study.sampling.shown)
    )


def of_arms(results: Results) -> list[str]:
    """The lowest error and, where the first screen tells steps instead, the comparisons with the baseline.

    Each of the two is corrected for multiple comparisons by itself.
    """
    if not results.comparisons or all(arm.error.error is None for arm in results.arms):
        return []
    return _lowest(results) + (_against_baselines(results) if step_sentences(results) else [])


def limits(results: Results) -> list[str]:
    """What limits the verdicts of a study: its data, outputs out of reach, the fit, sizes, design and learning rate."""
    study = results.study
    if all(arm.error.error is None for arm in results.arms):
        return []
    told = [floor_sentence(study), sizes(study, results.arms)]
    failing = failing_sentences([arm.failing for arm in results.arms if arm.failing is not None], study.aggregate)
    reach = _out_of_reach(results.arms)
    told += [_grouped(study), _held(study)]
    return [
        *study.doubts,
        *growth_sentences(study),
        *reach,
        *filter(None, told),
        *failing,
        *_unseen(results),
        *_of_design(study),
        *learning_rates(study),
    ]


def _grouped(study: StudyInfo) -> str | None:
    if not study.grouped_by:
        return None
    return (
        f"Each split holds whole groups of structures (by {listed(study.grouped_by)}). Intervals for new data count "
        "structures, not groups: with few groups they are too narrow."
    )


def _held(study: StudyInfo) -> str | None:
    """What its searches saw of the structures that arms are tested on; None without a search."""
    if study.search is None or study.published:
        return None
    if not study.holds_out:
        return (
            "Its searches may have seen structures that arms are tested on: it was started before a hold-out was kept "
            "from them. A study of another name keeps one."
        )
    if not study.held:
        return None
    size = " or ".join(f"{size:,}" for size in study.held)
    return f"No search saw the hold-out of {size} structures, from which all test splits are drawn."


def cautions(results: Results) -> list[str]:
    """What `limits` says of sizes and of the learning rate, in few words; nothing where all is well."""
    study, told = results.study, sizes(results.study, results.arms) or ""
    short = [told.replace(CAUTION, ".")] if told.endswith(CAUTION) else []
    if study.shares_rate and study.scan is None:
        short.append("One learning rate serves all arms, and no scan of it is recorded (tesseral plan --probe-rate).")
    elif study.shares_rate and study.scan is not None and study.scan.favours:
        short.append("The learning rate may favour arms: the page says which.")
    return short


def _unseen(results: Results) -> list[str]:
    """How many starts may fail in arms that show none, of those with enough blocks to show an outlying one."""
    study = results.study
    enough = FEWEST_BLOCKS * study.replicates
    shown = [arm.error.trials for arm in results.arms if arm.failing is None and arm.error.trials >= enough]
    return unseen_sentences(shown, study.margin, study.aggregate)


def _of_design(study: StudyInfo) -> list[str]:
    """Why a study gives no verdict on new data, if its design does not allow one."""
    if study.search is not None and study.searches < FEWEST_UNITS:
        made = "one search" if study.searches == 1 else count(study.searches, "search")
        return [
            f"Each arm was tuned by {made}, and the luck of a search is part of every change: intervals hold for the "
            "settings found, and no verdict is given. A study with independent searches (search.repeats = "
            f"{FEWEST_UNITS} or more) would give one."
        ]
    if study.sampling.fixed:
        split = study.metric.partition(".")[0]
        whose = "of a published test split" if study.published else "of the hold-out, which no search saw"
        whose = f"of the test set {split}" if split in study.tests else whose
        sentence = (
            f"All blocks are tested on the structures {whose}: intervals hold for these data, and no verdict on new "
            "data is given."
        )
        if inf in study.overlaps.values() and split not in study.tests:
            sentence += " With more structures than the splits take, blocks would test different ones, and it would be."
        return [sentence]
    if study.sampling.unit == "trial":
        return [
            f"The study has fewer than {FEWEST_UNITS} blocks, so its intervals are conditional: they hold for its data "
            f"splits only, and no verdict is given. replication.blocks = {FEWEST_UNITS} or more would give one."
        ]
    if study.sampling.unit == "block" and study.most_blocks == FEWEST_UNITS:
        return [
            f"Intervals rest on {FEWEST_UNITS} blocks, that is on {FEWEST_UNITS - 1} degrees of freedom: one start "
            "that fails can widen them beyond use, and it cannot be told from the others."
        ]
    return []


def learning_rates(study: StudyInfo) -> list[str]:
    """How the learning rate of arms that differ in their network was chosen; empty where they do not share one."""
    if not study.shares_rate:
        return []
    if study.scan is None:
        return [
            "No scan of the learning rate is recorded, and one learning rate may favour an arm "
            "(tesseral plan --probe-rate scans it)."
        ]
    return scan_sentences(study.scan)


def _preliminary(results: Results) -> list[str]:
    """What is still to come in a study that has not ended; empty for one that has."""
    search, confirm = results.search_progress, results.progress
    sentences = []
    if search is not None and search.unfinished:
        sentences.append(f"Preliminary: {search.ended} of {count(search.planned, 'search trial')} have ended.")
    if confirm.unfinished:
        sentences.append(f"Preliminary: {confirm.complete} of {count(confirm.planned, 'trial')} are complete.")
    elif any(
        arm.blocks and not arm.stopped for arm in results.allocations if results.study.baseline_of(arm.arm) != arm.arm
    ):
        sentences.append("Preliminary: more blocks will be added.")
    return sentences


def verdict(comparison: Comparison) -> Verdict:
    """Whether the arm's error is significantly lower or higher than the baseline's, after Holm's correction."""
    change, p = comparison.change, comparison.p_holm
    if change is None or change.low is None or p is None:
        return "without an interval"
    if p >= SIGNIFICANCE or not change.excludes_zero:
        return "undecided"
    return "lower" if change.value < 0 else "higher"


def verdict_here(comparison: Comparison) -> Verdict:
    """The same for these data alone, after Holm's correction."""
    change, p = comparison.change, comparison.p_holm_here
    if change is None or change.here is None or p is None:
        return "without an interval"
    if p >= SIGNIFICANCE or not change.here.excludes_zero:
        return "undecided"
    return "lower" if change.value < 0 else "higher"


def compared(
    comparison: Comparison, metric: str, target: TargetLabel | None = None, here: str = "for these data"
) -> str:
    """One comparison as a sentence: the interval for new data first, that for these data beside it.

    :param metric: such as `test.epsilon`.
    :param target: what both arms predict.
    :param here: what the second interval holds for; see `Sampling.here`.
    """
    noun, change = describe(metric, target).noun, comparison.change
    arm, baseline = _quoted(comparison.arm), _quoted(comparison.baseline)
    if comparison.pairs == 0:
        return f"{arm} cannot be compared with {baseline} yet: no pair of trials is complete."
    basis = _basis(comparison)
    if change is None:
        return f"Against {baseline}, the relative change of {arm} is undefined: an error is zero or negative ({basis})."
    found = verdict(comparison)
    if found == "without an interval" and change.here is not None:
        measured = interval_here(change, "%", signed=True)
        return f"Against {baseline}, {arm} changes {noun} by {measured} {here} ({basis}): no verdict for new data."
    measured = intervals(change, here, "%", signed=True)
    match found:
        case "without an interval":
            return f"Against {baseline}, {arm} changes {noun} by {measured} ({basis}, too few for an interval)."
        case "undecided":
            why = "undecided"
            if change.excludes_zero:
                why += f" after Holm’s correction (p = {p_value(comparison.p_holm or 0.0)})"
            alone = verdict_here(comparison)
            tail = f" {here[0].upper()}{here[1:]} alone it is {alone}." if alone in ("lower", "higher") else ""
            return f"{arm} against {baseline} is {why}: {noun} changes by {measured} ({basis}).{tail}"
        case "lower":
            return f"Against {baseline}, {arm} lowers {noun} by {intervals(change.negative(), here, '%')} ({basis})."
        case "higher":
            return f"Against {baseline}, {arm} raises {noun} by {intervals(change, here, '%')} ({basis})."


def _out_of_reach(summaries: Sequence[ArmSummary]) -> list[str]:
    """Sentences that a change is partly one of reach, if an arm and its baseline reach different outputs.

    One sentence for baselines, one for arms that reach less than their baseline.
    """
    by_arm = {arm.arm: arm for arm in summaries}
    lost = {arm.arm: set(_IRREP.findall(arm.unreachable or "")) for arm in summaries}
    pairs = [(arm.arm, arm.baseline) for arm in summaries if arm.comparison and arm.comparison.pairs and arm.baseline]
    sentences = []
    if bases := list(dict.fromkeys(base for arm, base in pairs if lost[base] - lost[arm])):
        every = all(lost[base] - lost[arm] for arm, base in pairs if base in bases)
        whose = "each change" if every else "the change of each arm that reaches it"
        sentences.append(f"{_missed(bases, by_arm)}. This accounts for part of {whose}.")
    if arms := [arm for arm, base in pairs if lost[arm] - lost[base]]:
        whose = "its change" if len(arms) == 1 else "their changes"
        sentences.append(f"{_missed(arms, by_arm)}. This accounts for part of {whose}.")
    return sentences


def _missed(arms: list[str], by_arm: dict[str, ArmSummary]) -> str:
    """The beginning of a sentence that names arms with the irreps that they cannot reach."""
    outputs = dict.fromkeys(by_arm[arm].unreachable or "" for arm in arms)
    return f"{listed([_quoted(arm) for arm in arms])} cannot reach {listed(list(outputs))}, which is predicted as zero"


def _lowest(results: Results) -> list[str]:
    """The lowest error of each group and the arms that are not told from it; the error of an arm that is alone."""
    study, sentences = results.study, []
    alone = len(study.groups) == 1
    for group, arms in study.groups.items():
        if (best := _best(results, arms)) is not None:
            sentences.append(lowest_sentence(best, study.metric, group.target, study.aggregate))
            continue
        sentences += [
            _mean_error(summary.error, study, group.target, named=len(arms) > 1 or not alone)
            for summary in results.arms
            if summary.arm in arms and summary.error.error is not None
        ]
    return sentences


def _best(results: Results, arms: Sequence[str]) -> Best | None:
    return next((each for each in results.best if set(each.arms) <= set(arms)), None)


def _against_baselines(results: Results) -> list[str]:
    """The comparisons with the baseline of each group; counts, and those of the lowest arms, if there are many."""
    study, comparisons = results.study, results.comparisons
    if len(comparisons) <= _MOST_SENTENCES:
        shown = comparisons
    else:
        lowest = {best.arms[0] for arms in study.groups.values() if (best := _best(results, arms))}
        shown = [comparison for comparison in comparisons if comparison.arm in lowest]
    told = [compared(each, study.metric, study.target_of(each.arm), study.sampling.here) for each in shown]
    if len(comparisons) <= _MOST_SENTENCES:
        return told
    noun = describe(study.metric, study.target).noun
    if len(study.groups) == 1:
        baseline = _quoted(comparisons[0].baseline)
        return [f"{len(comparisons)} arms are compared with {baseline} in {noun}: {_verdicts(comparisons)}.", *told]
    return [*told, f"{len(comparisons)} comparisons within groups in {noun}: {_verdicts(comparisons)}."]


def lowest_sentence(best: Best, metric: str, target: TargetLabel | None = None, aggregate: Aggregate = "mean") -> str:
    """The lowest observed error of a group, and the arms that are not told from the best.

    :param metric: such as `test.epsilon`.
    :param target: what the arms predict.
    :param aggregate: `study.aggregate`.
    """
    label, error = describe(metric, target), best.error
    mean = label.with_unit(error.error) if error.error else "unknown"
    lowest = f"the lowest observed {AGGREGATES[aggregate]} of {label.noun}: {mean} ({_trials(error)})"
    text = f"{_quoted(error.arm)} has {lowest}" + (", but in pairs it is told from the best" if best.told else "")
    if best.alike is None:
        return f"{text}."
    if not best.alike:
        return f"{text}; every other arm is told from the best."
    if len(best.alike) == len(best.arms) - 1 > 1:
        return f"{text}; none of the {len(best.alike)} other arms is told from the best."
    return f"{text}; not told from the best: {listed([_quoted(arm) for arm in best.alike])}."


def _mean_error(error: ArmError, study: StudyInfo, target: TargetLabel, *, named: bool) -> str:
    """The mean error of an arm that has no other one to be compared with.

    :param named: whether the arm is named.
    """
    label, aggregate = describe(study.metric, target), AGGREGATES[study.aggregate]
    mean = label.with_unit(error.error) if error.error else "unknown"
    where = f"in {_quoted(error.arm)} " if named else ""
    return f"The {aggregate} of {label.noun} {where}is {mean} ({_trials(error)})."


def _trials(error: ArmError) -> str:
    """Such as '8 trials in 4 blocks'."""
    return count(error.trials, "trial") + (f" in {count(error.units, 'block')}" if error.unit == "block" else "")


def _verdicts(comparisons: list[Comparison]) -> str:
    """Counts such as '4 undecided, 2 lower'."""
    counts = Counter(verdict(comparison) for comparison in comparisons)
    return ", ".join(f"{number} {name}" for name, number in counts.most_common())


def _basis(comparison: Comparison) -> str:
    """What a comparison rests on, such as '8 pairs in 4 blocks; 1 trial incomplete'."""
    text = count(comparison.pairs, "pair")
    if comparison.unit != "pair":
        units = count(comparison.units, comparison.unit)
        text += f" in {units if comparison.units != 1 else f'1 {comparison.unit}'}"
    return f"{text}; {count(comparison.missing, 'trial')} incomplete" if comparison.missing else text


def _quoted(arm: str) -> str:
    """A label in quotation marks, if it would blur into its sentence."""
    return f"“{arm}”" if "," in arm or " " in arm else arm
