"""Real reference data, made once a session by PySCF, a small study on it, and a real S3 server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import torch

from tesseral.study.records.store import Store
from tests.support.s3_server import s3
from tests.support.water_study import make_water, water_study

# As in a trial of one CPU: the last bits of a sum depend on the number of threads.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, so that all processes end together."""
    long = {"system", "execution", "nodes", "test_recipe_run.py"}
    items.sort(key=lambda item: not long & set(item.path.parts))


@pytest.fixture(scope="session")
def tiny_reference(tmp_path_factory) -> Path:
    """The reference data of `water_tiny.toml`: 10 monomers and 4 dimers."""
    return make_water(tmp_path_factory.mktemp("storage"))


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
    path.write_text(water_study("small"))
    return path


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of a bucket on an S3 server of this session's own, on loopback."""
    with s3():
        boto3.client("s3").create_bucket(Bucket="tesseral")
        yield "s3://tesseral"


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path) -> Store:
    """An empty store: a local folder, then a prefix on S3."""
    if request.param == "local":
        return Store(tmp_path / "store")
    return Store(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")
