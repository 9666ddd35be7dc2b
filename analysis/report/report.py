"""The report of a study: one HTML page that needs neither a network nor a script."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup

from tesseral.analysis.report.arm_table import WORDS, arm_table, error_note
from tesseral.analysis.report.design_text import allocating, blocks_planned, kind, matching, searching
from tesseral.analysis.report.effect_table import effect_table
from tesseral.analysis.report.findings import limits, of_arms, verdicts
from tesseral.analysis.report.frontier_table import frontier_table
from tesseral.analysis.report.metric_table import metric_meanings, metric_table
from tesseral.analysis.report.notes import by_condition, reuse
from tesseral.analysis.report.report_figures import report_figures
from tesseral.analysis.report.set_table import set_table
from tesseral.analysis.report.step_text import step_table
from tesseral.analysis.report.summary import progress_text, retry_line
from tesseral.analysis.statistics.features.dead_irreps import dead_irrep_sentences
from tesseral.analysis.statistics.features.features import emergence
from tesseral.analysis.statistics.fit_floor import floor_details, floor_line
from tesseral.analysis.statistics.orders.orders import OrderTable
from tesseral.analysis.statistics.results import Results, analyse
from tesseral.analysis.tables.endings import endings
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.estimate import FEWEST_UNITS, Estimate, interval, p_value
from tesseral.analysis.terms.metric_label import MetricLabel, describe, typeset
from tesseral.study.wording import failure, printable


def report(tables: StudyTables) -> str:
    """The report of a study as an HTML page, at any stage: unfinished, without a complete trial, with failed ones.

    :raises TesseralError: if the study's metric is not recorded, or its baseline is no arm.
    :raises FileNotFoundError: if a file was compacted since `tables` were loaded; `tesseral.read_study` then
        reads anew.
    """
    return render(analyse(tables))


@cache
def page() -> jinja2.Template:
    """The template of the page; compiled once a process, which takes longer than to fill it."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    return environment.from_string(files("tesseral.analysis.report").joinpath("report.html.j2").read_text("utf-8"))


def render(results: Results) -> str:
    """The report of a study whose results are computed already."""
    study, tables, arms = results.study, results.tables, results.arms
    drawn = report_figures(results)
    return page().render(
        study=study,
        metric=describe(study.metric, study.target),
        groups=[(group, study.baseline_of(members[0])) for group, members in study.groups.items()],
        targets=list(dict.fromkeys(group.target for group in study.groups)),
        floor=floor_details(study),
        progress=progress_text(results),
        verdicts=verdicts(results),
        limits=limits(results),
        of_arms=of_arms(results),
        lead=drawn.lead,
        trends=results.trends,
        table=arm_table(results),
        test_sets=set_table(results),
        steps=step_table(results),
        step_figure=drawn.steps,
        effects=effect_table(results),
        frontier=frontier_table(results),
        bracketed=any(arm.error.error and arm.error.error.shown[0] is not None for arm in arms),
        error_note=error_note(results),
        metrics=metric_table(results),
        metric_meanings=metric_meanings(results),
        varied=any(arm.spans for arm in arms),
        units="searches" if study.searches >= FEWEST_UNITS else "blocks",
        drawn="searches" if study.searches else "blocks",
        figures=drawn.errors,
        order_tables=_order_tables(results),
        scaling=_scaling(results),
        feature_figures=drawn.features,
        size_kept=sorted({curve.kept for curve in results.scaling}),
        emergence=_emergence(results),
        hierarchies=_hierarchies(results),
        ablations=drawn.ablations,
        layer_figures=drawn.layers,
        dead_irreps=dead_irrep_sentences(results.layers.dead_irreps),
        searches=results.searches,
        importances=[
            (each.arm, each.path, f"{each.share:.0f}", p_value(each.p_holm), each.proposals)
            for each in results.importances
        ],
        saved=results.saved,
        search_figures=drawn.searches,
        objective=describe(study.objectives[0], study.target) if study.objectives else None,
        allocations=results.allocations,
        unreachable=[arm for arm in arms if arm.unreachable],
        dead=[arm for arm in arms if arm.dead],
        endings=endings(tables.trials),
        retry_line=retry_line(results),
        kind=kind(study),
        matching=matching(study, arms),
        searching=searching(study),
        allocating=allocating(study),
        excluded=by_condition(study.excluded),
        merged=[arm.split(" = ") for arm in study.arms if " = " in arm],
        diagrams=drawn.diagrams,
        settings=_settings(tables.trials.filter(pl.col("stage") == "confirm")),
        reuse=reuse(tables),
        provenance=_provenance(tables.trials),
        left_out=tables.left_out,
        blocks=blocks_planned,
        words=(*WORDS, "step", "verdict", "effect", "group", "aliases", "metric", "on"),
        typeset=typeset,
        failure=failure,
        digits=lambda value: interval(Estimate(value)),
    )


def _order_tables(results: Results) -> list[dict[str, Any]]:
    """Each table's heading, orders, whether it has a column for all of them, fit floor, what is reached, and rows."""
    return [
        {
            "heading": _heading(describe(table.metric, part.study.target)),
            "orders": table.orders,
            "whole": table.whole,
            "floor": floor_line(part.study, table.whole_metric),
            "reached": table.reached,
            "rows": [(arm, _cells(table, arm, errors)) for arm, errors in table.rows],
        }
        for part, table in results.order_tables
    ]


def _cells(table: OrderTable, arm: str, errors: dict[int | None, Estimate]) -> list[str]:
    """The errors of one arm: of the whole, of what all arms reach, and of each order."""
    cells = [_cell(errors.get(None), False)] if table.whole else []
    cells += [_cell(table.reached.errors.get(arm), False)] if table.reached else []
    return cells + [_cell(errors.get(order), (arm, order) in table.unreachable) for order in table.orders]


def _heading(metric: MetricLabel) -> str:
    return f"{metric.noun.removeprefix('the ')}, {metric.unit}"


def _cell(error: Estimate | None, unreachable: bool) -> str:
    """An error in a table by order; † marks an order that the arm predicts as zero."""
    return "–" if error is None else interval(error) + (" †" if unreachable else "")


def _emergence(results: Results) -> list[dict[str, Any]]:
    """The rows of `features.emergence`, with when orders take their places, in the study's order of arms."""
    arms, places = results.study.arms, results.layers.places.select("arm", "layer", "l", place="epoch")
    rows = emergence(results.layers.features).join(places, on=["arm", "layer", "l"], how="left").to_dicts()
    return sorted(rows, key=lambda row: (arms.index(row["arm"]), row["layer"], row["l"]))


def _hierarchies(results: Results) -> list[list[str]]:
    """Cells of each hierarchy: arm, layer, factor, both rank correlations, and trials."""
    return [
        [
            f"{each.arm} against {each.against}" if each.against else each.arm,
            str(each.layer),
            interval(each.factor),
            *("–" if tau is None else interval(tau) for tau in (each.with_epoch, each.with_share)),
            str(each.trials),
        ]
        for each in results.layers.hierarchies
    ]


def _scaling(results: Results) -> list[list[str]]:
    """Cells of each curve over the size of the training set: name, exponent, curvature, difference, p, trials."""
    return [
        [
            curve.name,
            interval(curve.exponent),
            "–" if curve.curvature is None else interval(curve.curvature, signed=True),
            "baseline" if curve.difference is None else interval(curve.difference, signed=True),
            "–" if curve.p_holm is None else p_value(curve.p_holm),
            str(curve.trials),
        ]
        for curve in results.scaling
    ]


def _settings(trials: pl.DataFrame) -> list[tuple[str, str]]:
    """Dotted path and value of every setting; all values if arms differ."""
    settings = []
    for name in trials.columns:
        if name.startswith("setting."):
            distinct = trials[name].drop_nulls().unique(maintain_order=True).to_list()
            values = dict.fromkeys(_plain(value) for value in distinct)
            settings.append((name.removeprefix("setting."), " | ".join(values)))
    return [(path, text) for path, text in settings if text]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _provenance(trials: pl.DataFrame) -> list[tuple[str, str]]:
    """What is needed to repeat the study; several values if trials differ."""

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
        ("packages", ", ".join(f"{name} {' | '.join(sorted(used))}" for name, used in sorted(packages.items()))),
        ("devices", ", ".join(distinct("device"))),
        ("last trial ended", f"{ended[-1]:%Y-%m-%d %H:%M} UTC" if ended else ""),
    ]
    return [(name, text) for name, text in facts if text]


def _shown(value: Any) -> Any:
    """What the page shows of a value: text without hidden characters. Figures and other markup are our own."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
