"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Storage = Annotated[
    str,
    typer.Option(envvar="TESSERAL_STORAGE", help="Folder, or URL such as s3://bucket/prefix, of data and records."),
]
StudyPath = Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)]
StudyName = Annotated[str, typer.Argument(help="A study's name, or its study file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ExecutorName = Annotated[
    Literal["ray", "inline"],
    typer.Option(help="`ray`: on all cores, or on the cluster that RAY_ADDRESS names; `inline`: in this process."),
]
