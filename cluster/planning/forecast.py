"""What a study will be, as `tesseral plan` tells it: its arms, what they reach, what they cost, and why so."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isclose
from typing import Any

from tesseral.cluster.planning.cost import Rate
from tesseral.cluster.planning.fusion_notes import fusion_notes
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.cluster.planning.setting_notes import open_notes, setting_notes
from tesseral.study.design.allocation import FIRST_LOOK, MORE
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.wording import count, listed_labels

LOOSE = 0.01
"""Residual of a match from which on it is noted."""
COUNTED = ("network.", "training.batch_size")
"""Beginnings of the settings that change the operations of a step."""


@dataclass(frozen=True)
class Forecast:
    """What an arm will cost; seconds are those of one device and None where no rate is known."""

    arm: PlannedArm
    search: int
    """Trials of its search."""
    confirm: int
    """Trials of its confirm stage; with sequential allocation, the least."""
    most: int
    """Those at most."""
    step: float | None
    trial: float | None
    """Of one that is trained to the end."""
    seconds: float | None
    """Of all its trials; those of a search are stopped as successive halving expects."""
    longest: float | None
    """If no trial of the search is stopped, and all that a sequential allocation may add is added."""


def forecasts(plan: StudyPlan, rate: Rate | None) -> list[Forecast]:
    """Of every arm, in their order."""
    return [_forecast(plan, arm, rate) for arm in plan.arms]


def _forecast(plan: StudyPlan, arm: PlannedArm, rate: Rate | None) -> Forecast:
    replication, search = plan.study.file.replication, plan.study.file.search
    proposals = search.trials if search else 0
    confirm = replication.blocks * replication.replicates
    most = (plan.study.file.replication.max_blocks or replication.blocks) * replication.replicates
    if rate is None:
        return Forecast(arm, proposals, confirm, most, None, None, None, None)
    flops = arm.size.flops
    trial = rate.trial(flops, arm.steps)
    halved = rate.trial(flops, arm.steps * share_of_epochs(plan, arm))
    seconds = proposals * halved + confirm * trial
    return Forecast(arm, proposals, confirm, most, rate.step(flops), trial, seconds, (proposals + most) * trial)


def share_of_epochs(plan: StudyPlan, arm: PlannedArm) -> float:
    """Of a search's epochs, the share that successive halving expects to be trained.

    All trials reach the first rung, one in η the second, one in η² the third: Σ_k (r_{k+1} − r_k) η^{−k} / epochs.
    """
    search = plan.study.file.search
    epochs = arm.configuration.training.epochs
    reduction = search.asha.reduction if search and search.asha else 1
    ends = (0, *plan.rungs(arm), epochs)
    return sum((after - before) / reduction**k for k, (before, after) in enumerate(pairwise(ends))) / epochs


def title(plan: StudyPlan) -> str:
    """Arms × blocks × replicates, and the search, in a sentence."""
    file, arms = plan.study.file, len(plan.arms)
    blocks, replicates = file.replication.blocks, file.replication.replicates
    text = f"{plan.study.name}: {count(arms, 'arm')} × {count(blocks, 'block')} × {count(replicates, 'replicate')}"
    text += f" = {count(plan.confirm_trials, 'trial')}"
    if file.search is None:
        return text
    text += f", after a search of {count(file.search.trials, 'trial')} an arm ({file.search.sampler}"
    if file.search.asha:
        rungs = sorted({plan.rungs(arm) for arm in plan.arms})
        at = " or ".join(", ".join(map(str, one)) or "none" for one in rungs)
        text += f"; ASHA, rungs at epochs {at}"
    return f"{text}) = {count(plan.search_trials + plan.confirm_trials, 'trial')} in all"


def notes(plan: StudyPlan, found: list[Forecast]) -> list[str]:
    """What is to be known of the design beside its tables, a sentence each."""
    study, file = plan.study, plan.study.file
    lines = list(study.design_notes)
    left_out: dict[tuple[str, str], list[str]] = defaultdict(list)
    for arm in study.excluded:
        left_out[arm.where, arm.condition].append(arm.label)
    for (where, condition), labels in left_out.items():
        lines.append(f"{where} ({condition}) leaves out {count(len(labels), 'arm')}: {listed_labels(labels)}")
    lines += [f"one configuration, and so one arm: {one.label}" for one in plan.arms if len(one.arm.labels) > 1]
    lines += setting_notes(plan)
    lines += open_notes(plan)
    lines += fusion_notes(plan)
    for one in plan.arms:
        if abs(one.residual) > LOOSE:
            scalars = any((term.l, term.p) == (0, 1) for term in parse_irreps(one.natural))
            why = "widths are whole numbers" if scalars else "widths are whole numbers, and there is no 0e to close it"
            lines.append(f"{one.label} misses its size by {100 * one.residual:+.1f} %: {why}")
    if any(one.unreachable for one in plan.arms):
        lines.append("outputs that cannot be reached count as predicted zero")
    replication = file.replication
    if replication.allocate == "sequential":
        least, most = (sum(getattr(one, name) for one in found) for name in ("confirm", "most"))
        lines.append(
            f"blocks are added until the paired change is known to ±{replication.precision:g} %: {least:,} trials of "
            f"the confirm stage at least, {most:,} at most"
        )
        soonest = max(FIRST_LOOK, replication.blocks) + MORE
        if (replication.max_blocks or 0) <= soonest:
            lines.append(
                f"the width is looked at from {soonest - MORE} blocks on, and {MORE} more follow once it is small "
                f"enough: with max_blocks = {replication.max_blocks} all of them are run"
            )
    if plan.space and any(parameter.path.startswith(COUNTED) for parameter in plan.space):
        lines.append("the search changes the cost of a step: times are those of the arms' own settings")
    if file.search and file.search.define:
        lines.append(f"{file.search.define} proposes: times are those of the arms' own settings")
    total, longest = total_of(found, "seconds"), total_of(found, "longest")
    if total is not None and longest is not None and not isclose(total, longest):
        asha = file.search.asha if file.search else None
        expected = f": times expect ASHA to let one trial in {asha.reduction} pass each rung" if asha else ""
        lines.append(f"at most {hours(plan, longest):.3g} {unit(plan)} in all{expected}")
    return lines


def unit(plan: StudyPlan) -> str:
    """What its resources are counted in."""
    return "GPU-hours" if plan.study.file.resources.gpus else "core-hours"


def hours(plan: StudyPlan, seconds: float) -> float:
    """GPU-hours, or core-hours of trials without a GPU."""
    resources = plan.study.file.resources
    return seconds / 3600 * (resources.gpus or resources.cpus)


def total_of(found: list[Forecast], name: str) -> float | None:
    """Sum over the arms; None where no rate is known."""
    values = [getattr(one, name) for one in found]
    return None if None in values else sum(values)


def to_dict(plan: StudyPlan, found: list[Forecast], rate: Rate | None) -> dict[str, Any]:
    """All of it as JSON can hold it."""
    study, file = plan.study, plan.study.file
    total = total_of(found, "seconds")
    return {
        "study": study.name,
        "trials": plan.search_trials + plan.confirm_trials,
        "search_trials": plan.search_trials,
        "confirm_trials": plan.confirm_trials,
        "confirm_trials_most": sum(one.most for one in found),
        "baseline": plan.baseline.label,
        "blocks": file.replication.blocks,
        "replicates": file.replication.replicates,
        "allocate": file.replication.allocate,
        "search": asdict(file.search) if file.search else None,
        "objectives": plan.objectives,
        "match": asdict(file.match),
        "arms": [_arm(plan, one) for one in found],
        "excluded": [vars(arm) for arm in study.excluded],
        "notes": notes(plan, found),
        "rate": vars(rate) | {"source": rate.source} if rate else None,
        "seconds": total,
        "seconds_most": total_of(found, "longest"),
        unit(plan).lower().replace("-", "_"): None if total is None else hours(plan, total),
    }


def _arm(plan: StudyPlan, one: Forecast) -> dict[str, Any]:
    arm = one.arm
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
        "search_trials": one.search,
        "confirm_trials": one.confirm,
        "confirm_trials_most": one.most,
        "seconds_step": one.step,
        "seconds_trial": one.trial,
        "seconds": one.seconds,
        "seconds_most": one.longest,
        "configuration": arm.configuration.to_dict(),
    }
