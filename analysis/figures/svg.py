"""Charts as inline SVG: one theme, tooltips without scripts, nothing fetched.

Text, lines and grid have the colours below, which the page's style sheet replaces in dark mode. Data keep their own
colours, which are distinguishable with any colour vision and on light and dark backgrounds.
"""

import re
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert

from tesseral.study.wording import printable

INK = "#1f2328"
MUTED = "#6b7280"
GRID = "#e3e6ea"
FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"

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


def render(chart: alt.TopLevelMixin, prefix: str) -> str:
    """A chart as an SVG element for a page.

    A mark's description becomes its `<title>`, which browsers show on hovering.

    :param prefix: prefix of the element's ids, unique in the page; without it, two charts would share clip paths.
    """
    with alt.data_transformers.disable_max_rows():
        spec = _shown(chart.to_dict(validate=False))  # the schema's check takes longer than the drawing
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


def _shown(tree: Any) -> Any:
    """A chart's tree with hidden characters as escapes: XML allows none of them, and they abort vl-convert."""
    if isinstance(tree, dict):
        return {_shown(key): _shown(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_shown(value) for value in tree]
    return printable(tree) if isinstance(tree, str) else tree
