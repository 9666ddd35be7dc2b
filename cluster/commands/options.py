"""Arguments and options that several commands take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.preset import preset_name
from tesseral.study.study import Study

Storage = Annotated[
    str,
    typer.Option(envvar="TESSERAL_STORAGE", help="Folder, or URL such as s3://bucket/prefix, of data and records."),
]
StudyPath = Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)]
StudyName = Annotated[str, typer.Argument(help="A study's name, or its study file.", show_default=False)]
Preset = Annotated[
    str | None,
    typer.Option(help="A version of the study, of its tables [presets.NAME], such as small.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ExecutorName = Annotated[
    Literal["ray", "inline"],
    typer.Option(help="`ray`: on all cores, or on the cluster that RAY_ADDRESS names; `inline`: in this process."),
]


@contextmanager
def told_of(file: Path) -> Iterator[None]:
    """Mistakes in a study that are found in planning name its file, as those do that are found in reading it."""
    try:
        yield
    except StudyFileError as error:
        raise StudyFileError(error.path, error.message, error.file or str(file)) from None


def records_name(study: str, preset: str | None) -> str:
    """The name of a study's records: that of its file, or the name itself, each with the preset's after it.

    :raises StudyFileError: if the file is not valid.
    """
    if study.endswith(".toml"):
        return Study.load(study, preset).name
    return study if preset is None else preset_name(study, preset)
