"""The lease: one driver a study, whatever happened to the last one."""

import json
import os
import subprocess
import sys
import time

import pytest

from tesseral.study import lease
from tesseral.study.errors import LeaseHeldError
from tesseral.study.lease import Holder, Lease
from tesseral.study.store import Store


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
        "import sys, os, signal; from tesseral.study.lease import Lease; from tesseral.study.store import Store\n"
        "Lease.acquire(Store(sys.argv[1]), 60.0); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert lease.newest(Store(tmp_path)) == 1
    with Lease.acquire(Store(tmp_path), 60.0, wait=False) as second:
        assert second.number == 2


def test_a_silent_holder_elsewhere_is_superseded_after_its_lease(tmp_path):
    store = Store(tmp_path)
    elsewhere = vars(Holder("elsewhere", "another boot", 1, 1, "2026-01-01T00:00:00"))
    store.create("lease/1/0", json.dumps(elsewhere).encode())
    with pytest.raises(LeaseHeldError, match="elsewhere"):
        Lease.acquire(store, 0.5, wait=False)
    with Lease.acquire(store, 0.5) as second:
        assert second.number == 2


def test_a_superseded_holder_notices(tmp_path):
    store = Store(tmp_path)
    with Lease.acquire(store, 0.6) as first:
        store.create("lease/2/0", b"{}")
        assert first.lost.wait(5)
    assert "lease/1/left" not in store.paths("lease")


def test_old_beats_are_cleared(tmp_path):
    store = Store(tmp_path)
    with Lease.acquire(store, 0.06):
        time.sleep(0.5)
    assert len(store.paths("lease")) <= 4  # who, at most two beats, left
