"""Run the calibration: `python -m tests.calibration --figures build/calibrate.json`."""

import argparse
import sys
from pathlib import Path

from tests.benchmarks.figures import report
from tests.calibration.calibrate import CELLS, calibrate

STUDIES = 20_000
"""Studies of a kind: a share of 5 % is then known to 0.15 %, one standard error."""


def main() -> int:
    """Run every cell, or those named, and exit with 1 if a figure does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--figures", type=Path, required=True, help="file of the figures as JSON; it is made anew")
    parser.add_argument("--studies", type=int, default=STUDIES, help=f"studies of a kind; {STUDIES} by default")
    parser.add_argument("--processes", type=int, default=2, help="cells at the same time; 2 by default")
    parser.add_argument("--cell", choices=CELLS, action="append", help="only this one, into the file that is there")
    asked = parser.parse_args()
    if not asked.cell:
        asked.figures.unlink(missing_ok=True)
    holds = True
    for figures in calibrate(asked.cell or list(CELLS), asked.studies, asked.processes):
        holds &= report(figures, asked.figures)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
