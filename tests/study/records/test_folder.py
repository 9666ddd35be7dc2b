"""A folder whose operations fail: each error is raised with its place, and none is taken for an absence."""

import errno
import os

import pytest

from tesseral.study.errors import RecordError, StoreError
from tesseral.study.records.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "study")
    for path in ("trials/a/trial.json", "trials/b/trial.json", "curves/trial=a/1.parquet"):
        store.create(path, b"{}")
    return store


class Failing:
    """Fails the n-th call of a function of `os` with an error, and lets the others pass."""

    def __init__(self, function, number: int, code: int) -> None:
        self.function, self.left, self.code = function, number, code

    def __call__(self, *arguments, **options):
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))
        return self.function(*arguments, **options)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_listing_that_fails_is_no_empty_folder(store, monkeypatch, code, number):
    monkeypatch.setattr(os, "scandir", Failing(os.scandir, number, code))
    with pytest.raises(StoreError, match=f"cannot be listed: {os.strerror(code)}"):
        store.paths("trials")


def test_folders_that_cannot_be_listed_are_not_absent(store, monkeypatch):
    monkeypatch.setattr(os, "scandir", Failing(os.scandir, 1, errno.EIO))
    with pytest.raises(StoreError, match="cannot be listed"):
        store.folders("trials")


@pytest.mark.parametrize("name", ["link", "fsync", "open"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_write_that_fails_is_no_other_writer(store, monkeypatch, name, code):
    monkeypatch.setattr(os, name, Failing(getattr(os, name), 1, code))
    with pytest.raises(StoreError, match=f"cannot be written: {os.strerror(code)}"):
        store.create("trials/c/trial.json", b"{}")
    monkeypatch.undo()
    assert not [name for *_, names in os.walk(store.url) for name in names if name.startswith(".")]


def test_the_same_content_is_ours(store):
    """As after an NFS server's answer to a link was lost, and the client asked again."""
    assert store.create("trials/a/trial.json", b"{}")
    assert not store.create("trials/a/trial.json", b"[]")


def test_a_folder_in_a_records_place_is_named(store):
    os.mkdir(f"{store.url}/trials/a/outcome.json")
    for act in (store.read, lambda path: store.create(path, b"")):
        with pytest.raises(RecordError, match=r"expected a record at .*outcome.json, got a folder"):
            act("trials/a/outcome.json")


def test_a_file_in_a_folders_place_is_named(store):
    for act in (store.read, store.paths, store.folders, lambda path: store.create(path, b"")):
        with pytest.raises(RecordError, match="got a file in the place of a folder"):
            act("trials/a/trial.json/x")


def test_a_link_to_a_folder_hides_no_records(store):
    os.symlink(f"{store.url}/trials", f"{store.url}/curves/trials")
    with pytest.raises(RecordError, match="got a link to one"):
        store.paths("curves")
    assert store.folders("curves") == ["trial=a", "trials"], "a study may be a link"


def test_what_is_deleted_while_it_is_listed_is_absent(store, monkeypatch):
    scandir = os.scandir

    def late(path):
        if path.endswith("/b"):
            store.delete(["trials/b/trial.json"])
            os.rmdir(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", late)
    assert store.paths("trials") == ["trials/a/trial.json"]
