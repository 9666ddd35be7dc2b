"""Signals at 30 moments of a driver that runs its trials itself, each just before a file operation."""

import random
import signal

from tests.support.disturbed import Found, Studies, difference, each, numbers
from tests.support.failing_files import Failure
from tests.support.forked_commands import Commands, forked

SIGNALS = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143, "SIGINT": 130}
"""Signal → the exit code that it leads to."""
MOMENTS = 30


def try_processes(found: Found, share: float = 1.0, seed: int = 0) -> None:
    """Send each signal at moments that are spread over a run; the same command then goes on."""
    chosen = random.Random(seed)
    with forked() as commands:
        studies = Studies(commands)
        with studies.copy() as folder:
            quiet = studies.run(commands, folder, "searching", watched=folder)
            assert quiet.code == 0, quiet
            undisturbed = numbers(folder / "runs", "searching")
    moments = [(key, at) for key, count in sorted(quiet.operations.items()) for at in range(1, count + 1)]
    cases = []
    for name in SIGNALS:
        for (operation, _, path), at in ((key.partition(" "), at) for key, at in chosen.sample(moments, MOMENTS)):
            if chosen.random() < share:
                cases.append(Failure(operation, path, at, name))

    def act(commands: Commands, failure: Failure) -> None:
        where = " ".join(map(str, failure))
        with studies.copy() as folder:
            ended = studies.run(commands, folder, "searching", watched=folder, failure=failure)
            found.count(failure.error)
            expected = SIGNALS[failure.error]
            # A signal at the very end finds the work done.
            if ended.code not in (expected, 0) or (ended.code > 0 and not ended.sentences):
                found.failed("tracebacks", where, ended, f"expected exit {expected}")
            found.judge(where, ended)
            again = studies.run(commands, folder, "searching")
            if again.code or (why := difference(folder / "runs", "searching", undisturbed)):
                found.failed("not whole after the same command again", where, again, "" if again.code else why)

    each(cases, act)
