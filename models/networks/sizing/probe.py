"""A network of the user's own, measured by building and running it: no formula knows it."""

import torch
from e3nn import o3
from torch import Tensor
from torch.nn import Module
from torch.utils.flop_counter import FlopCounterMode

from tesseral.models.networks.graph import Graph, build_graph, edge_basis, join
from tesseral.models.networks.seeding import initialising
from tesseral.models.networks.sizing.size import Shape, Size
from tesseral.models.networks.user_network import DEFINE, UserNetwork, faults_of, resolved, to_irreps
from tesseral.study import configuration
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.parsing.user_function import load

DRAWS = 3
"""Weights and geometries that are tried before a weight counts as dead, or an output as unreachable."""

VANISHING = 1e-10
"""An output relative to the largest: what rounding leaves of an exact zero lies far below."""
DEAD = 1e-14
"""A gradient relative to the largest: among a million the smallest that is no zero is near 1e-11, and rounding leaves
1e-17 of a zero."""


def measure_size(configuration: Configuration, shape: Shape) -> Size:
    """The size of a user's network, by building and running it.

    A weight is live if its gradient is not zero in one of `DRAWS` draws of weights, geometry and cotangent. FLOPs are
    those of a training step that torch can count (products of matrices, forward and backward), on a random graph of
    the mean structure, times the batch size; of forces by gradient, those of the gradient and of the way back through
    it too.

    :raises StudyFileError: as `define.load` and `UserNetwork`.
    """
    settings = configuration.network
    build, irreps_out = load(settings.define or "", DEFINE), to_irreps(shape.layout)
    neighbors = settings.num_neighbors or shape.edges / shape.atoms
    with faults_of(settings.define), initialising(0):
        network = UserNetwork(build, settings, elements=shape.elements, irreps_out=irreps_out, num_neighbors=neighbors)
        network.eval()
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        live = [torch.zeros_like(weight, dtype=torch.bool) for weight in weights]
        for _ in range(DRAWS):
            _stir(network)
            graph = _probe(settings, shape.elements)
            # Every radial function counts, at whatever distance it peaks.
            outputs = network(graph._replace(radial=torch.randn_like(graph.radial)))
            network.zero_grad()
            _backward((outputs * torch.randn_like(outputs)).sum())
            gradients = [torch.zeros_like(w) if w.grad is None else w.grad.abs() for w in weights]
            largest = max((float(gradient.max()) for gradient in gradients if gradient.numel()), default=0.0)
            live = [mask | (gradient > DEAD * largest) for mask, gradient in zip(live, gradients, strict=True)]
        graph = _random_graph(settings, shape)
        with FlopCounterMode(display=False) as counter:
            _backward(_step(network, graph, configuration.target.quantity))
    return Size(
        parameters=sum(weight.numel() for weight in weights),
        parameters_live=sum(int(mask.sum()) for mask in live),
        components=o3.Irreps(resolved(settings).hidden.irreps).dim,
        flops=counter.get_total_flops() * configuration.training.batch_size,
    )


def probe_unreachable(
    configuration: Configuration, layout: tuple[MulIrrep, ...], elements: int
) -> tuple[MulIrrep, ...]:
    """The irreps of the layout that a user's network predicts as zero in each of `DRAWS` draws of weights and geometry.

    :raises StudyFileError: as `define.load` and `UserNetwork`; or if structures in one graph see each other.
    """
    settings = configuration.network
    build, irreps_out = load(settings.define or "", DEFINE), to_irreps(layout)
    zero = torch.ones(len(layout), dtype=torch.bool)
    for seed in range(DRAWS):
        with faults_of(settings.define), initialising(seed), torch.no_grad():
            network = UserNetwork(
                build, settings, elements=elements, irreps_out=irreps_out, num_neighbors=settings.num_neighbors or 4.0
            )
            _stir(network)
            outputs = _apart(network.eval(), settings, elements).abs()
        largest = torch.stack([outputs[:, part].max() for part in irreps_out.slices()])
        zero &= largest <= VANISHING * largest.max()
    return tuple(term for term, vanishes in zip(layout, zero.tolist(), strict=True) if vanishes)


def _apart(network: UserNetwork, settings: configuration.Network, elements: int) -> Tensor:
    """The outputs for two structures, each by itself; they must be the same where both are joined in one graph.

    Half of the digits must agree, of the coarsest numbers that the network has: sums over more atoms round otherwise.
    Of a network that is random in evaluation too, nothing can be said but the shape.

    :raises StudyFileError: if they are not.
    """
    structures = [_probe(settings, elements), _probe(settings, elements, more=2, charge=1.0)]
    alone, again = (torch.cat([network(one) for one in structures]) for _ in range(2))
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


def _near(found: Tensor, expected: Tensor, tolerance: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=float(tolerance), equal_nan=True)


def _step(network: Module, graph: Graph, quantity: str) -> Tensor:
    """What is differentiated: outputs, or of forces the energy and its gradient by what positions make, squared."""
    if quantity not in QUANTITIES or QUANTITIES[quantity].pooling != "gradient":
        return network(graph).sum()
    moved = [part.requires_grad_() for part in (graph.harmonics, graph.radial, graph.positions)]
    # Times one, for the counter of operations takes no leaves as a module's input.
    harmonics, radial, positions = (1 * part for part in moved)
    energy = network(graph._replace(harmonics=harmonics, radial=radial, positions=positions)).sum()
    if not energy.requires_grad:
        return energy
    gradients = torch.autograd.grad(energy, moved, create_graph=True, allow_unused=True)
    return energy + sum(part.square().sum() for part in gradients if part is not None)


def _backward(loss: Tensor) -> None:
    """Unless the loss depends on no weight."""
    if loss.requires_grad:
        loss.backward()


@torch.no_grad()
def _stir(network: Module) -> None:
    """Move weights off where they begin: zeros, as many begin a last layer with, would hide what lies behind them."""
    for weight in network.parameters():
        if weight.requires_grad and weight.numel():
            weight.add_(torch.randn_like(weight) * (float(weight.square().mean().sqrt()) or 1.0))


def _probe(settings: configuration.Network, elements: int, *, more: int = 0, charge: float = 0.0) -> Graph:
    """Two atoms of each element, five at least, and some more, without symmetry and all of them neighbours."""
    atoms = max(5, 2 * elements) + more
    # The diagonal of the cube is shorter than the cutoff.
    positions = torch.rand(atoms, 3) * (settings.radial_cutoff / 2)
    basis = edge_basis(settings)._asdict()
    return build_graph(torch.arange(atoms) % elements, positions, elements, charge=charge, **basis)


def _random_graph(settings: configuration.Network, shape: Shape) -> Graph:
    """As many atoms and edges as the mean structure has, joined and filled at random."""
    atoms, edges = max(1, round(shape.atoms)), round(shape.edges)
    species = torch.randint(shape.elements, (atoms,))
    return Graph(
        species=species,
        elements=torch.nn.functional.one_hot(species, shape.elements).to(torch.get_default_dtype()),
        source=torch.randint(atoms, (edges,)),
        destination=torch.randint(atoms, (edges,)),
        harmonics=torch.randn(edges, (settings.harmonics_lmax + 1) ** 2),
        radial=torch.randn(edges, settings.radial_functions),
        positions=torch.randn(atoms, 3),
        structure=torch.zeros(atoms, dtype=torch.int64),
        charge=torch.zeros(1),
    )
