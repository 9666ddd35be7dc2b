"""The gated network after Rackers & Rao (arXiv 2210.04766), from e3nn's o3 primitives."""

from collections.abc import Callable
from functools import partial

from e3nn import o3
from torch import Tensor
from torch.nn import Module, ModuleList

from tesseral.models.convolution import Convolution
from tesseral.models.device import initialising
from tesseral.models.gate import Gate
from tesseral.models.graph import Graph
from tesseral.models.user_network import DEFINE, UserNetwork, to_irreps
from tesseral.study import configuration
from tesseral.study.define import load
from tesseral.study.irreps import MulIrrep


class Layer(Module):
    """A convolution and a gate: the hidden features that it makes are those of `irreps_hidden` it can reach."""

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_hidden: o3.Irreps,
        *,
        lmax: int,
        elements: int,
        radial: list[int],
        num_neighbors: float,
    ) -> None:
        super().__init__()
        harmonics = o3.Irreps.spherical_harmonics(lmax)
        reached = {ir for _, ir_in in irreps_in for _, harmonic in harmonics for ir in ir_in * harmonic}
        # If anything is reached then 0e is too, for the gates: features of l = 1, 2, … contract with the harmonics
        # of the same l that made them, in the first layer, and no layer loses an irrep.
        self.gate = Gate(o3.Irreps([(mul, ir) for mul, ir in irreps_hidden if ir in reached]))
        self.convolution = Convolution(
            irreps_in,
            self.gate.irreps_in,
            lmax=lmax,
            elements=elements,
            radial=radial,
            num_neighbors=num_neighbors,
        )
        self.irreps_in, self.irreps_out = self.convolution.irreps_in, self.gate.irreps_out

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{self.irreps_in} -> {self.irreps_out}"

    def forward(self, features: Tensor, graph: Graph) -> Tensor:
        """(atoms, irreps_in.dim) ↦ (atoms, irreps_out.dim)."""
        return self.gate(self.convolution(features, graph))


class Network(Module):
    """`settings.layers` gated convolutions, then an output convolution; the input is the one-hot of the element.

    Outputs of an irrep that the network cannot reach are exactly zero (`tesseral.models.reach` names them).

    :param settings: the `network` section, `hidden` resolved.
    :param elements: number of elements.
    :param irreps_out: what is predicted for each atom, as e3nn's irreps.
    :param num_neighbors: messages are divided by its square root.
    """

    def __init__(
        self,
        settings: configuration.Network,
        *,
        elements: int,
        irreps_out: o3.Irreps,
        num_neighbors: float,
    ) -> None:
        super().__init__()
        self.irreps_in = o3.Irreps([(elements, "0e")])
        self.irreps_hidden = o3.Irreps(settings.hidden.resolve().irreps)
        self.irreps_out = o3.Irreps(irreps_out)
        radial = [settings.radial_functions, *settings.radial_layers * [settings.radial_width]]
        self.layers = ModuleList()
        irreps = self.irreps_in
        for _ in range(settings.layers):
            layer = Layer(
                irreps,
                self.irreps_hidden,
                lmax=settings.harmonics_lmax,
                elements=elements,
                radial=radial,
                num_neighbors=num_neighbors,
            )
            self.layers.append(layer)
            irreps = layer.irreps_out
        self.output = Convolution(
            irreps,
            self.irreps_out,
            lmax=settings.harmonics_lmax,
            elements=elements,
            radial=radial,
            num_neighbors=num_neighbors,
        )

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{self.irreps_in} -> {self.irreps_out}"

    def forward(self, graph: Graph) -> Tensor:
        """(atoms, irreps_out.dim)."""
        features = graph.elements
        for layer in self.layers:
            features = layer(features, graph)
        return self.output(features, graph)


def build_network(
    settings: configuration.Network, elements: int, outputs: tuple[MulIrrep, ...], *, num_neighbors: float, seed: int
) -> Network | UserNetwork:
    """A network that gives `outputs` for each atom, in float64 on the CPU; its weights depend on `seed` alone.

    Neither reads nor changes the state of torch's global generators. For another precision, round it with `.to`:
    e3nn rounds its Clebsch-Gordan coefficients to the precision that it is built in.

    :raises StudyFileError: if `settings.define` names a network that cannot be loaded, or that is of other irreps.
    """
    irreps_out = to_irreps(outputs)
    build: Callable[..., Network | UserNetwork] = Network
    if settings.define is not None:
        build = partial(UserNetwork, load(settings.define, DEFINE))
    with initialising(seed):
        return build(settings, elements=elements, irreps_out=irreps_out, num_neighbors=num_neighbors)


def parameters(module: Module) -> int:
    """Trainable numbers."""
    return sum(weights.numel() for weights in module.parameters() if weights.requires_grad)
