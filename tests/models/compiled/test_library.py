"""Compiled libraries: kept, rebuilt where they are damaged, and built by several processes at once."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tesseral.models.compiled.library import (
    NoLibraryError,
    cache_folders,
    find_compiler,
    intact,
    open_library,
)

SOURCE = 'extern "C" int answer() { return 42; }'
OTHER = f"import sys; from {open_library.__module__} import open_library; print(open_library(sys.argv[1]).answer())"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    open_library.cache_clear()
    return cache_folders()[0]


def test_a_library_is_built_once_and_kept(cache):
    assert open_library(SOURCE).answer() == 42
    (path,) = cache.iterdir()
    assert intact(path)
    before = path.stat().st_mtime_ns
    open_library.cache_clear()
    assert open_library(SOURCE).answer() == 42
    assert path.stat().st_mtime_ns == before
    open_library(SOURCE.replace("42", "43"))
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_library_is_built_again(cache, damage):
    """Another process opens it: this one would be given what it has open already."""
    open_library(SOURCE)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    path.unlink()
    path.write_bytes({"cut": whole[: len(whole) // 2], "changed": bytes(changed), "empty": b""}[damage])
    assert not intact(path)
    assert answers(1) == ["42"]
    assert intact(path)


def test_processes_that_build_at_once_do_not_disturb_each_other(cache):
    assert answers(3) == ["42"] * 3
    (path,) = cache.iterdir()
    assert intact(path)


def answers(processes: int) -> list[str]:
    """What other processes that open the library at the same time say."""
    command = [sys.executable, "-c", OTHER, SOURCE]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return [process.communicate()[0].strip() for process in started]


def test_without_a_compiler_there_is_one_sentence(monkeypatch):
    find_compiler.cache_clear()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    try:
        with pytest.raises(NoLibraryError, match=r"expected a C\+\+ compiler, .*, found none"):
            open_library(SOURCE)
    finally:
        find_compiler.cache_clear()


def test_a_program_that_does_not_compile_says_why(cache):
    with pytest.raises(NoLibraryError, match="to compile an operator, got"):
        open_library("no program")
    assert not list(cache.iterdir())


def without_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_without_a_home_that_can_be_written_a_folder_of_the_users_own_serves(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", without_home)
    assert open_library(SOURCE).answer() == 42
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    open_library.cache_clear()
    assert open_library(SOURCE).answer() == 42
    (own,) = (tmp_path / "temporary").iterdir()
    assert own.stat().st_mode & 0o777 == 0o700
    assert len(list(own.glob("*.so"))) == 1


def test_a_folder_among_temporary_files_in_which_others_may_write_is_refused(monkeypatch):
    """It may hold code of theirs."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", without_home)
    (own,) = cache_folders()
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(NoLibraryError, match=r"in which compiled code can be kept, got .*others may write in it: "):
        open_library(SOURCE)
