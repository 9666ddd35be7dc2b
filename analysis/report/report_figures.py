"""Every figure of a report, by the part of the page where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass

from tesseral.analysis.figures.ablation_figures import ablation_figures
from tesseral.analysis.figures.curve_figures import feature_figures, learning_figures, search_figures
from tesseral.analysis.figures.diagram_figures import Drawing, diagram_figures
from tesseral.analysis.figures.epoch_figures import epoch_figures
from tesseral.analysis.figures.error_figures import error_figures
from tesseral.analysis.figures.figure import Figure, FigureGroup, by_group
from tesseral.analysis.figures.layer_figures import layer_figures
from tesseral.analysis.figures.lead_figure import lead_figure, step_figure
from tesseral.analysis.figures.order_figures import benefit_figures
from tesseral.analysis.figures.search_value_figures import search_value_figures
from tesseral.analysis.figures.size_figures import size_figures
from tesseral.analysis.figures.slice_figures import slice_figures
from tesseral.analysis.statistics.results import Results


@dataclass(frozen=True)
class ReportFigures:
    """The figures of a report. Iterating gives all of them, in the order of the page."""

    lead: Figure | None
    steps: Figure | None
    errors: list[FigureGroup]
    features: list[Figure]
    layers: list[Figure]
    ablations: list[Figure]
    searches: list[FigureGroup]
    diagrams: list[Drawing]

    def __iter__(self) -> Iterator[Figure | Drawing]:
        yield from (figure for figure in (self.lead, self.steps) if figure is not None)
        yield from (figure for group in self.errors for figure in group.figures)
        yield from (*self.features, *self.layers, *self.ablations)
        yield from (figure for group in self.searches for figure in group.figures)
        yield from self.diagrams


def report_figures(results: Results) -> ReportFigures:
    """The figures that a report shows of a study.

    :param results: of the study.
    """
    study, tables = results.study, results.tables
    overview = [*benefit_figures(results), *size_figures(study, results.scaling)]
    errors = by_group(
        tables,
        lambda part: [
            *error_figures(part, results.arms),
            *learning_figures(part, results.curves),
            *epoch_figures(part, results.epochs),
        ],
    )
    searches = by_group(
        tables,
        lambda part: [
            *search_figures(part),
            *search_value_figures(part, results.search_values),
            *slice_figures(part, results.slices),
        ],
    )
    return ReportFigures(
        lead=lead_figure(results),
        steps=step_figure(results),
        errors=[FigureGroup("", overview), *errors] if overview else errors,
        features=list(feature_figures(results)),
        layers=list(layer_figures(results)),
        ablations=list(ablation_figures(results)),
        searches=searches,
        diagrams=list(diagram_figures(tables.trials, study.arms)),
    )
