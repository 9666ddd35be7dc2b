"""What Ray needs is checked first: each lack is one sentence."""

import os
import resource
import socket
import threading
from contextlib import suppress

import pytest

from tesseral.cluster.nodes import ray_machine
from tesseral.cluster.nodes.ray_machine import check_address, check_limits, head_of, private_folder
from tesseral.study.errors import ClusterError, TesseralError


@pytest.fixture
def listening(request) -> str:
    """The address of a server that sends `request.param` to whoever connects, and waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # the other side leaves early
                connection.sendall(request.param)
                connection.recv(1 << 16)
                connection.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "nonsense", "127.0.0.1", "127.0.0.1:port", ":6379", ""])
def test_what_is_no_address_of_a_cluster_is_refused(address):
    with pytest.raises(TesseralError, match=r"RAY_ADDRESS: expected .* such as 10\.0\.0\.1:6379"):
        check_address(address)


def test_an_address_where_nothing_listens_is_said():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(ClusterError, match=r"no Ray cluster answers at .* \(Connection refused\)"):
            check_address(address)


@pytest.mark.parametrize("listening", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], indirect=True)
def test_another_server_is_no_cluster(listening, monkeypatch):
    monkeypatch.setattr(ray_machine, "ANSWER", 0.2)
    with pytest.raises(ClusterError, match="RAY_ADDRESS: "):
        check_address(listening)


@pytest.mark.parametrize("listening", [bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])], indirect=True)
def test_a_server_of_grpc_may_be_a_cluster(listening):
    check_address(listening)


def test_the_folder_is_private_and_goes_with_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_machine, "SOCKET_PATH", 300)
    monkeypatch.setattr(ray_machine.tempfile, "gettempdir", lambda: str(tmp_path))
    with private_folder() as inside:
        (outside,) = tmp_path.iterdir()
        assert inside.startswith(f"{outside}/")
        assert outside.stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.iterdir())


def test_the_next_start_removes_the_folder_of_a_killed_driver_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_machine, "SOCKET_PATH", 300)
    monkeypatch.setattr(ray_machine.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "tess-killed" / "r").mkdir(parents=True)
    (tmp_path / "tess-about-to-be-locked").mkdir()
    with private_folder() as held:
        os.mkdir(held)
        with private_folder():
            names = {path.name for path in tmp_path.iterdir()}
            assert len(names) == 3
            assert "tess-killed" not in names
            assert os.path.isdir(held)


@pytest.mark.parametrize(("limit", "words"), [("SOCKET_PATH", "which Ray's sockets need"), ("ROOM", "MB are free")])
def test_a_temporary_folder_that_is_too_long_or_full_is_said(tmp_path, monkeypatch, limit, words):
    monkeypatch.setattr(ray_machine, limit, 2**60 if limit == "ROOM" else 0)
    with pytest.raises(ClusterError, match=f"no temporary folder .*{words}.*TMPDIR"), private_folder():
        pass


def test_a_long_temporary_folder_is_passed_over(tmp_path, monkeypatch):
    long = tmp_path / ("a" * 90)
    long.mkdir()
    monkeypatch.setattr(ray_machine.tempfile, "gettempdir", lambda: str(long))
    with private_folder() as folder:
        assert folder.startswith("/tmp/tess-")


@pytest.mark.parametrize(
    ("kind", "words"), [("RLIMIT_NOFILE", "256 open files, this process may have 64"), ("RLIMIT_NPROC", "processes")]
)
def test_limits_that_are_too_low_are_said(monkeypatch, kind, words):
    def limits(which: int) -> tuple[int, int]:
        return (64, 64) if which == getattr(resource, kind) else (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    monkeypatch.setattr(ray_machine.resource, "getrlimit", limits)
    monkeypatch.setattr(ray_machine.resource, "setrlimit", lambda which, values: None)
    monkeypatch.setattr(ray_machine.os, "geteuid", lambda: 4711)
    with pytest.raises(ClusterError, match=words):
        check_limits(2)


def test_a_head_is_gone_once_nothing_listens_and_not_when_it_closes_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = head_of(f"127.0.0.1:{server.getsockname()[1]}")
        first, _ = server.accept()
        assert head is not None
        assert not head.gone
        first.sendall(bytes(100))  # what a server says is no news
        assert not head.gone
        first.close()
        assert not head.gone
        second, _ = server.accept()  # it was connected anew
    second.close()
    assert head.gone


def test_a_head_that_cannot_be_watched_is_none():
    assert head_of("127.0.0.1:1") is None
    assert head_of("auto") is None
