"""The small water study that tests and benchmarks run: its reference data, and its text."""

from pathlib import Path

from tesseral.cluster.data.recipe_run import inline, run_recipe
from tesseral.study.recipe.recipe import read_recipe

EXAMPLES = Path(__file__).parents[2] / "study" / "examples"


def make_water(storage: Path) -> Path:
    """Make the reference data of `water_tiny.toml`, 10 monomers and 4 dimers, and return where it lies."""
    location, _ = run_recipe(read_recipe(EXAMPLES / "water_tiny.toml"), str(storage), inline)
    return Path(location)


def water_study(
    name: str,
    factors: str = "network.hidden.lmax = [0, 1]",
    *,
    seed: int = 0,
    blocks: int = 3,
    hidden: str = "{ mul = [4, 2] }",
    epochs: int = 6,
    checkpoint_every: float = 0.0,
) -> str:
    """A study of short trials on that data, two steps an epoch, whose rows are sealed after every epoch.

    :param factors: what `[factors]` holds, TOML.
    :param hidden: of the network, TOML.
    :param checkpoint_every: seconds; 0: after every epoch.
    """
    return f"""
[study]
name = "{name}"
seed = {seed}
metric = "l2_error"
allow_unreachable = true

[factors]
{factors}

[replication]
blocks = {blocks}
replicates = 1

[data]
reference = "reference/water_tiny.parquet"
train = 8
validation = 2
test = 4

[network]
hidden = {hidden}
layers = 2
radial_width = 8
harmonics_lmax = 2

[training]
epochs = {epochs}
batch_size = 4

[resources]
checkpoint_every = {checkpoint_every}
seal_every = 0.0
"""


def search_of_rates(trials: int, repeats: int = 1) -> str:
    """The tables of a search over the learning rate that stops trials early.

    :param trials: distinct proposals of an arm.
    :param repeats: independent searches of an arm, which share them.
    """
    return f"""
[search]
trials = {trials}
repeats = {repeats}
sampler = "random"

[search.space]
training.learning_rate = {{ low = 1e-3, high = 1e-1, log = true }}

[search.asha]
min_epochs = 1
reduction = 2
"""
