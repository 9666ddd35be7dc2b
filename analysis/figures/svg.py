"""Charts as SVG that stands inside a page: one theme, tooltips without scripts, and nothing fetched.

A chart's colours for text, lines and grid are the constants below, which the page's style sheet can restyle, say
for dark mode; data keep their own colours, chosen to be told apart with any colour vision and on both grounds.
"""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import altair as alt
import vl_convert

INK = "#1f2328"
MUTED = "#6b7280"
GRID = "#e3e6ea"
FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"

# Okabe & Ito, jfly.uni-koeln.de/color (2008), without the black and the yellow that vanish on one of two grounds.
_DISTINCT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Viridis (van der Walt & Smith, 2015), its yellow end left off: for ordered things and for many.
_ORDERED = ("#46327E", "#365C8D", "#277F8E", "#1FA187", "#4AC16D", "#A0DA39")

_THEME = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "title": {"anchor": "start", "color": INK, "fontSize": 14, "fontWeight": 600, "offset": 14, "subtitleColor": MUTED},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelLimit": 0,
        "labelFlush": False,
        "labelPadding": 5,
        "domainColor": MUTED,
        "tickColor": MUTED,
        "gridColor": GRID,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 0,
        "orient": "top",
        "offset": 10,
    },
    "header": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "labelLimit": 0},
}

_SVG = "http://www.w3.org/2000/svg"
_GUIDES = {"axis", "legend", "title"}


def arm_scale(arms: Sequence[str]) -> alt.Scale:
    """The colour of each arm, the same in every chart of a report."""
    colours = _DISTINCT[: len(arms)] if len(arms) <= len(_DISTINCT) else _spread(len(arms))
    return alt.Scale(domain=list(arms), range=list(colours))


def order_scale(orders: Sequence[int] | Sequence[str]) -> alt.Scale:
    """The colour of each order l, from dark (l = 0) to light, or of what else has an order."""
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


def render(chart: alt.TopLevelMixin, prefix: str) -> str:
    """A chart as an SVG element for a page.

    Each mark with a description gets it as its `<title>`, which browsers show on hovering.

    :param prefix: of the element's ids, unique in the page, for two charts would share their clip paths otherwise.
    """
    with alt.data_transformers.disable_max_rows():
        spec = chart.to_dict()
    spec["config"] = _THEME
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(spec, vl_version=version))  # noqa: S314 - our own
    ElementTree.register_namespace("", _SVG)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{prefix}-{value}")
            elif "url(#" in value:
                element.set(key, re.sub(r"url\(#", f"url(#{prefix}-", value))
        label = element.get("aria-label")
        is_mark = element.get("role") == "graphics-symbol" and element.get("aria-roledescription") not in _GUIDES
        if label and is_mark:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = label
            element.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode")
