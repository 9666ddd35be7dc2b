"""The networks of this project: an embedding of the elements, layers of one kind, a readout."""

from collections.abc import Callable
from functools import partial

import torch
from e3nn import o3
from torch import Tensor, cat
from torch.nn import Module, ModuleList, Parameter

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.convolution import Convolution
from tesseral.models.networks.layers.cormorant import CormorantLayer
from tesseral.models.networks.layers.gated import GatedLayer
from tesseral.models.networks.layers.layer import Layer, Residual, shared_irreps
from tesseral.models.networks.layers.mace import MaceLayer
from tesseral.models.networks.layers.messages import radial_sizes
from tesseral.models.networks.seeding import initialising
from tesseral.models.networks.user_network import DEFINE, UserNetwork, to_irreps
from tesseral.study import configuration
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.parsing.user_function import load

LAYERS: dict[str, Callable[..., Layer]] = {"gated": GatedLayer, "cormorant": CormorantLayer, "mace": MaceLayer}
"""By `network.interaction`. Each is called as `GatedLayer` is."""


class Embedding(Module):
    """z_i W/√E: one row of a learned matrix for each of the E elements.

    Its mean square is that of the one-hot z, 1/E, as e3nn's linear maps would have it.

    :param elements: E.
    :param width: scalars made.
    """

    def __init__(self, elements: int, width: int) -> None:
        super().__init__()
        self.weight = Parameter(torch.randn(elements, width))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' -> '.join(map(str, self.weight.shape))})"

    def forward(self, elements: Tensor) -> Tensor:
        """(atoms, elements), one-hot ↦ (atoms, width)."""
        return elements @ (self.weight * len(self.weight) ** -0.5)


class LinearReadout(Module):
    """out = Σ_t L_t x_t over the layers t, each L_t linear.

    The sum is one linear map of all features, so that weights of variance 1 keep the features' second moment however
    many layers there are. Irreps that no layer has are zero.

    :param layers: irreps of each layer's features.
    :param irreps_out: what is made of them.
    """

    def __init__(self, layers: list[o3.Irreps], irreps_out: o3.Irreps) -> None:
        super().__init__()
        self.irreps_in = o3.Irreps([mul_ir for irreps in layers for mul_ir in irreps])
        self.irreps_out = o3.Irreps(irreps_out)
        self.linear = o3.Linear(self.irreps_in, self.irreps_out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out})"

    def forward(self, features: list[Tensor]) -> Tensor:
        """Of each layer (atoms, its irreps.dim) ↦ (atoms, irreps_out.dim)."""
        made: Tensor = self.linear(cat(features, dim=1))
        return made


class Network(Module):
    """`settings.layers` layers, then the readout; what enters is the element, one-hot or embedded.

    Outputs of an irrep that the network cannot reach are exactly zero (`tesseral.models.networks.sizing.reach` names
    them).

    :param settings: the `network` section.
    :param elements: number of elements.
    :param irreps_out: what is predicted for each atom, as e3nn's irreps.
    :param num_neighbors: messages are divided by its square root.
    :raises StudyFileError: if the settings cannot be resolved.
    """

    embedding: Embedding | None

    def __init__(
        self,
        settings: configuration.Network,
        *,
        elements: int,
        irreps_out: o3.Irreps,
        num_neighbors: float,
    ) -> None:
        super().__init__()
        settings = settings.resolve()
        self.irreps_in = o3.Irreps([(elements, "0e")])
        self.irreps_hidden = o3.Irreps(settings.hidden.irreps)
        self.irreps_out = o3.Irreps(irreps_out)
        self.embedding = None if settings.embedded is None else Embedding(elements, settings.embedded)
        # Products take features of second moment 1; a one-hot's is 1/E, and the gated network has it as it is.
        self.scale = 1.0 if settings.interaction == "gated" else elements**0.5
        self.layers = ModuleList()
        irreps = o3.Irreps([(settings.embedded or elements, "0e")])
        for _ in range(settings.layers):
            layer = LAYERS[settings.interaction](
                irreps, self.irreps_hidden, settings, elements=elements, num_neighbors=num_neighbors
            )
            if settings.residual and shared_irreps(irreps, layer.irreps_out):
                layer = Residual(layer)
            self.layers.append(layer)
            irreps = layer.irreps_out
        self.output: Convolution | LinearReadout
        if settings.readout == "linear":
            self.output = LinearReadout([layer.irreps_out for layer in self.layers], self.irreps_out)
        else:
            self.output = Convolution(
                irreps,
                self.irreps_out,
                lmax=settings.harmonics_lmax,
                elements=elements,
                radial=radial_sizes(settings),
                num_neighbors=num_neighbors,
            )

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{self.irreps_in} -> {self.irreps_out}"

    def forward(self, graph: Graph) -> Tensor:
        """(atoms, irreps_out.dim)."""
        features = graph.elements if self.embedding is None else self.embedding(graph.elements)
        if self.scale != 1:
            features = features * self.scale
        made = []
        for layer in self.layers:
            features = layer(features, graph)
            made.append(features)
        if isinstance(self.output, LinearReadout):
            return self.output(made)
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
