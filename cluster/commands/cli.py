"""The command line: `tesseral plan | reference | run | status | report | export | schema`."""

import json
from contextlib import nullcontext
from importlib.metadata import version
from typing import Annotated, Any

import typer

from tesseral.cluster.commands.display import StudyProgress, bar, console, counted, table
from tesseral.cluster.commands.exit_codes import explained, finish, resumable
from tesseral.cluster.commands.export import export
from tesseral.cluster.commands.options import (
    AsJson,
    ExecutorName,
    Preset,
    Storage,
    StudyName,
    StudyPath,
    records_name,
    told_of,
)
from tesseral.cluster.commands.reference import reference
from tesseral.cluster.commands.report import report
from tesseral.cluster.commands.schema import schema
from tesseral.study.configuration.trial import State
from tesseral.study.errors import StudyFileError
from tesseral.study.records.lease import LENGTH, driver
from tesseral.study.records.ledger import Ledger, frozen
from tesseral.study.records.store import Store
from tesseral.study.study import Study

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(reference, name="reference")


def _version(asked: bool) -> None:
    if asked:
        console.print(f"tesseral {version('tesseral')}")
        raise typer.Exit


@app.callback()
def _top(
    shown: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fair studies of E(3)-equivariant networks: which irreps earn their cost?

    Example: `tesseral reference make study/examples/water.toml`, then
    `tesseral run study/examples/quickstart.toml`, then `tesseral report quickstart`
    """


@app.command()
def plan(
    study_file: StudyPath,
    preset: Preset = None,
    storage: Storage = "runs",
    probe: Annotated[
        bool, typer.Option("--probe", help="Also run and time a training step of each arm; needs the data.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the arms of a study and what each costs and cannot reach, before anything is spent.

    It needs no data where data.recipe names the recipe.

    Example: `tesseral plan study/examples/quickstart.toml`
    """
    study = Study.load(study_file, preset)  # before the imports, which take seconds

    from tesseral.cluster.commands import plan_tables
    from tesseral.cluster.planning import forecast
    from tesseral.cluster.planning import plan as planning
    from tesseral.cluster.planning.cost import read_rate

    with told_of(study_file):
        ready = (planning.prepare if probe else planning.plan)(study, storage)
    rate = read_rate(ready.storage, study.file.resources)
    found = forecast.forecasts(ready, rate)
    if not as_json:
        plan_tables.show(ready, found, rate)
    measured = []
    if probe:
        from tesseral.cluster.planning.probe import measure_arms

        with nullcontext() if as_json else counted("arms") as progress:
            measured = measure_arms(ready, progress)
    if as_json:
        _print_json(forecast.to_dict(ready, found, rate) | {"probe": [vars(step) for step in measured]})
    elif probe:
        plan_tables.show_probe(ready, found, measured)


@app.command()
def run(
    study_file: StudyPath,
    preset: Preset = None,
    storage: Storage = "runs",
    executor: ExecutorName = "ray",
    lease: Annotated[float, typer.Option(min=1, help="Seconds of silence after which another may take over.")] = LENGTH,
    optuna_storage: Annotated[
        str | None,
        typer.Option(
            envvar="TESSERAL_OPTUNA_STORAGE",
            help="Mirror searches for optuna-dashboard, such as sqlite:///mirror.db or postgresql+psycopg://…",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run what is left of a study. The same command again resumes it, after any kill.

    Example: `tesseral run study/examples/quickstart.toml`
    """
    study = Study.load(study_file, preset)  # before the imports, which take seconds

    from tesseral.cluster.campaign.driver import run_study
    from tesseral.cluster.campaign.mirror import Mirror
    from tesseral.cluster.execution.executor import Executor, Inline
    from tesseral.cluster.planning.plan import prepare

    with told_of(study_file):
        ready = prepare(study, storage)
    mirror = Mirror(optuna_storage, study.name) if optuna_storage and study.file.search else None
    chosen: Executor = Inline()
    if executor == "ray":
        from tesseral.cluster.execution.ray_tune import RayTune

        chosen = RayTune()
    with resumable(), bar() as progress:
        shown = StudyProgress(progress, study.name)
        ended = run_study(ready, chosen, shown, lease, mirror)
    finish(ready.study.name, Store(ready.storage).child(study.name), ended, shown.reasons)


@app.command()
def status(study: StudyName, preset: Preset = None, storage: Storage = "runs", as_json: AsJson = False) -> None:
    """Show how far a study is, from its records; safe at any moment.

    Example: `tesseral status quickstart`
    """
    from tesseral.cluster.commands.status import standing

    name = records_name(study, preset)
    store = Store(storage).child(name)
    started = frozen(store)
    if started is None:
        known = ", ".join(path for path in Store(storage).folders() if frozen(Store(storage).child(path))) or "none"
        raise StudyFileError("", f"expected the name of a study started in {storage}, got {name!r}; there are: {known}")
    entries = Ledger(store).entries()
    stages = standing(store, started, entries)
    failed = [
        {"trial": entry.id, "arm": plan["arm"], "reason": entry.outcome.get("reason")}
        for entry in entries
        for plan in entry.plans
        if entry.outcome is not None and entry.state is State.FAILED
    ]
    shown = [state for state in State if any(counts[state] for arms in stages.values() for counts in arms.values())]
    if as_json:
        named = {
            stage: {arm: {state: counts[state] for state in shown} for arm, counts in arms.items()}
            for stage, arms in stages.items()
        }
        _print_json({"study": name, "arms": named["confirm"], **named, "failed": failed})
        return
    for stage, arms in stages.items():
        rows = [[arm, *(str(counts[state]) for state in shown)] for arm, counts in arms.items()]
        console.print(table(f"{name}: {stage}" if len(stages) > 1 else name, ["arm", *shown], rows))
    holder = driver(store)
    if holder:
        console.print(f"Driven by {holder}.", soft_wrap=True)
    elif any(not state.finished for state in shown):
        console.print("Nobody drives it now; `tesseral run` goes on with what is left.", soft_wrap=True)
    for failure in failed:
        console.print(
            f"failed {failure['trial'][:10]} ({failure['arm']}): {failure['reason']}", style="red", markup=False
        )


app.command()(report)
app.command()(export)
app.command()(schema)


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit code 2."""
    with explained():
        app()


def _print_json(tree: Any) -> None:
    print(json.dumps(tree, indent=2, default=str))


if __name__ == "__main__":
    main()
