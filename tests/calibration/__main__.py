"""Run the calibration: `python -m tests.calibration --figures build/calibrate.json`; one process and one thread."""

import argparse
import sys
from pathlib import Path

from tests.benchmarks.figures import report
from tests.calibration.cells import all_cells

STUDIES = 20_000
"""Studies in a cell: a share of 5 % is then known to 0.15 %, one standard deviation."""


def main() -> int:
    """Run every cell, and exit with 1 if a figure does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument(
        "--figures", type=Path, required=True, help="file of the figures as JSON; those there are replaced"
    )
    parser.add_argument("--studies", type=int, default=STUDIES, help=f"studies in a cell; {STUDIES} by default")
    asked = parser.parse_args()
    return 0 if report(all_cells(asked.studies), asked.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
