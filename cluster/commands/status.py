"""`tesseral status`: how far a study is, by stage, arm and state."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tesseral.cluster.commands.display import console, table
from tesseral.cluster.commands.options import AsJson, Preset, Storage, StudyName, records_name
from tesseral.cluster.commands.streams import printed
from tesseral.study.configuration.trial import Cause, State
from tesseral.study.records.lease import driver
from tesseral.study.records.store import Store
from tesseral.study.wording import failure, failures, listed

if TYPE_CHECKING:
    from tesseral.cluster.submission.jobs import JobStatus


def status(
    study: StudyName,
    preset: Preset = None,
    storage: Storage = "runs",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Also ask this job server, such as http://head:8265, for the study's job.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a study is, from its records. Safe at any moment, also while the study runs.

    Example: `tesseral status quickstart`
    """
    name = records_name(study, preset)
    job, elsewhere = (None, []) if address is None else _job(address, name, storage)

    from tesseral.analysis.statistics.progress import state_counts
    from tesseral.analysis.tables.open import open_trials

    tables = open_trials(storage, name)
    stages = state_counts(tables)
    failed = tables.trials.filter(tables.trials["state"] == State.FAILED.value).select(
        "trial", "arm", "cause", "reason"
    )
    shown = [state for state in State if any(counts[state] for arms in stages.values() for counts in arms.values())]
    holder = driver(Store(storage).child(name))
    # Without a driver nothing runs: what has begun and not ended was interrupted.
    words = {state: "interrupted" if state is State.RUNNING and holder is None else state.value for state in State}
    if as_json:
        tree = {
            stage: {arm: {words[state]: counts[state] for state in shown} for arm, counts in arms.items()}
            for stage, arms in stages.items()
        }
        told: dict[str, Any] = {"study": name, "driver": holder and str(holder), "arms": tree["confirm"], **tree}
        told["failed"] = failed.to_dicts()
        print(json.dumps(told | ({} if address is None else {"job": job and asdict(job)}), indent=2))
        printed()
        return
    for stage, arms in stages.items():
        others = [state for state in shown if state is not State.COMPLETE]
        rows = [
            [arm, f"{counts[State.COMPLETE]} of {counts.total()}", *(str(counts[state]) for state in others)]
            for arm, counts in arms.items()
        ]
        heads = ["arm", State.COMPLETE, *(words[state] for state in others)]
        console.print(table(f"{name}: {stage}" if len(stages) > 1 else name, heads, rows))
    if address is not None:
        known = f"The cluster at {address} knows no job of it in {storage}"
        known += f", but in {listed(elsewhere)}." if elsewhere else "."
        said = f"{job.id} is {job.state.lower()}." if job else known
        console.print(said, soft_wrap=True)
    if holder is not None:
        console.print(f"Driven by {holder}.", soft_wrap=True)
    elif any(not state.finished for state in shown):
        console.print("No driver runs it now; `tesseral run` continues it.", soft_wrap=True)
    for trial, arm, cause, reason in failed.iter_rows():
        console.print(f"{trial[:10]} ({arm}) {failure(cause)}: {reason}", style="red", soft_wrap=True)
    if {*failed["cause"]} - {Cause.REFUSED}:
        console.print(f"{failures(failed['cause'])}; tesseral retry {name} makes them due again.", soft_wrap=True)
    printed()


def _job(address: str, study: str, storage: str) -> "tuple[JobStatus | None, list[str]]":
    """The last job of the study in this storage that the cluster remembers; and without one, where it knows others."""
    from tesseral.cluster.submission.jobs import Jobs

    jobs = Jobs(address)
    if own := jobs.of(study, storage):
        return own[-1], []
    return None, sorted({job.storage for job in jobs.of(study)})
