"""Files inside folders and archives, opened one after another, plain or compressed. None is passed over in silence."""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Self, cast

from tesseral.study.errors import DataError
from tesseral.study.wording import printable

GROWTH = 100
"""Most bytes that an archive may unpack to for each byte of its own; text packs to a tenth."""
SMALL = 1 << 30
"""Bytes that any archive may unpack to, however small it is."""
LINK = "a link; pack what it leads to"
DEVICE = "a pipe or a device"
LARGEST_HEADER = 1 << 20
"""Most bytes of a name or of attributes in a tar archive, which are read whole."""

_TAR = re.compile(r"\.(tar(\.\w+)?|tgz|tbz2?|txz)$")
_COMPRESSED: dict[bytes, Callable[[IO[bytes]], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""First bytes of a compressed file → what reads it."""
_OTHER = {
    b"PK\3\4": "a zip archive; end its name in .zip",
    b"7z\xbc\xaf": "a 7z archive; pack it as .zip or .tar.gz",
    b"Rar!": "a rar archive; pack it as .zip or .tar.gz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; pack it by gzip",
    b"\xff\xfe\0\0": "UTF-32; `iconv -f utf-32 -t utf-8` converts it",
    b"\xff\xfe": "UTF-16; `iconv -f utf-16 -t utf-8` converts it",
    b"\xfe\xff": "UTF-16; `iconv -f utf-16 -t utf-8` converts it",
}
"""First bytes of a file that is not read → what it is, and what to do."""


def open_files(path: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, IO[bytes]]]:
    """Each file of a folder or an archive, or the file itself, opened, with its name for error messages.

    Compressed files are unpacked while they are read. The files of a folder come in the order of their paths, those of
    an archive in its own order. Names that begin with `._` are passed over: macOS keeps attributes of files in them.

    :param path: a file, a folder, or an archive (`.zip`, `.tar`, `.tar.gz`, …).
    :param endings: of the names of the files that are opened, such as `.xyz`; `.gz`, `.bz2` or `.xz` may follow.
    :raises DataError: if something cannot be read, is a link or a device, or unpacks to far more than it is; if no name
        ends so.
    """
    with readable(str(path)):
        mode, name = path.stat().st_mode, path.name.lower()
        if stat.S_ISDIR(mode):
            yield from _chosen(_in_folder(path), path, endings)
        elif not stat.S_ISREG(mode):
            raise DataError(f"expected a file, a folder or an archive, {path} cannot be read: it is none of them")
        elif name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                yield from _chosen(_in_zip(archive, path), path, endings)
        elif _TAR.search(name):
            with _open_tar(path) as tar:
                yield from _chosen(_in_tar(tar, path), path, endings)
                _check_end(tar, path)
        else:
            with path.open("rb") as file:
                yield str(path), _unpacked(file, str(path))


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what keeps a file from being read into a sentence.

    :param name: of the file.
    :raises DataError: with that sentence.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(
            f"expected text in UTF-8, {name} cannot be read: it has the byte {error.object[error.start]:#04x}; if it "
            "is Latin-1, `iconv -f latin1 -t utf-8` converts it"
        ) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"expected a file, a folder or an archive, {name} cannot be read: {_shown(reason)}") from None


_Opened = Callable[[], IO[bytes]]


def _chosen(
    inside: Iterator[tuple[str, _Opened | str]], path: Path, endings: tuple[str, ...]
) -> Iterator[tuple[str, IO[bytes]]]:
    """Those of the files whose names end so, opened. In the place of what opens a file stands what it is instead."""
    others: list[str] = []
    left_out, some = 0, False
    for name, opened in inside:
        base = name.rpartition("/")[2].lower()
        if base.startswith("._"):
            continue
        if not re.sub(r"\.(gz|bz2|xz)$", "", base).endswith(endings):
            left_out += 1
            others += [_shown(base)[:40]] if left_out <= 3 else []
            continue
        some, where = True, f"{path}/{_shown(name)}"
        if isinstance(opened, str):
            raise DataError(f"expected files, {where} is {opened}")
        with readable(where), opened() as file:
            yield where, _unpacked(file, where)
    if not some:
        more = f" and {left_out - 3:,} more" if left_out > 3 else ""
        held = ", ".join(others) + more if others else "nothing"
        raise DataError(f"expected files {' or '.join(endings)}, {path} cannot be read: it holds {held}")


def _in_folder(path: Path) -> Iterator[tuple[str, _Opened | str]]:
    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for folder, folders, files in os.walk(path, onerror=refuse):
        for name in folders:
            if (Path(folder) / name).is_symlink():
                raise DataError(f"expected files, {_shown(str(Path(folder) / name))} is a link to a folder")
        found += [Path(folder) / name for name in files]
    for file in sorted(found):
        name = file.relative_to(path).as_posix()
        yield name, DEVICE if file.exists() and not file.is_file() else partial(_open, file)


def _open(file: Path) -> IO[bytes]:
    return file.open("rb")


def _in_zip(archive: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, _Opened | str]]:
    size = path.stat().st_size
    for member in archive.infolist():
        if not member.is_dir():
            _check_growth(member.file_size, size, path)
            if member.flag_bits & 1:
                yield member.filename, "encrypted"
            elif stat.S_ISLNK(member.external_attr >> 16):
                yield member.filename, LINK
            else:
                yield member.filename, partial(archive.open, member)


def _in_tar(tar: tarfile.TarFile, path: Path) -> Iterator[tuple[str, _Opened | str]]:
    size = path.stat().st_size
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
        _check_growth(member.offset_data + member.size, size, path)
        if member.isreg():
            yield member.name, partial(_content, tar, member)
        elif not member.isdir():
            yield member.name, LINK if member.issym() or member.islnk() else DEVICE


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:  # which no regular file is
        raise tarfile.ReadError(f"{member.name} has no content")
    return content


def _check_growth(unpacked: int, packed: int, path: Path) -> None:
    """Refuse what is packed to be large. The sizes are those that the archive states, so nothing is read."""
    if unpacked > max(SMALL, GROWTH * packed):
        raise DataError(
            f"expected an archive of at most {GROWTH:,} times its size when unpacked, {path} states {unpacked:,} bytes "
            f"in {packed:,}"
        )


class _Member(tarfile.TarInfo):
    """A member of a tar archive whose end is marked and whose headers are whole and small.

    `tarfile` takes a damaged header, and the end of the file, for the end of the archive.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # two blocks of zeros: its end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is damaged or cut: {error}") from None

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in b"LKxgX" and member.size > LARGEST_HEADER:
            raise tarfile.ReadError(f"it has a header of {member.size:,} bytes")
        return member


def _open_tar(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, tarinfo=_Member)
    except tarfile.ReadError as error:
        if "\n" not in str(error):
            raise
        raise DataError(
            f"expected a tar archive, plain or by gzip, bzip2 or xz, {path} cannot be read: it is none, or damaged"
        ) from None


def _check_end(tar: tarfile.TarFile, path: Path) -> None:
    """Read the zeros that follow the archive: a compressed one is checked against its checksum at its end alone."""
    file, read = cast(IO[bytes], tar.fileobj), 0
    while block := file.read(1 << 16):
        read += len(block)
        if any(block) or read > LARGEST_HEADER:
            raise DataError(f"expected a tar archive, {path} goes on after its end: it is damaged, or two in one file")


def _unpacked(file: IO[bytes], name: str) -> IO[bytes]:
    """The file's content, by what its first bytes say that it is."""
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, file))
    first = buffered.peek(8)
    for signature, what in _OTHER.items():
        if first.startswith(signature):
            raise DataError(f"expected text in UTF-8, {name} cannot be read: it is {what}")
    for signature, opened in _COMPRESSED.items():
        if first.startswith(signature):
            return cast(IO[bytes], opened(buffered))
    return buffered


def _shown(text: str) -> str:
    """Text of others on one line."""
    return printable(text).replace("\n", "\\n")
