"""Commands of tesseral, each in a fork of one process that has imported everything: a second instead of ten.

`forked` gives such a process, which is handed one command after another.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.failing_files import Failure, Watched

LIBRARIES = (
    *("torch", "e3nn", "pandas", "polars", "altair", "vl_convert", "obstore", "optuna"),
    *("pyarrow.dataset", "pyarrow.pandas_compat", "narwhals._polars.namespace", "rich._emoji_codes"),
    *("pyscf.dft", "pyscf.df", "pyscf.__all__", "ase.io"),
)
"""What commands import, besides tesseral itself. None of it starts a thread, which a fork would lose."""

CODES = (0, 1, 2, 3, 130, 143)
"""Exit codes of a command that ends by itself."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Its exit code; −n after signal n."""
    text: str
    """What it printed, both streams."""
    hung: bool = False
    """Whether it was killed at its time limit."""
    operations: Mapping[str, int] = {}
    """`operation path` → how often, of a command that was watched."""
    met: bool = False
    """Whether the operation that was to fail was reached."""

    @property
    def traceback(self) -> bool:
        """Whether it ended as no command may: by an unexplained error, a panic or an unknown exit code."""
        crashed = self.code not in CODES and not self.hung and -self.code not in (signal.SIGKILL,)
        return "Traceback (most recent" in self.text or "panicked at" in self.text or crashed

    @property
    def sentences(self) -> list[str]:
        """What the command says of itself: warnings, and why it ended."""
        lines = [line for line in self.text.splitlines() if line.startswith("tesseral: ")]
        return [line.removeprefix("tesseral: ") for line in lines]


class Commands:
    """A process that forks for each command. It ends with the process that started it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.forked_commands"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        watched: Path | None = None,
        failure: Failure | None = None,
        kill: tuple[float, int] | None = None,
        seconds: float = 60.0,
    ) -> Ended:
        """Run `tesseral` with these arguments to its end.

        :param environment: variables that it has in addition.
        :param watched: folder whose file operations are counted.
        :param failure: which of them fails.
        :param kill: seconds after the start, and the signal that the process gets then.
        :param seconds: after which it is killed, and has hung.
        """
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(environment or {}),
            "watched": str(watched) if watched else None,
            "failure": failure,
            "kill": kill,
            "seconds": seconds,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


_IDLE: list[Commands] = []


@contextmanager
def forked() -> Iterator[Commands]:
    """A process for commands that nobody uses, or a new one: its imports take ten seconds, so the next user gets it."""
    try:
        found = _IDLE.pop()
    except IndexError:
        found = Commands()
    yield found
    _IDLE.append(found)


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _import()
    for line in sys.stdin:
        answers.write(json.dumps(_command(json.loads(line))) + "\n")
        answers.flush()


def _import() -> None:
    import importlib
    from pkgutil import walk_packages

    import tesseral

    os.environ["OMP_NUM_THREADS"] = "1"
    ours = (module.name for module in walk_packages(tesseral.__path__, "tesseral."))
    for name in (*LIBRARIES, *(name for name in ours if ".ray_" not in name and ".examples." not in name)):
        importlib.import_module(name)
    import torch

    from tesseral.analysis.report.report import page

    torch.set_num_threads(1)
    page()  # compiled, which takes half a second
    _build_validators()
    _keep_what_stays()
    gc.disable()  # a short command ends before it has garbage worth collecting: a sixth of its time


def _build_validators() -> None:
    """Build what checks studies, records and options, which each command would build again: a tenth of its time."""
    from tesseral.study.records import document
    from tesseral.study.study import Study
    from tests.support.disturbed import SEARCH, STUDY

    Study.parse(STUDY.format(name="searching") + SEARCH, "searching.toml")
    kinds = (value for name, value in vars(document).items() if name.endswith("Record") and name != "Record")
    for kind in kinds:
        document._adapter(kind)


def _keep_what_stays() -> None:
    """Build the parser of the command line once, and ask Git for the commit once: a tenth of a command's time."""
    import typer.main

    from tesseral.cluster.commands.app import app
    from tesseral.cluster.nodes import provenance

    command, commit = typer.main.get_command(app), provenance.commit_of(Path(provenance.__file__))
    typer.main.get_command = lambda _: command
    provenance.commit_of = lambda _: commit


def _command(request: dict[str, Any]) -> dict[str, Any]:
    """Fork, and wait for the end of the command."""
    out_read, out_write = os.pipe()
    facts_read, facts_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        for number in (1, 2):
            os.dup2(out_write, number)
        _child(request, facts_write)
    os.close(out_write)
    os.close(facts_write)
    began, status, text, hung = time.monotonic(), None, b"", False
    kill = request["kill"]
    os.set_blocking(out_read, False)
    while status is None:
        ended, value = os.waitpid(pid, os.WNOHANG)
        status = value if ended else None
        text += _available(out_read)
        passed = time.monotonic() - began
        if kill and passed >= kill[0] and status is None:
            os.kill(pid, kill[1])
            kill = None
        if passed > request["seconds"] and status is None:
            os.killpg(pid, signal.SIGKILL)
            hung = True
        time.sleep(0.005)
    with os.fdopen(facts_read) as file:
        facts = file.read()
    os.close(out_read)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "text": text.decode(errors="replace"),
        "hung": hung,
        **(json.loads(facts) if facts else {}),
    }


def _available(number: int) -> bytes:
    data = b""
    try:
        while part := os.read(number, 1 << 16):
            data += part
    except BlockingIOError:
        pass
    return data


def _child(request: dict[str, Any], facts: int) -> None:
    """Run the command in this process, and end it."""
    code: Any = 70
    try:
        os.environ.update(request["environment"])
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        sys.argv = ["tesseral", *request["arguments"]]
        watched = None
        if request["watched"]:
            failure = Failure(*request["failure"]) if request["failure"] else None
            watched = Watched(Path(request["watched"]), failure)
            watched.install()
        _stand_in()
        from tesseral.cluster.commands import cli

        try:
            cli.main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001 - what Python itself would do
            import traceback

            traceback.print_exc()
        if watched:
            counts = {" ".join(key): count for key, count in watched.counts.items()}
            os.write(facts, json.dumps({"operations": counts, "met": watched.met}).encode())
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _stand_in() -> None:
    """Leave out what takes seconds and touches no record: the training's numbers, and the drawing of charts."""
    from tesseral.analysis.report import report
    from tesseral.analysis.report.report_figures import ReportFigures
    from tesseral.models.training import training
    from tests.support import stand_in_training

    training.train = stand_in_training.train
    report.report_figures = lambda _: ReportFigures(None, None, [], [], [], [], [], [])


if __name__ == "__main__":
    _serve()
