"""What a user's network breaks is found and measured: each symmetry by itself."""

import pytest
import torch

from tesseral.models.networks.sizing.symmetry import TOLERANCE, Sample, asymmetry
from tesseral.study.configuration.network import Hidden, Network
from tesseral.study.parsing.irreps import parse_irreps
from tests.support.periodic_structures import CELL, PLACES
from tests.support.small_networks import POSITIONS, SPECIES

OURS = "tesseral.models.networks.network:Network"
OUTPUTS = parse_irreps("1x0e+1x1o")
WRONG = '''
"""Networks that break one symmetry each; their outputs are 1x0e+1x1o of the atoms."""

import torch
from torch.nn import Module, Parameter


class Sums(Module):
    """Invariants Σ_j r_ij and vectors Σ_j r_ij (x_j − x_i), times a weight: equivariant."""

    def __init__(self, settings, *, elements, irreps_out, num_neighbors):
        super().__init__()
        self.weight = Parameter(torch.ones(1))

    def vectors(self, graph):
        vectors = graph.positions[graph.source] - graph.positions[graph.destination]
        return vectors + graph.shift if len(graph.shift) else vectors

    def forward(self, graph):
        vectors = self.vectors(graph)
        lengths = vectors.norm(dim=1, keepdim=True)
        sums = vectors.new_zeros(len(graph.species), 4)
        sums = sums.index_add(0, graph.destination, torch.cat([lengths, lengths * vectors], 1))
        return self.weight * self.wrong(sums, graph)

    def wrong(self, outputs, graph):
        return outputs


class Turned(Sums):
    def wrong(self, outputs, graph):
        return outputs * torch.tensor([1.0, 1.0, 1.0, 1.5])


class Mirrored(Sums):
    """Pseudovectors, which do not change under inversion, in place of vectors."""

    def wrong(self, outputs, graph):
        arms = self.vectors(graph)
        others = arms.norm(dim=1, keepdim=True) ** 3 * arms
        others = torch.zeros_like(outputs[:, 1:]).index_add(0, graph.destination, others)
        return torch.cat([outputs[:, :1], torch.linalg.cross(outputs[:, 1:], others)], 1)


class Moved(Sums):
    def wrong(self, outputs, graph):
        return torch.cat([outputs[:, :1] + graph.positions.square().sum(1, keepdim=True), outputs[:, 1:]], 1)


class Listed(Sums):
    def wrong(self, outputs, graph):
        return outputs * torch.arange(1, len(outputs) + 1).to(outputs)[:, None]


class Rough(Sums):
    """In single precision, as some networks are whatever they are asked."""

    def wrong(self, outputs, graph):
        return outputs.float().double()


class Unshifted(Sums):
    """As a network that takes the atom for its image."""

    def wrong(self, outputs, graph):
        lengths = (graph.positions[graph.source] - graph.positions[graph.destination]).square().sum(dim=1)
        return outputs * (1 + outputs.new_zeros(len(outputs)).index_add(0, graph.destination, lengths))[:, None]


class Random(Sums):
    def wrong(self, outputs, graph):
        return outputs * (1 + 0.1 * torch.rand(1))
'''


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "wrong_networks.py").write_text(WRONG)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def measured(define: str, **settings: object):
    crystal = Sample(torch.tensor([0, 1, 1]), torch.tensor(PLACES), 0.0, torch.tensor(CELL))
    structures = [Sample(SPECIES, POSITIONS, 0.0), Sample(SPECIES[:4], 1.1 * POSITIONS[:4], 1.0), crystal]
    return asymmetry(Network(define=define, radial_cutoff=4.0, **settings), OUTPUTS, 2, structures)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("Sums", set()),
        ("Turned", {"rotation"}),
        ("Mirrored", {"inversion"}),
        ("Moved", {"rotation", "translation", "lattice_shift"}),
        ("Unshifted", {"lattice_shift"}),
        ("Listed", {"permutation"}),
        ("Rough", set()),
    ],
)
def test_each_symmetry_is_judged_by_itself(wrong, name, broken):
    found = measured(f"wrong_networks:{name}")
    beyond = {symmetry for symmetry, share in vars(found).items() if share > TOLERANCE}
    assert beyond <= broken
    assert bool(beyond) == bool(broken) == found.broken
    for symmetry in beyond:
        assert f"under {symmetry.replace('_', ' ')}" in str(found)


def test_a_vector_of_which_a_component_is_half_as_long_again_is_off_by_that(wrong):
    found = measured("wrong_networks:Turned")
    assert 0.05 < found.rotation < 1.5
    assert max(found.inversion, found.permutation) < 1e-12


def test_a_network_that_is_random_is_not_judged_by_its_noise(wrong):
    assert measured("wrong_networks:Random").permutation < 0.1


def test_ours_has_every_symmetry():
    found = measured(OURS, hidden=Hidden(irreps="4x0e+4x0o+4x1o+4x1e"))
    assert max(vars(found).values()) < 1e-9
    assert not found.broken
    assert torch.get_default_dtype() == torch.float32, "nothing global is left behind"
