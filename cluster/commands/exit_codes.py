"""How a command ends: what is said, and with which exit code.

0 complete; 1 some trials failed or are left; 2 a mistake in what was given; 3 another driver holds the study.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from tesseral.cluster.commands.display import console, errors
from tesseral.study.configuration.trial import State
from tesseral.study.errors import LeaseHeldError, LeaseLostError, StoreError, TesseralError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import STORE_ERRORS, Store

if TYPE_CHECKING:  # it imports torch, which a sentence on the terminal does not wait for
    from tesseral.cluster.campaign.driver import Ended


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


def finish(name: str, records: Store, ended: "Ended", reasons: Sequence[str]) -> None:
    """Say how a study ended and why trials failed or were given up; exit with 1 if any was."""
    states = ended.states
    complete, pruned, failed = (states.get(state, 0) for state in (State.COMPLETE, State.PRUNED, State.FAILED))
    total = sum(states.values())
    rest = [f"{pruned} stopped early"] if pruned else []
    rest += [f"{failed} failed"] if failed else []
    if left := total - complete - pruned - failed:
        rest.append(f"{left} left, with which the same command goes on")
    console.print(f"{name}: " + ", ".join([f"{complete} of {total} trials complete", *rest]), soft_wrap=True)
    for study, trials in ended.reused.items():
        console.print(f"{trials} of them were trained by the study {study} before, and copied", soft_wrap=True)
    if not failed and not left:
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
