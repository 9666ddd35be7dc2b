"""Shell completion: it is offered, it knows the studies of a storage, and it is quick because nothing heavy is read."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from tesseral.cluster.commands.cli import main
try:
    main()
finally:
    print(*sorted({name.split(".")[0] for name in sys.modules} & {"torch", "ray", "optuna", "polars"}), file=sys.stderr)
"""


def tesseral(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def complete(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What bash is offered after `line`."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return tesseral(_TESSERAL_COMPLETE="complete_bash", **words, **environment)


@pytest.fixture
def studies(tmp_path):
    """A storage with two studies, and with what is no study."""
    for name in ("quickstart", "quick-small", "reference"):
        (tmp_path / name).mkdir()
    for name in ("quickstart", "quick-small"):
        (tmp_path / name / "study.toml").write_text("")
    return tmp_path


def test_bash_is_given_a_script_and_nothing_heavy_is_imported():
    done = tesseral("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "_TESSERAL_COMPLETE=complete_bash" in done.stdout
    assert done.stderr.split() == []


def test_commands_are_completed():
    done = complete("tesseral re")
    assert sorted(done.stdout.split()) == ["reference", "report", "retry"]
    assert done.stderr.split() == []


def test_names_of_studies_are_completed_from_the_storage(studies):
    done = complete("tesseral status q", TESSERAL_STORAGE=str(studies))
    assert sorted(done.stdout.split()) == ["quick-small", "quickstart"]
    assert done.stderr.split() == []
    given = complete(f"tesseral report --storage {studies} quicks")
    assert given.stdout.split() == ["quickstart"]


def test_an_object_store_is_not_asked(studies):
    assert complete("tesseral status q", TESSERAL_STORAGE="s3://bucket/prefix").stdout.split() == []
