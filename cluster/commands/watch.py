"""`tesseral watch`: a study while it runs, live in the terminal, from its records alone."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from tesseral.cluster.commands.display import console, table
from tesseral.cluster.commands.options import AsJson, Preset, ShownIn, Storage, StudyName, records_name, unit_names
from tesseral.cluster.commands.signals import raised
from tesseral.cluster.commands.streams import printed
from tesseral.study.configuration.trial import State
from tesseral.study.wording import count, duration, failure, printable

if TYPE_CHECKING:  # it imports Polars
    from tesseral.analysis.statistics.live import Now

SHARE = 4.0
"""Times as long as one reading of the records takes is waited before the next, at least: large studies are read less
often."""
FAILURES = 5
"""Failures that are shown, the last ones."""
RUNNING = 20
"""Running trials that are shown, the furthest ones."""


def watch(
    study: StudyName,
    preset: Preset = None,
    units: ShownIn = "",
    storage: Storage = "runs",
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two readings, at least.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the present state and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a study while it runs: trials by arm, what runs where, failures, and the time left. Ctrl-C ends it.

    It reads the records, so it works beside a run at home as on a laptop while a cluster works. It ends with the study.

    Example: `tesseral watch quickstart --storage s3://bucket/studies`
    """
    name = records_name(study, preset)

    from tesseral.analysis.statistics.live import LiveStudy

    live = LiveStudy(storage, name, unit_names(units))
    if as_json or once or not console.is_terminal:
        now = live.now()
        if as_json:
            print(json.dumps(now.to_dict(), indent=2))
        else:
            console.print(shown(now))
        printed()
        return
    with raised(), Live(console=console, auto_refresh=False, screen=False) as screen:
        while True:
            began = time.monotonic()
            now = live.now()
            screen.update(shown(now), refresh=True)
            if now.ended == now.due:
                return
            time.sleep(max(every, SHARE * (time.monotonic() - began)))


def shown(now: "Now") -> RenderableType:
    """A study as tables and sentences.

    :param now: how it stands.
    """
    parts: list[RenderableType] = [Text(summary(now), style="bold"), _arms(now)]
    if now.running:
        parts += [Text(""), _running(now)]
    parts += [
        Text(printable(f"{each['trial'][:10]} ({each['arm']}) {failure(each['cause'])}: {each['reason']}"), style="red")
        for each in now.failures[-FAILURES:]
    ]
    if now.driver:
        parts.append(Text(f"Driven by {now.driver}."))
    elif now.ended < now.due:
        parts.append(Text("No driver runs it now; tesseral run continues it."))
    return Group(*parts)


def summary(now: "Now") -> str:
    """How far a study is, in one line.

    :param now: how it stands.
    """
    words = [f"{now.study}: {now.ended:,} of {count(now.due, 'trial')} ended"]
    words += [f"{len(now.failures):,} failed"] if now.failures else []
    words += [f"{len(now.running):,} running"] if now.driver and now.running else []
    words += [f"{now.rate:.3g} an hour"] if now.driver and now.rate else []
    words += [f"about {duration(now.left)} left"] if now.left else []
    return ", ".join(words)


def _arms(now: "Now") -> RenderableType:
    several = len({arm.stage for arm in now.arms}) > 1
    states = [state for state in State if any(arm.states.get(state) for arm in now.arms)]
    others = [state for state in states if state not in (State.COMPLETE, State.PLANNED)]
    # A heading names the unit that all have; else each error does.
    shared = {arm.unit for arm in now.arms}
    unit = shared.pop() if len(shared) == 1 else ""
    lowest = f"lowest error, {unit}" if unit else "lowest error"
    columns = ["arm", *(["stage"] if several else []), State.COMPLETE, *others, lowest]
    rows = [
        [
            arm.arm,
            *([arm.stage] if several else []),
            f"{arm.states.get(State.COMPLETE, 0)} of {arm.due}",
            *(str(arm.states.get(state, 0)) for state in others),
            "" if arm.best is None else f"{arm.best:.3g}{'' if unit or not arm.unit else f' {arm.unit}'}",
        ]
        for arm in now.arms
    ]
    return table("", columns, rows)


def _running(now: "Now") -> RenderableType:
    trials = sorted(now.running, key=lambda trial: -trial.done)
    rows = [
        [
            trial.arm,
            trial.trial[:10],
            f"{trial.epoch:,} of {trial.epochs:,}",
            "" if trial.loss is None else f"{trial.loss:.3g}",
            trial.place,
            trial.device,
        ]
        for trial in trials[:RUNNING]
    ]
    title = f"the {RUNNING} furthest of {len(trials)}" if len(trials) > RUNNING else ""
    return table(title, ["arm", "trial", "epoch", "loss", "node", "device"], rows)
