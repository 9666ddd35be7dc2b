"""The lease: one driver a study, whatever happened to the last one."""

import json
import os
import subprocess
import sys
import time

import pytest

from tesseral.study.errors import LeaseHeldError, LeaseLostError, StoreError
from tesseral.study.records import lease
from tesseral.study.records.lease import Holder, Lease
from tesseral.study.records.store import Store


def test_a_second_driver_is_refused_while_the_first_beats(tmp_path):
    store = Store(tmp_path)
    with Lease.acquire(store, 0.6) as first:
        waited = []
        with pytest.raises(LeaseHeldError, match=f"process {os.getpid()} on"):
            Lease.acquire(store, 0.6, on_wait=lambda holder, seconds: waited.append(seconds))
        assert waited
        assert not first.lost.is_set()


def test_a_lease_that_was_left_is_free_at_once(tmp_path):
    store = Store(tmp_path)
    Lease.acquire(store, 60.0).release()
    started = time.monotonic()
    with Lease.acquire(store, 60.0) as second:
        assert second.number == 2
    assert time.monotonic() - started < 5


def test_a_dead_holder_on_this_machine_is_recognised_at_once(tmp_path):
    code = (
        "import sys, os, signal; from tesseral.study.records.lease import Lease\n"
        "from tesseral.study.records.store import Store\n"
        "Lease.acquire(Store(sys.argv[1]), 60.0); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert lease.newest(Store(tmp_path)) == 1
    with Lease.acquire(Store(tmp_path), 60.0) as second:
        assert second.number == 2


def test_a_silent_holder_elsewhere_is_superseded_after_its_lease(tmp_path):
    store = Store(tmp_path)
    elsewhere = vars(Holder("elsewhere", "another boot", 1, 1, "2026-01-01T00:00:00", length=0.8))
    store.create("lease/1/0", json.dumps(elsewhere).encode())
    waited = []
    with Lease.acquire(store, 0.1, on_wait=lambda holder, seconds: waited.append((holder.host, seconds))) as second:
        assert second.number == 2
    assert waited[0][0] == "elsewhere"
    assert waited[0][1] == pytest.approx(0.8, abs=0.1), "as long as the holder said, not the challenger"


def test_a_store_that_fails_for_a_moment_costs_no_lease(tmp_path, monkeypatch):
    store = Store(tmp_path)
    create, failures = Store.create, [StoreError("stale file handle")] * 2

    def flaky(self, path, data):
        if failures and path.startswith("lease/1/") and path != "lease/1/0":
            raise failures.pop()
        return create(self, path, data)

    monkeypatch.setattr(Store, "create", flaky)
    with Lease.acquire(store, 0.6) as first:
        assert not first.lost.wait(1.0)
        assert len(store.paths("lease/1")) > 1


def test_a_store_that_fails_for_good_costs_the_lease(tmp_path, monkeypatch):
    store = Store(tmp_path)
    with Lease.acquire(store, 0.3) as first:
        monkeypatch.setattr(Store, "create", lambda *_: (_ for _ in ()).throw(StoreError("gone")))
        assert first.lost.wait(5)
        with pytest.raises(StoreError, match="gone"):
            first.check()
        monkeypatch.undo()
    assert "lease/1/left" in store.paths("lease"), "it is back: nobody has to wait for this driver"


def test_a_torn_lease_is_nobodys(tmp_path):
    store = Store(tmp_path)
    store.create("lease/1/0", b'{"host": "he')
    with pytest.warns(UserWarning, match="torn"), Lease.acquire(store, 60.0) as second:
        assert second.number == 2


def test_a_superseded_holder_notices(tmp_path):
    store = Store(tmp_path)
    with Lease.acquire(store, 0.6) as first:
        store.create("lease/2/0", b"{}")
        assert first.lost.wait(5)
        with pytest.raises(LeaseLostError, match="another driver took the study over"):
            first.check()
    assert "lease/1/left" not in store.paths("lease")


def test_a_check_of_a_moment_ago_stands_where_that_will_do(tmp_path, monkeypatch):
    """For a thirtieth of the lease, by a clock that goes on while the machine is suspended."""
    now, store = [100.0], Store(tmp_path)
    monkeypatch.setattr(lease, "_now", lambda: now[0])
    with Lease.acquire(store, 60.0) as first:
        first.check(fresh=False)
        store.create("lease/2/0", b"{}")
        now[0] += 1.9
        first.check(fresh=False)
        with pytest.raises(LeaseLostError):
            first.check()
        now[0] += 0.2
        with pytest.raises(LeaseLostError):
            first.check(fresh=False)


def test_old_beats_are_cleared(tmp_path):
    store = Store(tmp_path)
    with Lease.acquire(store, 0.06):
        time.sleep(0.5)
    assert len(store.paths("lease")) <= 4  # who, at most two beats, left
