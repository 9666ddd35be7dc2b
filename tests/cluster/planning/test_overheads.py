"""Overheads follow the products and passes of a step."""

import pytest

from tesseral.cluster.planning.overheads import overheads


@pytest.mark.parametrize(
    ("interaction", "diagram", "energies", "forces"),
    [
        ("gated", "none", 1.0, 6.7),
        ("mace", "none", 3.5, 14.7),
        ("cormorant", "((neighbours centre) edges)", 7.5, 27.5),
        ("gated", "(((neighbours centre) edges) neighbours)", 7.0, 25.9),
    ],
)
def test_products_and_passes_add_up(interaction, diagram, energies, forces):
    assert overheads(interaction, diagram, differentiated=False) == pytest.approx(energies)
    assert overheads(interaction, diagram, differentiated=True) == pytest.approx(forces)
