"""The verdicts by step in words: a sentence and a row of a table for each."""

from collections import Counter

from tesseral.analysis.report.change_columns import change_columns
from tesseral.analysis.statistics.comparisons.costs import COSTS, deciding_costs
from tesseral.analysis.statistics.comparisons.further_units import MOST_MORE
from tesseral.analysis.statistics.comparisons.precision import POWER
from tesseral.analysis.statistics.comparisons.steps import Step
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import Estimate, interval, interval_here, intervals
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.wording import count, listed, plural

_MOST_SENTENCES = 6
"""With more steps than this, a count replaces the sentences."""

_CHANCE = f"with a chance of {100 * POWER:.0f} %"


def step_sentences(results: Results) -> list[str]:
    """What each step decides and costs; one sentence with counts for many.

    Steps without a pair of trials are left out.
    """
    compared = [step for step in results.steps if step.comparison.change is not None]
    if len(compared) > _MOST_SENTENCES:
        counts = Counter(step.verdict for step in compared)
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
        return [f"{len(compared)} steps from a level to the next, others being equal: {verdicts}."]
    return [step_sentence(step, results) for step in compared]


def step_sentence(step: Step, results: Results) -> str:
    """One step that has a change, such as `lmax 1 against 0 earns its cost: …, at 1.7 × the time.`"""
    study, change = results.study, step.comparison.change
    if change is None:
        return ""
    here, noun = study.sampling.here, describe(study.metric, study.target_of(step.comparison.arm)).noun
    changes = f"{noun} changes by {intervals(change, here, '%', signed=True)}{_at(step)}"
    match step.verdict:
        case "earns its cost":
            text = f"{step_name(step)} earns its cost: {changes}."
        case "lower by less than δ, and dearer":
            text = f"{step_name(step)} is lower by less than δ = {study.margin:g} %, and dearer: {changes}."
        case "no better, and dearer":
            text = f"{step_name(step)} is no better than δ = {study.margin:g} %, and dearer: {changes}."
        case "no worse than δ":
            text = f"{step_name(step)} is no worse than δ = {study.margin:g} %: {changes}."
        case "no verdict":
            text = f"{step_name(step)} has no verdict: {changes}."
        case "undecided":
            text = f"{step_name(step)} is undecided: {changes}. {_more(step)}"
        case verdict:
            text = f"{step_name(step)} is {verdict}: {changes}."
    if step.verdict_here in (step.verdict, "undecided", "no verdict") or step.verdict == "no verdict":
        return text
    return f"{text} {here[0].upper()}{here[1:]} alone: {step.verdict_here}."


def step_lines(results: Results) -> list[str]:
    """The steps in few words, such as `lmax 1 against 0: worse (40 % [25, 53] for new data, 1.7 × the time)`."""
    compared = [step for step in results.steps if step.comparison.change is not None]
    if len(compared) > _MOST_SENTENCES:
        return step_sentences(results)
    lines = []
    for step in compared:
        change = step.comparison.change
        facts = []
        if change:
            holds = "for new data" if change.low is not None else results.study.sampling.here
            facts.append(interval(change, "%", signed=True) + (f" {holds}" if change.shown[0] is not None else ""))
        facts += [f"{_times(step.costs[cost])} × the {COSTS[cost]}" for cost in deciding_costs(step.costs)]
        verdict = step.verdict.replace("δ", f"{results.study.margin:g} %")
        lines.append(f"{step_name(step)}: {verdict} ({', '.join(facts)})")
    return lines


def step_table(results: Results) -> list[dict[str, str]]:
    """The steps as text: one dictionary (heading → cell) for each."""
    study, steps = results.study, results.steps
    changes = change_columns([step.comparison.change for step in steps], study.sampling.here)
    costs = [name for name in COSTS if any(name in step.costs for step in steps)]
    return [
        {
            "step": step_name(step),
            **change,
            **{f"{COSTS[name]}, ratio": _ratio(step.costs.get(name)) for name in costs},
            "verdict": step.verdict.replace("δ", f"{study.margin:g} %"),
        }
        for step, change in zip(steps, changes, strict=True)
    ]


def step_name(step: Step) -> str:
    """Such as `lmax 1 against 0 (layers=3)`."""
    return f"{step.factor} {step.upper} against {step.lower}" + (f" ({step.where})" if step.where else "")


def _at(step: Step) -> str:
    """What the step costs, such as ', at 1.71 [1.65, 1.77] × the time'; empty if no cost is recorded."""
    costs = [f"{_ratio(step.costs[name])} × the {COSTS[name]}" for name in deciding_costs(step.costs)]
    return f", at {listed(costs)}" if costs else ""


def _times(ratio: Estimate) -> str:
    """A ratio in few digits: two, or as many decimals as tell it from one."""
    return f"{ratio.value:.2f}" if 0.95 <= ratio.value < 1.05 else f"{ratio.value:.2g}"


def _ratio(ratio: Estimate | None) -> str:
    return "–" if ratio is None else interval_here(ratio)


def _more(step: Step) -> str:
    """What would decide an undecided step."""
    if step.more is not None:
        return f"About {_units(step, step.more)} would decide it {_CHANCE}."
    text = f"For new data even {MOST_MORE:,} more {plural(step.comparison.unit)} would not decide it: more data would"
    if step.verdict_here == "undecided" and step.more_here is not None:
        text += f"; for these data about {_units(step, step.more_here)} would {_CHANCE}"
    return f"{text}."


def _units(step: Step, number: int) -> str:
    return count(number, f"more {step.comparison.unit}")
