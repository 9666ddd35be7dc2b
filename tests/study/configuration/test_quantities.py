"""Targets as a study sees them, before any data: the losses, metrics and outputs of each, and what it cannot reach."""

from dataclasses import asdict, replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tesseral.cluster.planning.measure import Measure
from tesseral.models.data.data_set import DataSet
from tesseral.models.data.data_shape import reference_shape
from tesseral.models.networks.network import build_network
from tesseral.models.networks.sizing.probe import measure_size
from tesseral.models.networks.sizing.reach import unreachable
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.models.reference.geometries.expected_shape import recipe_shape
from tesseral.models.targets.model import build_target
from tesseral.study.configuration.configuration import Configuration, Data, pruned
from tesseral.study.configuration.metrics import METRICS, choose_metric
from tesseral.study.configuration.quantities import QUANTITIES, find_quantity, quantity_of
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.design.stages import objectives
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import format_irreps, parse_irreps
from tesseral.study.recipe.recipe import read_recipe
from tesseral.study.study import Study
from tests.models.networks.sizing.test_size import build, geometry, measured, operations, shape_of
from tests.support.synthetic_density import BASIS, small_configuration, synthetic_reference, synthetic_trial
from tests.support.synthetic_properties import LABELS, property_configuration, property_reference
from tests.support.water_study import EXAMPLES

STUDY = """
[study]
name = "targets"
{header}

[factors]
{factors}

[data]
reference = "reference/water_tiny.parquet"
recipe = "water_tiny.toml"
train = 8
validation = 2
test = 4

[network]
hidden = {{ lmax = 1, mul = [8, 4] }}
layers = 2
{more}
"""


def study(factors: str, header: str = "", more: str = "") -> Study:
    return Study.parse(STUDY.format(factors=factors, header=header, more=more), "study.toml")


def quantities(*names: str) -> str:
    return f"target.quantity = {list(names)!r}".replace("'", '"')


@pytest.mark.parametrize(
    ("names", "metric", "objective"),
    [
        (["density"], "epsilon", "l2_error"),
        (["energy"], "relative_error", "relative_error"),
        (["density", "dipole", "label:charge"], "relative_error", "relative_error"),
    ],
)
def test_the_default_metric_is_one_that_all_targets_have(names, metric, objective):
    loaded = study(
        quantities(*names), more="[search]\ntrials = 2\n[search.space]\ntraining.learning_rate = [1e-3, 1e-2]"
    )
    assert loaded.file.study.metric == metric
    assert objectives(loaded.file, loaded.arms) == (f"validation.{objective}",)


@pytest.mark.parametrize(
    ("names", "metric", "words"),
    [
        (
            ["energy"],
            "epsilon",
            "expected one of relative_error, error, component_rmse, the metrics of the target energy",
        ),
        (["density"], "error", "expected one of epsilon, l2_error, "),
        (
            ["dipole", "energy"],
            "error",
            "expected relative_error, the metric that dipole and energy share in one unit, got",
        ),
        (
            ["label:a", "label:b"],
            "error",
            "the metric that label:a and label:b share in one unit, got 'error'",
        ),
        (
            ["forces"],
            "energy_error",
            "error, component_mae, component_rmse, the metrics of the target forces, got 'energy_error'",
        ),
        (["density"], "block_error", "got 'block_error'"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(names, metric, words):
    with pytest.raises(StudyFileError) as caught:
        study(quantities(*names), f'metric = "{metric}"')
    assert caught.value.path == "study.metric"
    assert words in caught.value.message


def test_errors_in_one_unit_can_be_compared():
    assert study(quantities("dipole", "dipole_sum"), 'metric = "error"').file.study.metric == "error"
    assert METRICS["error"].unit_for(quantity_of("dipole")) == "e bohr"
    assert METRICS["error"].unit_for(quantity_of("label:a")) == ""
    assert METRICS["relative_error"].unit_for(quantity_of("dipole")) == "%"


def test_objectives_are_those_of_every_target():
    more = '[search]\ntrials = 2\nobjectives = ["l2_error"]\n[search.space]\ntraining.learning_rate = [1e-3, 1e-2]'
    loaded = study(quantities("energy", "density"), more=more)
    with pytest.raises(
        StudyFileError, match=r"search\.objectives \(entry 1\): expected one of relative_error, got 'l2_error'"
    ):
        objectives(loaded.file, loaded.arms)
    assert objectives(study(quantities("density"), more=more).file, loaded.arms[1:]) == ("validation.l2_error",)


@pytest.mark.parametrize("quantity", [*QUANTITIES, "label:a"])
def test_auto_is_a_loss_that_fits(quantity):
    """And is that loss: both ask for one training. Another target's loss is refused."""
    fitting = quantity_of(quantity).losses
    auto = property_configuration(quantity)
    assert auto.loss.name == fitting[0]
    assert auto == property_configuration(quantity, loss=Loss(name=fitting[0]))
    for name in {"overlap", "coulomb", "equal", "raw", "squared"} - set(fitting):
        with pytest.raises(StudyFileError, match=rf"loss\.name: expected auto or .* with the target {quantity}, got"):
            property_configuration(quantity, loss=Loss(name=name))


def test_weights_are_those_of_forces():
    """Other targets have none, so that no weight makes their trials different."""
    weights = Loss(forces=2.0, energy=0.1)
    assert property_configuration("forces", loss=weights).loss == Loss(name="squared", forces=2.0, energy=0.1)
    assert property_configuration("energy", loss=weights) == property_configuration("energy")
    with pytest.raises(StudyFileError, match=r"loss\.forces: expected a weight .* above 0, got 0 for each"):
        property_configuration("forces", loss=Loss(forces=0.0, energy=0.0))


@pytest.mark.parametrize(
    ("quantity", "orders", "sentence"),
    [
        ("dipole", (1.0, 2.0), "expected none with the target dipole, which has one order"),
        ("forces", (1.0,), "expected none with the target forces"),
        ("polarizability", (0.0, 0.0), "expected a weight above 0"),
        ("polarizability", (1.0, 0.0, 2.0), None),
        ("density", (1.0, 2.0), None),
        ("label:beta", (1.0, 2.0), None),
    ],
)
def test_orders_have_weights_where_there_are_several(quantity, orders, sentence):
    if sentence is None:
        resolved = Loss(orders=orders).resolve(quantity)
        assert resolved.orders == orders
        assert Loss(orders=(*orders, orders[-1])).resolve(quantity) == resolved, "the last one holds for higher orders"
        assert Loss(orders=(1.0, 1.0)).resolve(quantity) == Loss().resolve(quantity)
        assert "orders" not in pruned(Loss, asdict(Loss()))
        return
    with pytest.raises(StudyFileError, match=sentence):
        Loss(orders=orders).resolve(quantity)


@pytest.mark.parametrize(
    ("factors", "path", "words"),
    [
        ('target.quantity = ["enrgy"]', "factors.target.quantity", "did you mean 'energy'?"),
        ('target.quantity = ["label:"]', "factors.target.quantity", 'got "label:"'),
        ('target.quantity = ["energy"]\nloss.name = ["raw"]', "factors.loss.name", "expected auto or squared with the"),
        ('target.quantity = ["energy"]\ntarget.orders = [[0]]', "factors.target.orders", "but with the target density"),
        ("target.orders = [[]]", "factors.target.orders", "a list of at least 1 entries"),
    ],
)
def test_mistakes_are_one_sentence(factors, path, words):
    with pytest.raises(StudyFileError) as caught:
        study(factors)
    assert caught.value.path == path
    assert words in caught.value.message


def test_orders_are_a_set():
    assert len(study("target.orders = [[0, 2], [2, 0, 2]]").arms) == 1


def test_targets_cannot_be_searched():
    from tesseral.study.design.search_space import read_space

    more = '[search]\ntrials = 2\n[search.space]\ntarget.quantity = ["energy", "gap"]'
    loaded = study("network.layers = [1, 2]", more=more)
    with pytest.raises(StudyFileError, match="errors of different targets"):
        read_space(loaded.file.search, {"network.layers"}, False, loaded.arms)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_plan_needs_no_data(quantity, tmp_path):
    """Sizes and reach from the recipe alone, which must make what is predicted."""
    text = (EXAMPLES / "water_tiny.toml").read_text()
    configuration = study(quantities(quantity)).arms[0].configuration
    (tmp_path / "water_tiny.toml").write_text(text)
    assert QUANTITIES[quantity].on_request == (QUANTITIES[quantity].column in ("forces", "polarizability"))
    if QUANTITIES[quantity].on_request:
        with pytest.raises(StudyFileError, match=rf"data\.recipe: expected .* for the target {quantity}, got none"):
            Measure(str(tmp_path), tmp_path).shape(configuration)
        (tmp_path / "water_tiny.toml").write_text(text + 'quantities = ["forces", "polarizability"]\n')
    measure = Measure(str(tmp_path), tmp_path)
    shape = measure.shape(configuration)
    recipe = read_recipe(tmp_path / "water_tiny.toml")
    assert shape == recipe_shape(recipe, 3.5, configuration.target)
    expected = QUANTITIES[quantity].outputs or parse_irreps("12x0e+5x1o+4x2e+2x3o+1x4e")
    assert shape.layout == expected
    network = build_network(configuration.network, 2, expected, num_neighbors=3.0, seed=0)
    assert measure.size(configuration).parameters == sum(weights.numel() for weights in network.parameters())
    assert measure.facts(configuration).unreachable == ()


def test_a_label_has_no_recipe(tmp_path):
    configuration = study(quantities("label:charge")).arms[0].configuration
    with pytest.raises(StudyFileError, match=r"target\.quantity: expected .*declare none, got 'label:charge'"):
        Measure(str(tmp_path), EXAMPLES).shape(configuration)


@pytest.mark.parametrize(
    ("quantity", "hidden"),
    [
        ("density", "3x0e+2x1o+1x2e"),
        ("dipole", "3x0e+2x1o+1x2e"),
        ("dipole", "3x0e"),
        ("octupole", "3x0e"),
        ("polarizability", "3x0e+2x1o+1x2e"),
        ("forces", "3x0e+2x1o"),
        ("label:shift", "2x1o"),
    ],
)
def test_sizes_are_those_of_the_network_that_is_built(quantity, hidden):
    """Of every target, its outputs as the model has them, to the last parameter and, but for forces, operation."""
    configuration = small_configuration(hidden=hidden, batch_size=1, layers=2)
    configuration = replace(configuration, target=Target(quantity=quantity), loss=Loss())
    reference = synthetic_reference(2) if quantity == "density" else property_reference(2)
    layout = build_target(configuration.resolved(), reference).outputs
    assert reference_shape(reference, 3.5, configuration.target).layout == layout
    torch.set_default_dtype(torch.float64)
    try:
        expected = measured(configuration, 2, layout, seed=3)
        counted = size(configuration, shape_of(geometry(configuration, 2, 5), 2, layout))
    finally:
        torch.set_default_dtype(torch.float32)
    if quantity == "forces":
        counted = replace(counted, flops=expected.flops)
    assert counted == expected


@pytest.mark.parametrize(
    ("hidden", "changes"),
    [
        ("125x0e+125x0o", {"layers": 2}),
        ("125x0e+40x1o+25x2e", {"layers": 3}),
        ("24x0e+12x1o+8x2e", {"layers": 3, "radial_width": 32}),
        ("128x0e", {"layers": 4, "harmonics_lmax": 0, "radial_layers": 2, "radial_width": 128}),
        ("6x0e+4x1o", {"layers": 2}),
    ],
)
def test_operations_of_forces_are_near_those_counted(hidden, changes):
    """Of the energy, its gradient and the way back through both; a network of one's own is counted so exactly."""
    configuration = small_configuration(hidden=hidden, batch_size=1, **changes)
    forces = replace(configuration, target=Target(quantity="forces"), loss=Loss()).resolved()
    torch.set_default_dtype(torch.float64)
    try:
        graph, layout = geometry(configuration, 2, 0), parse_irreps("1x0e")
        network = build(configuration, 2, layout, 0)
        energies = operations(network, graph)
        moved = [part.requires_grad_() for part in (graph.harmonics, graph.radial)]
        with FlopCounterMode(display=False) as counter:
            energy = network(graph._replace(harmonics=1 * moved[0], radial=1 * moved[1])).sum()
            gradients = torch.autograd.grad(energy, moved, create_graph=True)
            (energy + sum(part.square().sum() for part in gradients)).backward()
    finally:
        torch.set_default_dtype(torch.float32)
    shape = shape_of(graph, 2, layout)
    assert size(configuration, shape).flops == energies
    assert size(forces, shape).flops == pytest.approx(counter.get_total_flops(), rel=0.2)
    own = replace(forces, network=replace(forces.network, define="tesseral.models.networks.network:Network"))
    if hidden == "6x0e+4x1o":
        rounded = Shape(2, layout, atoms=9, edges=len(graph.source))
        assert measure_size(own, rounded).flops == counter.get_total_flops()


@pytest.mark.parametrize(
    ("quantity", "missing", "lost"),
    [
        ("dipole", "1x1o", ""),  # charges times positions make it
        ("dipole", "1x0e", ""),
        ("dipole", "1x0e+1x1o", "1x1o"),
        ("dipole_sum", "1x1o", "1x1o"),
        ("forces", "", ""),
        ("forces", "1x0e", "1x1o"),
        ("forces_direct", "1x1o", "1x1o"),
        ("polarizability", "1x2e", "1x2e"),
        ("octupole", "1x3o", "1x3o"),
    ],
)
def test_what_no_term_of_the_pooling_can_make(quantity, missing, lost):
    unreached = QUANTITIES[quantity].unreached(parse_irreps(missing) if missing else ())
    assert format_irreps(unreached) == lost


@pytest.mark.parametrize(
    ("quantity", "hidden", "harmonics", "lost"),
    [
        ("dipole", "4x0e", 0, ()),
        ("dipole_sum", "4x0e", 0, ("1x1o",)),
        ("dipole_sum", "4x0e", 1, ()),
        ("dipole_magnitude", "4x0e", 0, ()),
        ("forces", "4x0e", 0, ()),
        ("forces_direct", "4x0e", 0, ("1x1o",)),
        ("quadrupole", "4x0e", 1, ("1x2e",)),
        ("octupole", "4x0e+2x1o", 2, ()),
        ("polarizability", "4x0e", 1, ("1x2e",)),
        ("gap", "4x0e", 0, ()),
    ],
)
def test_what_an_arm_cannot_reach_of_its_target(quantity, hidden, harmonics, lost, tmp_path):
    """By selection rules, and of a network of one's own by its outputs."""
    base = study(quantities(quantity)).arms[0].configuration
    recipe = (EXAMPLES / "water_tiny.toml").read_text() + 'quantities = ["forces", "polarizability"]\n'
    (tmp_path / "water_tiny.toml").write_text(recipe)
    network = replace(base.network, hidden=replace(base.network.hidden, irreps=hidden), harmonics_lmax=harmonics)
    measure = Measure(str(tmp_path), tmp_path)
    assert tuple(map(str, measure.facts(replace(base, network=network)).unreachable)) == lost
    own = replace(network, define="tesseral.models.networks.network:Network")
    assert tuple(map(str, measure.facts(replace(base, network=own)).unreachable)) == lost


def density(orders: tuple[int, ...] | None) -> Configuration:
    made = small_configuration()
    return replace(made, target=Target(orders=orders)).resolved()


def test_chosen_orders_are_all_that_is_seen():
    """Of the network's outputs, the values, the matrices and the sizes; an order the basis lacks is refused."""
    reference = synthetic_reference(3)
    whole, chosen = (
        DataSet(reference, density(orders).network, torch.float64, torch.device("cpu"), density(orders).target)
        for orders in (None, (1, 3))
    )
    assert format_irreps(build_target(density((1, 3)), reference).outputs) == "1x1o+1x3o"
    assert format_irreps(reference_shape(reference, 3.5, Target(orders=(1, 3))).layout) == "1x1o+1x3o"
    for one, other in zip(whole.structures, chosen.structures, strict=True):
        assert torch.equal(other.values, one.values[:, [2, 3, 4, *range(10, 17)]])
        orders = [
            s.l for z in one.graph.species.tolist() for s in BASIS.shells[8 if z else 1] for _ in range(2 * s.l + 1)
        ]
        kept = torch.tensor([order in (1, 3) for order in orders])
        assert torch.equal(other.overlap[0], one.overlap[0][kept][:, kept])
        assert torch.equal(other.values.flatten()[other.filled], one.values.flatten()[one.filled][kept])
    with pytest.raises(
        StudyFileError, match=r"target\.orders: expected orders of the auxiliary basis, 0, 1, 2, 3, 4, got 5"
    ):
        DataSet(reference, density(None).network, torch.float64, torch.device("cpu"), Target(orders=(1, 5)))
    assert unreachable(density((1, 3)), parse_irreps("1x1o+1x3o")) == ()


def test_every_metric_says_what_it_is_of():
    assert all(metric.description for metric in METRICS.values())
    for quantity in map(quantity_of, [*QUANTITIES, "label:a"]):
        assert set(quantity.metrics) <= set(METRICS)
        assert {quantity.own_metric, quantity.ablation_metric, "relative_error"} <= set(quantity.metrics)
        assert ("error" in quantity.metrics) == (quantity.name != "density")
        assert ("epsilon" in quantity.metrics) == (quantity.name == "density")
    assert set(METRICS) == {name for quantity in QUANTITIES.values() for name in quantity.metrics}
    assert find_quantity("label:strain", LABELS).unit == "bohr^3"
    assert Data(reference="x", train=1, test=1).validation == 0


def test_settings_say_widths_once():
    """Hidden irreps stand for what they were made of: default multiplicities that nobody set are no settings."""
    trial = synthetic_trial(synthetic_reference(4), small_configuration())
    hidden = {path for path in trial.configuration.settings() if path.startswith("network.hidden")}
    assert hidden == {"network.hidden.irreps"}


@pytest.mark.parametrize(
    ("orders", "metric", "valid"),
    [
        ((0, 1), "electrons", True),
        ((1, 4), "electrons", False),
        ((0, 1), "dipole_error", True),
        ((0, 2), "dipole_error", False),
        ((0, 1, 2), "quadrupole_error", True),
        ((2, 4), "quadrupole_error", False),
        ((4,), "potential_error", True),
    ],
)
def test_a_metric_that_chosen_orders_leave_without_meaning_compares_no_arms(orders, metric, valid):
    part, whole = Target(orders=orders), Target()
    assert choose_metric(metric, [whole]) == metric
    if valid:
        assert choose_metric(metric, [whole, part]) == metric
    else:
        with pytest.raises(StudyFileError, match=rf"study\.metric: expected .* got '{metric}'"):
            choose_metric(metric, [whole, part])
