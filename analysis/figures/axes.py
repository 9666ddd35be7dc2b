"""Scales, ticks and colours that the charts of a report share."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

import altair as alt

from tesseral.analysis.figures.svg import arm_scale

WIDTH = 620
"""Pixels of a chart's plotting area; labels stand beside it."""
PANELS = 4
"""Arms that stand side by side in a figure at most."""
_CHARACTER = 6.5  # pixels, a mean width
_IN_HEADER = 5.6  # the same in a panel's header


def arm_colour(arms: Sequence[str], *, legend: bool = True) -> alt.Color:
    """One colour an arm, the same wherever the same arms are drawn."""
    # A legend takes its symbols from the chart's first layer, which may be a faint band: make them plain discs.
    columns = max(1, WIDTH // (_CHARACTER * max(map(len, arms), default=1) + 30))
    shown = alt.Legend(symbolType="circle", symbolOpacity=1, symbolStrokeWidth=0, columns=columns) if legend else None
    return alt.Color("arm:N", title=None, scale=arm_scale(arms), sort=list(arms), legend=shown)


def in_panels(arms: Sequence[str]) -> list[Sequence[str]]:
    """Arms by figure: as many side by side, four at most, as their labels have room for over panels of equal width."""
    longest = max((len(part) for arm in arms for part in arm.split(", ")), default=1)
    most = max(1, min(PANELS, int(WIDTH // (_IN_HEADER * longest + 12))))
    return [arms[start : start + most] for start in range(0, len(arms), most)]


def arm_columns(arms: Sequence[str]) -> alt.Column:
    """A panel for each arm; a label of several factors takes a line for each."""
    header = alt.Header(labelExpr="split(datum.value, ', ')")
    return alt.Column("arm:N", sort=list(arms), title=None, header=header)


def axis(values: Sequence[float], title: str, count: int = 7, number_format: str = "~g") -> dict[str, Any]:
    """Title, scale and ticks of an axis: logarithmic where positive values span more than a factor of three."""
    if min(values) <= 0 or max(values) <= 3 * min(values):
        # "~g" would write tens as 1e+1 here, where Vega sets the precision by the ticks' step.
        linear = alt.Axis(tickCount=count, format=alt.Undefined if number_format == "~g" else number_format)
        return {"title": title, "scale": alt.Scale(zero=False, padding=12), "axis": linear}
    low, high = min(values) / 1.12, max(values) * 1.12
    logarithmic = alt.Axis(values=_log_ticks(low, high), format=number_format)
    return {"title": title, "scale": alt.Scale(type="log", domain=[low, high], nice=False), "axis": logarithmic}


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about half a dozen, evenly spread on a logarithmic axis."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    if high / low < 12:
        steps: tuple[int, ...] = (1, 2, 3, 5, 7)
    else:
        steps = (1, 2, 5) if high / low < 1000 else (1,)
    every = -(-len(decades) // 7)
    return [step * 10.0**power for power in decades[::every] for step in steps if low <= step * 10.0**power <= high]
