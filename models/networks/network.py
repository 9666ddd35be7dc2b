"""The configurable network: elements in, layers of one kind, a readout of the outputs for each atom."""

from collections.abc import Callable
from functools import partial

import torch
from e3nn import o3
from torch import Tensor, cat
from torch.nn import Module, ModuleList, Parameter

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.irreps import e3nn_irreps
from tesseral.models.networks.layers.convolution import Convolution
from tesseral.models.networks.layers.cormorant import CormorantLayer
from tesseral.models.networks.layers.gated import GatedLayer
from tesseral.models.networks.layers.layer import Layer, Residual, shared_irreps
from tesseral.models.networks.layers.mace import MaceLayer
from tesseral.models.networks.products.linear import Linear
from tesseral.models.networks.seeding import initialising
from tesseral.models.networks.user_network import DEFINE, UserNetwork
from tesseral.study import configuration
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.parsing.user_function import load

LAYERS: dict[str, Callable[..., Layer]] = {"gated": GatedLayer, "cormorant": CormorantLayer, "mace": MaceLayer}
"""The layer of each `network.interaction`, with the signature of `GatedLayer`."""


class Embedding(Module):
    """Embed elements as learned scalars, z_i W/√E: a row of W for each of the E elements.

    The factor gives embedded features the mean square of the one-hot z, 1/E, as e3nn's linear maps do.

    :param elements: number of elements E.
    :param width: number of scalars.
    """

    def __init__(self, elements: int, width: int) -> None:
        super().__init__()
        self.weight = Parameter(torch.randn(elements, width))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' -> '.join(map(str, self.weight.shape))})"

    def forward(self, elements: Tensor) -> Tensor:
        """The scalars of each atom.

        :param elements: (atoms, elements), one-hot.
        :returns: (atoms, width).
        """
        return elements @ (self.weight * len(self.weight) ** -0.5)


class LinearReadout(Module):
    """Read outputs linearly from the features of every layer, out = Σ_t L_t x_t.

    The sum is built as one linear map of the concatenated features: initial weights of variance 1 then keep the second
    moment, however many layers there are. Irreps that no layer has are zero.

    :param layers: irreps of each layer's features.
    :param irreps_out: irreps of the outputs.
    """

    def __init__(self, layers: list[o3.Irreps], irreps_out: o3.Irreps) -> None:
        super().__init__()
        self.irreps_in = o3.Irreps([mul_ir for irreps in layers for mul_ir in irreps])
        self.irreps_out = o3.Irreps(irreps_out)
        self.linear = Linear(self.irreps_in, self.irreps_out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.irreps_in} -> {self.irreps_out})"

    def forward(self, features: list[Tensor]) -> Tensor:
        """Read the outputs from the features of all layers.

        :param features: for each layer, (atoms, irreps.dim).
        :returns: (atoms, irreps_out.dim).
        """
        outputs: Tensor = self.linear(cat(features, dim=1))
        return outputs


class Network(Module):
    """Elements, one-hot or embedded; `settings.layers` layers; a readout of irreps_out for each atom.

    Outputs whose irreps the network cannot reach are exactly zero; `tesseral.models.networks.sizing.reach` names them.

    :param settings: the `network` section.
    :param elements: number of elements.
    :param irreps_out: irreps predicted for each atom.
    :param num_neighbors: typical number of neighbours; messages are divided by its square root.
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
        # Products expect features of second moment 1; that of a one-hot is 1/E. The gated network has no products of
        # features, and keeps the scale of the network that it follows.
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
            self.output = Convolution(irreps, self.irreps_out, settings, elements=elements, num_neighbors=num_neighbors)

    def extra_repr(self) -> str:
        """Irreps, in -> out."""
        return f"{self.irreps_in} -> {self.irreps_out}"

    def forward(self, graph: Graph) -> Tensor:
        """Predict irreps_out for every atom.

        :param graph: built with the settings' edge basis.
        :returns: (atoms, irreps_out.dim).
        """
        features = graph.elements if self.embedding is None else self.embedding(graph.elements)
        if self.scale != 1:
            features = features * self.scale
        of_layers = []
        for layer in self.layers:
            features = layer(features, graph)
            of_layers.append(features)
        if isinstance(self.output, LinearReadout):
            return self.output(of_layers)
        return self.output(features, graph)


def build_network(
    settings: configuration.Network, elements: int, outputs: tuple[MulIrrep, ...], *, num_neighbors: float, seed: int
) -> Network | UserNetwork:
    """Build the network that a `network` section asks for, in float64 on the CPU.

    The state of torch's global generators is neither used nor changed. For another precision use `torch.nn.Module.to`,
    rather than building in it: e3nn's Clebsch-Gordan coefficients are as precise as the dtype that they are built in.

    :param settings: the `network` section.
    :param elements: number of elements.
    :param outputs: irreps predicted for each atom.
    :param num_neighbors: typical number of neighbours; messages are divided by its square root.
    :param seed: all that the initial weights depend on.
    :returns: `Network`, or the user's own where `settings.define` names one.
    :raises StudyFileError: if a user's network cannot be loaded or states other irreps.
    """
    irreps_out = e3nn_irreps(outputs)
    build: Callable[..., Network | UserNetwork] = Network
    if settings.define is not None:
        build = partial(UserNetwork, load(settings.define, DEFINE))
    with initialising(seed):
        return build(settings, elements=elements, irreps_out=irreps_out, num_neighbors=num_neighbors)


def count_parameters(module: Module) -> int:
    """Number of trainable weights.

    :param module: a network, or any part of one.
    """
    return sum(weights.numel() for weights in module.parameters() if weights.requires_grad)
