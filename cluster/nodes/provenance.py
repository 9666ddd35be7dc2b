"""Where a trial's numbers come from: the versions of the packages, and the git commit of this code."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tesseral.study.wording import listed

PACKAGES = ("tesseral", "torch", "e3nn", "numpy", "pyarrow", "ray", "optuna", "polars", "pyscf")
"""Packages whose versions are recorded with every trial."""
TRAINING = ("torch", "e3nn", "numpy")
"""Packages that make a trial's numbers: its records name the driver's versions, so a worker must have the same."""
SUBMITTED = "TESSERAL_SUBMITTED"
"""Environment variable by which `tesseral submit` tells a job where its code comes from, as JSON."""


def provenance() -> dict[str, Any]:
    """Package versions and the commit of this code.

    :returns: `versions`, package → version; `commit`, a hash with `+` appended if tracked files were edited since, or
        None outside a checkout.
    """
    versions = {"python": platform.python_version(), **versions_of(PACKAGES)}
    return {"versions": versions, "commit": commit_of(Path(__file__)) or submitted().get("commit")}


@cache
def versions_of(packages: tuple[str, ...]) -> Mapping[str, str]:
    """The versions that are installed here. An optional package that is not installed has none.

    :param packages: names of packages.
    """
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def other_packages(seen: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Why numbers from a node would not be the driver's; empty if they would. Builds of one version are the same.

    :param seen: package → version on the node.
    :param expected: package → version where the driver is.
    """
    both = [package for package in expected if package in seen]
    others = [package for package in both if _release(seen[package]) != _release(expected[package])]
    if not others:
        return ""
    there, here = (listed([f"{name} {versions[name]}" for name in others]) for versions in (seen, expected))
    return f"it has {there}, the driver {here}; install the same on every node"


def _release(version: str) -> str:
    return version.partition("+")[0]  # 2.13.0+cpu and 2.13.0+cu130 are builds of 2.13.0


def submitted() -> dict[str, Any]:
    """Where the code of a submitted job comes from, which has no checkout around it; empty outside of a job.

    :returns: `commit` and `content` of the code, and the versions of `python` and `ray` where it was submitted.
    """
    return dict(json.loads(os.environ.get(SUBMITTED, "{}")))


def commit_of(file: Path) -> str | None:
    """The commit of the checkout that tracks a file.

    :param file: any file, also a link to the one that git tracks.
    :returns: the hash, with `+` appended if tracked files were edited since; None if no checkout tracks the file.
    """
    file = file.resolve()  # the import package is a tree of links; git tracks the files behind them
    checkout = next((folder for folder in file.parents if (folder / ".git").exists()), None)
    if checkout is None:
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(checkout), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603

    try:
        # An installed package can lie in a virtual environment inside some other project's checkout.
        git("ls-files", "--error-unmatch", str(file))
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
