"""A page in headless Chromium, looked at as a reader would: what is drawn, cut, too small, or overlaps."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
"""The browser, if there is one."""

SMALLEST = 9.0
"""Smallest text of a figure that is read with ease, px."""

_LOOK = """
const frame = document.querySelector("iframe"), smallest = SMALLEST;
frame.addEventListener("load", () => {
  const page = frame.contentDocument, view = frame.contentWindow, width = frame.clientWidth, problems = [];
  const style = e => view.getComputedStyle(e);
  const scrolls = e => e && (["auto", "scroll"].includes(style(e).overflowX) || scrolls(e.parentElement));
  const name = e => `${e.tagName.toLowerCase()} ${e.id || e.textContent.trim().slice(0, 30)}`;
  if (page.documentElement.scrollWidth > width) problems.push("cut: the page is wider than the window");
  for (const e of page.querySelectorAll("p, h1, h2, h3, th, td, summary, figcaption, pre, svg")) {
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > width + 1 || box.left < -1) && !scrolls(e)) problems.push(`cut: ${name(e)}`);
  }
  const figures = [...page.querySelectorAll("figure")];
  for (const figure of figures) {
    const svg = figure.querySelector("svg"), outer = svg && svg.getBoundingClientRect();
    if (!svg || !outer.width || !svg.querySelector("[role=graphics-symbol], .mark-rule line, .mark-line path"))
      problems.push(`empty: ${figure.id}`);
    else {
      const scale = outer.width / svg.viewBox.baseVal.width;
      const texts = [...svg.querySelectorAll("text")].filter(text => text.textContent.trim());
      const boxes = texts.map(text => [text, text.getBoundingClientRect()]);
      for (const [text] of boxes)
        if (parseFloat(style(text).fontSize) * scale < smallest)
          problems.push(`small: ${figure.id}: ${text.textContent}`);
      boxes.forEach(([text, a], at) => boxes.slice(0, at).forEach(([other, b]) => {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 1.5 && high > 0.3 * Math.min(a.height, b.height))
          problems.push(`overlap: ${figure.id}: ${text.textContent} / ${other.textContent}`);
      }));
    }
  }
  const fetched = view.performance.getEntriesByType("resource").map(entry => entry.name);
  const found = JSON.stringify({figures: figures.map(figure => figure.id), fetched, problems});
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = found;
});
"""


class Look(NamedTuple):
    """What a browser shows of a page."""

    figures: list[str]
    """Ids of its figures."""
    fetched: list[str]
    """Addresses that it asked for."""
    problems: list[str]
    """What is empty, cut, small or overlaps."""


def look(page: str, width: int, folder: Path) -> Look:
    """Open a page in a window of a width.

    :param page: HTML.
    :param width: of the window, px. The browser's own windows are at least 500 px wide, so it is a frame in one.
    :param folder: for the page and the browser's profile.
    """
    script = _LOOK.replace("SMALLEST", str(SMALLEST))
    source = json.dumps(page).replace("</", "<\\/")
    file = folder / f"{width}.html"
    file.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="margin:0">'
        f'<iframe style="width:{width}px;height:4000px;border:0"></iframe>'
        f"<script>{script}frame.srcdoc = {source};</script>"
    )
    command = [
        CHROMIUM or "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}/profile",
    ]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1600,1000", "--dump-dom", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found, shown[-2000:]
    return Look(**json.loads(html.unescape(found[1])))
