"""The contract of a target: from a network's outputs on the atoms to a prediction, its loss and its metrics."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import Batch
from tesseral.models.networks.graph import Graph
from tesseral.study import configuration
from tesseral.study.configuration.quantities import Quantity
from tesseral.study.parsing.irreps import MulIrrep

B = TypeVar("B", bound=Batch)
"""The type of batch that a target reads."""
P = TypeVar("P")
"""The type of a prediction, and of an error."""
B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)
P_contra = TypeVar("P_contra", contravariant=True)


class Value(NamedTuple):
    """A metric's value."""

    metric: str
    """A name in `tesseral.study.configuration.metrics.METRICS`."""
    l: int | None  # noqa: E741 - the column's name
    """Order of the output; None for the whole."""
    value: float

    @property
    def key(self) -> str:
        """Such as `l2_error` or `block_error.l2`."""
        return self.metric if self.l is None else f"{self.metric}.l{self.l}"


class Loss(Protocol[P_contra, B_contra]):
    """What training minimises: a sum over a batch, divided by a denominator that adds up over the parts of a batch.

    So the loss of the whole is the mean of the parts' losses, weighted by their denominators.
    """

    def __call__(self, error: P_contra, batch: B_contra) -> Tensor:
        """The loss of a batch, ().

        :param error: prediction less reference, as `Target.error` gives it.
        """

    def denominator(self, batch: B_contra) -> int:
        """What the sum over the batch is divided by.

        :param batch: the batch of the sum.
        """

    def to(self, dtype: torch.dtype) -> Any:
        """As a module's.

        :param dtype: precision of the training.
        """


class Target(Module, ABC, Generic[B, P]):
    """What is predicted, and how it is trained and judged.

    A prediction is a tensor shaped as `Batch.values`, and so is an error. A target that predicts two things at once
    has named tuples of tensors for both.
    """

    quantity: Quantity
    outputs: tuple[MulIrrep, ...]
    """Irreps of the network's outputs on each atom."""

    @abstractmethod
    def standardise(self, structures: Sequence[B]) -> None:
        """Set shifts and scales from the structures of a training split.

        :param structures: of the training split, each a batch of one.
        :raises DataError: if there is nothing to learn, since all of them have one value.
        """

    def calibrate(self, network: Module, batches: Iterable[B]) -> None:
        """Fit scales to the first outputs of an untrained network, once standardised.

        Most targets have nothing to fit: the outputs of any network begin at one or below.

        :param network: in evaluation mode.
        :param batches: of structures of the training split.
        """

    @abstractmethod
    def build_loss(self, settings: configuration.Loss, structures: Sequence[B]) -> Loss[P, B]:
        """The loss that the configuration names, in the precision of the target, once standardised.

        :param settings: resolved, so that it fits the quantity.
        :param structures: of the training split.
        :raises DataError: if every term that has a weight lacks reference values.
        """

    @abstractmethod
    def read(self, outputs: Tensor, graph: Graph) -> Tensor:
        """The prediction, from outputs of shape (atoms, dimension of `outputs`).

        :param outputs: (atoms, dimension of `outputs`).
        :param graph: of the same atoms.
        :returns: shaped as `Batch.values`, in the quantity's unit.
        """

    def predict(self, network: Module, graph: Graph) -> Any:
        """The prediction of a network for a graph.

        :param network: in training or evaluation mode.
        :param graph: of one structure or several.
        :returns: as `read`; the energies beside it where a target predicts two things.
        """
        return self.read(network(graph), graph)

    def error(self, prediction: Any, batch: B) -> Any:
        """Prediction less reference, in the quantity's unit.

        :param prediction: as `predict` returns it.
        :param batch: the structures that it is for.
        :returns: shaped as the prediction; a target of two predictions leaves out, as None, what the reference lacks.
        """
        return prediction - batch.values

    @abstractmethod
    def sums(self, error: P, batch: B) -> dict[str, Tensor]:
        """What metrics are made of: sums over a batch that add up over the batches of a split.

        So a split is measured batch by batch. A metric that is a ratio or a root is taken of the whole split's sums.

        :param error: as `error` returns it.
        :param batch: the structures that it is for.
        :returns: name → sum, () or one entry for each order l, float64. Every batch has the same names.
        """

    @abstractmethod
    def values(self, sums: dict[str, Tensor]) -> list[Value]:
        """Metrics of a split, from the sums over its batches. One without a defined value is left out.

        :param sums: name → sum over the batches of `sums`.
        """
