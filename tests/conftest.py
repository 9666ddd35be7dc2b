"""Real reference data, made once a session by PySCF, a small study on it, and a real S3 server."""

import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer

from tesseral.study.records.store import Store
from tests.support.water_study import make_water, water_study

# As in a trial of one CPU: the last bits of a sum depend on the number of threads.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, so that all processes end together."""
    items.sort(key=lambda item: not {"system", "execution"} & set(item.path.parts))


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
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    boto3.client("s3").create_bucket(Bucket="tesseral")
    yield "s3://tesseral"
    server.stop()
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path) -> Store:
    """An empty store: a local folder, then a prefix on S3."""
    if request.param == "local":
        return Store(tmp_path / "store")
    return Store(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")
