"""The command line, called in this process: a new one would take seconds to import torch."""

import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from tesseral.cluster.commands.cli import main


def tesseral(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command, and leave this process as it was: the paths and modules of a user are gone afterwards.

    :param words: the command line without its first word.
    :returns: its exit code and what it printed.
    """
    command = ["tesseral", *map(str, words)]
    out, err, before, code = StringIO(), StringIO(), {*sys.path}, 0
    with patch("sys.argv", command), patch("sys.path", [*sys.path]), warnings.catch_warnings():
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        own = [path for path in sys.path if path not in before]
    for name, module in list(sys.modules.items()):
        if any((getattr(module, "__file__", None) or "").startswith(f"{path}/") for path in own):
            del sys.modules[name]
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A mistake of the user's is one line with these words, and exit code 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
