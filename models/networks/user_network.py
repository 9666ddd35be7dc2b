"""A network of the user's own: found by name, told apart by its source, and held to its contract.

`network.define = "module:function"` names a function that is called as

    build(settings, elements=…, irreps_out=…, num_neighbors=…)

with the `network` section of the configuration (`hidden.irreps` as text), the number of elements, what is predicted
for each atom (`o3.Irreps`) and the typical number of neighbours. It returns a `torch.nn.Module` whose forward takes a
`tesseral.models.networks.graph.Graph` and returns (atoms, irreps_out.dim). `tesseral.models.networks.network.Network`
is such a function.
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
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.parsing.user_function import source_hash

DEFINE = "network.define"
"""Where a study file names it."""


def check_source(trial: Trial) -> None:
    """Check that a trial's own network, if it has one, is still of the source that the trial was planned with.

    :raises StudyFileError: if not, or as `define.source_hash`.
    """
    define = trial.configuration.network.define
    source = None if define is None else source_hash(define, DEFINE)
    if trial.source != source:
        expected, got = (value[:12] if value else "none" for value in (trial.source, source))
        raise StudyFileError(DEFINE, f"expected source code of the trial's hash, {expected}, got {got}")


@contextmanager
def faults_of(define: str | None) -> Iterator[None]:
    """Say what a network of the user's own raises in one sentence; where it runs for the first time.

    :raises StudyFileError: in place of anything that it raises.
    """
    try:
        yield
    except StudyFileError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise StudyFileError(DEFINE, f"{define!r} raised {type(error).__name__}: {reason}") from error


def to_irreps(layout: tuple[MulIrrep, ...]) -> o3.Irreps:
    """The same irreps as e3nn's."""
    return o3.Irreps([(mul, (order, p)) for mul, order, p in layout])


def resolved(settings: configuration.Network) -> configuration.Network:
    """Hidden irreps as text, if any are asked for: a network of the user's own need not have them."""
    try:
        return replace(settings, hidden=settings.hidden.resolve())
    except StudyFileError:
        return settings


class UserNetwork(Module):
    """What a user's function built, held to the irreps that it is asked for.

    :param build: from `define.load`; the rest is what it is called with.
    :raises StudyFileError: if it returns no module, or one that states other irreps.
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
        self.dim = self.irreps_out.dim  # torch.compile follows no irreps
        settings = resolved(settings)
        network = build(settings, elements=elements, irreps_out=self.irreps_out, num_neighbors=num_neighbors)
        if not isinstance(network, Module):
            raise StudyFileError(DEFINE, f"expected a torch.nn.Module of {settings.define!r}, got {type(network)}")
        stated = getattr(network, "irreps_out", None)
        if stated is not None and o3.Irreps(stated).simplify() != self.irreps_out.simplify():
            raise StudyFileError(DEFINE, f"expected a network of irreps_out {self.irreps_out}, got one of {stated}")
        self.network = network

    def forward(self, graph: Graph) -> Tensor:
        """(atoms, irreps_out.dim).

        :raises StudyFileError: if the network returns something else.
        """
        outputs = self.network(graph)
        expected = (len(graph.species), self.dim)
        if not isinstance(outputs, Tensor) or outputs.shape != expected:
            came = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
            raise StudyFileError(
                DEFINE,
                f"expected a network that returns a tensor of shape {expected}, atoms × dimension of "
                f"{self.irreps_out}, got {came}",
            )
        return outputs
