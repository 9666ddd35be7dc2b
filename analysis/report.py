"""A study's findings as one HTML page that needs no network and no script."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import altair as alt
import jinja2
import polars as pl
from markupsafe import Markup

from tesseral.analysis import figures, hierarchy
from tesseral.analysis.findings import findings
from tesseral.analysis.learning import learning
from tesseral.analysis.load import StudyTables
from tesseral.analysis.statistics import errors
from tesseral.analysis.summary import Row, progress, rows, table
from tesseral.analysis.svg import render
from tesseral.analysis.wording import describe, number
from tesseral.study.trial import State

_PANELS = 4
"""Arms side by side in a chart with a panel for each."""


@dataclass(frozen=True)
class Figure:
    """A chart with what a reader needs to read it."""

    name: str
    """Unique in the report, fit for a file name."""
    chart: alt.TopLevelMixin
    caption: str

    @cached_property
    def svg(self) -> Markup:
        """The chart for a page or a file; its ids begin with `name`."""
        return Markup(render(self.chart, self.name))  # noqa: S704 - made by Vega, which escapes what it is given

    @property
    def data_url(self) -> str:
        """The chart as a link that holds it whole."""
        return "data:image/svg+xml;base64," + b64encode(self.svg.encode()).decode()


def report(tables: StudyTables) -> str:
    """The page, at any stage of a study: unfinished, without a complete trial, with failed ones.

    :raises TesseralError: if the study's metric is not recorded, or its baseline is no arm.
    :raises FileNotFoundError: if a file was compacted since `tables` were loaded; `open.read_study` reads anew then.
    """
    # All files are read at once and first, for a running study compacts them.
    features, curves = hierarchy.features(tables.traces, tables.trials), error_curves(tables)
    confirm = tables.trials.filter(pl.col("stage") == "confirm")
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return template.from_string(files("tesseral.analysis").joinpath("report.html.j2").read_text("utf-8")).render(
        study=tables.study,
        metric=describe(tables.study.metric),
        progress=progress(tables),
        findings=findings(tables),
        table=table(tables),
        figures=[*error_figures(tables), *learning_figures(tables, curves)],
        feature_figures=list(feature_figures(tables, features)),
        emergence=_emergence(features, tables.study.arms),
        unreachable=[row for row in rows(tables) if row.unreachable],
        merged=[arm.split(" = ") for arm in tables.study.arms if " = " in arm],
        failures=confirm.filter(pl.col("state") == State.FAILED.value).sort("arm", "block", "replicate").to_dicts(),
        settings=_settings(confirm),
        provenance=_provenance(confirm),
        left_out=tables.left_out,
        number=number,
    )


def error_figures(tables: StudyTables) -> Iterator[Figure]:
    """Figures of errors and their cost, those that the complete trials so far allow."""
    study, metric = tables.study, describe(tables.study.metric)
    summary = rows(tables)
    measured = errors(tables.trials, study.metric)
    if measured.height:
        yield Figure(
            "error-by-arm",
            figures.error_by_arm(measured, [row.error for row in summary], metric),
            "Each point is a trial; a line joins trials of one block and replicate, which share their data and "
            "their seeds. Diamonds are means, bars 95 % intervals.",
        )
    comparisons = [
        row.comparison for row in summary if row.comparison is not None and row.comparison.change is not None
    ]
    if comparisons:
        yield Figure(
            "change-by-arm",
            figures.change_by_arm(comparisons, study.arms, metric),
            f"From the ratio of the errors of each pair; below zero, the arm is better than {study.baseline}. "
            "Bars are 95 % intervals of each comparison alone.",
        )
    outputs = hierarchy.output_errors(tables.trials, "test.block_error", study.arms, study.blocks)
    if outputs.height:
        yield Figure(
            "error-by-order",
            figures.error_by_order(outputs, study.arms, describe("test.block_error")),
            "Means over trials with 95 % intervals, on a logarithmic axis.",
        )
    if measured.height:
        yield Figure(
            "error-against-cost",
            figures.error_against_cost(_costs(summary), study.arms, metric),
            "Means over trials with 95 % intervals; the time is the median over trials.",
        )


def error_curves(tables: StudyTables) -> pl.DataFrame:
    """The curves that `learning_figures` draws, finite values alone; see `learning`."""
    curves = learning(tables.curves, tables.trials, [*_drawn(tables.study.metric), "block_error"])
    return curves.filter(pl.col("value").is_finite())


def _drawn(metric: str) -> list[str]:
    # ε needs a grid and is not measured in every epoch: the nearest that is stands in for it.
    return [metric.partition(".")[2], "l2_error", "loss"]


def learning_figures(tables: StudyTables, curves: pl.DataFrame) -> Iterator[Figure]:
    """Figures of errors during training.

    :param curves: of `error_curves`.
    """
    name = next((name for name in _drawn(tables.study.metric) if name in curves["metric"]), None)
    if name is not None:
        whole = curves.filter(pl.col("metric") == name)
        yield Figure(
            "learning",
            figures.learning_curves(whole, tables.study.arms, describe(f"{whole['split'][0]}.{name}")),
            "Median over trials, in a band from the lowest to the highest.",
        )
    by_order = curves.filter(pl.col("metric") == "block_error", pl.col("value") > 0)
    if by_order.height:
        yield Figure(
            "learning-by-order",
            figures.learning_by_order(by_order, tables.study.arms, describe(f"{by_order['split'][0]}.block_error")),
            "Median over trials, in a band from the lowest to the highest.",
        )


def feature_figures(tables: StudyTables, features: pl.DataFrame) -> Iterator[Figure]:
    """Hidden features by order over training, a few arms in each figure.

    :param features: of `hierarchy.features`.
    """
    means = hierarchy.mean_features(features)
    arms = [arm for arm in tables.study.arms if arm in set(means["arm"])]
    for start in range(0, len(arms), _PANELS):
        part = arms[start : start + _PANELS]
        yield Figure(
            f"features-{start // _PANELS + 1}",
            figures.features_by_order(means, part),
            "Means over the complete trials of an arm; parities are added. The shares of a layer sum to one.",
        )


def _costs(summary: list[Row]) -> pl.DataFrame:
    rows_ = []
    for row in summary:
        error = row.error.error
        bounds = (error.value, error.low, error.high) if error else (None, None, None)
        rows_.append((row.arm, row.parameters, row.seconds, *bounds))
    kinds = {"arm": pl.String, "parameters": pl.Int64} | dict.fromkeys(("seconds", "error", "low", "high"), pl.Float64)
    return pl.DataFrame(rows_, schema=kinds, orient="row")


def _emergence(features: pl.DataFrame, arms: tuple[str, ...]) -> list[dict[str, Any]]:
    found = hierarchy.emergence(features).to_dicts()
    return sorted(found, key=lambda row: (arms.index(row["arm"]), row["layer"], row["l"]))


def _settings(trials: pl.DataFrame) -> list[tuple[str, str]]:
    """Dotted path and value of every setting; where arms differ, all values."""
    found = []
    for name in trials.columns:
        if name.startswith("setting."):
            values = list(dict.fromkeys(_plain(value) for value in trials[name].drop_nulls().to_list()))
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
