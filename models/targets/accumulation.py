"""A batch computed in parts: each part's loss, weighted so that losses and gradients add up to those of the whole."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from tesseral.models.data.data_set import Batch
from tesseral.models.targets.loss import Loss
from tesseral.models.targets.model import Model


def parted(indices: Sequence[int], parts: int) -> list[Sequence[int]]:
    """At most `parts` runs of the indices, in their order: none empty, and of sizes that differ by one at most."""
    count = min(parts, len(indices))
    return [indices[i:j] for i, j in pairwise(len(indices) * k // count for k in range(count + 1))]


def partial_losses(model: Model, loss: Loss, batches: Sequence[Batch]) -> Iterator[Tensor]:
    """Of each batch its part, (), of the loss of all of them together, computed when it is asked for.

    So the gradients of one can be taken, and its memory freed, before the next is computed.
    """
    whole = sum(loss.denominator(batch) for batch in batches)
    for batch in batches:
        mean = loss(model.target.error(model(batch.graph), batch), batch)
        yield mean * (loss.denominator(batch) / whole)
