"""Figures become files that other programs open, with the size that was drawn."""

import io
import re

from PIL import Image

from tesseral.analysis.figures.error_figures import error_figures
from tesseral.analysis.figures.figure_files import RESOLUTION, write_figures


def test_a_figure_is_written_in_three_formats_with_its_caption(tables, results, tmp_path):
    figure = next(iter(error_figures(tables, results.arms)))
    written = write_figures([figure], tmp_path / "figures")
    assert [path.name for path in written] == [f"{figure.name}.{ending}" for ending in ("svg", "pdf", "png", "txt")]
    svg, pdf, png, text = (path.read_bytes() for path in written)
    assert svg.decode() == figure.svg
    assert pdf.startswith(b"%PDF-")
    assert text.decode() == f"{figure.caption}\n"
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    width = float(re.search(r'width="([\d.]+)', figure.svg)[1])
    assert abs(picture.width - width * RESOLUTION / 72) <= 1
