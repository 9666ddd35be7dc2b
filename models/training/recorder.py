"""The interface of a training to its records: rows, epoch boundaries, the result, or divergence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Recorder(Protocol):
    """Receives what a training measures; `tesseral.study.records` writes it, tests keep it in memory."""

    def curves(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of `tesseral.study.records.schemas.CURVES` without `trial`.

        :param rows: one for each metric and order.
        """

    def traces(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of `tesseral.study.records.schemas.TRACES` without `trial`.

        :param rows: one for each statistic of a layer, irrep and path.
        """

    def boundary(self, step: int, steps: int, state: Callable[[], bytes], metrics: dict[str, float]) -> None:
        """Mark the end of an epoch: every row up to `step` has been given.

        :param step: optimizer steps done.
        :param steps: optimizer steps of the whole training.
        :param state: makes a checkpoint; called only if one is wanted.
        :param metrics: last values, as in `Result.metrics`.
        """


@dataclass(frozen=True)
class Result:
    """The result of a training that reached its end."""

    metrics: dict[str, float]
    """Last values by split and metric, such as `test.l2_error` or `validation.block_error.l2`; test metrics only if the
    test split was measured."""
    steps: int
    """Optimizer steps."""
    seconds: float
    """Wall time over all attempts, s, without the ablations after the last step."""
    parameters: int
    """Number of trainable parameters."""
    device: str
    """`cpu` or the accelerator's name."""
    peak_memory: int
    """Peak memory in bytes, see `tesseral.models.training.device.peak_memory`."""


class DivergedError(Exception):
    """The loss or a metric became infinite or not a number."""

    def __init__(self, reason: str, step: int, metrics: dict[str, float]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.step = step
        """Optimizer steps done when the divergence was noticed."""
        self.metrics = metrics
        """Last finite values, as in `Result.metrics`."""
