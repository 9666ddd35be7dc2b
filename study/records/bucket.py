"""Records in an object store: S3, Google Cloud Storage or Azure.

Networks lose requests and answers. Every operation here may be repeated without harm, so each is tried again until the
store answers or patience ends. Patience is the whole process's: once it has ended, each operation asks once, briefly,
until the store answers again. Whether a create succeeded whose answer was lost is told by what is there afterwards; see
`Store.create`.
"""

import hashlib
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from io import BufferedRandom
from typing import IO, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from tesseral.study.errors import RecordError, StoreError

PATIENCE = 300.0
"""Seconds for which an object store that does not answer is tried again. TESSERAL_PATIENCE sets another length."""

FIRST = 30.0
"""The same until it has answered this process once: a store that never did is more likely misspelt than absent for a
while. It is longer than the wait for one answer."""

QUIET = 1.0
"""Seconds of silence that nothing is said of."""

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_PASSING = {408, 409, 425, 429}
"""HTTP status codes below 500 after which the same request may succeed. S3 asks to repeat a request after 409."""

_SETTINGS = ("AWS_", "GOOGLE_", "AZURE_")

_T = TypeVar("_T")


class _Server:
    """An object store as this process knows it: its clients, and since when it has been silent.

    :param url: of the bucket.
    :param settings: the environment variables that the endpoint and credentials are taken from.
    """

    def __init__(self, url: str, settings: tuple[tuple[str, str], ...]) -> None:
        plain = dict(settings).get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")

        def client(wait: str, connect: str, retries: int) -> ObjectStore:
            return from_url(
                url,
                # Without these obstore alone tries for three minutes, in silence, and waits 30 s for each answer.
                client_options={"timeout": wait, "connect_timeout": connect, "allow_http": plain},
                retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=10)},
            )

        self._patient, self._brief = client("20s", "5s", 1), client("2s", "2s", 0)
        self._lock = threading.Lock()
        self._since: float | None = None
        self._said = False
        self.answered = False
        """Whether it has answered this process."""
        self.given_up = threading.Event()
        """Set once patience has ended, until the store answers again."""

    @property
    def client(self) -> ObjectStore:
        return self._brief if self.given_up.is_set() else self._patient

    def silence(self, since: float) -> float:
        """Note that a request was not answered; return for how many seconds none was, of any thread.

        :param since: when the request was first made, by the monotonic clock.
        """
        with self._lock:
            self._since = since if self._since is None else min(self._since, since)
            return time.monotonic() - self._since

    def unheard(self, sentence: str) -> None:
        """Say that the store does not answer, once for all threads and until it answers again."""
        with self._lock:
            said, self._said = self._said, True
        if not said:
            _say(sentence)

    def heard(self, url: str) -> None:
        """Note that the store answers; say so if it was said that it does not."""
        with self._lock:
            since, said = self._since, self._said
            self._since, self._said, self.answered = None, False, True
            self.given_up.clear()
        if said and since is not None:
            _say(f"{url} answers again, after {time.monotonic() - since:.0f} s")

    def hurry(self) -> None:
        """Have no more patience with the store if it is silent."""
        with self._lock:
            if self._since is not None:
                self.given_up.set()


_server = cache(_Server)  # a client takes 20 ms to make


def _say(sentence: str) -> None:
    """Warn, also if the same was said before, which `warnings.warn` would leave out."""
    warnings.warn_explicit(sentence, UserWarning, __file__, 1)


def refuse_credentials(url: str) -> None:
    """Refuse a URL that holds credentials, without repeating them: errors and records name it.

    :raises RecordError: if it does.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query:
        raise RecordError(
            "expected a URL without credentials, such as s3://bucket/prefix; set them in the environment, for example "
            "as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


@contextmanager
def temporary() -> Iterator[BufferedRandom]:
    """A temporary file; its trouble is told as that of its folder, and not of a trial.

    :raises StoreError: if the folder of temporary files is full, or cannot be used.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        raise StoreError(
            f"a temporary file cannot be written: {error.strerror or error}; TMPDIR names the folder"
        ) from error


class Bucket:
    """A prefix of an object store. Paths inside it are relative and use `/`.

    :param url: such as `s3://bucket/prefix`. Credentials come from the environment.
    :raises RecordError: if the URL is of no known kind, or holds credentials.
    """

    def __init__(self, url: str) -> None:
        refuse_credentials(url)
        parts = urlsplit(url)
        self.url = url
        self.patience = float(os.environ.get("TESSERAL_PATIENCE", PATIENCE))
        root, self._prefix = url, ""
        if parts.scheme in ("s3", "s3a", "gs"):  # of the others the path may name the container
            root, self._prefix = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
            self._prefix += "/" if self._prefix else ""
        settings = tuple(item for item in sorted(os.environ.items()) if item[0].startswith(_SETTINGS))
        try:
            self._server = _server(root, settings)
        except (ValueError, BaseError) as error:
            reason = str(error).splitlines()[0]
            raise RecordError(f"expected a path or a URL such as s3://bucket/prefix, got {url!r}: {reason}") from None

    def create(self, path: str, write: Callable[[IO[bytes]], object]) -> bool:
        """Create an object in one act; False if the store refused, because of another object or another writer."""
        with temporary() as file:
            write(file)

            def put() -> bool:
                file.seek(0)
                try:
                    obstore.put(self._client, self._prefix + path, file, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    return False
                return True

            return bool(self._repeat(put, path))

    def replace(self, path: str, data: bytes) -> None:
        """Write an object in one act, whether or not it exists."""
        self._repeat(lambda: obstore.put(self._client, self._prefix + path, data), path)

    def read(self, path: str) -> bytes | None:
        """Return the bytes of an object; None if it does not exist."""
        return self._repeat(lambda: bytes(obstore.get(self._client, self._prefix + path).bytes()), path)

    def digest(self, path: str) -> bytes | None:
        """Return the SHA-256 of an object; None if it does not exist."""

        def digest() -> bytes:
            total = hashlib.sha256()
            for chunk in obstore.get(self._client, self._prefix + path).stream():
                total.update(chunk)
            return total.digest()

        return self._repeat(digest, path)

    def size(self, path: str) -> int | None:
        """Return the bytes of an object as a number; None if it does not exist."""
        return self._repeat(lambda: int(obstore.head(self._client, self._prefix + path)["size"]), path)

    def part(self, path: str, start: int, length: int) -> bytes | None:
        """Return a range of an object's bytes; None if it does not exist.

        :param start: first byte, from 0.
        :param length: how many bytes, at least 1.
        """

        def get() -> bytes:
            return bytes(obstore.get_range(self._client, self._prefix + path, start=start, length=length))

        return self._repeat(get, path)

    def paths(self, prefix: str) -> list[str]:
        """Return the paths of all objects below `prefix`, hidden ones left out."""

        def listed() -> list[str]:
            chunks = obstore.list(self._client, self._prefix + prefix or None)
            return [entry["path"].removeprefix(self._prefix) for chunk in chunks for entry in chunk]

        paths = self._repeat(listed, prefix) or []
        return [path for path in paths if not path.rpartition("/")[2].startswith(".")]

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below `prefix`, hidden ones left out."""

        def listed() -> list[str]:
            return list(obstore.list_with_delimiter(self._client, self._prefix + prefix or None)["common_prefixes"])

        names = [path.rstrip("/").rpartition("/")[2] for path in self._repeat(listed, prefix) or []]
        return [name for name in names if not name.startswith(".")]

    def delete(self, path: str) -> None:
        """Delete an object, if it exists."""
        self._repeat(lambda: obstore.delete(self._client, self._prefix + path), path)

    def hurry(self) -> None:
        """Have no more patience with the store if it is silent."""
        self._server.hurry()

    @property
    def _client(self) -> ObjectStore:
        return self._server.client

    def _repeat(self, act: Callable[[], _T], path: str) -> _T | None:
        """Do `act`, again and again while the store does not answer, with growing pauses; None if nothing is there.

        :raises StoreError: if the store refuses, or if it does not answer for as long as patience lasts.
        """
        server, began, pause = self._server, time.monotonic(), 0.2
        while True:
            try:
                result = act()
            except (
                NotFoundError,
                FileNotFoundError,
            ) as error:  # also of a bucket that does not exist, which is no absence
                server.heard(self.url)
                if _code(error) in ("NoSuchBucket", "ContainerNotFound"):
                    raise self._refused(path, error) from None
                return None
            except BaseError as error:
                if not _passing(error):
                    server.heard(self.url)
                    raise self._refused(path, error) from None
                silence = server.silence(began)
                patience = self.patience if server.answered else min(FIRST, self.patience)
                if server.given_up.is_set() or silence + pause > patience:
                    server.given_up.set()
                    raise StoreError(
                        f"{self.url} gave no answer in {silence:.0f} s of trying: {_reason(error)}"
                    ) from None
                if silence > QUIET:
                    server.unheard(
                        f"{self.url} does not answer ({_reason(error)}); trying again for up to {patience:.0f} s"
                    )
                server.given_up.wait(pause)
                pause = min(2 * pause, 10.0)
            else:
                server.heard(self.url)
                return result

    def _refused(self, path: str, error: Exception) -> StoreError:
        advice = {
            "NoSuchBucket": "; create the bucket, or name another storage",
            "ContainerNotFound": "; create the container, or name another storage",
        }.get(_code(error), "")
        if not advice and _status(error) in (401, 403):
            advice = "; check the credentials in the environment, and what they permit"
        return StoreError(f"{self.url} refused the request for {path or 'its list'}: {_reason(error)}{advice}")


def _status(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed later: there was no answer, or a server in trouble."""
    status = _status(error)
    return status is None or status >= 500 or status in _PASSING


def _reason(error: Exception) -> str:
    """The cause in a few words, from the answer if there was one. obstore's own text has 30 lines."""
    text = str(error).partition("\n\nDebug source")[0]
    if (status := _status(error)) is not None:
        said = re.search(r"<Message>([^<]{1,200})", text)
        return f"HTTP {status} {_code(error)}".rstrip() + (f", {said[1].rstrip('.')}" if said else "")
    cause = text.rpartition(" - ")[2].splitlines()[0].removeprefix("HTTP error: ")
    return {"error sending request": "no connection, or no answer in time"}.get(cause, cause)
