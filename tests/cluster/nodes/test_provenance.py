"""Provenance: the commit of this checkout is recorded, and never that of another project around it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tesseral.cluster.nodes import provenance as module
from tesseral.cluster.nodes.provenance import commit_of, other_packages, provenance, versions_of

ROOT = Path(__file__).parents[3]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_commit_is_that_of_this_checkout():
    """The module is imported through the link tree; what is recorded is the checkout that the links lead to."""
    commit = provenance()["commit"]
    assert commit is not None
    assert commit.removesuffix("+") == git(ROOT, "rev-parse", "HEAD")


def test_an_edited_checkout_is_marked(tmp_path):
    git(tmp_path, "init", "--quiet")
    file = tmp_path / "room" / "module.py"
    file.parent.mkdir()
    file.write_text("")
    assert commit_of(file) is None, "not tracked yet"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    assert commit_of(file) == git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "link").symlink_to(file.parent)
    assert commit_of(tmp_path / "link" / file.name) == git(tmp_path, "rev-parse", "HEAD")
    file.write_text("edited")
    assert commit_of(file) == git(tmp_path, "rev-parse", "HEAD") + "+"


def test_a_package_installed_inside_another_projects_checkout_has_no_commit(tmp_path):
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "theirs")
    copy = tmp_path / ".venv" / "tesseral" / "provenance.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(module.__file__, copy)
    assert commit_of(copy) is None


def test_versions_are_those_of_the_packages():
    assert {"python", "tesseral", "torch", "e3nn", "numpy"} <= provenance()["versions"].keys()


def test_a_node_with_another_version_gives_other_numbers_and_another_build_does_not():
    ours = {"torch": "2.13.0", "e3nn": "0.6.0", "numpy": "2.4.0"}
    assert (
        other_packages(ours, ours) == other_packages({}, ours) == other_packages({"torch": "2.13.0+cu130"}, ours) == ""
    )
    assert other_packages({"torch": "2.12.1", "numpy": "2.4.0", "e3nn": "0.5.1"}, ours) == (
        "it has torch 2.12.1 and e3nn 0.5.1, the driver torch 2.13.0 and e3nn 0.6.0; install the same on every node"
    )
    assert versions_of(("torch", "no-such-package")).keys() == {"torch"}
