"""What is traced of each path of the products of a layer: against the weights and gradients of their modules."""

import re

import numpy as np
import polars as pl
import pytest
import torch
from e3nn import o3
from torch.nn import Module

from tesseral.analysis.statistics.features.dead_irreps import LayerIrrep, find_dead_irreps
from tesseral.analysis.statistics.features.layers import layer_traces
from tesseral.models.networks.layers.cormorant import CormorantLayer
from tesseral.models.networks.layers.fusion_block import FusionBlock
from tesseral.models.networks.paths.path import Leaf, Vertex
from tesseral.models.networks.products.channel_product import ChannelProduct
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction
from tesseral.models.traces.tracer import Tracer
from tesseral.study.configuration.network import Fusion
from tesseral.study.records.schemas import TRACES, to_table
from tests.models.traces.test_tracer import by_name, small, structures, tracer
from tests.support.synthetic_study import table, trial_row


def path_text(path: Leaf | Vertex, named: bool) -> str:
    """What a path along a tree is called, without its outermost brackets."""
    if isinstance(path, Leaf):
        return f"{path.name} {o3.Irrep(path.irrep)}" if named else f"{o3.Irrep(path.irrep)}"
    factors = [path_text(one, named) for one in (path.left, path.right)]
    factors = [
        f if isinstance(one, Leaf) else f"({f})" for f, one in zip(factors, (path.left, path.right), strict=True)
    ]
    return f"{' x '.join(factors)} -> {o3.Irrep(path.irrep)}"


def weights_of_paths(layer: Module, pick: dict[Module, list[torch.Tensor]]) -> dict[tuple, list[torch.Tensor]]:
    """Text, l, p, whether of edges → the numbers of that path, by the layout that each product states.

    :param pick: module → its parameters' numbers, or those that were passed to it for edges.
    """
    by_path: dict[tuple, list[torch.Tensor]] = {}

    def add(text: str, edges: bool, values: torch.Tensor) -> None:
        made = o3.Irrep(text.rpartition(" ")[2])
        by_path.setdefault((text, made.l, made.p, edges), []).append(values.flatten())

    for module, numbers in pick.items():
        if isinstance(module, ChannelProduct):
            for values in numbers:
                parts = values.split(module.weight_sizes, 1)
                for part, group, (mul, ir) in zip(parts, module.groups, module.irreps_in, strict=True):
                    for one, each in zip(group, part.reshape(len(values), len(group), mul).unbind(1), strict=True):
                        harmonic = o3.Irrep(one.harmonic, (-1) ** one.harmonic)
                        add(f"messages: {ir} x {harmonic} -> {one.ir}", True, each)
        elif isinstance(module, SymmetricContraction):
            for values, paths in zip(numbers, module.paths, strict=True):
                for one, each in zip(paths, values, strict=True):
                    if isinstance(one, Vertex):
                        add(f"contraction: {path_text(one, named=False)}", False, each)
        else:
            product, name = (module.product, "squares" if isinstance(module, CormorantLayer) else "diagram")
            linear = module.mix if isinstance(module, CormorantLayer) else module.root
            for ins, view in zip(linear.instructions, linear.weight_views(numbers[0]), strict=True):
                ir = linear.irreps_out[ins.i_out].ir
                paths = product.paths[ir.l, ir.p]
                for one, each in zip(paths, view.reshape(product.channels, len(paths), -1).unbind(1), strict=True):
                    add(f"{name}: {path_text(one, named=True)}", False, each)
    return by_path


def run_paths(made: Tracer, layer: Module) -> tuple[dict[tuple, list[torch.Tensor]], dict[tuple, list[torch.Tensor]]]:
    """Of a layer, `weights_of_paths` and the same of the gradients of the loss, by the backward pass of the model."""
    passed: dict[Module, torch.Tensor] = {}

    def keep(module: Module, args: tuple) -> None:
        args[2].retain_grad()
        passed[module] = args[2]

    hooks = [module.register_forward_pre_hook(keep) for module in layer.modules() if isinstance(module, ChannelProduct)]
    (batch,) = made.probe
    made.loss(made.model.target.error(made.model(batch.graph), batch), batch).backward()
    for hook in hooks:
        hook.remove()
    matrices: dict[Module, list[torch.Tensor]] = {module: [values] for module, values in passed.items()}
    for module in layer.modules():
        if isinstance(module, SymmetricContraction):
            matrices[module] = list(module.weights)
        elif isinstance(module, FusionBlock | CormorantLayer):
            matrices[module] = [(module.root if isinstance(module, FusionBlock) else module.mix).weight]
    gradients = {
        module: [torch.zeros_like(one) if one.grad is None else one.grad for one in parts]
        for module, parts in matrices.items()
    }
    made.model.zero_grad()
    return weights_of_paths(layer, matrices), weights_of_paths(layer, gradients)


@pytest.mark.parametrize(
    ("pieces", "alike"),
    [
        (
            {"hidden": "2x0e+2x1o", "interaction": "mace", "correlation": 3},
            ("messages: 1o x 1o -> 0e", "contraction: 1o x 1o -> 0e"),
        ),
        (
            {"hidden": "4x0e+4x1o", "interaction": "cormorant"},
            ("squares: centre 1o x centre 1o -> 0e", "squares: centre 1o x neighbours 1o -> 0e"),
        ),
        (
            {"hidden": "4x0e+4x1e+4x1o", "fusion": Fusion(diagram="((neighbours neighbours) centre)")},
            (
                "diagram: (neighbours 1o x neighbours 1o -> 0e) x centre 0e -> 0e",
                "diagram: (neighbours 1e x neighbours 1e -> 0e) x centre 0e -> 0e",
            ),
        ),
        (
            {"hidden": "4x0e+4x1o", "fusion": Fusion(diagram="(centre neighbours)")},
            ("messages: 1o x 1o -> 0e", "diagram: centre 1o x neighbours 1o -> 0e"),
        ),
    ],
    ids=["mace", "cormorant", "deep diagram", "diagram"],
)
def test_every_path_of_a_layer_has_its_own_weights_and_gradients(pieces, alike):
    """Of the second layer, all of them and no others; two of the same orders l, such as `alike`, are not pooled."""
    made = tracer(structures(np.eye(3)), small(layers=2, **pieces))
    weights, gradients = run_paths(made, made.parts[1])
    rows = {key[1:]: value for key, value in by_name(made.measure()).items() if key[0] == 2 and key[1] is not None}
    names = {False: ("weight_rms", "gradient_rms"), True: ("edge_weight_rms", "edge_gradient_rms")}
    expected = {
        (*key[:3], name): torch.cat(values).square().mean().sqrt().item()
        for lists, number in ((weights, 0), (gradients, 1))
        for key, values in lists.items()
        for name in [names[key[3]][number]]
    }
    assert rows == pytest.approx(expected, rel=1e-9, abs=1e-18)
    assert all(len(values) == 1 for values in weights.values()), "no text stands for two paths"
    one, other = ([rows[key] for key in rows if key[0] == text and "weight" in key[3]] for text in alike)
    assert one != pytest.approx(other, rel=1e-3)


def test_the_audit_counts_every_path_that_no_gradient_reaches():
    """Counted from `.grad`, of a network in which nothing reads 0o and 1e, which its last contraction makes."""
    made = tracer(
        structures(np.eye(3)), small(hidden="4x0e+4x0o+4x1e+4x1o", layers=3, interaction="mace", correlation=3)
    )
    paths = zero = 0
    texts: dict[tuple, list[bool]] = {}
    for layer in made.parts:
        _, gradients = run_paths(made, layer)
        paths += len(gradients)
        for (text, *irrep, _), values in gradients.items():
            dead_one = not torch.cat(values).any()
            zero += dead_one
            if layer is made.parts[2]:
                orders = re.sub(r"[eo]", "", text.partition(": ")[2])
                texts.setdefault((orders, *irrep), []).append(dead_one)
    # Of one text, had it told orders alone, would be a dead path of the contraction and a message that is alive.
    assert [True, False] in [sorted(dead_irreps, reverse=True) for dead_irreps in texts.values()]
    trial = trial_row(0, 0, 0)
    rows = [row._asdict() | {"trial": trial["trial"], "step": 0, "epoch": 0} for row in made.measure()]
    traces = pl.DataFrame(pl.from_arrow(to_table(rows, TRACES))).lazy()
    dead_irreps = find_dead_irreps(layer_traces(traces, pl.DataFrame(pl.from_arrow(table([trial])))), ())
    assert (dead_irreps.paths, dead_irreps.dead_paths) == (paths, zero)
    assert set(dead_irreps.dead) == {LayerIrrep(3, 0, -1), LayerIrrep(3, 1, 1)}
    assert dead_irreps.wasted == ()
