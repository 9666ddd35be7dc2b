"""`tesseral schema`: the JSON Schema of a study file, a recipe or a mapping."""

import json
import sys
from typing import Annotated, Literal

import typer

from tesseral.cluster.commands.streams import printed


def schema(
    kind: Annotated[
        Literal["study", "recipe", "mapping"], typer.Argument(help="What the schema describes.", show_default=True)
    ] = "study",
) -> None:
    """Print the JSON Schema of a study file, so that editors complete keys and check values.

    A file names its schema in its first line, as Taplo and Even Better TOML read it. A recipe has a schema of its own
    (`tesseral schema recipe`), and so has a mapping (`tesseral schema mapping`).

    Example: `tesseral schema > study.schema.json`, then a study file beside it that begins with
    `#:schema study.schema.json`
    """
    from tesseral.study.json_schema import json_schema

    escaped = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    print(json.dumps(json_schema(kind), indent=1, ensure_ascii=escaped))
    printed()
