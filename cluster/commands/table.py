"""`tesseral table`: arms, trials or comparisons of a study, for a paper or another program."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tesseral.cluster.commands.display import console, show_results
from tesseral.cluster.commands.options import Preset, ShownIn, Storage, StudyName, records_name, unit_names
from tesseral.cluster.commands.report import Baseline
from tesseral.cluster.commands.streams import printed
from tesseral.study.errors import DataError

if TYPE_CHECKING:  # Polars takes a second
    from tesseral.analysis.report.result_frames import Kind
    from tesseral.analysis.statistics.results import Results

KINDS = ("arms", "trials", "comparisons")
FORMATS = ("csv", "parquet", "latex", "markdown")
ENDINGS = {".csv": "csv", ".parquet": "parquet", ".tex": "latex", ".md": "markdown"}
"""Ending of a file → its format, where no other is asked for."""


def table(
    study: StudyName,
    kind: Annotated[str, typer.Argument(metavar="[arms|trials|comparisons]", help="Which table.")] = "arms",
    csv: Annotated[bool, typer.Option("--csv", help="Numbers, as comma-separated values.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Numbers, as Parquet; needs --output.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Text, as a LaTeX tabular with booktabs.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Text, as a Markdown table.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write instead of printing.", show_default=False)
    ] = None,
    preset: Preset = None,
    baseline: Baseline = None,
    units: ShownIn = "",
    storage: Storage = "runs",
) -> None:
    """Print the arms, trials or comparisons of a study as a table. Safe at any moment, also while the study runs.

    CSV and Parquet hold numbers with the bounds of both intervals in columns of their own, LaTeX and Markdown what the
    report shows. Without a format, the ending of the file decides: .csv, .parquet, .tex or .md.

    Example: `tesseral table quickstart -o arms.tex`

    Example: `tesseral table quickstart trials --csv`
    """
    chosen = [name for name, given in zip(FORMATS, (csv, parquet, latex, markdown), strict=True) if given]
    if kind not in KINDS:
        raise DataError(f"expected one of {', '.join(KINDS)}, got {kind!r}")
    if len(chosen) > 1:
        raise DataError(f"expected one format, got --{' and --'.join(chosen)}")
    if not chosen and output is not None:
        if output.suffix not in ENDINGS:
            raise DataError(f"expected a file that ends in {', '.join(ENDINGS)}, or a format, got {output}")
        chosen = [ENDINGS[output.suffix]]
    if parquet and output is None:
        raise DataError("expected a file to write with --parquet, --output, got none")

    from tesseral.analysis.statistics.results import analyse
    from tesseral.analysis.tables.open import read_study

    in_units = partial(analyse, units=unit_names(units))
    results = read_study(storage, records_name(study, preset), in_units, baseline)
    shape = cast("Kind", kind)  # one of KINDS
    if chosen:
        content = _content(results, shape, chosen[0])
        if not content:
            raise DataError(f"expected {kind} to write, {results.study.name} has none")
        _write(content, output)
    else:
        _show(results, shape)
    printed()


def _content(results: "Results", kind: "Kind", form: str) -> bytes:
    """The table in a format; empty where it has no row."""
    import io

    from tesseral.analysis.report.arm_table import WORDS
    from tesseral.analysis.report.result_frames import result_frame
    from tesseral.analysis.report.text_tables import brackets, text_rows, to_latex, to_markdown

    if form in ("csv", "parquet"):
        frame = result_frame(results, kind)
        if not frame.width:
            return b""
        file = io.BytesIO()
        if form == "parquet":
            frame.write_parquet(file)
        else:  # a cell holds no list
            frame.select(name for name, dtype in frame.schema.items() if not dtype.is_nested()).write_csv(file)
        return file.getvalue()
    rows = text_rows(results, kind)
    words = (*WORDS, "baseline", "trial", "stage", "state")
    written = to_latex if form == "latex" else to_markdown
    return written(rows, words, brackets(results, rows)).encode() if rows else b""


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(content.decode())
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise DataError(f"expected to write {output}, it cannot be written: {error.strerror}") from None
    console.print(f"Written: {output}", soft_wrap=True)


def _show(results: "Results", kind: "Kind") -> None:
    from tesseral.analysis.report.text_tables import brackets, text_rows

    rows = text_rows(results, kind)
    if not rows:
        console.print(f"{results.study.name} has no {kind} yet.", soft_wrap=True)
        return
    show_results(rows, "choose a format, such as --markdown")
    if note := brackets(results, rows):
        console.print(note, soft_wrap=True)
