"""A study whose storage is an S3 server behind a network that fails: nothing ends that need not, and no number changes.

The training is a stand-in; commands, records and lease are those of `tesseral run`.
"""

import threading
import uuid

import pytest

from tests.support.disturbed import Studies, difference, numbers
from tests.support.faulty_proxy import proxy_of
from tests.support.forked_commands import Ended, forked
from tests.support.s3_server import s3
from tests.system.faults_of_storage import put

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def far():
    """Commands, studies, the environment that leads to a server, and the numbers of an undisturbed run."""
    with s3() as environment, forked() as commands:
        studies = Studies(commands)
        with studies.copy() as folder:
            assert studies.run(commands, folder, "plain").code == 0
            undisturbed = numbers(folder / "runs", "plain")
        yield commands, studies, environment, undisturbed


@pytest.fixture
def run(far):
    """Runs the study at a URL of its own, through a proxy, and checks its numbers; and the proxy."""
    commands, studies, environment, undisturbed = far
    url = f"s3://{uuid.uuid4().hex}/runs"
    put(studies.runs, url, environment)
    with proxy_of(environment["AWS_ENDPOINT_URL"]) as (address, proxy):

        def command(**settings: str) -> Ended:
            arguments = ("run", studies.folder / "plain.toml", "--executor", "inline", "--lease", "2")
            settings = environment | {"AWS_ENDPOINT_URL": address} | settings
            ended = commands.run(*arguments, "--storage", url, environment=settings, seconds=120)
            assert ended.code or not difference(url, "plain", undisturbed)
            return ended

        yield command, proxy
        proxy.down.clear()


def test_answers_that_are_lost_change_nothing(run):
    """Of every second request that writes or deletes: also of one's own lease and of the record that one has left."""
    command, proxy = run
    turn = [0]

    def fault(method: str, path: str) -> str | None:
        turn[0] += method != "GET"
        return "lost" if method != "GET" and turn[0] % 2 else None

    proxy.fault = fault
    ended = command()
    assert ended.code == 0, ended
    assert "2 of 2 trials complete" in ended.text
    assert {method for _, method, _ in proxy.met} >= {"PUT"}
    assert any(path.endswith("left") or "/lease/" in path for *_, path in proxy.met)


def test_a_silence_is_said_once_and_ends_nothing(run):
    command, proxy = run

    def fault(method: str, path: str) -> str | None:
        if "/checkpoint/" in path and not proxy.met:
            proxy.down.set()
            threading.Timer(4.0, proxy.down.clear).start()
            return "reset"
        return None

    proxy.fault = fault
    ended = command()
    assert ended.code == 0, ended
    assert [s.count("does not answer") + s.count("answers again") for s in ended.sentences] == [1, 1], ended


def test_after_patience_the_same_command_goes_on(run):
    """It is had once: what follows at the end asks once each, and HTTP once more where a connection broke."""
    command, proxy = run
    proxy.fault = lambda method, path: "reset" if "/checkpoint/" in path or proxy.met else None
    ended = command(TESSERAL_PATIENCE="1")
    assert ended.code == 1, ended
    assert ended.sentences[-1].endswith("the same command continues from here")
    assert 1 <= sum(path.endswith("/left") for *_, path in proxy.met) <= 2, proxy.met
    proxy.fault = lambda method, path: None
    ended = command()
    assert ended.code == 0, ended


@pytest.mark.parametrize(
    ("settings", "url", "code", "sentence"),
    [
        ({}, "s3://no-such-bucket/x", 1, "create the bucket, or name another storage"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "TESSERAL_PATIENCE": "0.5"}, "s3://bucket", 1, "gave no answer in"),
        ({}, "s3://key:hush@bucket/x", 2, "expected a URL without credentials"),
    ],
)
@pytest.mark.parametrize("words", ["plan", "run", "status", "report", "reference make"])
def test_errors_of_a_storage_are_one_sentence_of_every_command(far, words, settings, url, code, sentence):
    commands, studies, environment, _ = far
    named = {"status": "plain", "report": "plain", "reference make": studies.folder / "recipe.toml"}
    argument = named.get(words, studies.folder / "plain.toml")
    ended = commands.run(*words.split(), argument, "--storage", url, environment=environment | settings)
    told = [line for line in ended.text.splitlines() if line and not line.startswith("plain: ")]  # but for its first
    assert (ended.code, len(ended.sentences), len(told)) == (code, 1, 1), ended
    assert sentence in ended.text
    assert "hush" not in ended.text
