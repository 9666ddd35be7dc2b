"""How a command ends: the sentence that it prints, and its exit code.

0 complete; 1 some trials failed or are left, or the storage or Ray failed; 2 a mistake in what was given; 3 another
driver holds the study; 130 ended by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tesseral.cluster.commands.display import console, errors
from tesseral.cluster.commands.signals import Interrupted, raised
from tesseral.study.configuration.trial import Cause, State
from tesseral.study.errors import (
    ClusterError,
    DataError,
    LeaseHeldError,
    LeaseLostError,
    StoreError,
    StudyFileError,
    TesseralError,
)
from tesseral.study.wording import failures

if TYPE_CHECKING:  # it imports torch, for which a sentence on the terminal should not wait
    from tesseral.cluster.campaign.driver import Ended


@contextmanager
def explained() -> Iterator[None]:
    """Turn every error that a user can meet into one sentence and an exit code. Others keep their traceback."""
    warnings.showwarning = _warn
    try:
        yield
    except TesseralError as error:
        _fail(str(error), 2)
    except (LeaseHeldError, LeaseLostError) as error:
        _fail(str(error), 3)
    except (StoreError, ClusterError) as error:
        _fail(str(error), 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or str(error).splitlines()[0]}{_LIMITS.get(error.errno or 0, '')}", 1)
    except KeyboardInterrupt as error:
        _fail(str(error) or "interrupted", _code(error))


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Name the study file in errors that are found after it was read, as reading does.

    :param file: path of the study file.
    """
    try:
        yield
    except StudyFileError as error:
        raise StudyFileError(error.path, error.message, error.file or str(file)) from None
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


@contextmanager
def resumable() -> Iterator[None]:
    """End with a sentence that says how to continue: on a signal, and if the storage or Ray fails."""
    with raised():
        try:
            yield
        except (StoreError, ClusterError) as error:
            _fail(f"{error}; the same command continues from here", 1)
        except KeyboardInterrupt as error:
            _fail(f"{str(error) or 'interrupted'}; the same command continues from here", _code(error))


def finish(name: str, ended: "Ended") -> None:
    """Say how the run of a study ended, and why trials failed or were given up. Exit with 1 if any did.

    :param name: of the study.
    :param ended: how its run ended.
    """
    states = ended.states
    rest = [f"{states[State.PRUNED]} stopped early"] if states[State.PRUNED] else []
    rest += [failures(ended.causes.elements())] if ended.causes else []
    rest += [f"{ended.left} left; the same command continues them"] if ended.left else []
    complete = f"{states[State.COMPLETE]} of {states.total()} trials complete"
    console.print(f"{name}: " + ", ".join([complete, *rest]), soft_wrap=True)
    for study, trials in ended.reused.items():
        text = "trial was copied" if trials == 1 else "trials were copied"
        console.print(f"{trials} {text} from the study {study}, which had trained the same", soft_wrap=True)
    if not states[State.FAILED] and not ended.left:
        return
    for sentence in (*(f"failed: {why}" for why in ended.failures), *(f"given up: {why}" for why in ended.given_up)):
        _say(sentence, "red")
    if states[State.FAILED] > ended.causes[Cause.REFUSED]:
        _say(
            "a failed trial is not trained again by itself; once the cause is gone, "
            f"tesseral retry {name} makes it due, and the same command trains it",
            "red",
        )
    sys.exit(1)


_LIMITS = {
    errno.EMFILE: "; raise the limit of this process (ulimit -n)",
    errno.ENFILE: "; the machine's limit of open files is reached",
    errno.EAGAIN: "; the limit of processes may be reached (ulimit -u)",
}
"""Error number → what to do about a limit of the system."""


def _code(error: KeyboardInterrupt) -> int:
    return error.code if isinstance(error, Interrupted) else 130


def _fail(sentence: str, code: int) -> NoReturn:
    _say(sentence, "red")
    session = sys.modules.get("tesseral.cluster.nodes.ray_session")
    if session is not None and session.abandoned:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)  # Ray's threads would wait for its servers, or abort
    sys.exit(code)


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):  # ours; the other categories are for a library's developers
        _say(str(message), "yellow")


def _say(sentence: str, style: str) -> None:
    errors.print(f"tesseral: {sentence}", style=style, soft_wrap=True)
