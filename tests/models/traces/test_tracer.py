"""What is traced of gradients and weights: against autograd, closed forms and other orientations; and nothing else."""

import re

import numpy as np
import pytest
import torch
from e3nn import o3
from e3nn.nn import FullyConnectedNet
from e3nn.nn.models.gate_points_2101 import Network as StockNetwork
from torch.nn import Linear, Module, ModuleList, Parameter, ParameterList, Sequential
from torch.utils.checkpoint import checkpoint

from tesseral.models.data.data_set import open_data_set
from tesseral.models.data.reference_file import Reference
from tesseral.models.networks.layers.fusion_block import FusionBlock
from tesseral.models.networks.layers.messages import Messages, RadialNetwork
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.layout import from_blocks, to_blocks
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction
from tesseral.models.targets.model import build_model
from tesseral.models.traces.tracer import Measurement, Tracer
from tesseral.models.traces.weights import attributed, product_groups
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion
from tesseral.study.configuration.trial import Traces
from tesseral.study.parsing.fusion_tree import parse_tree
from tesseral.study.records.schemas import REFERENCE, STATISTICS, to_table
from tests.support.dead_irreps import dead
from tests.support.synthetic_density import (
    BASIS,
    WATER,
    Memory,
    coefficients,
    rotations,
    small_configuration,
    synthetic_reference,
    synthetic_trial,
)

CPU = torch.device("cpu")
NUMBERS = [8, 1, 1, 8, 1, 1]


def structures(turn: np.ndarray) -> Reference:
    """Pairs of waters, turned as one; coefficients turn with them."""
    draw = np.random.default_rng(3)
    rows = []
    for index in range(4):
        positions = np.concatenate([WATER, WATER[:, ::-1] + [2.6, 0, 0]]) + 0.1 * draw.normal(size=(6, 3))
        values = coefficients(NUMBERS, positions @ turn.T)
        matrix = np.eye(sum(map(len, values)))
        row = {"id": str(index), "atomic_numbers": NUMBERS, "positions": (positions @ turn.T).tolist(), "charge": 0}
        row |= {"spin": 0, "converged": True, "coefficients": values, "overlap": matrix[np.tril_indices(len(matrix))]}
        rows.append(row)
    return Reference(to_table(rows, REFERENCE), BASIS)


def tracer(reference: Reference, configuration: Configuration, parts: int = 1) -> Tracer:
    """Of an untrained model, on the first four structures."""
    configuration = configuration.resolved()
    data = open_data_set(reference, configuration, torch.float64, CPU)
    model = build_model(configuration, reference, num_neighbors=4.0, seed=1)
    model.target.standardise(data.structures)
    loss = model.target.build_loss(configuration.loss, data.structures)
    size = 4 // parts
    return Tracer(model.eval(), loss, [data.batch(range(k * size, (k + 1) * size)) for k in range(parts)], strict=True)


def by_name(rows: list[Measurement]) -> dict[tuple, float]:
    values = {tuple(row[:5]): row.value for row in rows}
    assert len(values) == len(rows), "no row stands twice"
    return values


def small(**changes: object) -> Configuration:
    return small_configuration(loss="raw", dtype="float64", **changes)


@pytest.mark.parametrize("parity", [1, -1])
def test_nothing_turns_with_the_input(parity):
    turn = rotations(1, np.random.default_rng(2))[0] * parity
    first, second = (by_name(tracer(structures(matrix), small()).measure()) for matrix in (np.eye(3), turn))
    assert first.keys() == second.keys()
    assert {key[4] for key in first} == {name for name in STATISTICS if not name.startswith("ablation")} - {
        "update",
        "edge_update",
    }
    for key, value in first.items():
        assert second[key] == pytest.approx(value, rel=1e-8, abs=1e-18), key


def test_a_probe_in_parts_is_the_same_probe():
    reference = structures(np.eye(3))
    whole, parted = (by_name(tracer(reference, small(), parts).measure()) for parts in (1, 4))
    assert parted == pytest.approx(whole, rel=1e-9, abs=1e-18)


def test_a_whole_convolution_is_traced_as_its_operations_are(monkeypatch):
    """Each edge has weights of its own in both, and a gradient of them."""
    made, calls = tracer(structures(np.eye(3)), small()), []
    choose_backend(made.model.network, "portable", CPU)
    expected = by_name(made.measure(made.weights()))
    choose_backend(made.model.network, "fused", CPU)
    run = Messages.convolve
    monkeypatch.setattr(Messages, "convolve", lambda *given: calls.append(given[0]) or run(*given))
    assert by_name(made.measure(made.weights())) == pytest.approx(expected, rel=1e-9, abs=1e-18)
    assert len(calls) == len(made.products)
    assert all(product.seen is None for product in made.products)


def test_gradients_and_weights_are_those_of_autograd():
    """Of the linear map after the product of the last layer, which makes 1o of 1o in two blocks."""
    made = tracer(structures(np.eye(3)), small())
    (batch,) = made.probe
    loss = made.loss(made.model.target.error(made.model(batch.graph), batch), batch)
    rows = by_name(made.measure())
    for number, part in enumerate(made.parts, start=1):
        squares: dict[tuple[int, int], list[torch.Tensor]] = {}
        maps = [module for module in part.modules() if isinstance(module, o3.Linear)]
        maps += [module for module in part.modules() if isinstance(module, o3.TensorProduct)]
        weights = [module.weight for module in maps]
        gradients = torch.autograd.grad(loss, weights, retain_graph=True)
        for module, gradient in zip(maps, gradients, strict=True):
            for (_, ins, weight), view in zip(
                module.weight_views(yield_instruction=True), module.weight_views(gradient), strict=True
            ):
                ir = module.irreps_out[ins.i_out].ir
                squares.setdefault((ir.l, ir.p), []).append(torch.stack([weight.flatten(), view.flatten()]))
        for (order, parity), parts in squares.items():
            weight, gradient = torch.cat(parts, dim=1).square().mean(dim=1).sqrt().tolist()
            assert rows[number, None, order, parity, "weight_rms"] == pytest.approx(weight, rel=1e-12)
            assert rows[number, None, order, parity, "gradient_rms"] == pytest.approx(gradient, rel=1e-9)


def test_gradients_by_features_and_by_the_weights_of_edges():
    """Scaling all features of an irrep, or all weights of a path, by 1 + ε changes the loss by ε Σ x ∂L/∂x."""
    made = tracer(structures(np.eye(3)), small())
    (batch,) = made.probe
    layer = made.parts[1]
    kept: list[torch.Tensor] = []

    def loss() -> torch.Tensor:
        return made.loss(made.model.target.error(made.model(batch.graph), batch), batch)

    hook = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    (gradient,) = torch.autograd.grad(loss(), kept)
    hook.remove()
    rows = by_name(made.measure())
    for (_, ir), part in zip(layer.irreps_out, layer.irreps_out.slices(), strict=True):
        expected = gradient[:, part].square().mean().sqrt()
        assert rows[2, None, ir.l, ir.p, "feature_gradient"] == pytest.approx(float(expected), rel=1e-9)
    product = next(module for module in layer.modules() if isinstance(module, ChannelProduct))
    seen: list[torch.Tensor] = []
    hook = product.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    (gradient,) = torch.autograd.grad(loss(), seen)
    hook.remove()
    for key, where in product_groups(product):
        values = seen[0][:, where], gradient[:, where]
        for statistic, value in zip(("edge_weight_rms", "edge_gradient_rms"), values, strict=True):
            traced = rows[2, key.path, key.l, key.p, statistic]
            assert traced == pytest.approx(float(value.detach().square().mean().sqrt()), rel=1e-9)


def e3nn_product(irreps_in: o3.Irreps, lmax: int, kept: o3.Irreps) -> o3.TensorProduct:
    """Channel by channel, weights from outside: what `ChannelProduct` computes."""
    harmonics, made, instructions = o3.Irreps.spherical_harmonics(lmax), [], []
    for i, (mul, ir_in) in enumerate(irreps_in):
        for j, (_, harmonic) in enumerate(harmonics):
            for ir in ir_in * harmonic:
                if ir in kept:
                    instructions.append((i, j, len(made), "uvu", True))
                    made.append((mul, ir))
    return o3.TensorProduct(
        irreps_in, harmonics, o3.Irreps(made), instructions, shared_weights=False, internal_weights=False
    )


@pytest.mark.parametrize("ours", [True, False])
def test_the_weights_of_a_path_make_what_it_says_of_what_it_says(ours):
    """With all but one group of weights at zero: only its irrep is made, of its input and its harmonic alone."""
    irreps = o3.Irreps("3x0e+2x1e+2x1o+1x2e")
    product = ChannelProduct(irreps, 2, irreps) if ours else e3nn_product(irreps, 2, irreps)
    draw = torch.Generator().manual_seed(1)
    features, harmonics = torch.randn(4, irreps.dim, generator=draw), torch.randn(4, 9, generator=draw)
    weights = torch.randn(4, product.weight_numel, generator=draw)
    groups = product_groups(product)
    assert sum(len(range(*where.indices(product.weight_numel))) for _, where in groups) == product.weight_numel
    assert len({tuple(range(*where.indices(product.weight_numel))) for _, where in groups}) == len(groups)

    def out(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        if not ours:
            return product(x, y, w)
        edges = torch.arange(len(x))  # each atom sends to itself alone
        return from_blocks(product(to_blocks(x, product.shapes), y, w, edges, edges, edges))

    for key, where in groups:
        chosen = torch.zeros_like(weights)
        chosen[:, where] = weights[:, where]
        made = out(features, harmonics, chosen)
        for (_, ir), part in zip(product.irreps_out, product.irreps_out.slices(), strict=True):
            if (ir.l, ir.p) != key[:2]:
                assert not made[:, part].any()
        assert made.any()
        factors, _, end = key.path.removeprefix("messages: ").partition(" -> ")
        assert key.path.startswith("messages: ") is ours
        assert o3.Irrep(end) == o3.Irrep(*key[:2])
        first, second = (o3.Irrep(factor) for factor in factors.split(" x "))
        l2 = second.l
        assert second.p == (-1) ** l2
        only = torch.zeros(9)
        only[l2**2 : (l2 + 1) ** 2] = 1
        kept = torch.tensor([float(ir == first) for mul, ir in irreps for _ in range(mul * ir.dim)])
        assert torch.allclose(out(features * kept, harmonics * only, chosen), made, atol=1e-6)


def test_biases_and_internal_products_are_attributed():
    part = ModuleList(
        [
            o3.Linear("2x0e+1x1o", "3x0e+2x1o", biases=True),
            o3.FullyConnectedTensorProduct("1x0e+1x1o", "1x1o", "2x0e+1x1o"),
        ]
    )
    described = [
        (described.parameter.numel(), [(tuple(key), where) for key, where in described.groups])
        for described in attributed(part)
    ]
    assert described == [
        (8, [((0, 1, None), slice(0, 6)), ((1, -1, None), slice(6, 8))]),
        (3, [((0, 1, None), slice(0, 3))]),
        (3, [((1, -1, "0e x 1o -> 1o"), slice(0, 1)), ((0, 1, "1o x 1o -> 0e"), slice(1, 3))]),
    ]


def test_the_symmetric_contraction_is_attributed():
    """With all but the weights of one path at zero: of the path's degree and irreps alone."""
    irreps = o3.Irreps("2x0e+2x1o")
    contraction = SymmetricContraction(irreps, irreps, correlation=3, elements=3)
    listed = list(attributed(contraction))
    assert [one.parameter for one in listed] == list(contraction.weights)
    texts = [[key.path for key, _ in one.groups] for one in listed]
    assert [len(group) for group in texts] == [len(paths) for paths in contraction.paths]
    powers = ("0e x 0e -> 0e", "1o x 1o -> 0e", "(0e x 0e -> 0e) x 0e -> 0e", "(1o x 1o -> 0e) x 0e -> 0e")
    assert set(texts[0]) == {None, *(f"contraction: {power}" for power in powers)}
    assert texts[1][0] is None
    draw = torch.Generator().manual_seed(1)
    features, elements = torch.randn(5, irreps.dim, generator=draw), torch.eye(3)[[0, 1, 2, 0, 1]]
    values = [weight.detach().clone() for weight in contraction.weights]
    for one, value, part in zip(listed, values, irreps.slices(), strict=True):
        for key, where in one.groups:
            with torch.no_grad():
                for weight in contraction.weights:
                    weight.zero_()
                one.parameter[where] = value[where]
                made, twice = (contraction(scale * features, elements) for scale in (1, 2))
                text = key.path or str(o3.Irrep(key.l, key.p))
                leaves = {o3.Irrep(leaf) for leaf in re.findall(r"\d[eo]", re.sub(r"-> \d[eo]", "", text))}
                kept = torch.tensor([float(ir in leaves) for mul, ir in irreps for _ in range(mul * ir.dim)])
                same = contraction(features * kept, elements)
            degree = 1 if key.path is None else key.path.count(" x ") + 1
            assert made[:, part].abs().max() > 1e-3
            assert made.abs().sum() == pytest.approx(made[:, part].abs().sum().item())
            assert torch.allclose(twice, 2**degree * made, rtol=1e-4, atol=1e-5)
            assert torch.allclose(same, made, rtol=1e-4, atol=1e-5)


def test_the_weights_after_a_diagram_are_told_apart_by_its_paths():
    """With all but one path's weights at zero: a combination, over channels, of what its text says."""
    irreps = {name: o3.Irreps("2x0e+2x1o+2x2e") for name in ("centre", "neighbours")}
    block = FusionBlock(parse_tree("((neighbours neighbours) centre)"), irreps, o3.Irreps("3x0e+1x1o"), 2).double()
    (root,) = [one for one in attributed(block) if one.parameter is block.root.weight]
    places = np.concatenate([np.arange(root.parameter.numel())[where] for _, where in root.groups])
    assert sorted(places) == list(range(root.parameter.numel()))
    draw = torch.Generator().manual_seed(1)
    features = {name: torch.randn(9, 18, generator=draw, dtype=torch.float64) for name in irreps}
    inside = {name: block.maps[name](values) for name, values in features.items()}

    def of(name: str, order: int) -> torch.Tensor:
        return inside[name][:, irreps[name].slices()[order]].reshape(9, 2, 2 * order + 1)

    weights = root.parameter.detach().clone()
    for (order, parity, path), where in root.groups:
        with torch.no_grad():
            root.parameter.zero_()
            root.parameter[where] = weights[where]
            made = block(features)[:, block.irreps_out.slices()[order]].reshape(9, -1, 2 * order + 1)
        one, other, between, last, end = (int(c) for c in re.findall(r"\d", path))
        leaves = [o3.Irrep(number, (-1) ** number) for number in (one, other, last)]
        fused = f"neighbours {leaves[0]} x neighbours {leaves[1]} -> {o3.Irrep(between, (-1) ** (one + other))}"
        assert path == f"diagram: ({fused}) x centre {leaves[2]} -> {o3.Irrep(order, parity)}"
        assert end == order
        first = torch.einsum(
            "ijk,aui,auj->auk",
            o3.wigner_3j(one, other, between).double(),
            of("neighbours", one),
            of("neighbours", other),
        )
        expected = torch.einsum(
            "ijk,aui,auj->auk", o3.wigner_3j(between, last, order).double(), first, of("centre", last)
        )
        columns = expected.transpose(1, 2).flatten(0, 1)
        for channel in made.transpose(0, 1):
            solution = torch.linalg.lstsq(columns, channel.flatten()[:, None]).solution
            assert channel.norm() > 1e-3
            assert torch.allclose(columns @ solution, channel.flatten()[:, None], atol=1e-6)


class Holder(Module):
    """A product and what computes its weights, of six numbers an edge."""

    def __init__(self, radial: Module) -> None:
        super().__init__()
        self.product, self.radial = e3nn_product(o3.Irreps("4x0e+4x1o"), 1, o3.Irreps("4x0e+4x1o")), radial


class Raw(Module):
    """Matrices without a type that says which axis is which."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        super().__init__()
        self.matrices = ParameterList(Parameter(torch.randn(size)) for size in sizes)

    def forward(self, values):
        for matrix in self.matrices:
            values = values @ matrix
        return values


@pytest.mark.parametrize(
    "radial",
    [
        Sequential(Linear(6, 16), Linear(16, 16)),
        Linear(6, 16),
        FullyConnectedNet([6, 16, 16]),
        RadialNetwork([6, 16, 16]),
        Raw((6, 8), (8, 16)),
    ],
    ids=["torch's, square", "torch's", "e3nn's", "ours", "raw"],
)
def test_the_weights_of_edges_are_told_apart_along_their_outputs(radial):
    """With the weights of a path doubled, the numbers that it is given change and no others."""
    holder = Holder(radial)
    (weights,) = (one for one in attributed(holder) if one.edges)
    values = torch.rand(5, 6)
    with torch.no_grad():
        before = radial(values)
        assert holder.product.weight_numel == before.shape[1] == 16
        for _, where in weights.groups:
            part = weights.parameter.narrow(weights.axis, where.start, where.stop - where.start)
            part *= 2
            changed = (radial(values) != before).any(dim=0)
            part /= 2
            assert changed.nonzero().flatten().tolist() == list(range(16))[where]


@pytest.mark.parametrize("radial", [Raw((6, 16), (16, 16)), Sequential(Linear(6, 16), Raw((16, 16)))])
def test_a_square_matrix_of_unknown_axes_is_attributed_to_nothing(radial):
    assert not [one for one in attributed(Holder(radial)) if one.edges]


class Own(Module):
    """A user's network of e3nn's parts, as its users write them; its radial network is torch's own."""

    def __init__(self) -> None:
        super().__init__()
        hidden, out = o3.Irreps("4x0e+2x1o"), o3.Irreps([(mul, (order, p)) for mul, order, p in BASIS.layout])
        self.first = Convolve("2x0e", hidden)
        self.second = Convolve(hidden, out)

    def forward(self, graph):
        return self.second(self.first(graph.elements, graph), graph)


class Convolve(Module):
    def __init__(self, irreps_in, irreps_out) -> None:
        super().__init__()
        self.irreps_out = o3.Irreps(irreps_out)
        self.product = e3nn_product(o3.Irreps(irreps_in), 2, self.irreps_out)
        self.radial = Linear(6, self.product.weight_numel)
        self.linear = o3.Linear(self.product.irreps_out, self.irreps_out)

    def forward(self, features, graph):
        messages = self.product(features[graph.source], graph.harmonics, weight=self.radial(graph.radial))
        made = messages.new_zeros(len(features), messages.shape[1]).index_add(0, graph.destination, messages)
        return self.linear(made)


def own_tracer(network: Module, *, strict: bool = False) -> Tracer:
    made = tracer(structures(np.eye(3)), small())
    made.model.network = network.double()
    return Tracer(made.model, made.loss, made.probe, strict=strict)


def test_a_network_of_the_users_own_is_traced_whole():
    made = own_tracer(Own())
    before = made.weights()
    with torch.no_grad():
        for weight in made.model.parameters():
            weight *= 1.25
    rows = by_name(made.measure(before))
    paths_of_the_second = "0e0e0e 0e1o1o 0e2e2e 1o1o0e 1o0e1o 1o2e1o 1o1o2e 1o2e3o"
    for layer, paths in (
        (1, {"0e x 0e -> 0e", "0e x 1o -> 1o"}),
        (2, {f"{path[:2]} x {path[2:4]} -> {path[4:]}" for path in paths_of_the_second.split()}),
    ):
        assert {key[1] for key in rows if key[0] == layer and key[4] == "edge_weight_rms"} == {None, *paths}
    updates = {value for key, value in rows.items() if key[4] in ("update", "edge_update")}
    assert list(updates) == pytest.approx([0.25] * len(updates))
    assert {key[1] for key in rows if key[4] == "edge_update"} >= {"1o x 2e -> 3o", "0e x 0e -> 0e"}
    assert rows[1, None, 1, -1, "feature_gradient"] > 0
    assert rows[2, "1o x 1o -> 0e", 0, 1, "edge_gradient_rms"] > 0


class Headed(Own):
    """Ends in torch's own linear map, which states no irreps."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Linear(26, 26)

    def forward(self, graph):
        return self.head(super().forward(graph))


def test_the_last_layer_before_a_foreign_head_is_hidden():
    made = own_tracer(Headed())
    rows = by_name(made.measure())
    assert {key[0] for key in rows if key[4] == "feature_gradient"} == {1, 2} == {key[0] for key in rows}
    assert rows[2, None, 3, -1, "feature_gradient"] > 0
    plain = by_name(own_tracer(Own()).measure())
    assert {key[0] for key in plain if key[4] == "feature_gradient"} == {1}


def test_the_stock_network_of_e3nn_is_traced_by_path():
    layout = o3.Irreps([(mul, (order, p)) for mul, order, p in BASIS.layout])

    class Adapter(Module):
        def __init__(self) -> None:
            super().__init__()
            harmonics = o3.Irreps.spherical_harmonics(2)
            self.inner = StockNetwork("2x0e", "4x0e+3x1o", layout, "2x0e", harmonics, 2, 3.5, 5, 1, 8, 4.0, 1.0, False)

        def forward(self, graph):
            return self.inner(
                {"pos": graph.positions, "x": graph.elements, "z": graph.elements, "batch": graph.structure}
            )

    rows = by_name(own_tracer(Adapter()).measure())
    assert rows[2, "1o x 1o -> 0e", 0, 1, "edge_gradient_rms"] > 0
    assert rows[3, "0e x 2e -> 2e", 2, 1, "edge_weight_rms"] > 0
    # A product with the one-hot of the elements is a linear map.
    assert rows[2, None, 1, -1, "gradient_rms"] > 0
    assert (2, "1o x 0e -> 1o", 1, -1, "gradient_rms") not in rows


class Checkpointed(Own):
    """Computes its first layer again on the way back, outside of what the loss can be followed through."""

    def forward(self, graph):
        first = checkpoint(lambda x: self.first(x, graph), graph.elements.clone().requires_grad_(), use_reentrant=True)
        return self.second(first, graph)


def test_gradients_that_are_not_recorded_are_left_out_and_not_called_zero():
    rows = by_name(own_tracer(Checkpointed()).measure())
    first = {key[4] for key in rows if key[0] == 1}
    assert first == {"rms", "share", "effective_rank", "feature_gradient"} | {
        "weight_rms",
        "gradient_rms",
        "edge_weight_rms",
    }
    plain = by_name(own_tracer(Own()).measure())
    assert {key[4] for key in plain if key[0] == 1} == first | {"edge_gradient_rms"}
    assert rows[1, None, 1, -1, "gradient_rms"] > 0


def test_what_the_plan_calls_dead_has_no_gradient():
    """Exactly none; and what it does not call dead has one."""
    configuration = small(hidden="6x0e+2x0o+4x1e+4x1o+2x2e+2x2o", layers=3).resolved()
    planned = {(layer, term.l, term.p) for layer, term, _ in dead(configuration, BASIS.layout)}
    made = tracer(structures(np.eye(3)), configuration)
    rows = made.measure()
    of_features = [row for row in rows if row.statistic == "feature_gradient"]
    live = {(row.layer, row.l, row.p) for row in of_features if row.value > 0}
    every = {(layer, l, p) for layer in (1, 2, 3) for l in (0, 1, 2) for p in (1, -1)}  # noqa: E741
    assert planned
    assert every - live == planned
    of_paths = [row for row in rows if row.statistic == "edge_gradient_rms" and row.path]
    zero = {(row.layer, row.l, row.p) for row in of_paths if row.value == 0}
    assert zero == planned & {(row.layer, row.l, row.p) for row in of_paths} != set()
    # Paths into 0e make gates too, of dead irreps among others; but none of them these alone.
    assert all(row.value > 0 for row in of_paths if (row.layer, row.l, row.p) not in planned)


@pytest.mark.parametrize(
    "pieces",
    [
        {"interaction": "cormorant"},
        {"interaction": "mace", "correlation": 2},
        {"fusion": Fusion(diagram="((neighbours neighbours) centre)")},
    ],
)
def test_in_every_network_the_dead_are_those_of_the_plan(pieces):
    configuration = small(hidden="4x0e+4x0o+4x1e+4x1o", layers=2, **pieces).resolved()
    planned = {(layer, term.l, term.p) for layer, term, _ in dead(configuration, BASIS.layout)}
    rows = tracer(structures(np.eye(3)), configuration).measure()
    live = {(row.layer, row.l, row.p) for row in rows if row.statistic == "feature_gradient" and row.value > 0}
    assert planned
    assert {(layer, l, p) for layer in (1, 2) for l in (0, 1) for p in (1, -1)} - live == planned  # noqa: E741


def test_tracing_leaves_nothing_behind():
    made = tracer(structures(np.eye(3)), small())
    weights = list(made.model.parameters())
    weights[0].grad = torch.ones_like(weights[0])
    state, values = torch.get_rng_state(), made.weights()
    made.measure(values)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights[0].grad, torch.ones_like(weights[0]))
    assert all(weight.grad is None for weight in weights[1:])
    assert all(torch.equal(weight, values[id(weight)]) for weight in weights)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in made.model.modules())
    assert not made.model.training


def test_a_training_is_the_same_however_often_it_is_traced():
    reference = synthetic_reference()
    trial = synthetic_trial(reference, small_configuration(epochs=4))
    often, rarely = Memory(), Memory()
    results = [
        train(trial, reference, memory, device="cpu", traces=traces)
        for memory, traces in (
            (often, Traces(growth=1, probe=10)),
            (rarely, Traces(dense_epochs=0, growth=99, probe=1)),
        )
    ]
    assert results[0].metrics == results[1].metrics
    assert often.curve_rows == rarely.curve_rows
    assert {row["epoch"] for row in often.trace_rows} == {0, 1, 2, 3, 4}
    assert {row["epoch"] for row in rarely.trace_rows} == {0, 1, 4}


def test_the_first_update_of_adam_in_closed_form():
    """It moves every weight that has a gradient by the step size: one step an epoch, so update = η / rms before."""
    reference = synthetic_reference()
    configuration = small_configuration(epochs=2, batch_size=10, dtype="float64", schedule="constant", loss="raw")
    memory = Memory()
    train(synthetic_trial(reference, configuration), reference, memory, device="cpu")
    rows = {(row["epoch"], *list(row.values())[2:-1]): row["value"] for row in memory.trace_rows}
    assert not any(key[0] == 0 and key[-1] in ("update", "edge_update") for key in rows)
    path = (3, None, 1, -1)
    before = rows[0, *path, "weight_rms"]
    assert rows[1, *path, "update"] == pytest.approx(configuration.training.learning_rate / before, rel=0.01)
    assert rows[2, *path, "update"] > 0


@pytest.mark.parametrize(
    ("traces", "epochs", "expected"),
    [
        (Traces(), 60, [0, 1, 2, 3, 4, 5, 7, 9, 12, 15, 19, 24, 30, 38, 48, 60]),
        (Traces(dense_epochs=0, growth=2), 20, [0, 1, 2, 4, 8, 16, 20]),
        (Traces(dense_epochs=2, growth=1), 5, [0, 1, 2, 3, 4, 5]),
        (Traces(dense_epochs=10, growth=1.1), 25, [*range(11), 11, 13, 15, 17, 19, 21, 24, 25]),
        (Traces(dense_epochs=9, growth=3), 3, [0, 1, 2, 3]),
    ],
)
def test_the_schedule_is_dense_at_the_start_and_grows(traces, epochs, expected):
    assert [epoch for epoch in range(epochs + 1) if traces.due(epoch, epochs)] == expected
