"""Real reference data, made once a session by PySCF, and a small study on it."""

from pathlib import Path

import pytest

from tesseral.cluster.references import inline, make_reference
from tesseral.study.recipe import read_recipe

EXAMPLES = Path(__file__).parent.parent / "study" / "examples"

STUDY = """
[study]
name = "small"
metric = "l2_error"
allow_unreachable = true

[factors]
network.hidden.lmax = [0, 1]

[replication]
blocks = 3
replicates = 1

[data]
reference = "reference/water_tiny.parquet"
train = 8
validation = 2
test = 4

[network]
hidden.mul = [4, 2]
layers = 2
radial_width = 8
harmonics_lmax = 2

[training]
epochs = 6
batch_size = 4

[resources]
checkpoint_every = 0.0
seal_every = 0.0
"""


@pytest.fixture(scope="session")
def tiny_reference(tmp_path_factory) -> Path:
    """The reference data of `water_tiny.toml`: 10 monomers and 4 dimers."""
    storage = tmp_path_factory.mktemp("storage")
    location, _ = make_reference(read_recipe(EXAMPLES / "water_tiny.toml"), str(storage), inline)
    return Path(location)


@pytest.fixture
def storage(tmp_path, tiny_reference) -> Path:
    """A storage that holds the tiny reference data and nothing else."""
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
    return tmp_path


@pytest.fixture
def study_file(tmp_path_factory) -> Path:
    """A study of six short trials, with a checkpoint after every epoch."""
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(STUDY)
    return path
