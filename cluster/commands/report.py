"""`tesseral report`: the findings as an HTML page, and their headline table in the terminal."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesseral.cluster.commands.display import console, show_results
from tesseral.cluster.commands.options import AsJson, Preset, ShownIn, Storage, StudyName, records_name, unit_names
from tesseral.study.configuration.trial import digest
from tesseral.study.records.store import Store
from tesseral.study.wording import count

if TYPE_CHECKING:
    from tesseral.analysis.statistics.results import Results

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
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write every figure to, as SVG, PDF and PNG, with its caption as text.", show_default=False
        ),
    ] = None,
    units: ShownIn = "",
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Write a study's report.html and print its headline table. Safe at any moment, also while the study runs.

    Example: `tesseral report quickstart`

    Example, with figures for a paper: `tesseral report quickstart --figures figures`

    Example, against another arm: `tesseral report quickstart --baseline lmax=2`
    """
    from tesseral.analysis.report.arm_table import flag_lines, short_table
    from tesseral.analysis.report.findings import cautions
    from tesseral.analysis.report.growth_text import growth_line
    from tesseral.analysis.report.notes import chosen_baseline
    from tesseral.analysis.report.report import render
    from tesseral.analysis.report.step_text import step_lines
    from tesseral.analysis.report.summary import progress_text, retry_line, to_dict
    from tesseral.analysis.statistics.fit_floor import floor_sentence
    from tesseral.analysis.statistics.results import analyse
    from tesseral.analysis.tables.open import read_study

    name = records_name(study, preset)
    results = read_study(storage, name, partial(analyse, units=unit_names(units)), baseline)
    study_info, html = results.study, render(results)
    store = Store(storage).child(name)
    page = f"report-{digest(study_info.baseline)[:12]}.html" if study_info.chosen_baseline else "report.html"
    store.replace(page, html.encode())
    drawn = _write_figures(results, figures) if figures is not None else []
    if as_json:
        print(
            json.dumps(
                to_dict(results) | {"report": store.location(page), "figures": [str(path) for path in drawn]},
                indent=2,
                default=str,
            )
        )
    else:
        rows = short_table(results)
        intervals = any(arm.error.error and arm.error.error.shown[0] is not None for arm in results.arms)
        title = f"{study_info.name}: {progress_text(results)}"
        title += f"; 95 % intervals {study_info.sampling.shown}" if intervals else ""
        console.print(title, style="bold", soft_wrap=True)
        show_results(rows, "see the page")
        for line in (
            *step_lines(results),
            *cautions(results),
            *study_info.doubts,
            growth_line(study_info),
            *chosen_baseline(study_info),
            *flag_lines(results),
            retry_line(results),
        ):
            if line:
                console.print(line, soft_wrap=True)
        parts = any(target.chosen is not None for target in study_info.targets.values())
        if not parts and (floor := floor_sentence(study_info)):
            console.print(floor, soft_wrap=True)
    if not as_json:
        console.print(f"Report: {store.location(page)}", soft_wrap=True)
        if drawn:
            console.print(f"Figures: {count(len(drawn), 'file')} in {figures}", soft_wrap=True)


def _write_figures(results: "Results", folder: Path) -> list[Path]:
    from tesseral.analysis.figures.figure_files import write_figures
    from tesseral.analysis.report.report_figures import report_figures

    return write_figures(report_figures(results), folder)
