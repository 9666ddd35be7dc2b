"""Forecast a study: trials and seconds of each arm, and notes on the design, as `tesseral plan` shows them."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isclose
from typing import Any

import numpy as np

from tesseral.analysis.terms.estimate import FEWEST_UNITS
from tesseral.cluster.planning.composition import undetermined
from tesseral.cluster.planning.cost import Rate
from tesseral.cluster.planning.fusion_notes import fusion_notes
from tesseral.cluster.planning.growth import dropped_notes, growth_notes
from tesseral.cluster.planning.overlap import overlaps
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.cluster.planning.precision import block_notes
from tesseral.cluster.planning.setting_notes import open_notes, setting_notes
from tesseral.study.design.allocation import FIRST_LOOK, MORE
from tesseral.study.design.match import LOOSE
from tesseral.study.design.search_budget import share_out, shares_text
from tesseral.study.errors import numbered
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.wording import count, listed_labels

COUNTED = ("network.", "training.batch_size")
"""Prefixes of settings that change the operations of a step."""


@dataclass(frozen=True)
class Forecast:
    """What an arm will cost. Times are seconds of one device, and None if no rate is known."""

    arm: PlannedArm
    search: int
    """Number of trials of its search."""
    confirm: int
    """Number of trials of its confirm stage; with sequential allocation, the least."""
    most: int
    """Largest number of trials of its confirm stage."""
    step: float | None
    """Time of an optimizer step."""
    trial: float | None
    """Time of a trial that is trained to the end."""
    seconds: float | None
    """Time of all its trials, if those of the search are stopped as successive halving expects."""
    longest: float | None
    """Time of all its trials, if none of the search is stopped and sequential allocation adds all blocks."""


def forecasts(plan: StudyPlan, rate: Rate | None) -> list[Forecast]:
    """Forecast every arm, in the plan's order.

    :param plan: the study's.
    :param rate: the speed of the device; None if none is known.
    """
    return [_forecast(plan, arm, rate) for arm in plan.arms]


def _forecast(plan: StudyPlan, arm: PlannedArm, rate: Rate | None) -> Forecast:
    replication, search = plan.study.file.replication, plan.study.file.search
    proposals = search.trials if search else 0
    confirm = replication.blocks * replication.replicates
    most = (plan.study.file.replication.max_blocks or replication.blocks) * replication.replicates
    if rate is None:
        return Forecast(arm, proposals, confirm, most, None, None, None, None)
    flops, overheads = arm.size.flops, arm.overheads
    trial = rate.trial(flops, arm.steps, overheads)
    shares = share_out(proposals, plan.study.repeats) if search else ()
    halved = sum(n * rate.trial(flops, arm.steps * share_of_epochs(plan, arm, n), overheads) for n in shares)
    seconds = halved + confirm * trial
    return Forecast(
        arm, proposals, confirm, most, rate.step(flops, overheads), trial, seconds, (proposals + most) * trial
    )


def share_of_epochs(plan: StudyPlan, arm: PlannedArm, trials: int) -> float:
    """The share of the epochs of a search that successive halving is expected to train.

    Of m trials that arrive at a rung one after the other, the i-th continues if it is among the best max(1, ⌊i/η⌋) of
    the i so far. If each rung ranks them anew, Σ_{i ≤ m} max(1, ⌊i/η⌋)/i are expected to continue: about m/η of many,
    but 2.1 of 4 with η = 3, because the first one always continues.

    :param plan: the study's.
    :param arm: one of its arms.
    :param trials: distinct proposals of the search.
    :returns: between 0 and 1; 1 without ASHA.
    """
    search = plan.study.file.search
    epochs = arm.configuration.training.epochs
    if search is None or search.asha is None:
        return 1.0
    i = np.arange(1, trials + 1)
    passing = np.cumsum([0.0, *np.maximum(1, i // search.asha.reduction) / i])
    trained, going = 0.0, float(trials)
    for before, after in pairwise((0, *plan.rungs(arm), epochs)):
        trained += going * (after - before)
        going = float(np.interp(going, np.arange(trials + 1), passing))
    return trained / (trials * epochs)


def title(plan: StudyPlan) -> str:
    """The size of a study in a sentence: arms × blocks × replicates, and its search.

    :param plan: the study's.
    """
    file, arms = plan.study.file, len(plan.arms)
    blocks, replicates = file.replication.blocks, file.replication.replicates
    text = f"{plan.study.name}: {count(arms, 'arm')} × {count(blocks, 'block')} × {count(replicates, 'replicate')}"
    text += f" = {count(plan.confirm_trials, 'trial')}"
    if file.search is None:
        return text
    repeats, trials = plan.study.repeats, file.search.trials
    if repeats == 1:
        text += f", after a search of {count(trials, 'trial')} an arm ({file.search.sampler}"
    else:
        text += f", after {repeats} searches of {shares_text(trials, repeats)} trials an arm ({file.search.sampler}"
    if file.search.asha:
        rungs = sorted({plan.rungs(arm) for arm in plan.arms})
        at = " or ".join(", ".join(map(str, one)) or "none" for one in rungs)
        text += f"; ASHA, rungs at epochs {at}"
    return f"{text}) = {count(plan.search_trials + plan.confirm_trials, 'trial')} in all"


def notes(plan: StudyPlan, forecasts: list[Forecast]) -> list[str]:
    """Notes on the design that its tables do not show, a sentence each.

    :param plan: the study's.
    :param forecasts: of its arms.
    """
    study, file = plan.study, plan.study.file
    lines = [*growth_notes(plan), *dropped_notes(plan), *study.design_notes]
    left_out: dict[tuple[str, str], list[str]] = defaultdict(list)
    for excluded in study.excluded:
        left_out[excluded.where, excluded.condition].append(excluded.label)
    for (where, condition), labels in left_out.items():
        lines.append(f"{numbered(where)} ({condition}) leaves out {count(len(labels), 'arm')}: {listed_labels(labels)}")
    lines += [f"equal configurations are one arm: {arm.label}" for arm in plan.arms if len(arm.arm.labels) > 1]
    lines += setting_notes(plan)
    lines += open_notes(plan)
    lines += block_notes(plan)
    lines += fusion_notes(plan)
    lines += undetermined(plan)
    lines += overlaps(plan)
    for arm in plan.arms:
        if abs(arm.residual) > LOOSE:
            scalars = any((term.l, term.p) == (0, 1) for term in parse_irreps(arm.natural))
            reason = "widths are whole numbers" + ("" if scalars else ", and it has no 0e to make up the difference")
            lines.append(f"{arm.label} misses its size by {100 * arm.residual:+.1f} %: {reason}")
    for data in {arm.configuration.data.reference: arm.configuration.data for arm in plan.arms}.values():
        if advice := plan.measure.missing(data):
            lines.append(f"{data.reference} does not exist yet: {advice}")
        if (reference := plan.measure.reference(data)) is not None:
            table = reference.converged.table
            periodic, stressed = (len(table) - table[column].null_count for column in ("cell", "stress"))
            if periodic:
                lines.append(
                    f"{periodic:,} of {count(len(table), 'structure')} of {data.reference} are periodic, "
                    f"{stressed:,} with a stress"
                )
    for path in dict.fromkeys(path for arm in plan.arms for path in arm.configuration.data.tests.values()):
        if plan.measure.test_set(path) is None:
            lines.append(f"the test set {path} does not exist yet: import or make it before the study runs")
    for (name, groups), held in plan.holdouts.items():
        own = (arm.configuration.data for arm in plan.arms)
        test = max(data.test for data in own if (data.reference, data.groups) == (name, groups))
        kept = f"a hold-out of {count(held, 'structure')} of {name} is kept from every search"
        lines.append(f"{kept}, and test splits of {test} are drawn from it")
        if held <= test:
            lines[-1] += ": all blocks test the same structures, so there will be no verdict for new data"
    if any(arm.unreachable for arm in plan.arms):
        lines.append("unreachable outputs count as predicted zero")
    replication = file.replication
    if replication.allocate == "sequential":
        least, most = (sum(getattr(each, name) for each in forecasts) for name in ("confirm", "most"))
        lines.append(
            f"blocks are added until the paired change is known to ±{replication.precision:g} %: {least:,} trials of "
            f"the confirm stage at least, {most:,} at most"
        )
        soonest = max(FIRST_LOOK, replication.blocks) + MORE
        if (replication.max_blocks or 0) <= soonest:
            lines.append(
                f"the width of an interval is first checked at {soonest - MORE} blocks, and {MORE} more blocks follow "
                f"once it is narrow enough: with max_blocks = {replication.max_blocks}, all blocks are run"
            )
    lines += _search_notes(plan)
    if plan.space and any(parameter.path.startswith(COUNTED) for parameter in plan.space):
        lines.append("the search changes the cost of a step: times are those of the arms' own settings")
    if file.search and file.search.define:
        lines.append(f"{file.search.define} proposes: times are those of the arms' own settings")
    total, longest = total_of(forecasts, "seconds"), total_of(forecasts, "longest")
    if total is not None and longest is not None and not isclose(total, longest):
        asha = file.search.asha if file.search else None
        expected = "; the times above expect that ASHA stops trials as if each rung ranked them anew" if asha else ""
        lines.append(f"at most {hours(plan, longest):.3g} {unit(plan)} in all{expected}")
    return lines


def _search_notes(plan: StudyPlan) -> list[str]:
    """How the budget of a search is shared out, and what that allows."""
    search, repeats = plan.study.file.search, plan.study.repeats
    if search is None:
        return []
    lines = []
    if repeats < FEWEST_UNITS and len(plan.arms) > 1:
        lines.append(
            f"{'one search' if repeats == 1 else f'{repeats} searches'} in each arm: tuned arms are compared for the "
            f"settings found, without a verdict; that takes search.repeats = {FEWEST_UNITS} or more"
        )
    if repeats == 1:
        return lines
    return [
        *lines,
        f"the {count(search.trials, 'search trial')} of an arm are shared out among {repeats} independent searches of "
        f"{shares_text(search.trials, repeats)}; block b is confirmed with the setting of search b mod {repeats}, both "
        "counted from 0",
    ]


def unit(plan: StudyPlan) -> str:
    """The unit of a study's cost: GPU-hours or core-hours.

    :param plan: the study's.
    """
    return "GPU-hours" if plan.study.file.resources.gpus else "core-hours"


def hours(plan: StudyPlan, seconds: float) -> float:
    """Seconds of a trial's device as GPU-hours, or as core-hours if trials use no GPU.

    :param plan: the study's.
    :param seconds: of one trial's device.
    """
    resources = plan.study.file.resources
    gpus = 1.0 if isinstance(resources.gpus, str) else resources.gpus
    return seconds / 3600 * (gpus or resources.cpus)


def total_of(forecasts: list[Forecast], name: str) -> float | None:
    """Sum of a field over the arms; None if no rate is known.

    :param forecasts: of all arms.
    :param name: of a numeric field of `Forecast`.
    """
    values = [getattr(forecast, name) for forecast in forecasts]
    return None if None in values else sum(values)


def to_dict(plan: StudyPlan, forecasts: list[Forecast], rate: Rate | None) -> dict[str, Any]:
    """The plan and its forecasts as JSON, as `tesseral plan --json` prints them.

    :param plan: the study's.
    :param forecasts: of its arms.
    :param rate: from which they are; None if none is known.
    """
    study, file = plan.study, plan.study.file
    total = total_of(forecasts, "seconds")
    return {
        "study": study.name,
        "trials": plan.search_trials + plan.confirm_trials,
        "search_trials": plan.search_trials,
        "confirm_trials": plan.confirm_trials,
        "confirm_trials_most": sum(forecast.most for forecast in forecasts),
        "baseline": plan.baseline.label,
        "blocks": file.replication.blocks,
        "replicates": file.replication.replicates,
        "allocate": file.replication.allocate,
        "search": asdict(file.search) | {"repeats": study.repeats} if file.search else None,
        "objectives": plan.objectives,
        "match": asdict(file.match),
        "arms": [_arm(plan, forecast) for forecast in forecasts],
        "excluded": [vars(arm) for arm in study.excluded],
        "notes": notes(plan, forecasts),
        "rate": vars(rate) | {"source": rate.source} if rate else None,
        "seconds": total,
        "seconds_most": total_of(forecasts, "longest"),
        unit(plan).lower().replace("-", "_"): None if total is None else hours(plan, total),
    }


def _arm(plan: StudyPlan, forecast: Forecast) -> dict[str, Any]:
    arm = forecast.arm
    return {
        "arm": arm.label,
        "labels": arm.arm.labels,
        "factors": arm.arm.factors,
        "hidden": arm.hidden,
        "hidden_natural": arm.natural,
        **asdict(arm.size),
        "match": arm.arm.match,
        "target": arm.target,
        "residual": arm.residual,
        "steps": arm.steps,
        "rungs": plan.rungs(arm),
        "unreachable": arm.unreachable,
        "dead": arm.dead,
        "search_trials": forecast.search,
        "confirm_trials": forecast.confirm,
        "confirm_trials_most": forecast.most,
        "seconds_step": forecast.step,
        "seconds_trial": forecast.trial,
        "seconds": forecast.seconds,
        "seconds_most": forecast.longest,
        "configuration": arm.configuration.to_dict(),
    }
