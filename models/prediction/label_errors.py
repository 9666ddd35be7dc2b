"""Errors of predictions against the labels of a file: mean absolute, root mean square, and of the norm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelError:
    """Errors of one column over the frames that have it, in one unit."""

    frames: int
    components_mae: float
    """Mean of |Δ| over all components."""
    components_rmse: float
    """√ of the mean of Δ² over all components."""
    norm_mae: float
    """Mean over rows (structures, or atoms) of the norm of Δ."""


@dataclass
class ErrorSums:
    """Sums over frames that the errors of one column are made of."""

    frames: int = 0
    rows: int = 0
    components: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    norms: float = 0.0

    def add(self, difference: Array, norms: float | None = None) -> None:
        """Add a frame.

        :param difference: prediction less label, shape (components,) or (atoms, components).
        :param norms: the sum of its rows' norms; None: those of the components.
        """
        rows = np.atleast_2d(difference)
        self.frames += 1
        self.rows += len(rows)
        self.components += rows.size
        self.absolute += float(np.abs(rows).sum())
        self.squared += float(np.square(rows).sum())
        self.norms += float(np.linalg.norm(rows, axis=1).sum()) if norms is None else norms

    def errors(self) -> LabelError:
        """The errors over all frames that were added, at least one."""
        return LabelError(
            self.frames,
            self.absolute / self.components,
            (self.squared / self.components) ** 0.5,
            self.norms / self.rows,
        )
