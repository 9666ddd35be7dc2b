"""The short answer: one row an arm with its error, its change against the baseline, and what it cost."""

from dataclasses import asdict
from typing import Any

from tesseral.analysis.report.layer_summary import layers_to_dict
from tesseral.analysis.report.notes import notes
from tesseral.analysis.statistics.allocation import allocation
from tesseral.analysis.statistics.arms import Row as Row
from tesseral.analysis.statistics.arms import rows as rows
from tesseral.analysis.statistics.fit_floor import floor
from tesseral.analysis.statistics.order_trend import trends
from tesseral.analysis.statistics.paired import Comparison
from tesseral.analysis.statistics.progress import progress as progress
from tesseral.analysis.statistics.progress import search_progress as search_progress
from tesseral.analysis.statistics.progress import search_rows as search_rows
from tesseral.analysis.statistics.progress import standing as standing
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import saved
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.wording import describe, interval, p_value, signed_percent, typeset
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.wording import duration, scaled

WORDS = ("arm", "matched in", "notes")
"""Columns of the summary that hold words; the others hold numbers."""


def table(tables: StudyTables) -> list[dict[str, str]]:
    """The summary as text, one dictionary (heading → cell) for each arm; for a terminal and for the report."""
    metric, summary = describe(tables.study.metric, tables.study.target), rows(tables)
    other = _other(tables.study.metric, summary)
    units = {row.match for row in summary} - {"none"}
    flops = any(row.flops is not None for row in summary)
    return [
        {
            "arm": row.arm,
            "trials": str(row.error.trials),
            metric.heading: interval(row.error.error) if row.error.error else "–",
            **({other: _other_error(row, tables.study.metric, other)} if other else {}),
            "change, %": _change(row),
            "Holm p": _p(row.comparison),
            **_size(row, units),
            **({"flops a step": "–" if row.flops is None else scaled(row.flops)} if flops else {}),
            "time": "–" if row.seconds is None else duration(row.seconds),
            "notes": "; ".join(row.flags),
        }
        for row in summary
    ]


def flag_lines(tables: StudyTables) -> list[str]:
    """The cells `notes` of the summary as sentences for below it, one for each note, with the arms that have it."""
    summary = rows(tables)
    arms: dict[str, list[str]] = {}
    for row in summary:
        for flag in row.flags:
            arms.setdefault(flag, []).append(row.arm)
    return [
        f"{'every arm' if len(having) == len(summary) else '; '.join(having)}: {flag}" for flag, having in arms.items()
    ]


_IN_ITS_UNIT = "error in its unit"


def _other(metric: str, summary: list[Row]) -> str:
    """Heading of the column that stands beside the metric's: in the target's unit, or as a share of its spread.

    Empty for a study of densities alone, whose ε is a share already, and where nothing is recorded.
    """
    if all(row.target.quantity == "density" for row in summary):
        return ""
    names = {(_beside(metric, row), row.target) for row in summary}
    if not any(row.errors.get(name) for row in summary for name in [_beside(metric, row)]):
        return ""
    headings = {describe(f"test.{name}", target).heading for name, target in names}
    return headings.pop() if len(headings) == 1 else _IN_ITS_UNIT


def beside(tables: StudyTables) -> list[str]:
    """What a reader of the summary must know of its columns of errors; nothing where they are densities' ε alone."""
    study, told = tables.study, []
    share = study.metric == "test.relative_error"
    other = bool(_other(study.metric, rows(tables)))
    if share and other:
        parts = "the mean absolute error in the target’s unit, of vectors and tensors the mean length of the error"
        dense = study.predicts("density")
        told.append(f"Beside it {parts}{', of a density ε' if dense else ''}.")
    elif other:
        told.append("Beside it the relative error, as a share of the target’s spread.")
    if share or other:
        told.append(
            "The spread is the root mean square of the target over the split; of an invariant, of what its mean, or "
            "where it grows with the structure a number for each element, fitted on the training split, leaves of it."
        )
    return told


def _beside(metric: str, row: Row) -> str:
    return row.target.own_metric if metric == "test.relative_error" else "relative_error"


def _other_error(row: Row, metric: str, heading: str) -> str:
    name = _beside(metric, row)
    found = row.errors.get(name)
    if found is None or found.error is None:
        return "–"
    told = interval(found.error, typeset(found.unit) if heading == _IN_ITS_UNIT else "")
    return f"ε {told}" if name == "epsilon" else told


def _size(row: Row, units: set[str]) -> dict[str, str]:
    """The cells that say how large an arm is: where arms are matched, in what, and by how much each misses it."""
    if not units:
        return {"parameters": _whole(row.parameters)}
    cells = {"live parameters": _whole(row.parameters_live)}
    if "components" in units:
        cells["components"] = _whole(row.components)
    if len(units) > 1:
        cells["matched in"] = row.match
    missed = row.match != "none" and row.residual is not None
    return cells | {"residual, %": signed_percent(row.residual or 0.0) if missed else "–"}


def _whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _change(row: Row) -> str:
    if row.baseline == row.arm:
        return "baseline"
    change = row.comparison.change if row.comparison else None
    return interval(change, signed=True) if change else "–"


def _p(comparison: Comparison | None) -> str:
    return "" if comparison is None or comparison.p_holm is None else p_value(comparison.p_holm)


def _unit(study: StudyInfo) -> str:
    name = study.metric.removeprefix("test.")
    if name == "error":
        units = {group.target.unit for group in study.groups}
        return units.pop() if len(units) == 1 else ""
    return METRICS[name].unit if name in METRICS else ""


def to_dict(tables: StudyTables) -> dict[str, Any]:
    """The summary as plain values that JSON can hold: study, metric and its unit, baseline (and the study's
    own, where a reader chose another), groups of arms, the floor
    of density errors, progress, and each arm's `Row`; trends of the benefit with the order of the output; the search's
    progress, `ArmSearched` and `Saved`, a sequential allocation's `Allocated`, notes in sentences, and under `layers`
    what trained networks hold and use by layer and l (`layer_summary.layers_to_dict`).

    Estimates hold value, low, high (95 %) and p; `change` is in percent of the error of the baseline of the group.
    The unit is empty where targets have different ones: that of each stands in `groups`, and in an arm's `errors`.

    :raises FileNotFoundError: if a file was compacted since `tables` were loaded; `open.read_study` reads anew then.
    """
    layers, study = layers_to_dict(tables), tables.study  # files first: a running study compacts them
    summary, searching, stopped = rows(tables), search_progress(tables), saved(tables.trials)
    comparisons = [row.comparison for row in summary if row.comparison is not None]
    return {
        "study": study.name,
        "metric": study.metric,
        "unit": _unit(study),
        "baseline": study.baseline,
        "own_baseline": study.own_baseline or study.baseline,
        "groups": [
            {"target": asdict(group.target), "levels": dict(group.levels)}
            | {"baseline": study.baseline_of(arms[0]), "arms": arms}
            for group, arms in study.groups.items()
        ],
        "floor": floor(study),
        "trends": [asdict(trend) for trend in trends(tables)],
        "progress": asdict(progress(tables)),
        "arms": [asdict(row) | {"flags": row.flags} for row in summary],
        "search": searching
        and {
            "progress": asdict(searching),
            "arms": [asdict(arm) for arm in search_rows(tables)],
            "saved": stopped and asdict(stopped),
        },
        "allocation": [asdict(arm) for arm in allocation(tables, comparisons)],
        "notes": notes(tables),
        "layers": layers,
    }
