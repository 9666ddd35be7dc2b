"""A function of the user's own: found by the name that a study file gives it, and told apart by its source.

`network.define` and `search.define` name one as `module:function`, of a module in the study file's folder or on
PYTHONPATH.
"""

import hashlib
import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from tesseral.study.errors import StudyFileError


def load(define: str, path: str) -> Callable[..., Any]:
    """The function that `module:function` names.

    :param path: where the study file says it, for errors.
    :raises StudyFileError: if it is not of that form, or there is no such module or function.
    """
    name, function = _names(define, path)
    module = _imported(name, path)
    if not hasattr(module, function):
        own = sorted(key for key, value in vars(module).items() if getattr(value, "__module__", None) == name)
        valid = f"one of {', '.join(own)}" if own else "a function, but it defines none"
        raise StudyFileError(path, f"expected of module {name!r} {valid}, got {function!r}")
    found: Callable[..., Any] = getattr(module, function)
    if not callable(found):
        raise StudyFileError(path, f"expected a function, {define!r} is of type {type(found).__name__}")
    return found


def source_hash(define: str, path: str) -> str:
    """SHA-256 of the source text of the module that `module:function` names, as this process imported it.

    Other modules that it imports are not in it.

    :raises StudyFileError: as `load`, or if the module has no source text.
    """
    load(define, path)
    name, _ = _names(define, path)
    try:
        return _source_hash(_imported(name, path))
    except (OSError, TypeError):
        raise StudyFileError(path, f"expected a module of Python source, {name!r} has none to be read") from None


def _names(define: str, path: str) -> tuple[str, str]:
    match = re.fullmatch(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)", define)
    if match is None:
        raise StudyFileError(path, f"expected 'module:function', such as 'my_study:build', got {define!r}")
    return match[1], match[2]


def _imported(name: str, path: str) -> ModuleType:
    try:
        module = import_module(name)
    except Exception as error:  # a module of the user's can raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise StudyFileError(
                path,
                f"expected a module in the study file's folder or on PYTHONPATH, found no {missing!r}"
                + (f" of {name!r}" if missing != name else ""),
            ) from None
        raise StudyFileError(path, f"importing {name!r} raised {type(error).__name__}: {error}") from error
    with suppress(OSError, TypeError):  # said where the hash is asked for
        _source_hash(module)  # taken with the import: what runs is what was hashed
    return module


@cache
def _source_hash(module: ModuleType) -> str:
    return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
