"""`tesseral report`: the findings as an HTML page, and their headline table in the terminal."""

import json
from typing import Annotated

import typer

from tesseral.cluster.commands.display import console, fitting, table
from tesseral.cluster.commands.options import AsJson, Preset, Storage, StudyName, records_name
from tesseral.study.configuration.trial import digest
from tesseral.study.records.store import Store

LEFT_OUT = (
    "trials",
    "Holm p",
    "live parameters",
    "components",
    "matched in",
    "residual, %",
    "flops a step",
    "error in its unit",
    "notes",
)
"""Columns that only the page shows, because a terminal is 80 characters wide. Notes are printed below the table."""


Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="ARM",
        help="Compare with this arm instead of the study's own baseline. The page gets a file of its own.",
        show_default=False,
    ),
]


def report(
    study: StudyName,
    preset: Preset = None,
    baseline: Baseline = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Write a study's report.html and print its headline table. Safe at any moment, also while the study runs.

    Example: `tesseral report quickstart`

    Example, against another arm: `tesseral report quickstart --baseline lmax=2`
    """
    from tesseral.analysis.report import summary
    from tesseral.analysis.report.notes import chosen_baseline
    from tesseral.analysis.report.report import report as render
    from tesseral.analysis.statistics.fit_floor import floor_sentence
    from tesseral.analysis.tables.open import read_study

    name = records_name(study, preset)
    tables, html, tree = read_study(
        storage, name, lambda tables: (tables, render(tables), summary.to_dict(tables) if as_json else {}), baseline
    )
    store = Store(storage).child(name)
    page = f"report-{digest(tables.study.baseline)[:12]}.html" if tables.study.chosen_baseline else "report.html"
    if as_json:
        print(json.dumps(tree | {"report": store.location(page)}, indent=2, default=str))
    else:
        rows = [{key: row[key] for key in row if key not in LEFT_OUT} for row in summary.table(tables)]
        rows = fitting(rows, [key for key in rows[0] if key not in ("arm", list(rows[0])[1], "change, %")])
        title = f"{tables.study.name}: {summary.standing(tables)}; 95 % intervals"
        console.print(title, style="bold", markup=False, soft_wrap=True)
        console.print(table("", list(rows[0]), [list(row.values()) for row in rows]))
        for line in (*chosen_baseline(tables.study), *summary.flag_lines(tables)):
            console.print(line, soft_wrap=True, markup=False)
        parts = any(target.chosen is not None for target in tables.study.targets.values())
        if not parts and (floor := floor_sentence(tables.study)):
            console.print(floor, soft_wrap=True)
    store.replace(page, html.encode())
    if not as_json:
        console.print(f"Report: {store.location(page)}", soft_wrap=True)
