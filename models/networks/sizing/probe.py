"""The size and reach of a user's own network, found numerically by building and running it.

Its code is not known, so there is no blueprint. Live weights are those with a nonzero gradient, unreachable outputs
those that are zero, in each of a few random draws of weights and geometry. The probe of `[traces]` is another: a fixed
batch of training structures.
"""

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module
from torch.utils.flop_counter import FlopCounterMode

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph, join
from tesseral.models.networks.irreps import e3nn_irreps
from tesseral.models.networks.products.backend import count_as_e3nn
from tesseral.models.networks.seeding import initialising
from tesseral.models.networks.sizing.size import Shape, Size
from tesseral.models.networks.user_network import DEFINE, UserNetwork, raised_as_study_error, resolve_hidden
from tesseral.study import configuration
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import quantity_of
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.parsing.user_function import load

DRAWS = 3
"""Number of draws of weights and geometry; a weight is dead, or an output unreachable, if it is zero in all of them."""

VANISHING = 1e-10
"""An output below this share of the largest one counts as zero. Rounding leaves far less of an exact zero."""
DEAD = 1e-14
"""A gradient below this share of the largest one counts as zero. Among a million nonzero gradients the smallest is near
1e-11; rounding leaves about 1e-17 of an exact zero."""


def measure_size(configuration: Configuration, shape: Shape) -> Size:
    """Measure the size of a user's network by building and running it.

    A weight is live if its gradient is nonzero in one of `DRAWS` draws of weights, geometry and cotangent: the loss is
    Σ outputs · cotangent, so that no symmetry of one draw hides a weight.

    FLOPs are those of a training step that torch's `FlopCounterMode` counts (matrix products, forward and backward), on
    one random graph with the mean structure's numbers of atoms and edges, times the batch size. For forces they include
    the gradient with respect to positions and the backward pass through it.

    :param configuration: whose `network.define` names the network.
    :param shape: elements, outputs and mean structure of the data.
    :raises StudyFileError: if the network cannot be loaded, built or run.
    """
    settings = configuration.network
    build, irreps_out = load(settings.define or "", DEFINE), e3nn_irreps(shape.layout)
    neighbors = settings.num_neighbors or shape.edges / shape.atoms
    with raised_as_study_error(settings.define), initialising(0):
        network = UserNetwork(build, settings, elements=shape.elements, irreps_out=irreps_out, num_neighbors=neighbors)
        network.eval()
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        live = [torch.zeros_like(weight, dtype=torch.bool) for weight in weights]
        for _ in range(DRAWS):
            stir(network)
            graph = _probe(settings, shape.elements)
            # Random radial values: those of a geometry are nearly zero for functions that peak at other distances.
            outputs = network(graph._replace(radial=torch.randn_like(graph.radial)))
            network.zero_grad()
            _backward((outputs * torch.randn_like(outputs)).sum())
            gradients = [torch.zeros_like(w) if w.grad is None else w.grad.abs() for w in weights]
            largest = max((float(gradient.max()) for gradient in gradients if gradient.numel()), default=0.0)
            live = [mask | (gradient > DEAD * largest) for mask, gradient in zip(live, gradients, strict=True)]
        graph = _random_graph(settings, shape)
        count_as_e3nn(network)
        with FlopCounterMode(display=False) as counter:
            _backward(_step(network, graph, quantity_of(configuration.target.quantity).differentiated))
    return Size(
        parameters=sum(weight.numel() for weight in weights),
        parameters_live=sum(int(mask.sum()) for mask in live),
        components=o3.Irreps(resolve_hidden(settings).hidden.irreps or "").dim,
        flops=counter.get_total_flops() * configuration.training.batch_size,
    )


def probe_unreachable(
    configuration: Configuration, layout: tuple[MulIrrep, ...], elements: int
) -> tuple[MulIrrep, ...]:
    """The terms of `layout` that a user's network predicts as zero in each of `DRAWS` draws of weights and geometry.

    :param configuration: whose `network.define` names the network.
    :param layout: irreps of the outputs of each atom.
    :param elements: number of elements.
    :raises StudyFileError: if the network cannot be loaded, built or run, or mixes the structures of a batch.
    """
    settings = configuration.network
    build, irreps_out = load(settings.define or "", DEFINE), e3nn_irreps(layout)
    zero = torch.ones(len(layout), dtype=torch.bool)
    for seed in range(DRAWS):
        with raised_as_study_error(settings.define), initialising(seed), torch.no_grad():
            network = UserNetwork(
                build, settings, elements=elements, irreps_out=irreps_out, num_neighbors=settings.num_neighbors or 4.0
            )
            stir(network)
            outputs = _separate_outputs(network.eval(), settings, elements).abs()
        largest = torch.stack([outputs[:, part].max() for part in irreps_out.slices()])
        zero &= largest <= VANISHING * largest.max()
    return tuple(term for term, vanishes in zip(layout, zero.tolist(), strict=True) if vanishes)


def _separate_outputs(network: UserNetwork, settings: configuration.Network, elements: int) -> Tensor:
    """The outputs for two structures, each by itself, which must equal those for the two joined in one graph.

    Half the digits of the network's coarsest dtype must agree: sums over more atoms are rounded in another order. A
    network that is random in evaluation too differs from itself, and is not judged.

    :raises StudyFileError: if the network mixes the structures of a batch.
    """
    structures = [_probe(settings, elements), _probe(settings, elements, more=2, charge=1.0)]
    alone, again = (torch.cat([network(graph) for graph in structures]) for _ in range(2))
    together = network(join(structures))
    numbers = [part for part in (alone, *network.parameters(), *network.buffers()) if part.is_floating_point()]
    tolerance = max(torch.finfo(part.dtype).eps for part in numbers) ** 0.5 * alone.nan_to_num().abs().max()
    if not _near(alone, again, tolerance) or _near(alone, together, tolerance):
        return alone
    raise StudyFileError(
        DEFINE,
        "expected outputs of an atom that depend on its own structure alone (`graph.structure` says which that is), "
        f"but those of {settings.define!r} change when a second structure is joined to the graph",
    )


def _near(outputs: Tensor, expected: Tensor, tolerance: Tensor) -> bool:
    return torch.allclose(outputs, expected, rtol=0, atol=float(tolerance), equal_nan=True)


def _step(network: Module, graph: Graph, differentiated: bool) -> Tensor:
    """A scalar to differentiate: the sum of outputs; for a target that is a gradient, the energy plus its squared
    gradient with respect to the inputs that positions determine."""
    if not differentiated:
        return network(graph).sum()
    moved = [part.requires_grad_() for part in (graph.harmonics, graph.radial, graph.positions)]
    # Times one: the FLOP counter fails on leaf tensors as a module's input.
    harmonics, radial, positions = (1 * part for part in moved)
    energy = network(graph._replace(harmonics=harmonics, radial=radial, positions=positions)).sum()
    if not energy.requires_grad:
        return energy
    gradients = torch.autograd.grad(energy, moved, create_graph=True, allow_unused=True)
    return energy + sum(part.square().sum() for part in gradients if part is not None)


def _backward(loss: Tensor) -> None:
    """Run the backward pass, if the loss depends on any weight."""
    if loss.requires_grad:
        loss.backward()


@torch.no_grad()
def stir(network: Module) -> None:
    """Move weights off their initial values: a last layer that starts at zero would hide all weights before it.

    :param network: whose weights are changed, by torch's global generator.
    """
    for weight in network.parameters():
        if weight.requires_grad and weight.numel():
            weight.add_(torch.randn_like(weight) * (float(weight.square().mean().sqrt()) or 1.0))


def _probe(settings: configuration.Network, elements: int, *, more: int = 0, charge: float = 0.0) -> Graph:
    """A graph of two atoms of each element, five at least, plus `more`; without symmetry, all of them neighbours."""
    atoms = max(5, 2 * elements) + more
    # The diagonal of this cube is shorter than the cutoff, so all atoms are neighbours.
    positions = torch.rand(atoms, 3) * (settings.radial_cutoff / 2)
    edges = EdgeBasis.from_settings(settings)
    return build_graph(torch.arange(atoms) % elements, positions, elements, edges, charge=charge)


def _random_graph(settings: configuration.Network, shape: Shape) -> Graph:
    """A graph with the mean structure's numbers of atoms and edges, its values and connections random."""
    atoms, edges = max(1, round(shape.atoms)), round(shape.edges)
    species = torch.randint(shape.elements, (atoms,))
    return Graph(
        species=species,
        elements=torch.nn.functional.one_hot(species, shape.elements).to(torch.get_default_dtype()),
        source=torch.randint(atoms, (edges,)),
        destination=torch.randint(atoms, (edges,)),
        harmonics=torch.randn(edges, (settings.harmonics_lmax + 1) ** 2),
        radial=torch.rand(edges, EdgeBasis.from_settings(settings).number),
        positions=torch.randn(atoms, 3),
        structure=torch.zeros(atoms, dtype=torch.int64),
        charge=torch.zeros(1),
        reverse=torch.zeros(0, dtype=torch.int64),
        half=torch.zeros(0, dtype=torch.int64),
        shift=torch.zeros(0, 3),
        cell=torch.zeros(1, 3, 3),
    )
