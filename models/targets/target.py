"""The contract of a target: from a network's outputs on the atoms to a prediction, and from there to its metrics."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import Module

from tesseral.models.data.data_set import Batch
from tesseral.models.networks.graph import Graph
from tesseral.study.parsing.irreps import MulIrrep


class Value(NamedTuple):
    """A metric's value; `l` is None where the metric has none."""

    metric: str
    l: int | None  # noqa: E741 - the column's name
    value: float

    @property
    def key(self) -> str:
        """Such as `l2_error` or `block_error.l2`."""
        return self.metric if self.l is None else f"{self.metric}.l{self.l}"


class Target(Module, ABC):
    """What is predicted, and how it is judged.

    A prediction is a tensor shaped as `Batch.values`, and so is an error; of a target that predicts two things at
    once both are named tuples of tensors.
    """

    outputs: tuple[MulIrrep, ...]
    """What the network gives for each atom."""

    @abstractmethod
    def standardise(self, structures: Sequence[Batch]) -> None:
        """Set shifts and scales from the structures of a training split.

        :raises DataError: if there is nothing to learn, for all of them have one value.
        """

    def calibrate(self, network: Module, structures: Sequence[Batch]) -> None:
        """Fit scales, once standardised, to what an untrained network in evaluation gives for a training split.

        Of most targets there is nothing to fit: outputs of a network begin at one or below, whatever its layers.
        """

    @abstractmethod
    def read(self, outputs: Tensor, graph: Graph) -> Tensor:
        """The prediction, from outputs of shape (atoms, dimension of `outputs`)."""

    def predict(self, network: Module, graph: Graph) -> Any:
        """The prediction of a network for a graph."""
        return self.read(network(graph), graph)

    def error(self, prediction: Any, batch: Batch) -> Any:
        """Prediction less reference."""
        return prediction - batch.values

    @abstractmethod
    def sums(self, error: Any, batch: Batch) -> dict[str, Tensor]:
        """What metrics are made of, in double precision: it adds up over the batches of a split."""

    @abstractmethod
    def values(self, sums: dict[str, Tensor]) -> list[Value]:
        """Metrics of a split, from the sums over its batches."""
