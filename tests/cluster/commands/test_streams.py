"""A command's output may be closed, full, of few characters, or a pipe that ends: the work and its exit code stay."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tesseral.study.json_schema import json_schema

COMMAND = """
import sys
from tesseral.cluster.commands.streams import dependable, printed
with dependable():
    print("ε = 0.5 %, −40.4 … σ")
    sys.stdout.flush()
    print("more" * 100_000)
    open(sys.argv[1], "w").write("done")
    if "only" in sys.argv:
        printed()
"""


def command(done: Path, *words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(done), *words], stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
@pytest.mark.parametrize(("words", "code"), [((), 0), (("only",), 1)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_said_after_the_work(tmp_path, words, code, unbuffered):
    with open("/dev/full", "w") as full:
        run = command(tmp_path / "done", *words, stdout=full, env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
        _, errors = run.communicate(timeout=60)
    assert (tmp_path / "done").exists()
    assert errors == "tesseral: standard output cannot be written: No space left on device\n"
    assert run.returncode == code


@pytest.mark.parametrize("words", [(), ("only",)])
def test_a_pipe_that_ends_is_no_error(tmp_path, words):
    run = command(tmp_path / "done", *words, stdout=subprocess.PIPE)
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait(60) == 0
    assert (tmp_path / "done").exists()


def test_closed_streams_are_no_error_and_no_file_takes_their_place(tmp_path):
    run = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" "$2" >&- 2>&-', sys.executable, COMMAND, str(tmp_path / "done")], check=False
    )
    assert run.returncode == 0
    assert (tmp_path / "done").read_text() == "done"


def test_characters_that_the_encoding_lacks_are_printed_plainly(tmp_path):
    run = command(tmp_path / "done", stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    output, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (0, "")
    assert output.splitlines()[0] == "epsilon = 0.5 %, -40.4 ... \\u03c3"


def test_a_schema_in_ascii_is_the_same_json(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "tesseral.cluster.commands.cli", "schema", "mapping"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert json.loads(run.stdout) == json.loads(json.dumps(json_schema("mapping")))
