"""Libraries of C++: compiled when they are first needed, and kept for every later process of this machine.

A library's name is the hash of its source, of the compiler and of the processor, so none runs where it was not made
for. Its last bytes are the hash of all others: one that is damaged or half written is built again. It is written under
another name and renamed, so that processes which build at once see whole files only.
"""

import ctypes
import errno
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path

from tesseral.study.errors import TesseralError

FLAGS = ("-std=c++17", "-O2", "-march=native", "-shared", "-fPIC")
OPENMP = "-fopenmp"
"""Left out where the compiler has none; one thread then does all."""
_OWN = "tesseral-operators-"
PATIENCE = 600.0
"""Seconds that a compiler may take."""


class NoLibraryError(TesseralError):
    """C++ cannot be compiled or kept on this machine."""


@cache
def open_library(source: str) -> ctypes.CDLL:
    """The library of a program, from the cache or built now; a process keeps it open.

    :param source: C++ without any header but the language's own.
    :raises NoLibraryError: if there is no compiler, it fails, or no folder can be written.
    """
    compiler = find_compiler()
    made_of = "\0".join((source, *compiler, *FLAGS, processor()))
    name, failed = f"{sha256(made_of.encode()).hexdigest()[:32]}.so", []
    for folder in cache_folders():
        path = folder / name
        try:
            _make(folder)
            if not intact(path):
                _build(source, compiler[0], path)
            return ctypes.CDLL(str(path))
        except OSError as error:
            failed.append(str(error))
    raise NoLibraryError(f"expected a folder in which compiled code can be kept, got {'; '.join(failed)}")


def cache_folders() -> list[Path]:
    """Folders for the libraries, the first of which that can be written is used.

    `tesseral/operators` in `XDG_CACHE_HOME`, or in `~/.cache`; then, for users without a home and containers that can
    write nowhere else, a folder of the user's own among temporary files.
    """
    folders = [Path(tempfile.gettempdir()) / f"{_OWN}{os.getuid()}"]
    with suppress(RuntimeError):  # a user without an entry among the system's, and without HOME
        folders.insert(0, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tesseral" / "operators")
    return folders


def _make(folder: Path) -> None:
    """Make a folder. Among temporary files others may have made it before, with code of theirs: that is refused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if folder.name.startswith(_OWN) and (state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) != 0o700):
        raise PermissionError(errno.EPERM, "others may write in it", str(folder))


def intact(path: Path) -> bool:
    """Whether a library is there, and as it was written.

    :param path: of the library.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) > 32 and sha256(content[:-32]).digest() == content[-32:]


@lru_cache(maxsize=1)
def find_compiler() -> tuple[str, str]:
    """The system's C++ compiler, and what it says of its version.

    :raises NoLibraryError: if there is none.
    """
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            done = _run([found, "--version"])
            if done.returncode == 0:
                return found, done.stdout
    raise NoLibraryError("expected a C++ compiler, such as c++, g++ or clang++, on PATH or in CXX, found none")


@lru_cache(maxsize=1)
def processor() -> str:
    """What the code is made for: the architecture, and the processor's instructions where Linux lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = {key.strip(): value for key, _, value in (line.partition(":") for line in lines)}
    names = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    return "\0".join([platform.system(), platform.machine(), platform.processor(), *(told.get(n, "") for n in names)])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        raise NoLibraryError(f"expected {command[0]} to end within {PATIENCE:g} s, it did not") from None


def _build(source: str, compiler: str, path: Path) -> None:
    """Compile a program to a path, in one step for whoever looks there."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        program, library = Path(folder) / "operator.cpp", Path(folder) / "operator.so"
        program.write_text(source)
        for more in ([OPENMP], []):
            command = [compiler, *FLAGS, *more, "-o", str(library), str(program)]
            if (done := _run(command)).returncode == 0:
                break
        else:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NoLibraryError(f"expected {compiler} to compile an operator, got {reason}")
        content = library.read_bytes()
        library.write_bytes(content + sha256(content).digest())
        library.replace(path)
