"""What training tells while it runs, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Recorder(Protocol):
    """What training tells while it runs."""

    def curves(self, rows: list[dict[str, Any]]) -> None:
        """Rows of `tesseral.study.records.schemas.CURVES` without `trial`."""

    def traces(self, rows: list[dict[str, Any]]) -> None:
        """Rows of `tesseral.study.records.schemas.TRACES` without `trial`."""

    def boundary(self, step: int, steps: int, state: Callable[[], bytes], metrics: dict[str, float]) -> None:
        """An epoch has ended and every row up to `step` was given.

        :param state: makes a checkpoint, if one is wanted.
        :param metrics: last values, as in `Result.metrics`.
        """


@dataclass(frozen=True)
class Result:
    """A training that reached its end."""

    metrics: dict[str, float]
    """Last values by split and metric, such as `test.l2_error` or `validation.block_error.l2`; `test` if asked for."""
    steps: int
    """Optimizer steps."""
    seconds: float
    """Wall time over all attempts, without the ablations after the last step."""
    parameters: int
    """Trainable numbers."""
    device: str
    """`cpu` or the accelerator's name."""
    peak_memory: int
    """Bytes: the process's largest resident memory on the CPU, the largest allocated memory on an accelerator."""


class DivergedError(Exception):
    """The loss or a metric became infinite or not a number."""

    def __init__(self, reason: str, step: int, metrics: dict[str, float]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.step = step
        """Optimizer steps done when it was noticed."""
        self.metrics = metrics
        """Last finite values, as in `Result.metrics`."""
