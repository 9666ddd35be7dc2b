"""`tesseral stop`: the job of a study ends, and its trials keep their state."""

from typing import Annotated

import typer

from tesseral.cluster.commands.display import console
from tesseral.cluster.commands.options import Address, Preset, StudyName, records_name
from tesseral.study.errors import TesseralError
from tesseral.study.wording import listed


def stop(
    study: StudyName,
    address: Address,
    preset: Preset = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Only the job that writes to this storage, where several studies of the name run."),
    ] = None,
) -> None:
    """Stop the job of a study on a Ray cluster. Its trials keep their state; `tesseral submit` continues it.

    Example: `tesseral stop quickstart --address http://head:8265`
    """
    name = records_name(study, preset)

    from tesseral.cluster.submission.jobs import Jobs

    jobs = Jobs(address)
    live = [job for job in jobs.of(name, storage) if job.live]
    if not live:
        raise TesseralError(f"expected a study whose job runs on {jobs.address}, got {name!r}, of which none runs")
    if len(live) > 1:
        places = listed([job.storage for job in live])
        raise TesseralError(f"--storage: expected one of {places}, because {name!r} runs in each; got none")
    ended = jobs.stop(live[0].id)
    console.print(f"{ended.id} has ended: {ended.state.lower()}. tesseral submit continues it.", soft_wrap=True)
