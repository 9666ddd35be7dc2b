"""Mistakes in study files, recipes and mappings, for the tests of their sentences and those of the JSON Schemas."""

STUDY = """
[study]
name = "try"
seed = 7

[factors]
"network.hidden.lmax" = [0, 1, 2]
loss.name = ["raw", "overlap"]

[replication]
blocks = 2
replicates = 3

[data]
reference = "reference/water.parquet"
train = 10
test = 4

[network]
hidden.mul = [16, 8, 4]

[training]
epochs = 4
batch_size = 4
"""
"""A study file without a mistake."""

RECIPE = {
    "reference": {"name": "water"},
    "structures": [{"kind": "water_clusters", "molecules": 2, "count": 4, "seed": 1}],
    "method": {"method": "PBE0"},
}
"""A recipe without a mistake."""

WATERS = 'kind = "water_clusters"\nmolecules = 2\ncount = 2'
XYZ = 'kind = "xyz"\nfile = "a/b.xyz.gz"'
HELIUM = 'kind = "inline"\nname = "he"\nelements = ["He"]\npositions = [[0, 0, 0.0]]'
DISPLACED = (
    'kind = "displacements"\nname = "h2"\nelements = ["H", "H"]\npositions = [[0, 0, 0], [0, 0, 0.74]]\ncount = 3'
)

STUDY_MISTAKES = [
    ("epochs = 4", "epoch = 4", "training.epoch", ["unknown key 'epoch'", "did you mean 'epochs'", "batch_size"]),
    ("[training]", "[trainings]", "trainings", ["did you mean 'training'"]),
    ("epochs = 4", "epochs = 'four'", "training.epochs", ["an integer", '"four"']),
    ("epochs = 4", "epochs = true", "training.epochs", ["an integer", "true"]),
    ("epochs = 4", "epochs = 1000000000000000000000", "training.epochs", ["at most 1000000"]),
    ("[0, 1, 2]", "[0, 1, inf]", "factors.network.hidden.lmax", ["integer"]),
    ("epochs = 4", "epochs = 0", "training.epochs", ["at least 1", "got 0"]),
    ("train = 10\n", "", "data.train", ["missing"]),
    ("test = 4", 'test = 4\ngroups = "Compositon"', "data.groups", ["geometry|composition|label", "Compositon"]),
    ("epochs = 4", "steps = 0", "training.steps", ["at least 1", "got 0"]),
    ("epochs = 4", "clip = -5.0", "training.clip", ["greater than 0", "-5"]),
    ("epochs = 4", "patience = -5", "training.patience", ["at least 1", "-5"]),
    ('name = "try"', 'name = "../up"', "study.name", ["../up"]),
    ('name = "try"', 'name = "reference"', "study.name", ["another name"]),
    ("seed = 7", 'metric = "loss2"', "study.metric", ["epsilon", "loss2"]),
    ("seed = 7", 'metric = "block_error"', "study.metric", ["epsilon", "block_error"]),
    ("seed = 7", 'baseline = "lmax=9"', "study.baseline", ["lmax=0, loss=raw", "lmax=9"]),
    ("[0, 1, 2]", "[0, 1, 99]", "factors.network.hidden.lmax", ["at most 10", "99"]),
    ("[0, 1, 2]", "[0, 1, 1]", "factors.network.hidden.lmax[2]", ["level 1", "twice", "entry 2"]),
    ("[0, 1, 2]", "[]", "factors.network.hidden.lmax", ["at least one level", "empty"]),
    ("[0, 1, 2]", "3", "factors.network.hidden.lmax", ["list of levels", "3"]),
    ("network.hidden.lmax", "network.hiden.lmax", "factors.network.hiden.lmax", ["did you mean 'hidden'"]),
    (
        '"network.hidden.lmax" = [0, 1, 2]',
        'network.hidden.irreps = ["4x0e", "4y0e"]',
        "factors.network.hidden.irreps",
        ["4y0e", "16x0e+8x1o"],
    ),
    ('"raw", "overlap"', '"raw", "overlaps"', "factors.loss.name", ["overlap", "overlaps"]),
    ("hidden.mul = [16, 8, 4]", "hidden.irreps = '4x0e'", "factors.network.hidden.lmax", ["exactly one"]),
    ("[study]", "[study", "", ["TOML"]),
]
"""What is replaced in `STUDY`, once, by what; path of the error; words of the sentence."""

SPACE_MISTAKES = [
    ("training.learnin_rate = [0.1]", "training.learnin_rate", "did you mean 'learning_rate'"),
    ("trainin.learning_rate = [0.1]", "trainin.learning_rate", "did you mean 'training'"),
    ("training.learning_rate = 0.1", "training.learning_rate", "expected choices such as"),
    ("training.learning_rate = { lo = 0.1, hig = 1 }", "training.learning_rate.lo", "did you mean 'low'"),
    ("training.learning_rate = { low = 0.1, hih = 1 }", "training.learning_rate.hih", "did you mean 'high'"),
    ("training.learning_rate = { low = 0.1 }", "training.learning_rate", "both low and high"),
    ("training.learning_rate = { low = 0.2, high = 0.1 }", "training.learning_rate", "low to be at most high"),
    ("training.learning_rate = { low = 0, high = 1, log = true }", "training.learning_rate", "greater than 0"),
    ("network.layers = { low = 1, high = 9, log = true, step = 2 }", "network.layers", "either log = true or a"),
    ("network.layers = { low = 1, high = 4, step = 2 }", "network.layers", "such as 3, got 4"),
    ("network.layers = { low = 1, high = 4, step = 0 }", "network.layers", "a step greater than 0"),
    ("network.layers = { low = 1, high = 4, choices = [1] }", "network.layers", "got both"),
    ("network.layers = { low = true, high = 4 }", "network.layers.low", "expected an integer or a number"),
    ("network.layers = []", "network.layers", "at least one choice"),
    ("network.layers = [1, 2, 1]", "network.layers", "choice 1 is written twice"),
    ("network.layers = [1, 200]", "network.layers", "at most 20, got 200"),
    ("network.layers = { low = 1, high = 200 }", "network.layers", "at most 20, got 200"),
    ("network.layers = [1.5]", "network.layers", "expected an integer"),
    ("training.learning_rate = { low = -1.0, high = 1.0 }", "training.learning_rate", "than 0.0, got -1.0"),
    ("training.learning_rate = [inf]", "training.learning_rate", "finite"),
    ("network.hidden.lmax = [0, 1]", "network.hidden.lmax", "arms differ in network.hidden.lmax"),
    ('network.hidden.irreps = ["4x0e"]', "network.hidden.irreps", "arms differ in network.hidden.lmax"),
    ("network = [{ hidden = { lmax = 1 } }]", "network", "arms differ in network.hidden.lmax"),
    ('data.reference = ["a.parquet"]', "data.reference", "cannot be searched"),
    ('network.define = ["mine:build", "mine:other"]', "network.define", "bound to the source of the networks"),
    ('network = [{ define = "mine:build" }]', "network", "bound to the source of the networks"),
    ("data.test = [4, 5]", "data.test", "cannot be searched"),
    ("training.epochs = [4, 5]", "training.epochs", "cannot be searched"),
    ('network.layers = { choices = [1], when = "network.layer > 1" }', "network.layers.when", "'network.layers'"),
    ('network.layers = { choices = [1], when = "network.layers >" }', "network.layers.when", "an expression"),
    ('training.batch_size = { choices = [1], when = "loss.name > 1" }', "training.batch_size.when", "cannot comp"),
    ('training.batch_size = { choices = [1], when = "network.layers" }', "training.batch_size.when", "a condition"),
    ('"network.layers" = [1]\nnetwork.layers = [2]', "network.layers", "got two"),
]
"""Text of `[search.space]`; path of the error within it; words of the sentence."""

RECIPE_MISTAKES = [
    ("method.gridlevel", 3, "unknown key 'gridlevel'; did you mean 'grid_level'? valid keys are method, "),
    ("methods", 3, "unknown key 'methods'; did you mean 'method'? valid keys are reference, structures, method"),
    ("structures.0.zzz", 3, "unknown key 'zzz'; valid keys are kind, molecules, count, seed"),
    (
        "structures.0.kind",
        "water_cluster",
        "expected 'water_clusters' or 'xyz' or 'inline' or 'displacements', got ",
    ),
    ("structures.0.count", "4", 'expected an integer, got "4"'),
    ("structures.0.count", 4.5, "expected an integer, got 4.5"),
    ("structures.0.count", True, "expected an integer, got true"),
    ("structures.0.count", 0, "expected a number of at least 1, got 0"),
    ("method.grid_level", 10, "expected a number of at most 9, got 10"),
    ("method.decontracted", "yes", 'expected true or false, got "yes"'),
    ("method.basis", 6, "expected text in quotes, got 6"),
    ("method.metric", "culomb", "expected 'coulomb' or 'overlap', got \"culomb\"; did you mean 'coulomb'?"),
    ("method", 7, "expected a table of keys and values, got 7"),
    ("structures", [], "expected a list of at least 1 entries, got []"),
    ("structures", 5, "expected a list in brackets, got 5"),
    ("reference.name", "../water", "expected a name of letters, digits, "),
]
"""Path that is set in `RECIPE`; to what; beginning of the sentence."""

TABLE_MISTAKES = [
    ((XYZ, XYZ), "structures.1.name", "'b' makes those of structures (entry 1), too; give one of them another name"),
    ((HELIUM, WATERS, HELIUM), "structures.2.name", "'he' makes those of structures (entry 1), too"),
    ((WATERS, HELIUM.replace('"he"', '"dimer-0001"')), "structures.1.name", "'dimer-0001' makes those"),
    ((DISPLACED.replace('"h2"', '"dimer"'), WATERS), "structures.1", "'dimer' makes those of structures (entry 1)"),
    ((HELIUM.replace('"He"', '"Hx"'),), "structures.0", "symbols such as 'C' and 'O' in elements, got 'Hx'"),
    ((HELIUM.replace('"he"', '"h e"'),), "structures.0", "expected a name of letters, digits, "),
    ((HELIUM.replace("0.0]]", "0.0], [0, 0, 1]]"),), "structures.0", "got 1 elements and 2 positions"),
    ((HELIUM.replace("0.0]]", "nan]]"),), "structures.0.positions.0.2", "expected a finite number, got NaN"),
    ((HELIUM.replace(", 0.0]]", "]]"),), "structures.0.positions.0", "a list of at least 3 entries, got [0, 0]"),
    ((HELIUM + "\nspin = -1",), "structures.0.spin", "expected a number of at least 0, got -1"),
    (('kind = "inline"\nname = "none"',), "structures.0", "expected elements and positions of at least one atom"),
    ((DISPLACED + '\nfile = "h2.xyz"',), "structures.0", "either elements and positions or a file, got both"),
    (('kind = "displacements"\nname = "h2"\ncount = 1',), "structures.0", "or a file, got neither"),
    ((DISPLACED + "\ntemperature = -3.0",), "structures.0.temperature", "a number of at least 0.0, got -3.0"),
    ((WATERS.replace('kind = "water_clusters"\n', ""),), "structures.0.kind", "'displacements', it is missing"),
    ((XYZ + "\nmolecules = 3",), "structures.0.molecules", "unknown key 'molecules'; valid keys are kind, file, "),
    ((XYZ + '\nname = "../b"',), "structures.0", "expected a name of letters, digits, "),
]  # fmt: skip
"""Tables `[[structures]]`; path of the error; words of the sentence."""

MAPPING_MISTAKES = [
    ({"column": "dipole", "unit": "furlong"}, "valid are e bohr, e angstrom, debye, au"),
    ({"column": "positions"}, "expected one of energy, forces, dipole, .*'positions'"),
    ({"column": "polarisability"}, r"not nearly one of them, got column = 'polarisability'; did you mean 'polarizab"),
    ({"column": "Forces"}, "did you mean 'forces'"),
    ({"column": "my tensor"}, "a name of letters, digits, '_' and '-'"),
    ({"column": "dipole", "irreps": "0e"}, "expected irreps 1x1o for each structure, .* got 1x0e"),
    ({"column": "polarizability", "irreps": "2e+0e"}, r"expected irreps 1x0e\+1x2e .* got 1x2e\+1x0e"),
    ({"column": "forces", "per": "structure"}, "for each atom, .* for each structure"),
    ({"column": "mine", "irreps": "4e"}, "got '4e'; form = 'spherical' takes any"),
    ({"column": "mine", "irreps": "2x1o"}, "each once"),
    ({"column": "mine", "irreps": "1o+2e"}, "expected irreps of a Cartesian tensor"),
    ({"column": "mine", "irreps": "nonsense"}, "expected irreps such as"),
    ({"column": "mine", "form": "voigt"}, "expected 'cartesian' or 'spherical', got \"voigt\""),
    ({"column": "mine", "symetrize": True}, "unknown key 'symetrize'; did you mean 'symmetrize'"),
    ({"column": "energy", "origin": "mass"}, "expected origin and convention for dipole"),
    ({"column": "dipole", "convention": "moment"}, "for quadrupole and octupole only"),
    ({"column": "quadrupole", "convention": "moment"}, "expected origin = 'nuclear_charge', .* got no origin"),
    ({"column": "octupole", "origin": "nuclear_charge"}, "expected convention = 'moment' or 'buckingham'"),
]
"""Keys of a label; the sentence, as a regular expression."""
