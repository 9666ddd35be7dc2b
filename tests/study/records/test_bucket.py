"""An object store whose network and server fail: nothing is lost, taken for absent, or created twice."""

import errno
import os
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tesseral.study.errors import RecordError, StoreError
from tesseral.study.records.store import Store
from tests.support.faulty_proxy import first, proxy_of


@pytest.fixture
def faulty(bucket, monkeypatch):
    """A store behind a proxy, and the proxy."""
    with proxy_of(os.environ["AWS_ENDPOINT_URL"]) as (url, proxy):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield Store(f"{bucket}/{uuid.uuid4().hex}"), proxy


def test_a_conflict_is_no_existence(faulty):
    store, proxy = faulty
    proxy.fault = first(3, "409", "PUT")
    assert store.create("trials/a", b"ours")
    assert [fault for fault, *_ in proxy.met] == ["409"] * 3
    assert store.read("trials/a") == b"ours"


def test_what_another_created_first_is_theirs(faulty):
    store, proxy = faulty
    store.create("a", b"theirs")
    proxy.fault = first(1, "409", "PUT")
    assert not store.create("a", b"ours")
    assert store.read("a") == b"theirs"


@pytest.mark.parametrize("fault", ["lost", "reset", "500", "503"])
def test_an_answer_that_is_lost_is_found_out(faulty, fault):
    store, proxy = faulty
    proxy.fault = first(3, fault, "PUT")
    assert store.create("a", b"ours"), "it is ours, whoever answered"
    assert not store.create("a", b"later")
    assert proxy.met


@pytest.mark.parametrize("fault", ["lost", "reset", "500", "503", "cut", "409"])
def test_what_is_there_is_read_and_listed_whole(faulty, fault):
    store, proxy = faulty
    store.create("trials/a/trial.json", b"x" * 1000)
    for read in (
        lambda: store.read("trials/a/trial.json") == b"x" * 1000,
        lambda: store.paths("trials") == ["trials/a/trial.json"],
        lambda: store.folders("trials") == ["a"],
        lambda: not store.create("trials/a/trial.json", b"y"),
    ):
        proxy.fault = first(2, fault, "GET")
        assert read()
    assert len(proxy.met) >= 7


@pytest.mark.parametrize("fault", ["lost", "reset", "503"])
def test_a_delete_is_repeated(faulty, fault):
    store, proxy = faulty
    store.create("a", b"x")
    proxy.fault = lambda method, path, left=[2]: fault if method in ("POST", "DELETE") and left and left.pop() else None
    store.delete(["a", "never-there"])
    assert store.paths() == []


def test_a_store_that_is_away_for_a_while_is_waited_for_and_named_once(faulty):
    store, proxy = faulty
    store.create("a", b"x")
    proxy.down.set()
    threading.Timer(4.0, proxy.down.clear).start()
    pool = ThreadPoolExecutor(2)  # such as the driver and its lease
    with pytest.warns(UserWarning, match="answer") as told:
        assert list(pool.map(store.read, ["a", "a"])) == [b"x", b"x"]
    assert [("does not answer" in str(w.message), "answers again" in str(w.message)) for w in told] == [
        (True, False),
        (False, True),
    ]


def test_patience_ends(faulty, monkeypatch):
    monkeypatch.setenv("TESSERAL_PATIENCE", "2")
    store, proxy = faulty
    store = Store(store.url)
    proxy.down.set()
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"gave no answer in \d+ s of trying: no connection"):
        store.read("a")
    assert time.monotonic() - began < 20.0


def test_patience_is_had_once_until_the_store_answers_again(faulty, monkeypatch):
    monkeypatch.setenv("TESSERAL_PATIENCE", "2")
    monkeypatch.setattr("tesseral.study.records.bucket.QUIET", 0.0)
    store, proxy = faulty
    store = Store(store.url)
    store.create("a", b"x")
    for outage in ("the first", "the second"):
        proxy.fault = lambda method, path: "reset"
        proxy.met.clear()
        with pytest.warns(UserWarning, match="does not answer"), pytest.raises(StoreError):
            store.read("a")
        assert len(proxy.met) > 3, outage
        asked = len(proxy.met)
        for end in (lambda: store.paths(), lambda: Store(store.url).create("b", b"y"), lambda: store.delete(["a"])):
            with pytest.raises(StoreError, match="gave no answer"):
                end()
        assert len(proxy.met) - asked <= 6, "each asks once; HTTP itself repeats a request on a connection that broke"
        proxy.fault = lambda method, path: None
        with pytest.warns(UserWarning, match="answers again"):
            assert store.read("a") == b"x"


def test_who_hurries_waits_for_no_silent_store(faulty):
    """As a driver does that a signal ends while others wait: they give up at once."""
    store, proxy = faulty
    store.create("a", b"x")
    proxy.down.set()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.read, "a")
        while waiting.running() and not store._place._server.given_up.is_set():
            store.hurry()
            time.sleep(0.01)
        with pytest.raises(StoreError, match="gave no answer"):
            waiting.result()
    proxy.down.clear()
    assert store.read("a") == b"x"


def test_a_bucket_that_does_not_exist_is_named(bucket):
    store = Store("s3://no-such-bucket/x")
    for act in (
        lambda: store.read("a"),
        lambda: store.paths(),
        lambda: store.folders(),
        lambda: store.create("a", b""),
        lambda: store.delete(["a"]),
    ):
        with pytest.raises(StoreError, match=r"HTTP 404 NoSuchBucket.*; create the bucket, or name another storage"):
            act()


def test_credentials_that_are_refused_are_named_and_not_tried_again(faulty):
    store, proxy = faulty
    proxy.fault = lambda method, path: "403"
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"refused the request for a: HTTP 403; check the credentials"):
        store.read("a")
    assert time.monotonic() - began < 5.0
    assert len(proxy.met) == 1


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "s3://secret@bucket", "s3://b/x.parquet?Signature=secret"])
@pytest.mark.parametrize("use", [Store, lambda url: Store("runs").location(url)])
def test_credentials_in_a_url_are_refused_without_repeating_them(url, use):
    with pytest.raises(RecordError, match="expected a URL without credentials") as error:
        use(url)
    assert "secret" not in str(error.value).replace("AWS_SECRET_ACCESS_KEY", "")


def test_a_store_that_has_answered_is_waited_for_by_others_of_the_same_process(faulty, monkeypatch):
    """A worker opens the store anew for each trial."""
    store, proxy = faulty
    monkeypatch.setattr("tesseral.study.records.bucket.FIRST", 0.0)
    proxy.down.set()
    with pytest.raises(StoreError, match="no connection"):
        store.read("a")
    proxy.down.clear()
    assert store.read("a") is None
    proxy.fault = first(3, "reset")
    assert Store(store.url).read("a") is None


def test_a_full_temporary_folder_is_no_fault_of_the_record(bucket, monkeypatch):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(StoreError, match="a temporary file cannot be written: No space left on device; TMPDIR names"):
        Store(f"{bucket}/{uuid.uuid4().hex}").create("a", b"x")
