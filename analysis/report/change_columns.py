"""The columns of a table that hold changes: one for each interval, whose heading says what it holds for."""

from collections.abc import Sequence

from tesseral.analysis.terms.estimate import Estimate, bounds_here, interval
from tesseral.analysis.terms.sampling import Sampling

CHANGE = "change, %"


def change_columns(changes: Sequence[Estimate | None], sampling: Sampling) -> list[dict[str, str]]:
    """One dictionary (heading → cell) for each row, all with the same headings; the first column holds the change.

    :param changes: of the rows, percent; None for a row without one.
    :param sampling: of the study.
    """
    known = [change for change in changes if change is not None]
    two = any(change.differs_here for change in known)
    holds = ", new data" if any(change.low is not None for change in known) else f", {sampling.here}"
    heading = CHANGE + (holds if any(change.shown[0] is not None for change in known) else "")
    return [
        {
            heading: interval(change, signed=True) if change else "–",
            **({sampling.here: (bounds_here(change, signed=True) if change else "") or "–"} if two else {}),
        }
        for change in changes
    ]
