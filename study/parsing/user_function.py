"""A user's own function, loaded by name and identified by the hash of its source.

`network.define` and `search.define` name it as `module:function`. The module is in the folder of the study file or on
PYTHONPATH.
"""

import hashlib
import inspect
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tesseral.study.errors import StudyFileError


def make_importable(folder: str | Path) -> None:
    """Put a folder first on `sys.path`, so that modules of the user's own in it are found.

    :param folder: of the study file; empty: none.
    """
    if str(folder) and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def load(define: str, path: str) -> Callable[..., Any]:
    """Import the function that `module:function` names.

    :param define: the name.
    :param path: dotted path of the setting, for errors.
    :raises StudyFileError: if the name has another form, or there is no such module or function.
    """
    name, function = _names(define, path)
    module = _imported(name, path)
    if not hasattr(module, function):
        own = sorted(key for key, value in vars(module).items() if getattr(value, "__module__", None) == name)
        valid = f"one of {', '.join(own)}" if own else "a function, but it defines none"
        raise StudyFileError(path, f"expected of module {name!r} {valid}, got {function!r}")
    loaded: Callable[..., Any] = getattr(module, function)
    if not callable(loaded):
        raise StudyFileError(path, f"expected a function, {define!r} is of type {type(loaded).__name__}")
    return loaded


def source_hash(define: str, path: str) -> str:
    """Return the SHA-256 of the source of the module that `module:function` names, as this process imported it.

    Modules that it imports are not included.

    :param define: the name `module:function`.
    :param path: dotted path of the setting, for errors.
    :raises StudyFileError: see `load`; also if the module has no Python source.
    """
    load(define, path)
    name, _ = _names(define, path)
    try:
        return _source_hash(_imported(name, path))
    except (OSError, TypeError):
        raise StudyFileError(path, f"expected a module with Python source, {name!r} has none") from None


def _names(define: str, path: str) -> tuple[str, str]:
    match = re.fullmatch(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)", define)
    if match is None:
        raise StudyFileError(path, f"expected 'module:function', such as 'my_study:build', got {define!r}")
    return match[1], match[2]


def _imported(name: str, path: str) -> ModuleType:
    try:
        module = import_module(name)
    except Exception as error:  # a user's module can raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise StudyFileError(
                path,
                f"expected a module in the study file's folder or on PYTHONPATH, found no {missing!r}"
                + (f" of {name!r}" if missing != name else ""),
            ) from None
        raise StudyFileError(path, f"importing {name!r} raised {type(error).__name__}: {error}") from error
    with suppress(OSError, TypeError):  # `source_hash` reports it
        _source_hash(module)  # cached at import, so that the hash is of the code that runs, even if the file changes
    return module


@cache
def _source_hash(module: ModuleType) -> str:
    return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
