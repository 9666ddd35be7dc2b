"""The tables that `tesseral plan` prints: several small ones, because a terminal is 80 characters wide."""

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from rich.table import Table

from tesseral.cluster.commands.display import console, table
from tesseral.cluster.planning.cost import Rate
from tesseral.cluster.planning.forecast import Forecast, hours, notes, title, total_of, unit
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.cluster.planning.precision import Precision, precision_sentences
from tesseral.study.records.rate_scan import RateScan, scan_sentences
from tesseral.study.wording import amount, duration, scaled

if TYPE_CHECKING:  # it imports torch
    from tesseral.models.training.timed_step import Step

IRREPS_WIDTH = 48
"""Longest line of hidden irreps, in characters."""


def show(plan: StudyPlan, forecasts: Sequence[Forecast], rate: Rate | None, precision: Precision | None) -> None:
    """Print the networks, their sizes, what they cannot reach, what they cost, and notes.

    :param plan: the study's.
    :param forecasts: of its arms, in their order.
    :param rate: the speed from which times are estimated; None if the storage has none recorded.
    :param precision: to expect; None if it is not known.
    """
    console.print(title(plan), style="bold")
    console.print()
    tables = [_networks(plan), _sizes(plan), _costs(plan, forecasts)]
    if any(arm.unreachable or arm.dead for arm in plan.arms):
        tables.insert(2, _reach(plan))
    for each in tables:
        console.print(each)
        console.print()
    if rate is not None:
        remarks = [f"times are estimated from {rate.source}"]
    else:
        remarks = [
            "no time is estimated, because this storage has no recorded rate of a GPU; the first trials record one, "
            "and --probe measures a step of each arm"
        ]
    told = precision_sentences(precision) if precision else []
    for line in (*_legend(plan), *notes(plan, list(forecasts)), *told, *remarks):
        console.print(f"- {line}")


def show_probe(forecasts: Sequence[Forecast], measured: Sequence["Step"]) -> None:
    """Print the measured steps beside the estimated ones.

    :param forecasts: of its arms, in their order.
    :param measured: the steps of the same arms.
    """
    rows = [
        [
            forecast.arm.label,
            "–" if forecast.step is None else duration(forecast.step),
            duration(step.seconds),
            "–" if step.peak_memory is None else f"{scaled(step.peak_memory)}B",
        ]
        for forecast, step in zip(forecasts, measured, strict=True)
    ]
    console.print()
    console.print(table("", ["arm", "estimated step", "measured step", "peak memory"], rows))
    console.print()
    console.print(f"- measured on {measured[0].device}; unlike the estimates, without evaluations and records")


def show_scan(scan: RateScan) -> None:
    """Print the validation errors of a scan by learning rate, an arm a row, and what it says.

    :param scan: of the study.
    """
    rates = sorted({rate for arm in scan.arms for rate in arm.rates})
    rows = []
    for arm in scan.arms:
        errors = dict(zip(arm.rates, arm.errors, strict=True))
        cells = ["" if rate not in errors else _error(errors[rate]) for rate in rates]
        best = "–" if arm.best is None else f"{arm.best:.2g}{'*' if arm.at_edge else ''}"
        loss = "–" if arm.loss == inf else f"{100 * arm.loss:.1f}"
        rows.append([arm.arm, *cells, best, f"{arm.rate:.2g}", loss])
    columns = ["arm", *(f"{rate:.2g}" for rate in rates), "best\nrate", "study's\nrate", "above\nbest, %"]
    console.print()
    console.print(table(f"{scan.metric} on the validation split, by learning rate", columns, rows))
    console.print()
    for line in scan_sentences(scan):
        console.print(f"- {line}")
    if any(arm.at_edge for arm in scan.arms):
        console.print("- *: the lowest or highest rate that was tried")


def _error(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.3g}"


def _networks(plan: StudyPlan) -> Table:
    rows = [[arm.label, _described(arm)] for arm in plan.arms]
    return table("", ["arm", "hidden irreps"], rows)


def _legend(plan: StudyPlan) -> list[str]:
    """What signs and words of the tables mean, a sentence for each that is there."""
    lines = []
    if any(arm.natural != arm.hidden for arm in plan.arms):
        lines.append("→: the hidden irreps after matching, with which the arm is trained")
    if _some_idle(plan):
        lines.append("live: parameters that a gradient reaches; the others stay as they were initialised")
    lines.append("FLOPs: those of matrix products alone, of a training step")
    if _matched(plan):
        lines.append("residual %: by how much the arm's size differs from the size that it is matched to")
    return lines


def _some_idle(plan: StudyPlan) -> bool:
    return any(arm.size.parameters != arm.size.parameters_live for arm in plan.arms)


def _matched(plan: StudyPlan) -> bool:
    return any(arm.target is not None for arm in plan.arms)


def _sizes(plan: StudyPlan) -> Table:
    columns = ["arm", "parameters", "live", "components", "FLOPs\nper step", "residual %"]
    rows = [
        [
            arm.label,
            f"{arm.size.parameters:,}",
            f"{arm.size.parameters_live:,}",
            f"{arm.size.components:,}",
            scaled(arm.size.flops),
            "–" if arm.target is None else f"{100 * arm.residual:+.2f}",
        ]
        for arm in plan.arms
    ]
    return table("", *_kept(columns, rows, [True, True, _some_idle(plan), True, True, _matched(plan)]))


def _reach(plan: StudyPlan) -> Table:
    rows = [[arm.label, ", ".join(arm.unreachable) or "none", arm.dead_by_layer or "none"] for arm in plan.arms]
    return table("", ["arm", "unreachable outputs", "dead hidden irreps"], rows)


def _costs(plan: StudyPlan, forecasts: Sequence[Forecast]) -> Table:
    search, known = plan.study.file.search is not None, forecasts[0].step is not None
    grows = any(forecast.most > forecast.confirm for forecast in forecasts)
    confirm_head = "confirm\ntrials" if search else "trials"
    times = ["time a\nstep", "time a\ntrial", "time of\nall"]
    columns = ["arm", "steps a\ntrial", "search\ntrials", confirm_head, *times, unit(plan).replace("-", "-\n")]
    kept = [True, True, search, True, known, known, known, known]
    rows = [
        [
            forecast.arm.label,
            f"{forecast.arm.steps:,}",
            f"{forecast.search:,}",
            f"{forecast.confirm:,} to {forecast.most:,}" if grows else f"{forecast.confirm:,}",
            *_times(plan, forecast),
        ]
        for forecast in forecasts
    ]
    total = total_of(list(forecasts), "seconds")
    if total is not None:
        confirm = sum(forecast.confirm for forecast in forecasts)
        all_confirm = f"{confirm:,} to {sum(forecast.most for forecast in forecasts):,}" if grows else f"{confirm:,}"
        sums = [f"{plan.search_trials:,}", all_confirm, "", "", duration(total), amount(hours(plan, total))]
        rows.append(["total, one after another", "", *sums])
    return table("", *_kept(columns, rows, kept))


def _times(plan: StudyPlan, forecast: Forecast) -> list[str]:
    if forecast.step is None or forecast.trial is None or forecast.seconds is None:
        return [""] * 4
    return [
        duration(forecast.step),
        duration(forecast.trial),
        duration(forecast.seconds),
        amount(hours(plan, forecast.seconds)),
    ]


def _kept(columns: list[str], rows: list[list[str]], kept: Sequence[bool]) -> tuple[list[str], list[list[str]]]:
    def kept_of(row: list[str]) -> list[str]:
        return [cell for cell, keep in zip(row, kept, strict=True) if keep]

    return kept_of(columns), [kept_of(row) for row in rows]


def _described(arm: PlannedArm) -> str:
    """The hidden irreps of an arm; of a user's own network its name, with the irreps that the study file gives it."""
    network = arm.configuration.network
    if network.define is None:
        return _hidden(arm.natural, arm.hidden)
    given = f", given {_hidden(arm.natural, arm.hidden)}" if network.hidden.irreps else ""
    return f"of {network.define}{given}"


def _hidden(natural: str, matched: str) -> str:
    if natural == matched:
        return _broken(natural)
    return f"{_broken(natural)}\n→ {_broken(matched, indent='  ')}"


def _broken(irreps: str, indent: str = "") -> str:
    """Break irreps after a plus into lines of at most `IRREPS_WIDTH` characters."""
    lines = [""]
    for term in irreps.replace("+", "+ ").split():
        if lines[-1] and len(lines[-1]) + len(term) > IRREPS_WIDTH - len(indent):
            lines.append("")
        lines[-1] += term
    return f"\n{indent}".join(lines)
