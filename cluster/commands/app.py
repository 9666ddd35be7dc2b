"""The command line: all commands of `tesseral`, joined.

Commands validate what they were given before they import torch, Ray or Polars, which take seconds.
"""

import json
from contextlib import nullcontext
from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.core
from pydantic import ValidationError

from tesseral.cluster.commands.compare import compare
from tesseral.cluster.commands.display import StudyProgress, bar, console, counted
from tesseral.cluster.commands.drop import drop
from tesseral.cluster.commands.exit_codes import finish, naming, resumable
from tesseral.cluster.commands.export import export
from tesseral.cluster.commands.options import AsJson, ExecutorName, Preset, Storage, StudyPath
from tesseral.cluster.commands.predict import predict
from tesseral.cluster.commands.reference import reference
from tesseral.cluster.commands.report import report
from tesseral.cluster.commands.retry import retry
from tesseral.cluster.commands.schema import schema
from tesseral.cluster.commands.status import status
from tesseral.cluster.commands.stop import stop
from tesseral.cluster.commands.streams import printed
from tesseral.cluster.commands.submit import submit
from tesseral.cluster.commands.table import table
from tesseral.cluster.commands.watch import watch
from tesseral.study.parsing.validation import wrong_value
from tesseral.study.records.lease import LENGTH
from tesseral.study.study import Study


class _Commands(typer.core.TyperGroup):
    """Commands whose options are refused in the words of a study file."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = wrong_value(error.__cause__.errors(include_url=False))
            raise


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def _version(shown: bool) -> None:
    if shown:
        console.print(f"tesseral {version('tesseral')}")
        raise typer.Exit


@app.callback()
def _top(
    shown: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fair studies of E(3)-equivariant networks: which irreps earn their cost?

    Example, from nothing to a report:

    `tesseral reference make study/examples/water.toml`

    `tesseral run study/examples/quickstart.toml`

    `tesseral report quickstart`

    Exit codes: 0 complete; 1 some trials failed or are left, or the storage or Ray failed; 2 a mistake in what was
    given; 3 another driver holds the study; 130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP.
    """


@app.command()
def plan(
    study_file: StudyPath,
    preset: Preset = None,
    storage: Storage = "runs",
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Also time one training step of each arm. Needs the reference data. Unrelated to traces.probe, the "
            "structures on which features are measured.",
        ),
    ] = False,
    probe_rate: Annotated[
        bool,
        typer.Option(
            "--probe-rate",
            help="Also scan the learning rate: train each arm for a quarter of its epochs at the study's rate and at a "
            "third and three times of it, and record in the storage which is best. Needs the reference data.",
        ),
    ] = False,
    spread: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="PERCENT",
            help="Standard deviation of a change between blocks, from which the precision to expect follows. By "
            "default that of an earlier study of the same metric and data in the storage.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a study's arms: their sizes, what each costs, and what it cannot reach. No trial is trained.

    Needs no reference data if `data.recipe` names the recipe that makes it.

    Example: `tesseral plan study/examples/quickstart.toml`
    """
    study = Study.load(study_file, preset)

    from tesseral.cluster.commands import plan_tables
    from tesseral.cluster.planning import forecast
    from tesseral.cluster.planning import plan as planning
    from tesseral.cluster.planning.cost import read_rate
    from tesseral.cluster.planning.precision import expected_precision

    with naming(study_file):
        ready = (planning.prepare if probe or probe_rate else planning.plan)(study, storage)
    rate = read_rate(ready.storage, study.file.resources)
    forecasts = forecast.forecasts(ready, rate)
    precision = expected_precision(ready, spread)
    if not as_json:
        plan_tables.show(ready, forecasts, rate, precision)
    measured = []
    if probe:
        from tesseral.cluster.planning.cost import measure_steps

        with nullcontext() if as_json else counted("arms") as progress:
            measured = measure_steps(ready, progress)
        if not as_json:
            plan_tables.show_probe(forecasts, measured)
    scan = None
    if probe_rate:
        from tesseral.cluster.planning.rate_scan import scan_rates
        from tesseral.study.records.rate_scan import write_scan
        from tesseral.study.records.store import Store

        with naming(study_file), nullcontext() if as_json else counted("short trainings") as progress:
            scan = scan_rates(ready, on_progress=progress)
        write_scan(Store(ready.storage).child(ready.study.name), scan)
        if not as_json:
            plan_tables.show_scan(scan)
    if as_json:
        tree = forecast.to_dict(ready, forecasts, rate) | {"probe": [vars(step) for step in measured]}
        tree["precision"] = precision and precision.to_dict()
        tree["learning_rates"] = scan and scan.to_dict()
        print(json.dumps(tree, indent=2, default=str))
    printed()


@app.command()
def run(
    study_file: StudyPath,
    preset: Preset = None,
    storage: Storage = "runs",
    executor: ExecutorName = "ray",
    lease: Annotated[
        float, typer.Option(min=1, help="Seconds of silence after which another driver may take the study over.")
    ] = LENGTH,
    optuna_storage: Annotated[
        str | None,
        typer.Option(
            envvar="TESSERAL_OPTUNA_STORAGE",
            help="Optuna storage in which optuna-dashboard shows the searches, such as sqlite:///mirror.db or "
            "postgresql+psycopg://…",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run what is left of a study. The same command again resumes it, after any kill.

    Example: `tesseral run study/examples/quickstart.toml`
    """
    study = Study.load(study_file, preset)

    from tesseral.cluster.campaign import driver

    with resumable(), naming(study_file), bar() as progress:
        shown = StudyProgress(progress, study.name)
        ended = driver.run(study, storage, executor, display=shown, lease=lease, optuna_storage=optuna_storage)
    finish(study.name, ended)


app.command()(submit)
app.command()(stop)
app.command()(status)
app.command()(watch)
app.command()(retry)
app.command()(drop)
app.command()(report)
app.command()(table)
app.command()(compare)
app.command()(predict)
app.command()(export)
app.command()(schema)
app.add_typer(reference, name="reference")
