"""The columns of a table that hold changes: one for each interval, whose heading says what it holds for."""

from collections.abc import Sequence
from dataclasses import replace

from tesseral.analysis.terms.estimate import Estimate, bounds_here, interval

CHANGE = "change, %"


def change_columns(changes: Sequence[Estimate | None], here: str) -> list[dict[str, str]]:
    """One dictionary (heading → cell) for each row, all with the same headings; the first column holds the change.

    :param changes: of the rows, percent; None for a row without one.
    :param here: what the interval beside that for new data holds for; see `Sampling.here`.
    """
    known = [change for change in changes if change is not None]
    new = any(change.low is not None for change in known)
    two = new and any(change.differs_here or (change.low is None and change.here) for change in known)
    holds = "new data" if new else here.removeprefix("for ").removeprefix("the ")
    heading = f"{CHANGE}, {holds}" if any(change.shown[0] is not None for change in known) else CHANGE
    return [
        {
            heading: interval(_new(change) if new else change, signed=True) if change else "–",
            **({here: (bounds_here(change, signed=True) if change else "") or "–"} if two else {}),
        }
        for change in changes
    ]


def _new(change: Estimate) -> Estimate:
    """A change with its interval for new data, and none where there is none."""
    return replace(change, here=None) if change.low is None else change
