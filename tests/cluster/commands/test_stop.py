"""`tesseral stop`, and `tesseral status` with an address: the job of a study in one storage, however it is written."""

import json

import pytest

from tests.support.command_line import assert_refused, tesseral
from tests.support.job_client import ADDRESS, JobClient, join
from tests.support.water_study import water_study

BUCKET, FOLDER = "tesseral-small-00000001-1", "tesseral-small-00000002-1"


@pytest.fixture
def client(monkeypatch) -> JobClient:
    """A cluster in which two studies of one name run."""
    known = JobClient()
    known.add(BUCKET, "small", "s3://bucket/studies")
    known.add(FOLDER, "small", "/studies")
    join(monkeypatch, known)
    return known


@pytest.mark.parametrize("storage", ["s3://bucket/studies", "s3://bucket/studies/"])
def test_the_job_of_one_storage_is_stopped(client, storage):
    done = tesseral("stop", "small", "--address", ADDRESS, "--storage", storage)
    assert done.stdout == f"{BUCKET} has ended: stopped. tesseral submit continues it.\n"
    assert client.jobs[FOLDER].status == "RUNNING"


def test_of_two_studies_of_a_name_the_storage_is_asked_for(client):
    assert_refused(
        tesseral("stop", "small", "--address", ADDRESS),
        "--storage: expected one of s3://bucket/studies and /studies, because 'small' runs in each; got none",
    )
    assert_refused(tesseral("stop", "small", "--address", ADDRESS, "--storage", "/other"), "of which none runs")


def test_a_status_shows_the_job_of_its_own_storage(client, storage, study_file):
    study_file.write_text(water_study("small", epochs=1))
    assert tesseral("run", study_file, "--storage", storage, "--executor", "inline").returncode == 0

    def job(place) -> object:
        done = tesseral("status", "small", "--storage", place, "--address", ADDRESS, "--json")
        return json.loads(done.stdout)["job"]

    assert job(storage) is None
    known = tesseral("status", "small", "--storage", storage, "--address", ADDRESS).stdout
    assert f"knows no job of it in {storage}, but in /studies and s3://bucket/studies." in known
    client.add("tesseral-small-00000003-1", "small", str(storage))
    assert job(storage)["id"] == job(f"{storage}/")["id"] == "tesseral-small-00000003-1"
