"""The layout of the tests: each file stands where its module does, and its name begins with the module's."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("study", "models", "analysis", "cluster")
FILES = sorted(path for room in ROOMS for path in (ROOT / "tests" / room).rglob("test_*.py"))
OF_A_FOLDER = {"study/records/test_record_bytes.py"}
"""Tests of what the modules of a folder write together."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_test_is_called_after_its_module(path: Path):
    name = path.relative_to(ROOT / "tests")
    words = path.stem.removeprefix("test_").split("_")
    beginnings = {"_".join(words[:end]) for end in range(1, len(words) + 1)}  # such as network, network_settings
    modules = {module.stem for module in (ROOT / name.parent).iterdir() if module.suffix == ".py" or module.is_dir()}
    assert beginnings & modules or name.as_posix() in OF_A_FOLDER
