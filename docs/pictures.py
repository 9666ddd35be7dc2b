"""Make the pictures of these pages, and the README's, from a report: `python docs/pictures.py runs quickstart`.

The figures are those of the report itself, as PNG. Run the quickstart first.
"""

import argparse
import io
import re
from collections.abc import Sequence
from pathlib import Path

import vl_convert
from PIL import Image

HERE = Path(__file__).parent
SHOWN = ("error-by-arm", "change-by-arm", "error-by-order", "learning", "features-1", "ablation-1")
README = (("error-by-arm", "change-by-arm"), ("error-by-order",))
"""The README's picture: columns of figures."""
WHITE = "#ffffff"
GAP = 24


def figures(report: Path) -> dict[str, str]:
    """The SVG of each figure of a report, by the figure's id."""
    return dict(re.findall(r'<figure id="([^"]+)">\s*<div[^>]*>(<svg.*?</svg>)', report.read_text("utf-8"), re.S))


def png(svg: str, scale: float) -> Image.Image:
    """A figure on a white ground."""
    drawn = Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=scale))).convert("RGBA")
    ground = Image.new("RGBA", drawn.size, WHITE)
    return Image.alpha_composite(ground, drawn).convert("RGB")


def beside(columns: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Columns of pictures on one ground."""
    width = sum(max(picture.width for picture in column) for column in columns) + GAP * (len(columns) + 1)
    height = max(sum(picture.height + GAP for picture in column) for column in columns) + GAP
    ground = Image.new("RGB", (width, height), WHITE)
    left = GAP
    for column in columns:
        top = GAP
        for picture in column:
            ground.paste(picture, (left, top))
            top += picture.height + GAP
        left += max(picture.width for picture in column) + GAP
    return ground


def main() -> None:
    """Write `docs/pictures/*.png` and `docs/quickstart.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", type=Path)
    parser.add_argument("study")
    asked = parser.parse_args()
    drawn = figures(asked.storage / asked.study / "report.html")
    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    for name in SHOWN:
        png(drawn[name], 1.5).quantize(64).save(folder / f"{name}.png", optimize=True)
    readme = beside([[png(drawn[name], 1.0) for name in column] for column in README])
    readme.quantize(64).save(HERE / "quickstart.png", optimize=True)


if __name__ == "__main__":
    main()
