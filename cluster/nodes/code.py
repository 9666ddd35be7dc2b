"""The code of tesseral that this process runs, by its content: a version alone does not tell it."""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import tesseral

FOLDER = Path(next(iter(tesseral.__path__)))
"""The import package, in a checkout a folder of links, which are followed."""


@cache
def code_hash() -> str:
    """The SHA-256 of all modules, names and texts: the same for a checkout, an installation and what was shipped."""
    return hash_of(FOLDER)


def other_code(seen: str, expected: str) -> str:
    """Why the code of a node is not the driver's; empty if it is. Wheels of one version can hold different code.

    :param seen: its hash on the node.
    :param expected: its hash where the driver is.
    """
    if seen == expected:
        return ""
    return (
        f"its code of tesseral ({seen[:12]}) is not that of the driver ({expected[:12]}); install the same on every "
        "node, or submit the study, which ships it"
    )


def hash_of(folder: Path) -> str:
    """The SHA-256 of all modules below a folder, links followed.

    :param folder: of a package.
    """
    total = hashlib.sha256()
    for path in _modules(folder):
        data = path.read_bytes()
        total.update(f"{path.relative_to(folder).as_posix()}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def _modules(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        yield from (Path(place, name) for name in sorted(files) if name.endswith(".py"))
