"""Arguments and options that several commands take, and how a shell completes them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tesseral.study.parsing.preset import preset_name
from tesseral.study.study import Study


def study_names(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of the studies in a local storage. On an object store, each press of Tab would be a request.

    :param context: holds `storage` if it was given before on the line.
    :param incomplete: what the user has typed so far.
    """
    storage = context.params.get("storage") or "runs"
    if "://" in storage:
        return []
    names = sorted(path.parent.name for path in Path(storage).glob("*/study.toml"))
    return [name for name in names if name.startswith(incomplete)]


Storage = Annotated[
    str,
    typer.Option(
        envvar="TESSERAL_STORAGE",
        help="Folder, or URL such as s3://bucket/prefix, of reference data and records.",
    ),
]
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="Study file.", show_default=False)]
StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY", help="Name of a study, or its study file.", show_default=False, autocompletion=study_names
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Preset of the study file, such as small: the table [presets.small].",
        show_default=False,
    ),
]
ShownIn = Annotated[
    str,
    typer.Option(
        "--units",
        metavar="UNIT,…",
        help="Units of errors, such as eV,meV/angstrom,debye, or atomic; by default those of [units] of the study "
        "file, else those that the data were imported in.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Address = Annotated[
    str,
    typer.Option(
        envvar="RAY_API_SERVER_ADDRESS",
        metavar="URL",
        help="Job server of a Ray cluster, such as http://head:8265. Its token is read from RAY_AUTH_TOKEN_PATH or "
        "RAY_AUTH_TOKEN.",
        show_default=False,
    ),
]
ExecutorName = Annotated[
    Literal["ray", "inline"],
    typer.Option(
        help="`ray` uses all cores, or the cluster that RAY_ADDRESS names; `inline` runs one after another in this "
        "process."
    ),
]


def records_name(study: str, preset: str | None) -> str:
    """The name of a study's records.

    :param study: a study's name, or the path of its file, which ends in `.toml`.
    :param preset: a preset, whose name is appended.
    :raises StudyFileError: if the file is not valid.
    """
    if study.endswith(".toml"):
        return Study.load(study, preset).name
    return study if preset is None else preset_name(study, preset)


def unit_names(text: str) -> list[str]:
    """The names of units in the option `--units`.

    :param text: names joined by commas; empty: none.
    """
    return [name.strip() for name in text.split(",") if name.strip()]
