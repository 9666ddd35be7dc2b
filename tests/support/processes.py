"""Processes that tests kill: those that train, and a driver's children."""

import json
from pathlib import Path


def training(records: Path) -> list[int]:
    """The processes that train trials of a study now, as its attempts name them.

    :param records: folder of the study.
    """
    found = []
    for path in sorted(records.glob("trials/*/attempts/*.json")):
        process = json.loads(path.read_text())["pid"]
        if not (path.parent.parent / "outcome.json").exists() and Path(f"/proc/{process}").exists():
            found.append(process)
    return found


def children(process: int, name: str) -> list[int]:
    """The children of a process that run a program of this name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = path.read_text().partition(" (")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        program, _, state = rest.rpartition(") ")
        if program == name[:15] and int(state.split()[1]) == process:
            found.append(int(number))
    return found
