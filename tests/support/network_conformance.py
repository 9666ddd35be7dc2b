"""What every network must hold to, ours or a user's: a suite that a test class takes over by subclassing.

It lies beside the tests and is not installed: a test of yours finds it, and the `small_configuration` that it may start
from, with this folder on the path,

    PYTHONPATH=path/to/tesseral/tests pytest test_mine.py

"""

from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import ClassVar

import pytest
import torch
from e3nn import o3
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import Module

from tesseral.models.networks.graph import Graph, at_positions, build_graph, edge_basis, join
from tesseral.models.networks.network import build_network, parameters
from tesseral.models.networks.sizing.probe import measure_size, probe_unreachable
from tesseral.models.networks.sizing.reach import unreachable
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.parsing.irreps import MulIrrep, parse_irreps

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Of equivariance, as a part of the largest output."""
ROUNDING = 1e-12
"""What is left of a zero in float64, or of the order of a sum, as a part of the largest output."""
DERIVATIVE = {"eps": 1e-6, "atol": 1e-6, "rtol": 1e-5}
"""Step of the central differences that derivatives are compared with, and how nearly they agree."""

SPECIES = torch.tensor([1, 0, 0, 1, 0, 0])
POSITIONS = 1.2 * torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
"""Six atoms without symmetry, most of them neighbours, Å."""
FAR = 100.0
"""Å. No network sees so far."""


class NetworkConformance:
    """Subclass it, state `configuration`, and pytest runs every check on the network that it names:

        from tests.support.network_conformance import NetworkConformance
        from tests.support.synthetic_density import small_configuration

        class TestMine(NetworkConformance):
            configuration = small_configuration(define="my_networks:build")
            expected_parameters = 1234

    Networks are small: the gradients' check takes some hundred steps of it. Override `build` for a network that no
    study file can name. It is asked in evaluation mode.
    """

    configuration: ClassVar[Configuration]
    """Its `[network]` is built; its target does not matter."""
    expected_parameters: ClassVar[int | None] = None
    """How many numbers it trains. It must be stated of a network by `define`, which is counted by building it; of ours
    it follows from the configuration."""
    outputs: ClassVar[tuple[MulIrrep, ...]] = parse_irreps("2x0e+1x0o+1x1e+2x1o+1x2e+1x2o+1x3e+1x3o+1x5o")
    """What is predicted for each atom: some of it out of reach of most networks."""
    compiles: ClassVar[bool] = True
    """Whether `torch.compile` makes one graph of it."""
    why_not: ClassVar[str] = ""
    """A regular expression that the error of `torch.compile` matches, where it does not."""

    @classmethod
    def build(cls, seed: int) -> Module:
        """In float64; its weights depend on the seed alone."""
        return build_network(cls.configuration.network, 2, cls.outputs, num_neighbors=4.0, seed=seed)

    @classmethod
    def graph(cls, positions: Tensor = POSITIONS, species: Tensor = SPECIES) -> Graph:
        return build_graph(species, positions, 2, **edge_basis(cls.configuration.network)._asdict())

    @pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
    @pytest.mark.parametrize("parity", [1, -1], ids=["rotation", "rotoinversion"])
    def test_outputs_turn_with_the_structure(self, dtype, parity):
        network = built(type(self), 0, dtype)
        rotation = turn() * parity
        moved = network(rounded(self.graph(POSITIONS @ rotation.T), dtype))
        still = network(rounded(self.graph(), dtype))
        assert moved.dtype == still.dtype == dtype
        turned = still.double() @ representation(self.outputs, rotation).T
        assert moved.shape == (6, turned.shape[1])
        assert turned.abs().max() > 1e-3
        assert near(moved.double(), turned, TOLERANCE[dtype])

    def test_outputs_do_not_depend_on_the_origin(self):
        network = built(type(self))
        shift = torch.tensor([10.0, -20.0, 5.0], dtype=torch.float64)
        assert near(network(self.graph(POSITIONS + shift)), network(self.graph()), TOLERANCE[torch.float64])

    def test_atoms_in_another_order(self):
        network, order = built(type(self)), torch.tensor([4, 2, 0, 5, 1, 3])
        moved = network(self.graph(POSITIONS[order], SPECIES[order]))
        assert near(moved, network(self.graph())[order], ROUNDING)

    def test_structures_of_a_batch_do_not_see_each_other(self):
        network = built(type(self))
        alone = [
            self.graph(),
            self.graph(POSITIONS[:1], SPECIES[:1]),
            self.graph(POSITIONS[:3] + 0.1, SPECIES[:3]),
            self.graph(1.1 * POSITIONS),
        ]
        assert near(network(join(alone)), torch.cat([network(one) for one in alone]), ROUNDING)

    def test_an_isolated_atom(self):
        """It has no direction and no handedness: nothing but 0e is left. Atoms out of sight change nothing."""
        network = built(type(self))
        lone = torch.cat([network(self.graph(POSITIONS[:1], SPECIES[i : i + 1])) for i in range(2)])
        assert lone.isfinite().all()
        for term, part in terms(self.outputs):
            assert (term.l, term.p) == (0, 1) or negligible(lone[:, part], lone)
        aside = torch.cat([POSITIONS[:5], POSITIONS[5:] + FAR])
        assert near(network(self.graph(aside))[5:], lone[1:], ROUNDING)

    def test_no_edge(self):
        network = built(type(self))
        apart = self.graph(FAR * POSITIONS)
        assert len(apart.source) == 0
        lone = torch.cat([network(self.graph(POSITIONS[:1], SPECIES[i : i + 1])) for i in range(6)])
        outputs = network(apart)
        assert near(outputs, lone, ROUNDING)
        assert all(gradient.isfinite().all() for gradient in gradients(network, outputs))

    def test_one_edge(self):
        """Two atoms are symmetric about their axis, and by every plane that holds it."""
        network = built(type(self))
        pair = self.graph(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.1, 0.0]], dtype=torch.float64), SPECIES[:2])
        there = pair.destination == 0
        sent = pair._replace(**{name: getattr(pair, name)[there] for name in EDGES})
        assert (len(pair.source), len(sent.source)) == (2, 1)
        for graph in (pair, sent):
            outputs = network(graph)
            assert all(gradient.isfinite().all() for gradient in gradients(network, outputs))
            for term, part in terms(self.outputs):
                values = outputs[:, part].reshape(2, term.mul, -1).clone()
                if term.p == (-1) ** term.l:
                    values[:, :, term.l] = 0  # e3nn's axis is y: m = 0 may be anything
                assert negligible(values, outputs)
        # The atom that receives nothing cannot know of the other.
        assert near(network(sent)[1:], network(self.graph(POSITIONS[:1], SPECIES[1:2])), ROUNDING)

    def test_derivatives_by_positions(self):
        """The first, and the second that a training on forces needs."""
        network, graph = built(type(self)), self.graph(POSITIONS[:4], SPECIES[:4])
        edges = edge_basis(self.configuration.network)
        mixed = torch.randn(4 * dimension(self.outputs), 3, dtype=torch.float64, generator=generator())

        def outputs(positions: Tensor) -> Tensor:
            return network(at_positions(graph, positions, *edges)).flatten() @ mixed

        positions = POSITIONS[:4].clone().requires_grad_()
        assert near(outputs(positions), network(graph).flatten() @ mixed, ROUNDING)
        assert gradcheck(outputs, positions, **DERIVATIVE)
        assert gradgradcheck(outputs, positions, fast_mode=True, **DERIVATIVE)

    def test_derivatives_by_weights(self):
        network, graph = built(type(self)), self.graph(POSITIONS[:4], SPECIES[:4])
        names, weights = zip(*trainable(network), strict=True)
        mixed = torch.randn(4 * dimension(self.outputs), 2, dtype=torch.float64, generator=generator())

        def outputs(*weights: Tensor) -> Tensor:
            found = torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (graph,))
            return found.flatten() @ mixed

        copies = [weight.detach().clone().requires_grad_() for weight in weights]
        assert gradcheck(outputs, copies, fast_mode=True, **DERIVATIVE)

    def test_parameters_are_as_many_as_expected(self):
        """Counted from the configuration, or by building; and as many as are stated, where any are."""
        shape, defined = (
            Shape(elements=2, layout=self.outputs, atoms=6.0, edges=20.0),
            self.configuration.network.define,
        )
        counted = (size if defined is None else measure_size)(self.configuration, shape).parameters
        expected = counted if self.expected_parameters is None else self.expected_parameters
        assert defined is None or self.expected_parameters is not None, "state expected_parameters"
        assert expected == counted == parameters(built(type(self))) > 0

    @pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
    def test_what_is_out_of_reach_is_zero_and_nothing_else(self, dtype):
        missing = predicted_unreachable(type(self))
        outputs = built(type(self), 0, dtype)(rounded(self.graph(), dtype))
        assert len(missing) < len(self.outputs)
        for term, part in terms(self.outputs):
            values = outputs[:, part].abs()
            assert (values == 0).all() if term in missing else (values.amax(dim=1) > 1e-6 * outputs.abs().max()).all()

    def test_weights_are_kept_and_read(self):
        graph, network, other = self.graph(), built(type(self)), self.build(seed=1).eval()
        expected = network(graph)
        assert not torch.equal(other(graph), expected)
        file = BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(graph), expected)

    def test_weights_depend_on_the_seed_alone(self):
        network, graph = built(type(self)), self.graph()
        torch.manual_seed(7)
        before = torch.get_rng_state()
        again = self.build(seed=0).eval()
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_default_dtype() == torch.float32
        for (name, weight), (same, other) in zip(trainable(network), trainable(again), strict=True):
            assert name == same
            assert torch.equal(weight, other)
        outputs = network(graph)
        assert torch.equal(outputs, network(graph))
        assert torch.equal(outputs, again(graph))

    def test_compiled(self, fresh_compiler):
        """The `eager` backend runs what was traced as it is: no compiler of C++ is needed, and no bit may change."""
        network, graph = built(type(self)), self.graph()
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        if not self.compiles:
            with pytest.raises(Exception, match=self.why_not):
                compiled(graph)
            return
        assert torch.equal(compiled(graph), network(graph))

    @pytest.fixture
    def fresh_compiler(self) -> Iterator[None]:
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()


EDGES = ("source", "destination", "harmonics", "radial")
"""Of `Graph`: one row an edge."""


@cache
def built(suite: type[NetworkConformance], seed: int = 0, dtype: torch.dtype = torch.float64) -> Module:
    """The network of a suite, made once; no test may change it."""
    return suite.build(seed).to(dtype).eval()


@cache
def predicted_unreachable(suite: type[NetworkConformance]) -> tuple[MulIrrep, ...]:
    """By selection rules; of a user's network, by running it."""
    if suite.configuration.network.define is None:
        return unreachable(suite.configuration, suite.outputs)
    return probe_unreachable(suite.configuration, suite.outputs, 2)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def turn() -> Tensor:
    """A rotation, (3, 3)."""
    return o3.angles_to_matrix(*(6 * torch.rand(3, dtype=torch.float64, generator=generator())))


def representation(outputs: tuple[MulIrrep, ...], rotation: Tensor) -> Tensor:
    """How outputs turn. e3nn's matrices are as precise as the default dtype, whatever their argument's."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return o3.Irreps([(mul, (order, p)) for mul, order, p in outputs]).D_from_matrix(rotation)
    finally:
        torch.set_default_dtype(default)


def rounded(graph: Graph, dtype: torch.dtype) -> Graph:
    return Graph(*(part.to(dtype) if part.is_floating_point() else part for part in graph))


def terms(outputs: tuple[MulIrrep, ...]) -> Iterator[tuple[MulIrrep, slice]]:
    """Each term and its columns."""
    first = 0
    for term in outputs:
        last = first + term.mul * (2 * term.l + 1)
        yield term, slice(first, last)
        first = last


def dimension(outputs: tuple[MulIrrep, ...]) -> int:
    return sum(term.mul * (2 * term.l + 1) for term in outputs)


def near(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """To a part of the largest value."""
    return torch.allclose(found, expected, rtol=0, atol=tolerance * max(1.0, float(expected.detach().abs().max())))


def negligible(values: Tensor, outputs: Tensor) -> bool:
    return bool((values.abs() <= ROUNDING * outputs.abs().max()).all())


def trainable(network: Module) -> list[tuple[str, Tensor]]:
    return [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad and weight.numel()]


def gradients(network: Module, outputs: Tensor) -> list[Tensor]:
    """Of every weight that the outputs depend on."""
    weights = [weight for _, weight in trainable(network)]
    found = torch.autograd.grad(outputs.square().sum(), weights, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]
