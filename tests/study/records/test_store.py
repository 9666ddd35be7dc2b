"""The store, on a local folder and on an S3 server: create-only, whole or not at all, hidden files never listed."""

import os
import threading

import pytest

from tesseral.study.errors import RecordError
from tesseral.study.records.ledger import freeze
from tesseral.study.records.store import Store
from tesseral.study.study import Study


def test_create_is_first_come_first_served(store):
    assert store.create("a/b.json", b"first")
    assert not store.create("a/b.json", b"second")
    assert store.read("a/b.json") == b"first"


def test_one_of_many_creators_wins(store):
    won = []

    def create(name: bytes) -> None:
        if store.create("name", name):
            won.append(name)

    threads = [threading.Thread(target=create, args=(str(index).encode(),)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("name") == won[0]


def test_what_is_written_piece_by_piece_is_there_whole_or_not_at_all(store):
    def write(file) -> None:
        for piece in (b"one ", b"two"):
            file.write(piece)
            assert store.read("long") is None

    def fail(file) -> None:
        file.write(b"half")
        raise KeyError("other")

    with pytest.raises(KeyError, match="other"):
        store.create_from("long", fail)
    assert store.paths() == []
    assert store.create_from("long", write)
    assert not store.create_from("long", lambda file: file.write(b"three"))
    assert store.read("long") == b"one two"


def test_replace_read_paths_delete(store):
    store.replace("x/1", b"1")
    store.replace("x/1", b"2")
    store.create("x/y/2", b"")
    assert store.read("x/1") == b"2"
    assert store.read("x/none") is None
    assert store.child("x").read("1") == b"2"
    assert store.paths("x") == ["x/1", "x/y/2"]
    assert store.child("x").paths() == ["1", "y/2"]
    assert store.paths("nowhere") == []
    store.delete(["x/1", "x/none"])
    assert store.paths() == ["x/y/2"]


def test_what_a_kill_leaves_in_the_middle_of_a_write_is_never_seen(tmp_path):
    store = Store(tmp_path)
    store.create("a", b"1")
    (tmp_path / ".a.left").write_text("half of it")
    assert store.paths() == ["a"]


def test_no_temporary_is_left(tmp_path):
    store = Store(tmp_path)
    store.create("a", b"1")
    store.create("a", b"2")
    store.replace("a", b"3")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_url_of_no_known_kind_is_refused():
    with pytest.raises(RecordError, match="s3://bucket/prefix"):
        Store("gopher://somewhere")


def test_records_of_an_object_store_are_read_side_by_side(monkeypatch):
    """Four requests wait for one another. The answers keep their order, and the first error is raised."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    together = threading.Barrier(4)

    def read(number: int) -> int:
        together.wait(30)
        if number > 5:
            raise RecordError(f"record {number} is damaged")
        return 10 * number

    store = Store("s3://nowhere/studies")
    assert store.each(read, [3, 1, 2, 0]) == [30, 10, 20, 0]
    with pytest.raises(RecordError, match="record 7 is damaged"):
        store.each(read, [0, 7, 6, 1])


def test_records_of_a_folder_are_read_one_after_the_other(tmp_path):
    threads = Store(tmp_path).each(lambda _: threading.current_thread(), range(3))
    assert threads == [threading.current_thread()] * 3


def test_folders(store):
    assert store.folders() == []
    for path in ("b/x/1", "a/2", "c", ".hidden/3"):
        store.create(path, b"x")
    assert store.folders() == ["a", "b"]
    assert store.folders("b") == ["x"]
    assert store.folders("none") == []


def test_what_killed_writers_left_is_found_once_it_is_old(tmp_path):
    store = Store(tmp_path)
    store.create("trials/a/outcome.json", b"{}")
    left = tmp_path / "trials" / "a" / f".1-5.{'0' * 32}"
    for path in (left, tmp_path / ".hidden", tmp_path / "trials" / ".nfs0001"):
        path.write_bytes(b"half")
        os.utime(path, (1e9, 1e9))
    young = left.with_name(f".1-6.{'1' * 32}")
    young.write_bytes(b"half")
    assert store.stale(60.0) == [f"trials/a/{left.name}"]
    store.delete(store.stale(60.0))
    assert young.exists()
    assert not left.exists()


def test_a_storage_that_overwrites_what_is_there_is_refused(tmp_path, study_file, monkeypatch):
    """As an S3-compatible server that ignores If-None-Match does."""
    monkeypatch.setattr(Store, "create", lambda self, path, data: self.replace(path, data) or True)
    with pytest.raises(RecordError, match="expected a storage that refuses to create a file twice"):
        freeze(Store(tmp_path), Study.load(study_file))
