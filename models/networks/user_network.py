"""A user's own network: loaded by name, identified by its source code, and checked against its contract.

`network.define = "module:function"` names a function that is called as

    build(settings, elements=…, irreps_out=…, num_neighbors=…)

with the `network` section of the configuration (its `hidden.irreps` as text), the number of elements, the irreps
predicted for each atom (`o3.Irreps`) and the typical number of neighbours. It returns a `torch.nn.Module` whose forward
takes a `tesseral.models.networks.graph.Graph` and returns (atoms, irreps_out.dim). `Network` itself has this signature.
`tesseral.models.networks.testing` holds the checks that such a network should pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from e3nn import o3
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import Graph
from tesseral.study import configuration
from tesseral.study.configuration.trial import Trial
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.user_function import source_hash

DEFINE = "network.define"
"""The key of a study file that names it."""


def check_source(trial: Trial) -> None:
    """Check that the source code of a trial's own network, if it has one, is the one that the trial was planned with.

    :param trial: as planned.
    :raises StudyFileError: if it is not, or cannot be loaded.
    """
    define = trial.configuration.network.define
    source = None if define is None else source_hash(define, DEFINE)
    if trial.source != source:
        expected, got = (value[:12] if value else "none" for value in (trial.source, source))
        raise StudyFileError(DEFINE, f"expected source code of the trial's hash, {expected}, got {got}")


@contextmanager
def raised_as_study_error(define: str | None) -> Iterator[None]:
    """Turn any error of a user's network into one sentence, where the network runs for the first time.

    :param define: `module:function`, for the sentence.
    :raises StudyFileError: in place of any exception in the block.
    """
    try:
        yield
    except StudyFileError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise StudyFileError(DEFINE, f"{define!r} raised {type(error).__name__}: {reason}") from error


def resolve_hidden(settings: configuration.Network) -> configuration.Network:
    """Settings with hidden irreps as text; unchanged if they name none, which a user's network may not need.

    :param settings: the `network` section.
    """
    try:
        return replace(settings, hidden=settings.hidden.resolve())
    except StudyFileError:
        return settings


class UserNetwork(Module):
    """A module that a user's function built, checked against the irreps that it should predict.

    :param build: the function, as `tesseral.study.parsing.user_function.load` returns it.
    :param settings: the `network` section.
    :param elements: number of elements.
    :param irreps_out: irreps predicted for each atom.
    :param num_neighbors: typical number of neighbours.
    :raises StudyFileError: if the function returns no module, or one whose `irreps_out` differs.
    """

    def __init__(
        self,
        build: Callable[..., Any],
        settings: configuration.Network,
        *,
        elements: int,
        irreps_out: o3.Irreps,
        num_neighbors: float,
    ) -> None:
        super().__init__()
        self.irreps_out = o3.Irreps(irreps_out)
        self.dim = self.irreps_out.dim  # a plain number for `forward`: torch.compile cannot trace irreps
        settings = resolve_hidden(settings)
        network = build(settings, elements=elements, irreps_out=self.irreps_out, num_neighbors=num_neighbors)
        if not isinstance(network, Module):
            raise StudyFileError(DEFINE, f"expected a torch.nn.Module of {settings.define!r}, got {type(network)}")
        stated = getattr(network, "irreps_out", None)
        if stated is not None and o3.Irreps(stated).simplify() != self.irreps_out.simplify():
            raise StudyFileError(DEFINE, f"expected a network of irreps_out {self.irreps_out}, got one of {stated}")
        self.network = network

    def forward(self, graph: Graph) -> Tensor:
        """Predict irreps_out for every atom, and check the shape.

        :param graph: built with the settings' edge basis.
        :returns: (atoms, irreps_out.dim).
        :raises StudyFileError: if the network returns anything else.
        """
        outputs = self.network(graph)
        expected = (graph.species.shape[0], self.dim)
        if not isinstance(outputs, Tensor) or outputs.shape != expected:
            came = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
            raise StudyFileError(
                DEFINE,
                f"expected a network that returns a tensor of shape {expected}, atoms × dimension of "
                f"{self.irreps_out}, got {came}",
            )
        return outputs
