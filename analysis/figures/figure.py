"""A figure of a report: a chart, its caption, and its name."""

from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import altair as alt
from markupsafe import Markup

from tesseral.analysis.figures.svg import render
from tesseral.analysis.tables.load import StudyTables


@dataclass(frozen=True)
class Figure:
    """A chart with the caption that explains it."""

    name: str
    """Unique in the report and fit for a file name."""
    chart: alt.TopLevelMixin
    caption: str

    @cached_property
    def svg(self) -> Markup:
        """The chart for a page or a file; its ids begin with `name`."""
        return Markup(render(self.chart, self.name))  # noqa: S704 - made by Vega, which escapes what it is given

    @property
    def data_url(self) -> str:
        """The chart as a link that contains it, for saving."""
        return "data:image/svg+xml;base64," + b64encode(self.svg.encode()).decode()


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one group of arms, or of the whole study."""

    title: str
    """Title of the group; empty in a study of one group."""
    figures: list[Figure]


def about_intervals(lows: Iterable[float | None], sentence: str) -> str:
    """The sentence of a caption on the intervals that are drawn; where there are none, that trials are too few.

    :param lows: the lower end of each interval, None where there is none.
    :param sentence: what the intervals are.
    """
    return sentence if any(low is not None for low in lows) else "There are too few trials for intervals."


def by_group(tables: StudyTables, make: Callable[[StudyTables], Iterable[Figure]]) -> list[FigureGroup]:
    """The figures of each group of arms.

    :param make: makes the figures of one group from its tables. In a study of several groups, the group's number is
        added to their names.
    """
    sections = []
    for number, part in enumerate(tables.by_group(), start=1):
        several, (group, *_) = part is not tables, part.study.groups
        made = [replace(figure, name=f"{figure.name}-{number}") if several else figure for figure in make(part)]
        if made:
            sections.append(FigureGroup(group.title if several else "", made))
    return sections
