"""Figures as files for a paper: SVG, PDF and PNG."""

from collections.abc import Iterable
from pathlib import Path

import vl_convert

from tesseral.analysis.figures.diagram_figures import Drawing
from tesseral.analysis.figures.figure import Figure
from tesseral.study.errors import StoreError

RESOLUTION = 300
"""Of PNG files, pixels to an inch."""
_WHITE = '<rect width="100%" height="100%" fill="#ffffff"/>'


def write_figures(figures: Iterable[Figure | Drawing], folder: Path) -> list[Path]:
    """Write each figure as `<name>.svg`, `<name>.pdf` and `<name>.png`, and its caption as `<name>.txt`.

    SVG and PDF are transparent, PNG is white.

    :param figures: of a report.
    :param folder: that is made where it is missing; files of the same names are replaced.
    :returns: the files.
    :raises StoreError: if one cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            svg = str(figure.svg)
            contents = {
                "svg": svg.encode(),
                "pdf": vl_convert.svg_to_pdf(svg),
                "png": vl_convert.svg_to_png(svg.replace(">", f">{_WHITE}", 1), ppi=RESOLUTION),
                "txt": f"{figure.caption}\n".encode(),
            }
            for ending, content in contents.items():
                path = folder / f"{figure.name}.{ending}"
                path.write_bytes(content)
                written.append(path)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from None
    return written
