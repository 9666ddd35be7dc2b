"""A study's findings as one HTML page that needs no network and no script."""

import json
from importlib.resources import files
from typing import Any

import jinja2
import polars as pl

from tesseral.analysis.figures.ablation_figures import ablation_figures
from tesseral.analysis.figures.captioned import (
    Section,
    benefit_figures,
    by_group,
    error_curves,
    error_figures,
    feature_figures,
    learning_figures,
    search_figures,
)
from tesseral.analysis.figures.diagram_figure import drawings
from tesseral.analysis.figures.layer_figures import inner_figures
from tesseral.analysis.report.design_text import allocating, blocks_planned, kind, matching, searching
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.notes import by_condition, reuse
from tesseral.analysis.report.summary import WORDS, beside, table
from tesseral.analysis.statistics import features as hierarchy
from tesseral.analysis.statistics import layers
from tesseral.analysis.statistics.ablations import ablations
from tesseral.analysis.statistics.allocation import allocation
from tesseral.analysis.statistics.arms import rows
from tesseral.analysis.statistics.dead_irreps import dead_irrep_sentences, dead_irreps_by_arm
from tesseral.analysis.statistics.fit_floor import floor_line, floor_told
from tesseral.analysis.statistics.orders import order_tables
from tesseral.analysis.statistics.progress import search_rows, standing
from tesseral.analysis.tables.endings import endings
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import saved
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.wording import MetricLabel, describe, interval, typeset


def report(tables: StudyTables) -> str:
    """The page, at any stage of a study: unfinished, without a complete trial, with failed ones.

    :raises TesseralError: if the study's metric is not recorded, or its baseline is no arm.
    :raises FileNotFoundError: if a file was compacted since `tables` were loaded; `open.read_study` reads anew then.
    """
    # All files are read at once and first, for a running study compacts them.
    features, curves = hierarchy.features(tables.traces, tables.trials), error_curves(tables)
    layer_traces = layers.layer_traces(tables.traces, tables.trials)
    study, summary = tables.study, rows(tables)
    comparisons = [row.comparison for row in summary if row.comparison is not None]
    overview = list(benefit_figures(tables))
    errors = by_group(tables, lambda part: [*error_figures(part), *learning_figures(part, curves)])
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return template.from_string(files("tesseral.analysis.report").joinpath("report.html.j2").read_text("utf-8")).render(
        study=study,
        metric=describe(study.metric, study.target),
        groups=[(group, study.baseline_of(arms[0])) for group, arms in study.groups.items()],
        targets=list(dict.fromkeys(group.target for group in study.groups)),
        floor=floor_told(study),
        standing=standing(tables),
        findings=findings(tables),
        table=table(tables),
        beside=beside(tables),
        figures=[Section("", overview), *errors] if overview else errors,
        order_tables=_order_tables(tables),
        feature_figures=list(feature_figures(tables, features)),
        emergence=_emergence(features, study.arms),
        ablations=list(ablation_figures(tables, layer_traces, ablations(layer_traces, study.most_blocks))),
        inner_figures=list(inner_figures(tables, layer_traces)),
        audit=dead_irrep_sentences(dead_irreps_by_arm(tables, layer_traces)),
        searches=search_rows(tables),
        saved=saved(tables.trials),
        search_figures=by_group(tables, search_figures),
        objective=describe(study.objectives[0], study.target) if study.objectives else None,
        allocated=allocation(tables, comparisons),
        unreachable=[row for row in summary if row.unreachable],
        dead=[row for row in summary if row.dead],
        endings=endings(tables.trials),
        kind=kind(study),
        matching=matching(study, summary),
        searching=searching(study),
        allocating=allocating(study),
        excluded=by_condition(study.excluded),
        merged=[arm.split(" = ") for arm in study.arms if " = " in arm],
        diagrams=list(drawings(tables.trials, study.arms)),
        settings=_settings(tables.trials.filter(pl.col("stage") == "confirm")),
        reuse=reuse(tables),
        provenance=_provenance(tables.trials),
        left_out=tables.left_out,
        blocks=blocks_planned,
        words=WORDS,
        typeset=typeset,
        digits=lambda value: interval(Estimate(value)),
    )


def _order_tables(tables: StudyTables) -> list[dict[str, Any]]:
    """Heading, orders, whether there is a column for all of them, and arms with their cells."""
    return [
        {
            "heading": _heading(describe(found.metric, part.study.target)),
            "orders": found.orders,
            "whole": found.whole,
            "floor": floor_line(part.study) if found.metric == "test.block_epsilon" else None,
            "rows": [
                (arm, [_cell(errors.get(order), (arm, order) in found.unreachable) for order in columns])
                for arm, errors in found.rows
            ],
        }
        for part in tables.by_group()
        for found in order_tables(part)
        for columns in [[*([None] if found.whole else []), *found.orders]]
    ]


def _heading(metric: MetricLabel) -> str:
    return f"{metric.noun.removeprefix('the ')}, {metric.unit}"


def _cell(error: Estimate | None, unreachable: bool) -> str:
    return "–" if error is None else interval(error) + (" †" if unreachable else "")


def _emergence(features: pl.DataFrame, arms: tuple[str, ...]) -> list[dict[str, Any]]:
    found = hierarchy.emergence(features).to_dicts()
    return sorted(found, key=lambda row: (arms.index(row["arm"]), row["layer"], row["l"]))


def _settings(trials: pl.DataFrame) -> list[tuple[str, str]]:
    """Dotted path and value of every setting; where arms differ, all values."""
    found = []
    for name in trials.columns:
        if name.startswith("setting."):
            distinct = trials[name].drop_nulls().unique(maintain_order=True).to_list()
            values = dict.fromkeys(_plain(value) for value in distinct)
            found.append((name.removeprefix("setting."), " | ".join(values)))
    return [(path, text) for path, text in found if text]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _provenance(trials: pl.DataFrame) -> list[tuple[str, str]]:
    """What a reader needs to repeat the study; several values where trials differ."""

    def distinct(name: str) -> list[Any]:
        return trials[name].drop_nulls().unique().sort().to_list()

    packages: dict[str, set[str]] = {}
    for text in distinct("versions"):
        for name, version in (json.loads(text) or {}).items():
            packages.setdefault(name, set()).add(str(version))
    ended = distinct("ended")
    facts = [
        ("code commit", ", ".join(distinct("commit"))),
        ("data (SHA-256)", ", ".join(distinct("data_hash"))),
        ("packages", ", ".join(f"{name} {' | '.join(sorted(found))}" for name, found in sorted(packages.items()))),
        ("devices", ", ".join(distinct("device"))),
        ("last trial ended", f"{ended[-1]:%Y-%m-%d %H:%M} UTC" if ended else ""),
    ]
    return [(name, text) for name, text in facts if text]
