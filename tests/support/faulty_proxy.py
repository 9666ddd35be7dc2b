"""A proxy before an S3 server that misbehaves as networks and servers do."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("409", "500", "503", "reset", "lost", "cut", "hang")
"""What may happen to a request: an error of the server; a connection that breaks before the request was served
(`reset`) or after (`lost`, so that only the answer is missing); a body that ends early; no answer for a while."""

CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>Another request is under way</Message></Error>"
HANG = 25.0
"""Seconds; longer than a client waits for an answer."""

Fault = Callable[[str, str], str | None]
"""Called with the method and the path of each request: the fault that it meets, or None."""


class Proxy:
    """Forwards every request to a server, unless `fault` says otherwise."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.fault: Fault = lambda method, path: None
        self.met: list[tuple[str, str, str]] = []
        """Fault, method and path of the requests that met one."""
        self.down = threading.Event()
        """While set, no request is answered."""
        self._lock = threading.Lock()

    def choose(self, method: str, path: str) -> str | None:
        """The fault that a request meets."""
        if self.down.is_set():
            return "reset"
        with self._lock:
            fault = self.fault(method, path)
            if fault is not None:
                self.met.append((fault, method, path))
            return fault


@contextmanager
def proxy_of(server: str) -> Iterator[tuple[str, Proxy]]:
    """Serve a proxy of `server` on loopback: its URL, and the proxy."""
    proxy = Proxy(server)
    address = urlsplit(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.choose(self.command, self.path)
            if fault == "reset":
                self.close_connection = True
                return
            if fault == "hang":
                time.sleep(HANG)
                self.close_connection = True
                return
            if fault is not None and fault.isdecimal():
                self.answer(int(fault), {}, CONFLICT if fault == "409" else b"")
                return
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            connection.request(self.command, self.path, body, headers | {"Host": address.netloc})
            answer = connection.getresponse()
            content = answer.read()
            if fault == "lost":
                self.close_connection = True
                return
            self.answer(answer.status, dict(answer.getheaders()), content, cut=fault == "cut")

        def answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
            self.send_response(status)
            length = headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
            for key, value in headers.items():
                if key.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                    self.send_header(key, value)
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve  # noqa: N815 - names of `http.server`

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...  # a client that has gone away

    with Server(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{served.server_address[1]}", proxy
        finally:
            served.shutdown()


def first(count: int, fault: str, method: str = "", part: str = "") -> Fault:
    """A fault of the first `count` requests of a method whose path holds `part`."""
    left = [count]

    def meet(requested: str, path: str) -> str | None:
        if (method and requested != method) or part not in path or not left[0]:
            return None
        left[0] -= 1
        return fault

    return meet
