"""Designs: which arms a study file makes, what it leaves out, and what it says about them."""

from itertools import product

import pytest

from tesseral.study.errors import StudyFileError
from tesseral.study.study import Study

HEAD = """
[study]
name = "try"
[data]
reference = "reference/water.parquet"
train = 16
test = 4
[network]
hidden.lmax = 1
hidden.mul = [16, 8, 4]
"""

THREE = """
[factors]
network.layers = [1, 2, 3]
loss.name = ["raw", "overlap"]
"network.harmonics_lmax" = [2, 3]
"""


def parse(text: str, head: str = HEAD) -> Study:
    return Study.parse(head + text, "try.toml")


def labels(study: Study) -> list[str]:
    return [arm.label for arm in study.arms]


def test_one_factor_out():
    study = parse(THREE + '[design]\nkind = "one-factor-out"')
    assert labels(study) == ["baseline", "layers=2", "layers=3", "loss=overlap", "harmonics_lmax=3"]
    first = {"network.layers": 1, "loss.name": "raw", "network.harmonics_lmax": 2}
    assert study.arms[0].factors == first
    assert study.arms[2].factors == first | {"network.layers": 3}
    assert study.arms[2].configuration.network.layers == 3
    assert study.arms[3].configuration.loss.name == "overlap"
    assert study.baseline is study.arms[0]
    assert study.design_notes == ("baseline: layers=1, loss=raw, harmonics_lmax=2",)


def test_one_factor_in_is_the_dual():
    study = parse(THREE + '[design]\nkind = "one-factor-in"')
    assert labels(study) == ["baseline", "layers=1", "layers=2", "loss=raw", "harmonics_lmax=2"]
    last = {"network.layers": 3, "loss.name": "overlap", "network.harmonics_lmax": 3}
    assert study.arms[0].factors == last
    assert [arm.factors for arm in study.arms[1:]] == [
        last | {"network.layers": 1},
        last | {"network.layers": 2},
        last | {"loss.name": "raw"},
        last | {"network.harmonics_lmax": 2},
    ]
    assert study.baseline is study.arms[0]


def test_another_baseline_of_a_one_factor_design_can_be_named():
    named = HEAD.replace('name = "try"', 'name = "try"\nbaseline = "layers=2"')
    assert parse(THREE + '[design]\nkind = "one-factor-out"', named).baseline.factors["network.layers"] == 2


FRACTIONAL = """
[factors]
network.layers = [1, 2]
loss.name = ["raw", "overlap"]
"network.harmonics_lmax" = [2, 3]
match.by = ["none", "parameters"]
[design]
kind = "fractional"
"""


def test_fractional():
    study = parse(FRACTIONAL + "runs = 8")
    assert len(study.arms) == 8
    assert study.design_notes[0] == "2^(4-1) fraction of resolution IV: 8 of 16 combinations"
    assert "generator D = ABC: match = layers × loss × harmonics_lmax" in study.design_notes
    assert "layers × loss is aliased with harmonics_lmax × match" in study.design_notes
    for arm in study.arms:  # the first level is −1, the second +1, and D = +ABC
        second = [
            arm.configuration.network.layers == 2,
            arm.configuration.loss.name == "overlap",
            arm.configuration.network.harmonics_lmax == 3,
        ]
        assert arm.match == ("parameters" if sum(second) % 2 else "none")
    assert labels(study)[0] == "layers=1, loss=raw, harmonics_lmax=2, match=none"
    by_resolution = parse(FRACTIONAL + "resolution = 4")
    assert by_resolution.arms == study.arms


def test_where_leaves_arms_out_and_says_which():
    study = parse(THREE + "[design]\nwhere = ['network.layers < 3 or loss.name == \"raw\"', 'network.layers != 1']")
    assert labels(study) == [
        "layers=2, loss=raw, harmonics_lmax=2",
        "layers=2, loss=raw, harmonics_lmax=3",
        "layers=2, loss=overlap, harmonics_lmax=2",
        "layers=2, loss=overlap, harmonics_lmax=3",
        "layers=3, loss=raw, harmonics_lmax=2",
        "layers=3, loss=raw, harmonics_lmax=3",
    ]
    assert len(study.excluded) == 12 - 6
    left_out = {one.label: (one.condition, one.where) for one in study.excluded}
    assert left_out["layers=1, loss=raw, harmonics_lmax=2"] == ("network.layers != 1", "design.where[1]")
    assert left_out["layers=3, loss=overlap, harmonics_lmax=3"] == (
        'network.layers < 3 or loss.name == "raw"',
        "design.where[0]",
    )
    assert study.baseline is study.arms[0]


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("network.hidden.lmax == none or network.hidden.lmax < 1", ["hidden={lmax=0}", "hidden={orders=[0,2]}"]),
        ("network.hidden.orders == [0, 2]", ["hidden={orders=[0,2]}"]),
        ("network.hidden.mul == [16, 8, 4]", ["hidden={lmax=0}", "hidden={lmax=1}", "hidden={orders=[0,2]}"]),
        ("network.hidden.orders != none and 2 in network.hidden.orders", ["hidden={orders=[0,2]}"]),
        ("training.epochs == 60 and network.hidden.lmax == 1", ["hidden={lmax=1}"]),
        ("match.by == 'none' and network.num_neighbors == null and network.hidden.lmax == 0", ["hidden={lmax=0}"]),
    ],
)
def test_conditions_see_the_configuration_as_written(condition, left):
    head = HEAD.replace("hidden.lmax = 1\n", "")
    text = "[factors]\nnetwork.hidden = [{lmax = 0}, {lmax = 1}, {orders = [0, 2]}]\n[design]\n"
    assert labels(parse(text + f'where = ["{condition}"]', head)) == left


def test_an_arm_that_is_left_out_need_not_make_sense():
    """Where factors contradict each other at some levels, a condition keeps the arms that make sense."""
    text = """
[[arms]]
network.hidden.lmax = 0
[[arms]]
network.hidden.lmax = 0
network.hidden.orders = [0, 1]
[[arms]]
network.hidden.orders = [0, 2]
[design]
where = ["CONDITION"]
"""
    head = HEAD.replace("hidden.lmax = 1\n", "")
    with pytest.raises(StudyFileError, match="exactly one of irreps, lmax and orders") as caught:
        parse(text.replace("CONDITION", "true"), head)
    assert caught.value.path == "arms[1].network.hidden.lmax"
    study = parse(text.replace("CONDITION", "network.hidden.lmax == none or network.hidden.orders == none"), head)
    assert labels(study) == ["lmax=0", "orders=[0,2]"]
    assert [one.label for one in study.excluded] == ["lmax=0, orders=[0,1]"]


def test_where_applies_to_arms_written_out():
    arms = "\n[[arms]]\nnetwork.layers = 1\n[[arms]]\nloss.name = 'raw'\n[design]\nwhere = ['network.layers == 3']"
    study = parse(arms)
    assert labels(study) == ["loss=raw"]
    assert [(one.label, one.where) for one in study.excluded] == [("layers=1", "design.where[0]")]


FACTORS = [
    ("network.hidden.orders = [[0], [0, 2], [0, 3, 4]]", ["orders=[0]", "orders=[0,2]", "orders=[0,3,4]"]),
    ("network.hidden.parity = ['both', 'natural']", ["parity=both", "parity=natural"]),
    ("network.hidden.mul = [[8], [8, 4]]", ["mul=[8]", "mul=[8,4]"]),
    ("network.layers = [1, 20]", ["layers=1", "layers=20"]),
    ("network.harmonics_lmax = [0, 4]", ["harmonics_lmax=0", "harmonics_lmax=4"]),
    ("network.radial_functions = [5, 10]", ["radial_functions=5", "radial_functions=10"]),
    ("network.radial_cutoff = [2.5, 5]", ["radial_cutoff=2.5", "radial_cutoff=5"]),
    ("network.radial_width = [8, 16]", ["radial_width=8", "radial_width=16"]),
    ("network.radial_layers = [0, 2]", ["radial_layers=0", "radial_layers=2"]),
    ("network.num_neighbors = [8.0, 12.2]", ["num_neighbors=8.0", "num_neighbors=12.2"]),
    ("target.scale = ['spread', 'none']", ["scale=spread", "scale=none"]),
    ("loss.name = ['raw', 'equal', 'overlap']", ["loss=raw", "loss=equal", "loss=overlap"]),
    ("training.epochs = [1, 2]", ["epochs=1", "epochs=2"]),
    ("training.batch_size = [1, 2]", ["batch_size=1", "batch_size=2"]),
    ("training.learning_rate = [1e-2, 1e-3]", ["learning_rate=0.01", "learning_rate=0.001"]),
    ("training.schedule = ['cosine', 'constant']", ["schedule=cosine", "schedule=constant"]),
    ("training.dtype = ['float32', 'float64']", ["dtype=float32", "dtype=float64"]),
    ("data.train = [4, 8, 16]", ["train=4", "train=8", "train=16"]),
    ("data.reference = ['a.parquet', 'b.parquet']", ["reference=a.parquet", "reference=b.parquet"]),
    (
        "data = [{reference = 'a.parquet', recipe = 'a.toml', train = 8, test = 4}, "
        "{reference = 'b.parquet', recipe = 'b.toml', train = 16, test = 4}]",
        ["data={reference=a.parquet, recipe=a.toml, train=8}", "data={reference=b.parquet, recipe=b.toml, train=16}"],
    ),
    (
        "network = [{hidden = {lmax = 1, mul = [4]}, layers = 2}, {hidden = {lmax = 1, mul = [8]}, layers = 2}]",
        ["network={hidden.mul=[4]}", "network={hidden.mul=[8]}"],
    ),
    (
        "match.by = ['none', 'parameters', 'components', 'flops']",
        [f"match={by}" for by in ("none", "parameters", "components", "flops")],
    ),
]


@pytest.mark.parametrize(("factor", "expected"), FACTORS, ids=[factor.split(" ")[0] for factor, _ in FACTORS])
def test_anything_in_a_trials_configuration_may_be_a_factor(factor, expected):
    head = HEAD.replace("hidden.lmax = 1\n", "") if "orders" in factor else HEAD
    study = parse(f"[factors]\n{factor}\n", head)
    assert labels(study) == expected
    path = factor.split(" ")[0]
    levels = [arm.factors[path] for arm in study.arms]
    assert len(levels) == len(expected)
    if path not in ("data", "network", "match.by") and "hidden" not in path:
        section, name = path.split(".")
        assert [getattr(getattr(arm.configuration, section), name) for arm in study.arms] == levels


def test_tables_as_levels_set_their_keys_and_leave_the_others():
    text = """
[factors]
"data" = [{reference = "a.parquet", train = 8}, {reference = "b.parquet", train = 12}]
"data.validation" = [1, 2]
"""
    data = [arm.configuration.data for arm in parse(text).arms]
    assert [(one.reference, one.train, one.validation, one.test) for one in data] == [
        ("a.parquet", 8, 1, 4),
        ("a.parquet", 8, 2, 4),
        ("b.parquet", 12, 1, 4),
        ("b.parquet", 12, 2, 4),
    ]


def test_hidden_orders_need_not_be_contiguous():
    study = parse("[factors]\nnetwork.hidden.orders = [[0, 2], [2]]\n", HEAD.replace("hidden.lmax = 1\n", ""))
    hidden = [arm.configuration.network.hidden.irreps for arm in study.arms]
    assert hidden == ["16x0e+16x0o+4x2e+4x2o", "4x2e+4x2o"]


def test_an_arm_keeps_how_it_is_matched():
    both = parse("[factors]\nmatch.by = ['none', 'parameters']\nnetwork.layers = [1, 2]\n[match]\nby = 'flops'")
    assert [(arm.match, arm.factors["match.by"]) for arm in both.arms] == [
        ("none", "none"),
        ("none", "none"),
        ("parameters", "parameters"),
        ("parameters", "parameters"),
    ]
    assert len({arm.configuration for arm in both.arms}) == 2
    plain = parse("[factors]\nnetwork.layers = [1, 2]\n[match]\nby = 'flops'")
    assert [arm.match for arm in plain.arms] == ["flops", "flops"]
    arms = parse("[[arms]]\nmatch.by = 'components'\n[[arms]]\nnetwork.layers = 2\n")
    assert [(arm.label, arm.match) for arm in arms.arms] == [("match=components", "components"), ("layers=2", "none")]


def test_equal_arms_are_joined_only_if_they_are_matched_alike():
    factors = "[factors]\nnetwork.hidden.mul = [[16, 8], [16, 8, 4]]\nmatch.by = ['none', 'parameters']\n"
    assert labels(parse(factors)) == [
        "mul=[16,8], match=none = mul=[16,8,4], match=none",
        "mul=[16,8], match=parameters = mul=[16,8,4], match=parameters",
    ]


def test_labels_are_distinct_over_a_large_design():
    study = parse(
        "[factors]\nnetwork.layers = [1, 2, 3, 4]\nloss.name = ['raw', 'equal', 'overlap']\n"
        "network.hidden = [{mul = [4]}, {mul = [4, 2]}, {mul = [4, 2], parity = 'natural'}]\n"
    )
    assert len(study.arms) == len(set(labels(study))) == len({arm.key for arm in study.arms}) == 4 * 3 * 3
    combinations = {(arm.configuration.network, arm.configuration.loss) for arm in study.arms}
    assert len(combinations) == len(list(product(range(4), range(3), range(3))))


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (THREE + "[design]\nkind = 'one-factor'", "design.kind", ["one-factor-out", '"one-factor"']),
        (THREE + "[design]\nkind = 'fractional'\nruns = 4", "factors.network.layers", ["two levels", "got 3"]),
        (FRACTIONAL, "design", ["exactly one of runs and resolution", "8 (IV), 16 (full)"]),
        (FRACTIONAL + "runs = 8\nresolution = 4", "design.runs", ["exactly one", "both"]),
        (FRACTIONAL + "runs = 6", "design.runs", ["6 runs", "8 (IV), 16 (full)"]),
        (FRACTIONAL + "runs = 8\nwhere = ['network.layers == 1']", "design.where", ["fractional"]),
        (THREE + "[design]\nruns = 8", "design.runs", ["factorial", "fractional"]),
        (THREE + "[design]\nkind = 'one-factor-in'\nresolution = 3", "design.resolution", ["one-factor-in"]),
        ("[design]\nkind = 'one-factor-out'", "design.kind", ["[factors]", "one-factor-out"]),
        ("[[arms]]\nnetwork.layers = 1\n[design]\nkind = 'one-factor-out'", "design.kind", ["[factors]"]),
        (THREE + "[[arms]]\nnetwork.layers = 1\n", "arms", ["either [factors] or [[arms]]"]),
        (THREE + "[design]\nwhere = ['network.layers > 3']", "design.where", ["leave an arm", "network.layers > 3"]),
        (THREE + "[design]\nwhere = ['network.layers > ']", "design.where[0]", ["an expression", "network.layers > "]),
        (THREE + "[design]\nwhere = ['network.layer > 1']", "design.where[0]", ["did you mean 'network.layers'"]),
        (THREE + "[design]\nwhere = ['true', 'layers']", "design.where[1]", ["did you mean 'network.layers'"]),
        (THREE + "[design]\nwhere = ['network.layers + 1']", "design.where[0]", ["true or false", "got 2"]),
        (THREE + "[design]\nwhere = ['loss.name < 3']", "design.where[0]", ["'raw' < 3"]),
        (
            THREE + "[design]\nkind = 'one-factor-out'\nwhere = ['true', 'network.layers > 1']",
            "design.where[1]",
            ["a condition that the baseline meets"],
        ),
        ("[factors]\nmatch.by = ['none', 'width']", "factors.match.by", ["parameters", '"width"']),
        ("[factors]\nmatch.to = [10, 20]", "factors.match.to", ["match.by alone"]),
        ("[factors]\nmatch = [{by = 'none'}, {to = 5}]", "factors.match", ["match.by alone"]),
        ("[factors]\nresources.cpus = [1, 2]", "factors.resources.cpus", ["unknown key 'resources'", "network"]),
        ("[factors]\nnetwork.layers.depth = [1, 2]", "factors.network.layers.depth", ["an integer", '{"depth": 1}']),
        ("[factors]\nnetwork.hidden.mul.s = [1, 2]", "factors.network.hidden.mul.s", ["table", "'mul'"]),
        (
            "[factors]\n" + "\n".join(f"network.x{i} = [1, 2, 3, 4, 5]" for i in range(9)),
            "factors",
            ["10000", "1953125"],
        ),
        (
            "[factors]\nloss.name = ['raw', 'equal']\n[match]\nwithin = ['network.layers']",
            "match.within[0]",
            ["loss.name"],
        ),
        ("[match]\nwithin = ['network.layers']", "match.within[0]", ["no factor", "network.layers"]),
        (THREE + "[match]\nby = 'flops'\nto = 'layers=9'", "match.to", ["layers=1, loss=raw", "'layers=9'"]),
    ],
)
def test_mistakes_are_one_sentence_each(text, path, words):
    with pytest.raises(StudyFileError) as caught:
        parse(text)
    assert caught.value.path == path
    for word in words:
        assert word in str(caught.value)
    assert str(caught.value).startswith("try.toml")
    assert "\n" not in str(caught.value)


def test_a_baseline_that_was_left_out_is_named():
    head = HEAD.replace('name = "try"', 'name = "try"\nbaseline = "layers=1, loss=raw, harmonics_lmax=2"')
    with pytest.raises(StudyFileError) as caught:
        parse(THREE + "[design]\nwhere = ['network.layers > 1']", head)
    assert caught.value.path == "study.baseline"
    assert "'layers=1, loss=raw, harmonics_lmax=2'" in caught.value.message
    assert "design.where (entry 1)" in caught.value.message
    assert "network.layers > 1" in caught.value.message


def test_a_diagram_is_labelled_as_its_parser_writes_it():
    """Whatever its spaces; its children stay as they stand, for exchanged ones are two labels of one arm."""
    assert labels(
        parse('[factors]\nnetwork.fusion.diagram = ["none", "( ( edges   centre)edges)", "(edges (edges centre))"]')
    ) == ["diagram=none", "diagram=((edges centre) edges) = diagram=(edges (edges centre))"]
    table = '[factors]\nnetwork.fusion = [{ diagram = "(centre  edges)", k_max = 1 }, { diagram = "(edges edges)" }]'
    assert labels(parse(table))[0] == "fusion={diagram=(centre edges), k_max=1}"
    with pytest.raises(StudyFileError, match=r"got '\(neighbours\)'"):
        parse('[factors]\nnetwork.fusion.diagram = ["(neighbours)"]')


def test_no_bound_is_a_level_of_it():
    diagram = '\n[network.fusion]\ndiagram = "((neighbours centre) edges)"\nchannels = 2\n'
    study = parse('[factors]\nnetwork.fusion.k_max = ["none", 1]', HEAD + diagram)
    assert labels(study) == ["k_max=none", "k_max=1"]
    assert [arm.configuration.network.fusion.bound for arm in study.arms] == [None, 1]
    assert study.arms[0].configuration == parse("", HEAD + diagram).arms[0].configuration
    with pytest.raises(StudyFileError, match=r"factors\.network\.fusion\.k_max: expected .*'none'.*, got .all"):
        parse('[factors]\nnetwork.fusion.k_max = ["all", 1]', HEAD + diagram)


def test_what_has_no_effect_is_dropped_but_of_a_network_of_ones_own():
    """What that makes of its settings is its affair."""
    given = "\nfusion = { k_max = 2, channels = 3 }\ncorrelation = 2\n"
    plain, own = (parse(more, HEAD + given).arms[0].configuration.network for more in ("", 'define = "own:Network"'))
    assert plain == parse("").arms[0].configuration.network
    assert (own.fusion.k_max, own.fusion.channels, own.correlation) == (2, 3, 2)
