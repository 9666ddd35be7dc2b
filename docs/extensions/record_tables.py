"""`{record-table}`: the columns of an Arrow schema of `tesseral.study.records.schemas`, with type, unit and meaning.

    ```{record-table} TRIALS
    ```

The name of a dictionary there, such as `STATISTICS`, gives a table of its keys and meanings.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pyarrow as pa
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SCHEMAS = "tesseral.study.records.schemas"
TODAY = {
    "see tesseral.models.metrics": "see [density metrics](../numbers/density_metrics.md)",
    "see ABLATION_METRICS": "by `l2_error` for the density and by `relative_error` for other targets",
}
"""Words of stored descriptions, whose bytes stay → what readers are told instead."""


class RecordTable(SphinxDirective):
    """One table of the records."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the generated table where the directive stands."""
        schemas = import_module(SCHEMAS)
        self.env.note_dependency(schemas.__file__)
        declared = getattr(schemas, self.arguments[0])
        made = _schema(declared) if isinstance(declared, pa.Schema) else _meanings(declared)
        return self.parse_text_to_nodes("\n".join(made))


def _schema(schema: pa.Schema) -> Iterator[str]:
    yield from ("| column | type | meaning and unit |", "|---|---|---|")
    for column in schema:
        description = column.metadata[b"description"].decode()
        if column.name == "statistic":  # their meanings are a table of their own
            description = "name of the statistic, see the table of statistics"
        yield f"| `{column.name}` | {_type(column.type)} | {_cell(description)} |"


def _meanings(meanings: dict[str, str]) -> Iterator[str]:
    yield from ("| name | meaning |", "|---|---|")
    for name, text in meanings.items():
        yield f"| `{name}` | {_cell(text)} |"


def _cell(text: str) -> str:
    for stored, said in TODAY.items():
        text = text.replace(stored, said)
    return text.replace("|", r"\|").replace("<", r"\<").replace("*", r"\*")


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        size = f" of {kind.list_size}" if pa.types.is_fixed_size_list(kind) else ""
        return f"list{size}: {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "struct: " + ", ".join(f"`{field.name}` {_type(field.type)}" for field in kind)
    return "timestamp, µs, UTC" if pa.types.is_timestamp(kind) else str(kind)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("record-table", RecordTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
