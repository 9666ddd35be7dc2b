"""Faults: whatever fails, no row is lost or counted twice, no number changes, and a sentence says what to do.

    python -m tests.system.faults --figures build/faults.json

File operations fail one by one; a proxy before an S3 server misbehaves; records are damaged in eight ways, and bit by
bit; processes are killed. The numbers of every study are then held against those of an undisturbed run.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.support.disturbed import Found, figures
from tests.system.faults_of_files import try_files
from tests.system.faults_of_processes import try_processes
from tests.system.faults_of_ray import try_ray
from tests.system.faults_of_records import try_bits, try_records
from tests.system.faults_of_storage import try_storage

PARTS = {
    "files": try_files,
    "storage": try_storage,
    "records": try_records,
    "bits": try_bits,
    "processes": try_processes,
    "ray": try_ray,
}

MEMORY = Path("/dev/shm")
"""Folder in memory, where there is one: thousands of records are written through to the disk otherwise."""

WAITING = ("storage", "ray")
"""Parts that wait more than they work: beside the others."""


def main() -> None:
    """Every part; the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--share", type=float, default=1.0, help="of the faults that are tried")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, default=Path("build/faults.json"))
    options = parser.parse_args()
    found = Found()
    parts = [[name for name in options.parts if (name in WAITING) == waiting] for waiting in (True, False)]
    with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as processes:
        for ended in [processes.submit(try_parts, names, options.share, options.seed) for names in parts]:
            found.add(ended.result())
    holds = figures(found, options.figures)
    print(f"{found.tried.total()} faults; figures in {options.figures}")
    sys.exit(not holds)


def try_parts(names: Sequence[str], share: float, seed: int) -> Found:
    """Some parts, one after the other. Filters of warnings, which tell damage, are a process's: so is a part."""
    found = Found()
    with tempfile.TemporaryDirectory(prefix="tesseral-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        tempfile.tempdir = folder
        for name in names:
            began = time.monotonic()
            PARTS[name](found, share, seed)
            print(f"{name}: {time.monotonic() - began:.0f} s, {dict(found.tried)}, {dict(found.faults)}", flush=True)
    return found


if __name__ == "__main__":
    main()
