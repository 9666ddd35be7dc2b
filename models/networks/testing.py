"""A conformance suite for networks: what a study relies on, as tests that a class of yours inherits.

A network of your own, in `my_network.py`::

    from e3nn import o3
    from torch.nn import Module


    class Neighbours(Module):
        \"""Σ_j w(z_j, r_ij) Y(r_ij) / √num_neighbors, with w linear in the radial functions.\"""

        def __init__(self, settings, *, elements, irreps_out, num_neighbors):
            super().__init__()
            scalars = o3.Irreps([(elements * settings.radial_functions, "0e")])
            harmonics = o3.Irreps.spherical_harmonics(settings.harmonics_lmax)
            self.product = o3.FullyConnectedTensorProduct(scalars, harmonics, irreps_out)
            self.scale = num_neighbors**-0.5

        def forward(self, graph):
            elements = graph.elements[graph.source]
            scalars = (elements[:, :, None] * graph.radial[:, None, :]).flatten(1)
            messages = self.product(scalars, graph.harmonics)
            outputs = messages.new_zeros(len(graph.species), messages.shape[1])
            return outputs.index_add(0, graph.destination, messages) * self.scale

and its tests, in `test_my_network.py`::

    from tesseral.models.networks.testing import NetworkConformance, small_settings


    class TestNeighbours(NetworkConformance):
        settings = small_settings(define="my_network:Neighbours")
        expected_parameters = 50  # 2 elements × 5 radial functions × 5 paths, to 2x0e, 2x1o and 1x2e

Run them with `pytest test_my_network.py`. The suite needs pytest, which tesseral itself does not install.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any, ClassVar

try:
    import pytest
except ImportError as error:
    raise ImportError("tesseral.models.networks.testing needs pytest: install it with `pip install pytest`") from error

import torch
from e3nn import o3
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import Module

from tesseral.models.networks.graph import EdgeBasis, Graph, at_positions, build_graph, join
from tesseral.models.networks.irreps import e3nn_irreps
from tesseral.models.networks.network import build_network, count_parameters
from tesseral.models.networks.sizing.probe import measure_size, probe_unreachable
from tesseral.models.networks.sizing.reach import unreachable
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.study import configuration
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden
from tesseral.study.parsing.irreps import MulIrrep, parse_irreps

__all__ = ["NetworkConformance", "small_settings"]

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Tolerance of equivariance, relative to the largest output."""
ROUNDING = 1e-12
"""What rounding in float64 may leave of a zero, or change where sums run in another order; relative to the largest."""
DERIVATIVE: dict[str, Any] = {"eps": 1e-6, "atol": 1e-6, "rtol": 1e-5}
"""Step of the central differences that derivatives are compared with, and the tolerance of the comparison."""

ELEMENTS = 2
"""Number of elements in the suite's structures."""
SPECIES = torch.tensor([1, 0, 0, 1, 0, 0])
POSITIONS = 1.2 * torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
"""Six atoms without symmetry, most of them neighbours of each other; Å."""
FAR = 100.0
"""A distance beyond any cutoff, Å."""


def small_settings(hidden: str = "3x0e+2x1o+2x2e", **changes: Any) -> configuration.Network:
    """A `network` section whose network is small enough for numerical derivatives.

    :param hidden: hidden irreps.
    :param changes: other keys of the section, such as `define` or `layers`.
    """
    small = {"layers": 2, "harmonics_lmax": 2, "radial_functions": 5, "radial_width": 6}
    return configuration.Network(hidden=Hidden(irreps=hidden), **{**small, **changes})


class NetworkConformance:
    """Checks that every network must pass; subclass it as `Test…` and state `settings`.

    The network is built in float64 unless a check says otherwise, and asked in evaluation mode. It should be small, as
    that of `small_settings` is: numerical derivatives take some hundred evaluations. Override `build` to check a
    network that no study file can name.
    """

    settings: ClassVar[configuration.Network]
    """The `network` section of the network to check."""
    expected_parameters: ClassVar[int | None] = None
    """Number of trainable weights. Required for a user's network, which is measured by building it; tesseral's own are
    counted from their settings."""
    outputs: ClassVar[tuple[MulIrrep, ...]] = parse_irreps("2x0e+1x0o+1x1e+2x1o+1x2e+1x2o+1x3e+1x3o+1x5o")
    """Irreps predicted for each atom. Most networks cannot reach some of them."""
    compiles: ClassVar[bool] = True
    """Whether `torch.compile` can trace the network as one graph."""
    why_not: ClassVar[str] = "."
    """A regular expression for the error of `torch.compile`, where `compiles` is false."""

    @classmethod
    def build(cls, seed: int) -> Module:
        """Build the network in float64, with weights that depend on the seed alone."""
        return build_network(cls.settings, ELEMENTS, cls.outputs, num_neighbors=4.0, seed=seed)

    @classmethod
    def graph(cls, positions: Tensor = POSITIONS, species: Tensor = SPECIES) -> Graph:
        """Build the graph of one structure, with the edges that the settings ask for."""
        return build_graph(species, positions, ELEMENTS, EdgeBasis.from_settings(cls.settings))

    @classmethod
    def configuration(cls) -> Configuration:
        """A whole configuration with these settings; its data and target do not matter here."""
        return Configuration(data=Data(reference="none.parquet", train=1, test=1), network=cls.settings)

    @pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
    @pytest.mark.parametrize("parity", [1, -1], ids=["rotation", "rotoinversion"])
    def test_outputs_rotate_with_the_structure(self, dtype: torch.dtype, parity: int) -> None:
        """Rotating, or inverting and rotating, the structure transforms the outputs by their irreps."""
        network = built(type(self), 0, dtype)
        rotation = random_rotation() * parity
        moved = network(rounded(self.graph(POSITIONS @ rotation.T), dtype))
        still = network(rounded(self.graph(), dtype))
        check(moved.dtype == still.dtype == dtype, f"expected outputs of {dtype}, got {moved.dtype} and {still.dtype}")
        expected = (len(SPECIES), dimension(self.outputs))
        check(still.shape == expected, f"expected outputs of shape {expected}, got {tuple(still.shape)}")
        rotated = still.double() @ representation(self.outputs, rotation).T
        check(bool(rotated.abs().max() > 1e-3), "expected outputs above 1e-3, or the comparison shows nothing")
        check_near(moved.double(), rotated, TOLERANCE[dtype], "outputs of the rotated structure")

    def test_outputs_do_not_depend_on_the_origin(self) -> None:
        """Translating the structure changes nothing."""
        network = built(type(self))
        shift = torch.tensor([10.0, -20.0, 5.0], dtype=torch.float64)
        moved, still = network(self.graph(POSITIONS + shift)), network(self.graph())
        check_near(moved, still, TOLERANCE[torch.float64], "outputs of the translated structure")

    def test_outputs_follow_a_permutation_of_atoms(self) -> None:
        """Listing the atoms in another order permutes the outputs."""
        network, order = built(type(self)), torch.tensor([4, 2, 0, 5, 1, 3])
        moved = network(self.graph(POSITIONS[order], SPECIES[order]))
        check_near(moved, network(self.graph())[order], ROUNDING, "outputs of atoms in another order")

    def test_structures_of_a_batch_are_independent(self) -> None:
        """A batch of structures has the outputs of each structure by itself."""
        network = built(type(self))
        structures = [
            self.graph(),
            self.graph(POSITIONS[:1], SPECIES[:1]),
            self.graph(POSITIONS[:3] + 0.1, SPECIES[:3]),
            self.graph(1.1 * POSITIONS),
        ]
        separate = torch.cat([network(graph) for graph in structures])
        check_near(network(join(structures)), separate, ROUNDING, "outputs of a batch")

    def test_an_isolated_atom_has_scalar_outputs_only(self) -> None:
        """It has neither direction nor handedness, so all outputs but 0e vanish. Atoms out of sight change nothing."""
        network = built(type(self))
        alone = torch.cat([network(self.graph(POSITIONS[:1], SPECIES[i : i + 1])) for i in range(ELEMENTS)])
        check(bool(alone.isfinite().all()), "expected finite outputs of an isolated atom")
        for term, columns in terms(self.outputs):
            if (term.l, term.p) != (0, 1):
                check_negligible(alone[:, columns], alone, f"{term} of an isolated atom")
        aside = torch.cat([POSITIONS[:5], POSITIONS[5:] + FAR])
        check_near(network(self.graph(aside))[5:], alone[1:], ROUNDING, "outputs of an atom far from the others")

    def test_a_graph_without_edges(self) -> None:
        """Atoms beyond the cutoff have the outputs of isolated atoms, and finite gradients."""
        network = built(type(self))
        apart = self.graph(FAR * POSITIONS)
        check(len(apart.source) == 0, f"expected a cutoff below {FAR} Å")
        alone = torch.cat([network(self.graph(POSITIONS[:1], SPECIES[i : i + 1])) for i in range(len(SPECIES))])
        outputs = network(apart)
        check_near(outputs, alone, ROUNDING, "outputs of atoms without neighbours")
        check_finite_gradients(network, outputs)

    def test_a_graph_with_one_edge(self) -> None:
        """Two atoms are symmetric about their axis and by every plane that contains it; an edge carries one way."""
        network = built(type(self))
        pair = self.graph(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.1, 0.0]], dtype=torch.float64), SPECIES[:2])
        to_first = pair.destination == 0
        none = pair.reverse[:0]  # the edge that is left has no reverse
        kept = {name: getattr(pair, name)[to_first] for name in EDGE_FIELDS}
        single = pair._replace(**kept, reverse=none, half=none)
        check((len(pair.source), len(single.source)) == (2, 1), "expected a cutoff above 1.1 Å")
        for graph in (pair, single):
            outputs = network(graph)
            check_finite_gradients(network, outputs)
            for term, columns in terms(self.outputs):
                values = outputs[:, columns].reshape(2, term.mul, -1).clone()
                if term.p == (-1) ** term.l:
                    values[:, :, term.l] = 0  # the axis is y, e3nn's polar axis: m = 0 is free
                check_negligible(values, outputs, f"{term} of a pair of atoms, off its axis")
        alone = network(self.graph(POSITIONS[:1], SPECIES[1:2]))
        check_near(network(single)[1:], alone, ROUNDING, "outputs of an atom that receives no messages")

    def test_derivatives_with_respect_to_positions(self) -> None:
        """First derivatives, and the second ones that training on forces needs, agree with differences."""
        network, graph = built(type(self)), self.graph(POSITIONS[:4], SPECIES[:4])
        basis = EdgeBasis.from_settings(self.settings)
        mixing = torch.randn(4 * dimension(self.outputs), 3, dtype=torch.float64, generator=generator())

        def outputs(positions: Tensor) -> Tensor:
            mixed: Tensor = network(at_positions(graph, positions, basis)).flatten() @ mixing
            return mixed

        positions = POSITIONS[:4].clone().requires_grad_()
        check_near(outputs(positions), network(graph).flatten() @ mixing, ROUNDING, "outputs at recomputed edges")
        check(gradcheck(outputs, positions, **DERIVATIVE), "expected first derivatives to agree")
        check(gradgradcheck(outputs, positions, fast_mode=True, **DERIVATIVE), "expected second derivatives to agree")

    def test_derivatives_with_respect_to_weights(self) -> None:
        """They agree with differences."""
        network, graph = built(type(self)), self.graph(POSITIONS[:4], SPECIES[:4])
        names, weights = zip(*trainable(network), strict=True)
        mixing = torch.randn(4 * dimension(self.outputs), 2, dtype=torch.float64, generator=generator())

        def outputs(*weights: Tensor) -> Tensor:
            values = torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (graph,))
            mixed: Tensor = values.flatten() @ mixing
            return mixed

        copies = [weight.detach().clone().requires_grad_() for weight in weights]
        check(gradcheck(outputs, copies, fast_mode=True, **DERIVATIVE), "expected derivatives to agree")

    def test_number_of_parameters(self) -> None:
        """The stated number, the planned one and that of the built network are equal."""
        own = self.settings.define is not None
        shape = Shape(elements=ELEMENTS, layout=self.outputs, atoms=6.0, edges=20.0)
        planned = (measure_size if own else size)(self.configuration(), shape).parameters
        actual = count_parameters(built(type(self)))
        check(not own or self.expected_parameters is not None, f"state expected_parameters; the network has {actual}")
        expected = planned if self.expected_parameters is None else self.expected_parameters
        check(
            expected == planned == actual > 0,
            f"expected {expected} parameters, got {planned} planned and {actual} in the network",
        )

    @pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
    def test_unreachable_outputs_alone_are_zero(self, dtype: torch.dtype) -> None:
        """Outputs predicted to be unreachable are exactly zero, and all others are nonzero for every atom."""
        missing = predicted_unreachable(type(self))
        outputs = built(type(self), 0, dtype)(rounded(self.graph(), dtype))
        check(len(missing) < len(self.outputs), "expected a network that reaches some of the outputs")
        for term, columns in terms(self.outputs):
            values = outputs[:, columns].abs()
            if term in missing:
                check(bool((values == 0).all()), f"expected zeros for {term}, which is out of reach")
            else:
                nonzero = values.amax(dim=1) > 1e-6 * outputs.abs().max()
                check(bool(nonzero.all()), f"expected nonzero values of {term} for every atom")

    def test_weights_are_saved_and_loaded(self) -> None:
        """The state dict holds all that the outputs depend on."""
        graph, network, other = self.graph(), built(type(self)), self.build(seed=1).eval()
        expected = network(graph)
        check(not torch.equal(other(graph), expected), "expected other weights from another seed")
        file = BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        check(torch.equal(other(graph), expected), "expected equal outputs with the loaded weights")

    def test_weights_depend_on_the_seed_alone(self) -> None:
        """Building again gives the same weights and outputs, and leaves torch's global state as it was."""
        network, graph = built(type(self)), self.graph()
        state, dtype = torch.manual_seed(7).get_state(), torch.get_default_dtype()
        again = self.build(seed=0).eval()
        check(torch.equal(torch.get_rng_state(), state), "expected torch's global generator unchanged")
        check(torch.get_default_dtype() == dtype, "expected torch's default dtype unchanged")
        for (name, weight), (same, other) in zip(trainable(network), trainable(again), strict=True):
            check(name == same and torch.equal(weight, other), f"expected equal weights {name}")
        outputs = network(graph)
        check(torch.equal(outputs, network(graph)), "expected equal outputs when asked twice")
        check(torch.equal(outputs, again(graph)), "expected equal outputs of equal weights")

    def test_torch_compile(self, fresh_compiler: None) -> None:
        """It traces the whole network; the `eager` backend runs the trace without a C++ compiler, bit for bit."""
        network, graph = built(type(self)), self.graph()
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        if not self.compiles:
            with pytest.raises(Exception, match=self.why_not):
                compiled(graph)
            return
        check(torch.equal(compiled(graph), network(graph)), "expected equal outputs of the compiled network")

    @pytest.fixture
    def fresh_compiler(self) -> Iterator[None]:
        """Forget what other tests compiled: Dynamo recompiles a function only a few times."""
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()


EDGE_FIELDS = ("source", "destination", "harmonics", "radial")
"""The fields of `Graph` that describe each edge by itself."""


# Plain functions with messages rather than `assert`: pytest rewrites the assertions of test files only, so those of an
# installed module would fail without a word.


def check(condition: bool, message: str) -> None:
    """Raise an `AssertionError` with a message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def check_near(values: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Check that values agree, to a share of the largest expected one or of 1."""
    check(values.shape == expected.shape, f"{what}: expected shape {tuple(expected.shape)}, got {tuple(values.shape)}")
    bound = tolerance * max(1.0, float(expected.detach().abs().max()))
    error = float((values - expected).detach().abs().max())
    check(error <= bound, f"{what}: expected agreement to {bound:.1e}, got a difference of {error:.1e}")


def check_negligible(values: Tensor, outputs: Tensor, what: str) -> None:
    """Check that values are zero up to rounding, relative to the largest output."""
    largest, bound = float(values.detach().abs().max()), float(ROUNDING * outputs.detach().abs().max())
    check(largest <= bound, f"{what}: expected zero to {bound:.1e}, got {largest:.1e}")


def check_finite_gradients(network: Module, outputs: Tensor) -> None:
    """Check the gradient of every weight that the outputs depend on."""
    names, weights = zip(*trainable(network), strict=True)
    gradients = torch.autograd.grad(outputs.square().sum(), weights, allow_unused=True)
    for name, gradient in zip(names, gradients, strict=True):
        check(gradient is None or bool(gradient.isfinite().all()), f"expected a finite gradient of {name}")


_BUILT: dict[tuple[type, int, torch.dtype], Module] = {}


def built(suite: type[NetworkConformance], seed: int = 0, dtype: torch.dtype = torch.float64) -> Module:
    """The network of a suite in evaluation mode, built once; no check may change it."""
    key = (suite, seed, dtype)
    if key not in _BUILT:
        _BUILT[key] = suite.build(seed).to(dtype).eval()
    return _BUILT[key]


def predicted_unreachable(suite: type[NetworkConformance]) -> tuple[MulIrrep, ...]:
    """The outputs out of reach: from selection rules, or by running a user's network."""
    if suite.settings.define is None:
        return unreachable(suite.configuration(), suite.outputs)
    return probe_unreachable(suite.configuration(), suite.outputs, ELEMENTS)


def generator() -> torch.Generator:
    """A generator in a fixed state."""
    return torch.Generator().manual_seed(1)


def random_rotation() -> Tensor:
    """A rotation matrix, (3, 3)."""
    return o3.angles_to_matrix(*(6 * torch.rand(3, dtype=torch.float64, generator=generator())))


def representation(outputs: tuple[MulIrrep, ...], rotation: Tensor) -> Tensor:
    """The matrix by which outputs transform, (dim, dim)."""
    # e3nn computes it in the default dtype, whatever that of its argument is.
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return e3nn_irreps(outputs).D_from_matrix(rotation)
    finally:
        torch.set_default_dtype(default)


def rounded(graph: Graph, dtype: torch.dtype) -> Graph:
    """The graph with its floating-point fields in another precision."""
    return Graph(*(field.to(dtype) if field.is_floating_point() else field for field in graph))


def terms(outputs: tuple[MulIrrep, ...]) -> Iterator[tuple[MulIrrep, slice]]:
    """Each term of the outputs, with its columns."""
    yield from zip(outputs, e3nn_irreps(outputs).slices(), strict=True)


def dimension(outputs: tuple[MulIrrep, ...]) -> int:
    """Number of columns."""
    return sum(term.mul * (2 * term.l + 1) for term in outputs)


def trainable(network: Module) -> list[tuple[str, Tensor]]:
    """Names and values of the weights that are trained."""
    return [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad and weight.numel()]
