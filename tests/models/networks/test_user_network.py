"""A network of the user's own: found by name, trained like ours, and measured by being built and run."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from e3nn import o3

from tesseral.cluster.planning.plan import plan
from tesseral.models.data.data_set import DataSet
from tesseral.models.networks.network import build_network, count_parameters
from tesseral.models.networks.sizing.probe import measure_size, probe_unreachable
from tesseral.models.networks.sizing.reach import unreachable
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.models.networks.user_network import DEFINE, raised_as_study_error
from tesseral.models.traces.features import trace_features
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.recorder import Result
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Hidden
from tesseral.study.configuration.trial import Traces, Trial
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.parsing.user_function import load, source_hash
from tesseral.study.study import Study
from tests.support.synthetic_density import (
    BASIS,
    EMPTY,
    Memory,
    small_configuration,
    synthetic_reference,
    synthetic_trial,
)
from tests.support.water_study import water_study

REFERENCE = synthetic_reference()
TRACES = Traces(dense_epochs=1, growth=2, probe=3)
SHAPE = Shape(elements=2, layout=BASIS.layout, atoms=4.5, edges=18.2)
OURS = "tesseral.models.networks.network:Network"

SOURCE = '''
"""Against e3nn alone."""

import torch
from e3nn import nn, o3


class Layer(torch.nn.Module):
    def __init__(self, irreps_in, irreps_out, lmax, functions, num_neighbors):
        super().__init__()
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        harmonics = o3.Irreps.spherical_harmonics(lmax)
        self.product = o3.FullyConnectedTensorProduct(irreps_in, harmonics, irreps_out, shared_weights=False)
        self.radial = nn.FullyConnectedNet([functions, 8, self.product.weight_numel], torch.nn.functional.silu)
        self.own = o3.Linear(irreps_in, irreps_out)
        self.num_neighbors = num_neighbors

    def forward(self, features, graph):
        messages = self.product(features[graph.source], graph.harmonics, self.radial(graph.radial))
        sums = messages.new_zeros(len(features), self.irreps_out.dim).index_add(0, graph.destination, messages)
        return self.own(features) + sums / self.num_neighbors**0.5


class Network(torch.nn.Module):
    def __init__(self, settings, elements, irreps_out, num_neighbors, dropout=0.0):
        super().__init__()
        hidden = o3.Irreps(settings.hidden.irreps)
        irreps = [o3.Irreps([(elements, "0e")]), *[hidden] * settings.layers, irreps_out]
        sizes = settings.harmonics_lmax, settings.radial_functions, num_neighbors
        self.layers = torch.nn.ModuleList(Layer(a, b, *sizes) for a, b in zip(irreps, irreps[1:]))
        self.dropout = nn.Dropout(hidden, dropout)

    def forward(self, graph):
        features = graph.elements
        for layer in self.layers[:-1]:
            features = self.dropout(layer(features, graph))
        return self.layers[-1](features, graph)


def build(settings, *, elements, irreps_out, num_neighbors):
    return Network(settings, elements, irreps_out, num_neighbors)


def with_dropout(settings, *, elements, irreps_out, num_neighbors):
    return Network(settings, elements, irreps_out, num_neighbors, dropout=0.3)


class Untraceable(torch.nn.Module):
    """Layers that return pairs, and one that states what are no irreps."""

    def __init__(self, elements, irreps_out):
        super().__init__()
        self.first, self.second = Pair(elements, 5), Odd(5, 4)
        self.last = torch.nn.Linear(4, irreps_out.dim)

    def forward(self, graph):
        return self.last(self.second(self.first(graph.elements)[0]))


class Pair(torch.nn.Linear):
    irreps_out = "5x0e"

    def forward(self, x):
        return super().forward(x), x


class Odd(torch.nn.Linear):
    irreps_out = ["four scalars"]


def untraceable(settings, *, elements, irreps_out, num_neighbors):
    return Untraceable(elements, irreps_out)


class Wide(torch.nn.Linear):
    def forward(self, graph):
        return super().forward(graph.elements)


def too_wide(settings, *, elements, irreps_out, num_neighbors):
    return Wide(elements, irreps_out.dim + 1)


def pairs(settings, *, elements, irreps_out, num_neighbors):
    return Pair(elements, irreps_out.dim)


def other_irreps(settings, *, elements, irreps_out, num_neighbors):
    network = Wide(elements, irreps_out.dim)
    network.irreps_out = f"{irreps_out.dim}x0e"
    return network


def scalars(settings, *, elements, irreps_out, num_neighbors):
    return Wide(elements, irreps_out.dim, bias=False)


def without_weights(settings, *, elements, irreps_out, num_neighbors):
    network = Wide(elements, irreps_out.dim)
    return network.requires_grad_(False)


def no_module(settings, *, elements, irreps_out, num_neighbors):
    return irreps_out.dim


class Mixing(torch.nn.Module):
    """Scalars of the elements, and what is made of them by another function of all of them."""

    def __init__(self, elements, irreps_out, mix):
        super().__init__()
        self.linear, self.mix = o3.Linear(f"{elements}x0e", irreps_out), mix

    def forward(self, graph):
        outputs = self.linear(graph.elements)
        return outputs + self.mix(outputs, graph)


def of_all_atoms(settings, *, elements, irreps_out, num_neighbors):
    return Mixing(elements, irreps_out, lambda outputs, graph: outputs.mean(dim=0))


def of_first_charge(settings, *, elements, irreps_out, num_neighbors):
    return Mixing(elements, irreps_out, lambda outputs, graph: outputs * graph.charge[0])


def faintly_of_all_atoms(settings, *, elements, irreps_out, num_neighbors):
    return Mixing(elements, irreps_out, lambda outputs, graph: 1e-6 * outputs.sum(dim=0))


def first_structure(settings, *, elements, irreps_out, num_neighbors):
    """Rows of the first structure's atoms alone."""
    network = Wide(elements, irreps_out.dim)
    network.register_forward_hook(lambda module, inputs, outputs: outputs[inputs[0].structure == 0])
    return network


def of_own_structure(settings, *, elements, irreps_out, num_neighbors):
    def mix(outputs, graph):
        sums = outputs.new_zeros(graph.size, outputs.shape[1]).index_add(0, graph.structure, outputs)
        return sums[graph.structure] * (1 + graph.charge[graph.structure, None])

    return Mixing(elements, irreps_out, mix)


def in_single_precision(settings, *, elements, irreps_out, num_neighbors):
    network = of_own_structure(settings, elements=elements, irreps_out=irreps_out, num_neighbors=num_neighbors)
    network.linear.float()
    network.linear.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))
    network.linear.register_forward_hook(lambda module, inputs, outputs: outputs.double())
    return network


def at_random(settings, *, elements, irreps_out, num_neighbors):
    """In evaluation too."""
    return Mixing(elements, irreps_out, lambda outputs, graph: outputs * torch.rand_like(outputs))


def mixing_in_training(settings, *, elements, irreps_out, num_neighbors):
    return Normed(elements, irreps_out.dim)


class Normed(Wide):
    """In training by the moments of the batch, in evaluation by those of all batches."""

    def __init__(self, elements, dim):
        super().__init__(elements, dim)
        self.norm = torch.nn.BatchNorm1d(dim)

    def forward(self, graph):
        return self.norm(super().forward(graph))


constant = 3
'''

PROBED = '''
import torch
from e3nn import o3


class Squared(torch.nn.Module):
    """1o of the neighbours, in some channels, times itself."""

    def __init__(self, channels, irreps_out, last=1.0):
        super().__init__()
        self.channels, self.irreps_out = channels, irreps_out
        self.product = o3.FullyConnectedTensorProduct(f"{channels}x1o", f"{channels}x1o", irreps_out)
        with torch.no_grad():
            self.product.weight.mul_(last)
        self.unused = torch.nn.Parameter(torch.ones(7))

    def forward(self, graph):
        edges = graph.radial[:, : self.channels, None] * graph.harmonics[:, None, 1:4]
        vectors = edges.new_zeros(len(graph.species), *edges.shape[1:]).index_add(0, graph.destination, edges)
        return self.product(vectors.flatten(1), vectors.flatten(1))


def one_channel(settings, *, elements, irreps_out, num_neighbors):
    return Squared(1, irreps_out)


def two_channels(settings, *, elements, irreps_out, num_neighbors):
    return Squared(2, irreps_out)


def zeros_at_first(settings, *, elements, irreps_out, num_neighbors):
    return Squared(2, irreps_out, last=0.0)
'''


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory) -> Path:
    """A folder of modules on the path."""
    made = tmp_path_factory.mktemp("own")
    (made / "own_network.py").write_text(SOURCE)
    (made / "own_probed.py").write_text(PROBED)
    (made / "own_broken.py").write_text("1 / 0\n")
    (made / "own_needy.py").write_text("import nowhere_to_be_found\n")
    (made / "own_package").mkdir()
    (made / "own_package" / "__init__.py").write_text('"""Nothing but a docstring."""\n')
    (made / "own_package" / "networks.py").write_text("def build():\n    return 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(made)
        yield made


def own(define: str, **changes: object) -> Configuration:
    return small_configuration(define=define, **changes)


def own_trial(define: str, **changes: object) -> Trial:
    return replace(synthetic_trial(REFERENCE, own(define, **changes)), source=source_hash(define, DEFINE))


def run(trial: Trial, checkpoint: bytes | None = None, **options: object) -> tuple[Result, Memory]:
    memory = Memory()
    return train(trial, REFERENCE, memory, device="cpu", traces=TRACES, checkpoint=checkpoint, **options), memory


@pytest.mark.parametrize(
    ("define", "sentence"),
    [
        ("own_network", r"expected 'module:function', such as 'my_study:build', got 'own_network'"),
        ("own network:build", "expected 'module:function'"),
        ("own_network:", "expected 'module:function'"),
        ("own_absent:build", "in the study file's folder or on PYTHONPATH, found no 'own_absent'$"),
        ("own_package.absent:build", "found no 'own_package.absent'$"),
        ("own_absent.networks:build", "found no 'own_absent' of 'own_absent.networks'"),
        ("own_network:Build", r"expected of module 'own_network' one of Layer, .*, build, .*, got 'Build'"),
        ("own_package:build", "expected of module 'own_package' a function, but it defines none, got 'build'"),
        ("own_network:constant", "expected a function, 'own_network:constant' is of type int"),
        ("own_broken:build", "importing 'own_broken' raised ZeroDivisionError: division by zero"),
        ("own_needy:build", "importing 'own_needy' raised ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("math:sqrt", "expected a module with Python source, 'math' has none"),
    ],
)
def test_what_cannot_be_loaded(define, sentence):
    with pytest.raises(StudyFileError, match=sentence) as caught:
        source_hash(define, DEFINE)
    assert caught.value.path == "network.define"


def test_the_hash_is_of_the_source(folder):
    assert source_hash("own_network:build", DEFINE) == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert source_hash("own_network:with_dropout", DEFINE) == source_hash("own_network:build", DEFINE)
    assert load("own_package.networks:build", DEFINE)() == 1
    assert (
        source_hash("own_package.networks:build", DEFINE)
        == hashlib.sha256((folder / "own_package" / "networks.py").read_bytes()).hexdigest()
    )


def test_another_source_is_another_trial(tmp_path):
    """In processes of their own, as a study that is started again after an edit."""
    script = (
        "from tesseral.study.parsing.user_function import source_hash; "
        "print(source_hash('edited:build', 'network.define'))"
    )
    hashes = []
    for text in ("def build(): return 1\n", "def build(): return 2  # edited\n"):
        (tmp_path / "edited.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )
        hashes.append(done.stdout.strip())
    assert hashes[0] != hashes[1]
    trial = synthetic_trial(REFERENCE, own("edited:build"))
    assert len({replace(trial, source=source).id for source in (None, *hashes)}) == 3


def test_a_trial_of_another_source_is_refused():
    trial = own_trial("own_network:build")
    for other in ("0" * 64, None):
        with pytest.raises(
            StudyFileError, match=r"network\.define: expected source code of the trial's hash, \w+, got"
        ):
            run(replace(trial, source=other))
        with pytest.raises(StudyFileError, match="expected source code of the trial's hash"):
            restore_model(b"", replace(trial, source=other), EMPTY)
    with pytest.raises(StudyFileError, match="got none"):
        run(replace(synthetic_trial(REFERENCE, small_configuration()), source="0" * 64))


def test_what_a_network_raises_when_it_is_first_run_is_one_sentence():
    def broken():
        raise IndexError("index 5 is out of range\nand at length")

    with pytest.raises(StudyFileError) as caught, raised_as_study_error("mine:build"):
        broken()
    assert str(caught.value) == "network.define: 'mine:build' raised IndexError: index 5 is out of range"
    with pytest.raises(StudyFileError, match="expected another"), raised_as_study_error("mine:build"):
        raise StudyFileError("network.define", "expected another")


@pytest.mark.parametrize(
    ("define", "sentence"),
    [
        ("own_network:too_wide", r"returns a tensor of shape \(\d+, 26\), .*2x0e\+1x1o.*, got shape \(\d+, 27\)"),
        ("own_network:pairs", "expected a network of irreps_out 2x0e.*, got one of 5x0e"),
        ("own_network:other_irreps", "expected a network of irreps_out 2x0e.*, got one of 26x0e"),
        ("own_network:without_weights", "expected a network with weights to train, got one without"),
        ("own_network:no_module", "expected a torch.nn.Module of 'own_network:no_module', got <class 'int'>"),
    ],
)
def test_a_network_that_breaks_its_contract(define, sentence):
    with pytest.raises(StudyFileError, match=rf"network\.define: .*{sentence}"):
        run(own_trial(define, epochs=1))


@pytest.fixture(scope="module")
def unbroken() -> tuple[Trial, Result, Memory]:
    trial = own_trial("own_network:build", hidden="4x0e+3x1o+2x2e", epochs=4)
    return trial, *run(trial)


def test_it_trains_is_traced_and_predicts(unbroken):
    trial, result, memory = unbroken
    network = build_network(trial.configuration.network, 2, BASIS.layout, num_neighbors=1.0, seed=0)
    assert result.parameters == count_parameters(network)
    losses = [row["value"] for row in memory.curve_rows if row["metric"] == "loss"]
    assert losses[-1] < losses[0]
    traced = {(row["layer"], row["l"], row["p"]) for row in memory.trace_rows if row["statistic"] == "rms"}
    assert traced == {(layer, *ir) for layer in (1, 2) for ir in ((0, 1), (1, -1), (2, 1))}
    assert {row["epoch"] for row in memory.trace_rows} == {0, 1, 2, 4}
    assert "test.epsilon" in result.metrics
    model = restore_model(memory.states[12], trial, EMPTY)
    assert isinstance(model.network.network, load("own_network:Network", DEFINE))


@pytest.mark.parametrize("define", ["build", "with_dropout"])
def test_it_goes_on_from_a_checkpoint_to_the_same_last_bit(define):
    trial = own_trial(f"own_network:{define}", hidden="4x0e+3x1o", epochs=3)
    torch.manual_seed(1)
    result, memory = run(trial)
    for step in (3, 9):
        torch.manual_seed(2)  # must not matter
        again, rest = run(trial, memory.states[step])
        assert again.metrics == result.metrics
        assert rest.curve_rows == [row for row in memory.curve_rows if row["step"] > step]


def test_dropout_drops_in_training_alone():
    plain, dropping = (
        run(own_trial(f"own_network:{name}", hidden="4x0e+3x1o", epochs=1)) for name in ("build", "with_dropout")
    )
    first = [[row for row in memory.curve_rows if row["step"] == 0] for _, memory in (plain, dropping)]
    assert first[0] == first[1]
    assert plain[0].metrics["train.loss"] != dropping[0].metrics["train.loss"]


def test_in_parts_and_without_the_test_split(unbroken):
    trial, result, _ = unbroken
    halves, memory = run(trial, parts=2, test=False)
    assert {row["split"] for row in memory.curve_rows} == {"train", "validation"}
    assert halves.metrics == pytest.approx({k: result.metrics[k] for k in halves.metrics}, rel=1e-3)


def test_a_network_without_features_is_trained_untraced():
    _, memory = run(own_trial("own_network:untraceable", epochs=1))
    assert memory.trace_rows == []
    assert memory.curve_rows


def test_our_own_network_is_such_a_function():
    """The same weights, outputs and features by either way."""
    settings = small_configuration().network
    ours = build_network(settings, 2, BASIS.layout, num_neighbors=4.0, seed=5)
    named = build_network(replace(settings, define=OURS), 2, BASIS.layout, num_neighbors=4.0, seed=5)
    graph = DataSet(REFERENCE, settings, torch.float64, torch.device("cpu")).batch([0, 1]).graph
    assert torch.equal(ours(graph), named(graph))
    assert trace_features(ours, graph) == trace_features(named, graph)
    assert [str(irreps) for irreps in (named.irreps_out, ours.irreps_out)] == ["2x0e+1x1o+1x2e+1x3o+1x4e"] * 2


VECTORS = (MulIrrep(1, 0, 1), MulIrrep(1, 1, 1), MulIrrep(1, 2, 1))


def test_what_is_antisymmetric_in_one_channel_is_unreachable():
    assert probe_unreachable(own("own_probed:one_channel"), VECTORS, 2) == (MulIrrep(1, 1, 1),)
    assert probe_unreachable(own("own_probed:two_channels"), VECTORS, 2) == ()
    assert probe_unreachable(own("own_probed:two_channels"), (*VECTORS, MulIrrep(2, 1, -1)), 2) == (MulIrrep(2, 1, -1),)


@pytest.mark.parametrize("define", ["of_all_atoms", "faintly_of_all_atoms", "of_first_charge"])
def test_a_network_whose_structures_see_each_other(define):
    """One alone shows nothing of it."""
    expected = (
        rf"^network\.define: expected outputs of an atom that depend on its own structure alone .*own_network:{define}"
    )
    with pytest.raises(StudyFileError, match=expected):
        probe_unreachable(own(f"own_network:{define}"), VECTORS, 2)


def test_a_plan_refuses_structures_that_see_each_other(tmp_path, tiny_reference):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
    text = water_study("seeing", "network.hidden.lmax = [0, 1]")
    for define in ("of_own_structure", "of_all_atoms"):
        named = text.replace("[network]", f'[network]\ndefine = "own_network:{define}"')
        study = Study.parse(named, "seeing.toml", tmp_path)
        if define == "of_own_structure":
            assert len(plan(study, tmp_path).arms) == 2
        else:
            with pytest.raises(StudyFileError, match="expected outputs of an atom that depend on its own structure"):
                plan(study, tmp_path)


def test_a_network_that_leaves_out_structures():
    with pytest.raises(StudyFileError, match=r"returns a tensor of shape \(12, 9\), .* got shape \(5, 9\)"):
        probe_unreachable(own("own_network:first_structure"), VECTORS, 2)


@pytest.mark.parametrize("define", ["of_own_structure", "in_single_precision", "at_random", "mixing_in_training"])
def test_a_network_whose_structures_do_not_see_each_other(define):
    """Or, of one that is random in evaluation, of which it cannot be known."""
    unreached = () if define == "mixing_in_training" else VECTORS[1:]
    before = torch.get_rng_state()
    assert probe_unreachable(own(f"own_network:{define}"), VECTORS, 2) == unreached
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_begin_at_zero_hide_nothing():
    assert probe_unreachable(own("own_probed:zeros_at_first"), VECTORS, 2) == ()
    assert measure(own("own_probed:zeros_at_first"), VECTORS) == measure(own("own_probed:two_channels"), VECTORS)


@pytest.mark.parametrize(
    ("hidden", "layers", "harmonics"),
    [
        ("4x0e", 2, 3),
        ("4x0e", 1, 0),
        ("2x0e+2x1o", 2, 1),
        ("4x1e", 2, 3),
        ("2x1o", 2, 2),
        ("2x0e+2x2e", 2, 2),
        ("2x0o+2x1o+2x1e", 3, 2),
        ("3x0e+2x3o", 1, 3),
        ("4x2e", 2, 1),
    ],
)
def test_our_own_network_probed(hidden, layers, harmonics):
    """Selection rules say the same."""
    asked = {"hidden": hidden, "layers": layers, "harmonics_lmax": harmonics}
    unreached = probe_unreachable(own(OURS, **asked), BASIS.layout, 2)
    assert unreached == unreachable(small_configuration(**asked), BASIS.layout)


def measure(configuration: Configuration, layout: tuple[MulIrrep, ...] = BASIS.layout):
    return measure_size(configuration, replace(SHAPE, layout=layout))


def test_size_by_hand():
    """Each pair of channels has a weight for each of 0e, 1e and 2e; a channel by itself makes no 1e, so those are dead,
    as are the seven that are never used."""
    measured = measure(own("own_probed:two_channels"), VECTORS)
    assert (measured.parameters, measured.parameters_live) == (4 + 4 + 4 + 7, 4 + 2 + 4)
    one = measure(own("own_probed:one_channel"), VECTORS)
    assert (one.parameters, one.parameters_live) == (1 + 1 + 1 + 7, 1 + 0 + 1)
    assert measured.components == o3.Irreps(small_configuration().network.hidden.irreps).dim == 52


def test_flops_by_hand():
    """2·m·k·n of one product forward; backward as much again, for the weight alone: 4 atoms, batches of 4."""
    shape = Shape(elements=3, layout=(MulIrrep(5, 0, 1),), atoms=4.2, edges=9.7)
    assert measure_size(own("own_network:scalars"), shape).flops == 4 * 2 * (2 * 4 * 3 * 5)


def test_hidden_irreps_need_not_be_given():
    configuration = own("own_network:scalars")
    configuration = replace(configuration, network=replace(configuration.network, hidden=Hidden()))
    assert measure(configuration).components == 0


RACKERS = "125x0e+125x0o+40x1e+40x1o+25x2e+25x2o+15x3e+15x3o"


@pytest.mark.parametrize("hidden", ["6x0e+4x0o+2x1e+3x1o+2x2e", "4x0e", "3x0e+2x0o+2x1o", "4x1e", RACKERS])
def test_our_own_network_measured(hidden):
    """Arithmetic says the same."""
    measured = measure_size(own(OURS, hidden=hidden), replace(SHAPE, atoms=5.0, edges=18.0))
    counted = size(small_configuration(hidden=hidden), replace(SHAPE, atoms=5.0, edges=18.0))
    assert measured.parameters == counted.parameters
    assert measured.parameters_live == counted.parameters_live
    assert measured.flops == counted.flops


ASYMMETRIC = """
import torch


class Places(torch.nn.Module):
    \"\"\"A linear map of the places of the atoms, which turns with nothing.\"\"\"

    def __init__(self, settings, *, elements, irreps_out, num_neighbors):
        super().__init__()
        self.map = torch.nn.Linear(3, irreps_out.dim)
        self.width = settings.options["width"]

    def forward(self, graph):
        return self.map(graph.positions) * self.width
"""


def places(folder: Path, **header: str) -> Study:
    (folder / "my_places.py").write_text(ASYMMETRIC)
    text = water_study("small", "network.options.width = [1, 2]", blocks=1, hidden="{ lmax = 0, mul = [4] }")
    text = text.replace("hidden = { lmax = 0, mul = [4] }", 'define = "my_places:Places"')
    for key, value in header.items():
        text = text.replace("seed = 0", f"seed = 0\n{key} = {value}")
    (folder / "small.toml").write_text(text)
    return Study.load(folder / "small.toml")


def test_a_network_without_symmetry_is_refused_unless_the_study_allows_it(storage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    with pytest.raises(
        StudyFileError, match=r"outputs that turn, .* 'my_places:Places'.* % under rotation, .*"
    ) as caught:
        plan(places(folder), storage)
    assert "study.allow_asymmetric = true trains it all the same" in str(caught.value)
    with pytest.warns(UserWarning, match="it is not equivariant"):
        planned = plan(places(folder, allow_asymmetric="true"), storage)
    assert [arm.label for arm in planned.arms] == ["width=1", "width=2"], "its own settings are factors"
    assert {arm.hidden for arm in planned.arms} == {""}, "it needs no hidden irreps"
    assert planned.arms[1].configuration.network.options == {"width": 2}
    without = planned.arms[0].configuration.to_dict()["network"]
    assert Configuration.from_dict(planned.arms[0].configuration.to_dict()) == planned.arms[0].configuration
    assert without["options"] == {"width": 1}


def test_networks_of_tesseral_have_no_options():
    text = water_study("small").replace("layers = 2", "layers = 2\noptions.width = 3")
    with pytest.raises(StudyFileError, match=r"network\.options: expected none without network\.define, got 'width'"):
        Study.parse(text, "")
