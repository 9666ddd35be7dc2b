"""How a command ends: what is said, and with which exit code.

0 complete; 1 some trials failed or are left; 2 a mistake in what was given; 3 another driver holds the study.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from tesseral.cluster.display import console, errors
from tesseral.study.errors import LeaseHeldError, LeaseLostError, StoreError, TesseralError
from tesseral.study.ledger import Ledger
from tesseral.study.store import STORE_ERRORS, Store
from tesseral.study.trial import State


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a user can meet into one sentence and an exit code; anything else keeps its traceback."""
    warnings.showwarning = _warn
    try:
        yield
    except TesseralError as error:
        _fail(str(error), 2)
    except (LeaseHeldError, LeaseLostError) as error:
        _fail(str(error), 3)
    except StoreError as error:
        _fail(str(error), 1)
    except STORE_ERRORS as error:
        _fail(f"the storage cannot be used: {str(error).splitlines()[0]}", 2)


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C ends the work with a sentence and the usual exit code of an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from here", 130)


def finish(name: str, records: Store, states: Mapping[State, int], reasons: Sequence[str]) -> None:
    """Say how a study ended and why trials failed or were given up; exit with 1 if any was."""
    complete, total = states.get(State.COMPLETE, 0), sum(states.values())
    failed = states.get(State.FAILED, 0)
    rest = [f"{failed} failed"] if failed else []
    if left := total - complete - failed:
        rest.append(f"{left} left, with which the same command goes on")
    console.print(f"{name}: " + ", ".join([f"{complete} of {total} trials complete", *rest]), soft_wrap=True)
    if complete == total:
        return
    outcomes = [entry.outcome for entry in Ledger(records).entries() if entry.outcome is not None]
    failures = [f"failed: {outcome['reason']}" for outcome in outcomes if outcome["state"] == State.FAILED]
    for sentence in dict.fromkeys([*failures, *(f"given up: {reason}" for reason in reasons)]):
        _say(sentence, "red")
    sys.exit(1)


def _fail(sentence: str, code: int) -> NoReturn:
    _say(sentence, "red")
    sys.exit(code)


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):  # ours; libraries warn their developers in other categories
        _say(str(message), "yellow")


def _say(sentence: str, style: str) -> None:
    errors.print(f"tesseral: {sentence}", markup=False, style=style, soft_wrap=True)
