"""The modules of a user's own that a study needs, found in their source: nothing is imported, so nothing runs.

`network.define` and `search.define` name a module. What it imports from the same folders is needed too, at any depth,
also inside functions. A module that is found by a name made at run time cannot be seen here.
"""

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tesseral.study.errors import StudyFileError

LEFT_OUT = ("__pycache__",)
"""Folders of a package that are not part of it."""


def own_modules(define: str, path: str, folders: Sequence[Path]) -> dict[str, Path]:
    """The files of the user's own modules behind `module:function`.

    A package counts as a whole, with the data in its folder. A module that lies in none of the folders is installed,
    and is expected to be installed elsewhere too.

    :param define: the name `module:function`.
    :param path: dotted path of the setting, for errors.
    :param folders: where modules of the user's own are: the study file's folder, then PYTHONPATH.
    :returns: path relative to its folder, with `/` → file.
    :raises StudyFileError: if there is no such module, or Python cannot parse one of them.
    """
    first = define.partition(":")[0].partition(".")[0]
    if not _files(first, folders) and not _installed(first):
        raise StudyFileError(
            path, f"expected a module in the study file's folder or on PYTHONPATH, found no {first!r} of {define!r}"
        )
    found: dict[str, Path] = {}
    waiting, seen = [first], {"tesseral"}  # shipped anyway
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        files = _files(name, folders)
        found |= files
        waiting += [other for file in files.values() if file.suffix == ".py" for other in _imported(file, path)]
    return found


def _files(name: str, folders: Sequence[Path]) -> dict[str, Path]:
    """The files of a module or package of this name, as Python would find it; empty if the folders hold none."""
    for folder in folders:
        package = folder / name
        if (package / "__init__.py").is_file():
            return {str(file.relative_to(folder).as_posix()): file for file in _of_package(package)}
        if (module := folder / f"{name}.py").is_file():
            return {module.name: module}
    for folder in folders:  # a folder without __init__.py is a package only where nothing else has its name
        if (sources := sorted((folder / name).glob("**/*.py"))) and not _installed(name):
            return {str(file.relative_to(folder).as_posix()): file for file in sources}
    return {}


def _of_package(package: Path) -> Iterator[Path]:
    for file in sorted(package.rglob("*")):
        inside = file.relative_to(package).parts
        if file.is_file() and not any(part in LEFT_OUT or part.startswith(".") for part in inside):
            yield file


def _imported(file: Path, path: str) -> Iterable[str]:
    """First names of the modules that a file imports, but for relative ones, which its package holds."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        raise StudyFileError(path, f"{file} is no Python source: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
