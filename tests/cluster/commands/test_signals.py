"""Signals end a command with their own exit codes and one sentence, from its first moment on."""

import os
import signal
import subprocess
import sys
import time

import pytest

COMMAND = """
import os, signal, sys
from tesseral.cluster.commands.exit_codes import explained, resumable
from tesseral.cluster.commands.signals import heard
with heard(), explained():
    number = getattr(signal, sys.argv[1])
    if "resumable" in sys.argv:
        with resumable():
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)  # a second signal leaves the clean-up alone
                print("put down", flush=True)
    os.kill(os.getpid(), number)
    print("not ended", flush=True)
"""

CASES = [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "hung up")]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(("name", "code", "word"), CASES)
def test_a_signal_ends_the_command_with_its_code(name, code, word):
    done = run(name)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"tesseral: {word}\n")


@pytest.mark.parametrize(("name", "code", "word"), CASES)
def test_what_can_go_on_is_put_down_first(name, code, word):
    done = run(name, "resumable")
    sentence = f"tesseral: {word}; the same command continues from here\n"
    assert (done.returncode, done.stdout, done.stderr) == (code, "put down\n", sentence)


def test_a_signal_that_is_ignored_stays_ignored():
    """As SIGHUP under nohup."""
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; exec "$0" -c "$1" SIGHUP', sys.executable, COMMAND],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "not ended\n", "")


def test_an_interrupt_during_the_imports_is_no_traceback(tmp_path):
    """The command reads a module that stands in for one that takes long to import."""
    (tmp_path / "typer").mkdir()
    (tmp_path / "typer" / "__init__.py").write_text(
        # In short naps: a signal between Python's look at its signals and a nap is heard after it.
        "import time\nprint('importing', flush=True)\nfor _ in range(6000):\n    time.sleep(0.01)\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "--version"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    ) as process:
        assert process.stdout.readline() == "importing\n"
        time.sleep(0)  # it sleeps now, or is about to: both are imports
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "tesseral: interrupted\n")
