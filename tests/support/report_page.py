"""What a report's page and figures say, as text."""

import html
import re
from xml.etree import ElementTree

from tesseral.analysis.figures.figure import Figure


def words(page: str) -> str:
    """The page's text and tags, on one line."""
    return " ".join(html.unescape(page).split())


def cells(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table of a section as text."""
    body = page.split(f"<h2>{heading}</h2>")[1].split("<tbody>")[1].split("</tbody>")[0]
    plain = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)]
    return [[" ".join(html.unescape(re.sub(r"<[^>]*>", "", cell)).split()) for cell in row] for row in plain]


def tooltips(figure: Figure) -> list[str | None]:
    """The text that each mark of a figure shows under the pointer."""
    root = ElementTree.fromstring(figure.svg)
    return [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
