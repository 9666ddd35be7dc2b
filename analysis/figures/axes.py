"""Scales, ticks, panels and colours that the charts of a report share."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

import altair as alt

WIDTH = 620
"""Width of a chart's plotting area without its labels, px."""
PANELS = 4
"""Largest number of arms side by side in a figure."""
_CHARACTER = 6.5  # mean width of a character in a legend, px
_IN_HEADER = 5.6  # mean width of a character in a panel's header, px

# Okabe & Ito, jfly.uni-koeln.de/color (2008), without black and yellow, which vanish on one background.
_DISTINCT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Viridis (van der Walt & Smith, 2015) without its yellow end, for ordered things and for many.
_ORDERED = ("#46327E", "#365C8D", "#277F8E", "#1FA187", "#4AC16D", "#A0DA39")


def arm_scale(arms: Sequence[str]) -> alt.Scale:
    """One colour for each arm, the same in every chart of a report."""
    colours = _DISTINCT[: len(arms)] if len(arms) <= len(_DISTINCT) else _spread(len(arms))
    return alt.Scale(domain=list(arms), range=list(colours))


def order_scale(orders: Sequence[int] | Sequence[str]) -> alt.Scale:
    """One colour for each order l, from dark (l = 0) to light; also for other ordered categories."""
    return alt.Scale(domain=list(orders), range=_spread(len(orders)))


def _spread(n: int) -> list[str]:
    """`n` colours along `_ORDERED`, interpolated linearly in RGB."""
    stops = [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in _ORDERED]
    colours = []
    for k in range(n):
        place = (len(stops) - 1) * (k / (n - 1) if n > 1 else 0.0)
        below = min(int(place), len(stops) - 2)
        mixed = (a + (place - below) * (b - a) for a, b in zip(stops[below], stops[below + 1], strict=True))
        colours.append("#" + "".join(f"{round(value):02X}" for value in mixed))
    return colours


def arm_colour(arms: Sequence[str], *, legend: bool = True) -> alt.Color:
    """Colour encoding of the arms, the same wherever the same arms are drawn.

    :param arms: all arms of the study in its order, drawn or not.
    """
    # A legend takes its symbols from the chart's first layer, which may be a faint band, so they are set to discs.
    columns = max(1, WIDTH // (_CHARACTER * max(map(len, arms), default=1) + 30))
    shown = alt.Legend(symbolType="circle", symbolOpacity=1, symbolStrokeWidth=0, columns=columns) if legend else None
    return alt.Color("arm:N", title=None, scale=arm_scale(arms), sort=list(arms), legend=shown)


def in_panels(arms: Sequence[str]) -> list[Sequence[str]]:
    """Split arms into figures: up to four panels of equal width side by side, as far as their labels fit."""
    longest = max((len(part) for arm in arms for part in arm.split(", ")), default=1)
    most = max(1, min(PANELS, int(WIDTH // (_IN_HEADER * longest + 12))))
    return [arms[start : start + most] for start in range(0, len(arms), most)]


def arm_columns(arms: Sequence[str]) -> alt.Column:
    """Column encoding with a panel for each arm; a label of several factors takes a line for each."""
    header = alt.Header(labelExpr="split(datum.value, ', ')")
    return alt.Column("arm:N", sort=list(arms), title=None, header=header)


def axis(values: Sequence[float], title: str, count: int = 7, number_format: str = "~g") -> dict[str, Any]:
    """Title, scale and ticks of an axis: logarithmic if positive values span more than a factor of three.

    :param values: everything that is drawn along the axis, bounds of intervals included; at least one.
    :param count: ticks of a linear axis, about.
    :param number_format: of d3-format, for the ticks.
    :returns: keyword arguments of `alt.X` and `alt.Y`.
    """
    if min(values) <= 0 or max(values) <= 3 * min(values):
        # "~g" would write tens as 1e+1 here, where Vega sets the precision by the ticks' step.
        linear = alt.Axis(tickCount=count, format=alt.Undefined if number_format == "~g" else number_format)
        return {"title": title, "scale": alt.Scale(zero=False, padding=12), "axis": linear}
    return log_axis(values, title, number_format=number_format)


def log_axis(
    values: Sequence[float], title: str, ticks: Sequence[float] | None = None, number_format: str = "~g"
) -> dict[str, Any]:
    """Title, scale and ticks of a logarithmic axis.

    :param values: everything that is drawn along the axis, bounds of intervals included; at least one, all positive.
    :param ticks: None for about six round numbers.
    :param number_format: of d3-format, for the ticks.
    :returns: keyword arguments of `alt.X` and `alt.Y`.
    """
    low, high = min(values) / 1.12, max(values) * 1.12  # room for a symbol at either end
    logarithmic = alt.Axis(values=list(ticks or _log_ticks(low, high)), format=number_format)
    return {"title": title, "scale": alt.Scale(type="log", domain=[low, high], nice=False), "axis": logarithmic}


def _log_ticks(low: float, high: float) -> list[float]:
    """About six round numbers from low to high, evenly spread on a logarithmic axis; on a short one, equal steps."""
    if high <= 3 * low:
        step = 10.0 ** floor(log10((high - low) / 3))
        step *= next(times for times in (1, 2, 5, 10) if (high - low) / (times * step) <= 7)
        return [number * step for number in range(ceil(low / step), floor(high / step) + 1)]
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    if high / low < 12:
        steps: tuple[int, ...] = (1, 2, 3, 5, 7)
    else:
        steps = (1, 2, 5) if high / low < 1000 else (1,)
    every = -(-len(decades) // 7)
    return [step * 10.0**power for power in decades[::every] for step in steps if low <= step * 10.0**power <= high]
