"""`tesseral watch` in a script and in a terminal."""

import json
import os
import pty
import subprocess
import sys

from tesseral.cluster.campaign.driver import run
from tests.support.command_line import tesseral


def test_a_script_reads_how_a_study_stands(storage, study_file):
    run(study_file, storage, "inline")
    tree = json.loads(tesseral("watch", study_file, "--storage", storage, "--json").stdout)
    assert [(arm["arm"], arm["due"], arm["states"]) for arm in tree["arms"]] == [
        ("lmax=0", 3, {"complete": 3}),
        ("lmax=1", 3, {"complete": 3}),
    ]
    assert (tree["driver"], tree["running"], tree["failures"], tree["left"]) == (None, [], [], None)
    lines = tesseral("watch", "small", "--once", "--storage", storage).stdout.splitlines()
    assert lines[0] == "small: 6 of 6 trials ended"
    assert [line.split()[:4] for line in lines[2:4]] == [["lmax=0", "3", "of", "3"], ["lmax=1", "3", "of", "3"]]


def test_in_a_terminal_it_ends_with_the_study(storage, study_file):
    run(study_file, storage, "inline")
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "watch", "small", "--storage", str(storage)]
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as watching:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    os.close(ours)
    assert watching.returncode == 0
    assert b"small: 6 of 6 trials ended" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_an_unknown_study_is_refused(storage):
    done = tesseral("watch", "nothing", "--storage", storage)
    assert done.returncode == 2
    assert "expected the name of a study started in" in done.stderr
