"""The tables of `tesseral plan`: several small ones, for a terminal is 80 characters wide."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tesseral.cluster.commands.display import console, table
from tesseral.cluster.planning.cost import Rate
from tesseral.cluster.planning.forecast import Forecast, hours, notes, title, total_of, unit
from tesseral.cluster.planning.plan import StudyPlan

if TYPE_CHECKING:  # it imports torch
    from tesseral.models.training.timed_step import Step

IRREPS_WIDTH = 48
"""Characters of hidden irreps on a line."""


def show(plan: StudyPlan, found: Sequence[Forecast], rate: Rate | None) -> None:
    """Print the networks, what they do not reach, what they cost, and what is to be known besides."""
    console.print(title(plan), style="bold", markup=False)
    console.print()
    shown = [_networks(plan), _sizes(plan), _costs(plan, found)]
    if any(arm.network.unreachable or arm.network.dead for arm in plan.arms):
        shown.insert(2, _reach(plan))
    for each in shown:
        console.print(each)
        console.print()
    if rate is not None:
        remarks = [f"rate: {rate.source}"]
    else:
        remarks = [
            "no rate of a GPU is recorded in this storage, so no time is estimated; the first trials record one, and "
            "--probe measures a step of each arm"
        ]
    for line in (*notes(plan, list(found)), *remarks):
        console.print(f"- {line}", markup=False)


def show_probe(plan: StudyPlan, found: Sequence[Forecast], measured: Sequence["Step"]) -> None:
    """Print the steps that were measured beside what was estimated."""
    rows = [
        [
            one.arm.label,
            "–" if one.step is None else duration(one.step),
            duration(step.seconds),
            "–" if step.peak_memory is None else f"{scaled(step.peak_memory)}B",
        ]
        for one, step in zip(found, measured, strict=True)
    ]
    console.print()
    console.print(table("", ["arm", "estimated step", "measured step", "peak memory"], rows))
    console.print()
    console.print(f"- measured on {measured[0].device}, without the evaluations and records that an estimate holds")


def _networks(plan: StudyPlan) -> Table:
    rows = [[arm.label, _hidden(arm.network.natural, arm.network.hidden)] for arm in plan.arms]
    return table("", ["arm", "hidden irreps"], rows)


def _sizes(plan: StudyPlan) -> Table:
    sizes = [arm.network.size for arm in plan.arms]
    live = any(size.parameters != size.parameters_live for size in sizes)
    matched = any(arm.target is not None for arm in plan.arms)
    columns = ["arm", "parameters", "live", "components", "FLOPs", "residual %"]
    rows = [
        [
            arm.label,
            f"{size.parameters:,}",
            f"{size.parameters_live:,}",
            f"{size.components:,}",
            scaled(size.flops),
            "–" if arm.target is None else f"{100 * arm.network.residual:+.2f}",
        ]
        for arm, size in zip(plan.arms, sizes, strict=True)
    ]
    return table("", *_kept(columns, rows, [True, True, live, True, True, matched]))


def _reach(plan: StudyPlan) -> Table:
    rows = [
        [arm.label, ", ".join(arm.network.unreachable) or "nothing", arm.network.told_dead or "none"]
        for arm in plan.arms
    ]
    return table("", ["arm", "cannot reach", "dead hidden irreps"], rows)


def _costs(plan: StudyPlan, found: Sequence[Forecast]) -> Table:
    search, known = plan.study.file.search is not None, found[0].step is not None
    grows = any(one.most > one.confirm for one in found)
    columns = ["arm", "steps", "search", "confirm", "a step", "a trial", "its trials", unit(plan)]
    kept = [True, True, search, True, known, known, known, known]
    rows = [
        [
            one.arm.label,
            f"{one.arm.steps:,}",
            f"{one.search:,}",
            f"{one.confirm:,} to {one.most:,}" if grows else f"{one.confirm:,}",
            *_times(plan, one),
        ]
        for one in found
    ]
    total = total_of(list(found), "seconds")
    if total is not None:
        confirm = sum(one.confirm for one in found)
        all_confirm = f"{confirm:,} to {sum(one.most for one in found):,}" if grows else f"{confirm:,}"
        sums = [f"{plan.search_trials:,}", all_confirm, "", "", duration(total), amount(hours(plan, total))]
        rows.append(["in all, one after another", "", *sums])
    return table("", *_kept(columns, rows, kept))


def _times(plan: StudyPlan, one: Forecast) -> list[str]:
    if one.step is None or one.trial is None or one.seconds is None:
        return [""] * 4
    return [duration(one.step), duration(one.trial), duration(one.seconds), amount(hours(plan, one.seconds))]


def _kept(columns: list[str], rows: list[list[str]], kept: Sequence[bool]) -> tuple[list[str], list[list[str]]]:
    def of(row: list[str]) -> list[str]:
        return [cell for cell, keep in zip(row, kept, strict=True) if keep]

    return of(columns), [of(row) for row in rows]


def _hidden(natural: str, matched: str) -> str:
    if natural == matched:
        return _broken(natural)
    return f"{_broken(natural)}\n→ {_broken(matched, indent='  ')}"


def _broken(irreps: str, indent: str = "") -> str:
    """On lines of at most `IRREPS_WIDTH`, broken after a plus."""
    lines = [""]
    for term in irreps.replace("+", "+ ").split():
        if lines[-1] and len(lines[-1]) + len(term) > IRREPS_WIDTH - len(indent):
            lines.append("")
        lines[-1] += term
    return f"\n{indent}".join(lines)


def scaled(number: float) -> str:
    """Three digits and k, M, G, T or P, such as `12.4M`."""
    for suffix in ("", "k", "M", "G", "T"):
        if number < 999.5:
            return f"{number:.3g}{suffix}"
        number /= 1000
    return f"{number:.3g}P"


def duration(seconds: float) -> str:
    """Such as `4.2 ms`, `75 s`, `12 min`, `3.4 h`, `12 days`."""
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {name}" if seconds >= 10 * size else f"{seconds / size:.1f} {name}"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def amount(value: float) -> str:
    """Two digits after the point at most, and more of what is less than 0.1."""
    return f"{value:.2g}" if value < 0.1 else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
