"""A diagram beside a layer: its formula, and no weights where it reaches nothing."""

from dataclasses import replace

import torch
from e3nn import o3

from tesseral.models.networks.layers.layer_fusion import PRODUCT_SHARE, LayerFusion, diagram_irreps
from tesseral.models.networks.network import LAYERS, count_parameters
from tesseral.study.configuration.network import Fusion
from tests.support.small_networks import asked, built, graph


def test_a_diagram_without_saturation_is_its_formula():
    """√(1−p) y + √p F(x, g, e) of the leaves as they are."""
    tree, hidden = "((neighbours edges) centre)", o3.Irreps("2x0e+2x1o")
    for saturation in (True, False):
        torch.manual_seed(2)
        settings = asked(str(hidden), fusion=Fusion(diagram=tree), harmonics_lmax=1, saturation=saturation).resolve()
        fusion = LayerFusion(hidden, hidden, hidden, {ir for _, ir in hidden}, settings, num_neighbors=4.0)
        one, (y, x, g) = graph(settings), 3 * torch.randn(3, 6, 8)
        added = fusion.block({"centre": x, "neighbours": g, "edges": fusion.edges(one)})
        expected = (1 - PRODUCT_SHARE) ** 0.5 * y + PRODUCT_SHARE**0.5 * added
        assert torch.allclose(fusion(y, x, g, one), expected, rtol=0, atol=1e-13) != saturation


def test_a_diagram_that_reaches_nothing_is_left_out():
    """No weights that no gradient reaches: three scalars and their edges make no 0o."""
    for interaction in LAYERS:
        settings = asked("2x0o", interaction=interaction, fusion=Fusion(diagram="((edges edges) centre)"), layers=1)
        assert count_parameters(built(settings)) == count_parameters(built(replace(settings, fusion=Fusion())))
    settings = asked("2x0o+2x0e", fusion=Fusion(diagram="(neighbours edges)")).resolve()
    scalars = o3.Irreps("2x0e")
    assert diagram_irreps(scalars, scalars, o3.Irreps("1x0o+3x0e+1x1e"), settings) == {o3.Irrep("0e")}
