"""The store: create-only, whole or not at all, hidden files never listed."""

import threading

from tesseral.study.store import Store


def test_create_is_first_come_first_served(tmp_path):
    store = Store(tmp_path / "study")
    assert store.create("a/b.json", b"first")
    assert not store.create("a/b.json", b"second")
    assert store.read("a/b.json") == b"first"


def test_one_of_many_creators_wins(tmp_path):
    store = Store(tmp_path)
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


def test_replace_read_paths_delete(tmp_path):
    store = Store(tmp_path)
    store.replace("x/1", b"1")
    store.replace("x/1", b"2")
    store.create("x/y/2", b"")
    (tmp_path / "x" / ".hidden").write_text("left by a kill in the middle of a write")
    assert store.read("x/1") == b"2"
    assert store.read("x/none") is None
    assert store.read("x/1/below-a-file") is None
    assert store.paths("x") == ["x/1", "x/y/2"]
    assert store.child("x").paths() == ["1", "y/2"]
    assert store.paths("nowhere") == []
    store.delete(["x/1", "x/none"])
    assert store.paths() == ["x/y/2"]


def test_no_temporary_is_left(tmp_path):
    store = Store(tmp_path)
    store.create("a", b"1")
    store.create("a", b"2")
    store.replace("a", b"3")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
