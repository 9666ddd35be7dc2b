"""Files inside folders and archives: each is opened, or refused with a reason; none is passed over in silence."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tesseral.models.reference.exchange.packed_files import open_files, readable
from tesseral.study.errors import DataError

TEXT = b"1\n\nH 0 0 0\n"


def read(path: Path) -> list[tuple[str, bytes]]:
    """Name below the path, and content, of each file."""
    found = []
    for name, file in open_files(path, (".xyz",)):
        with readable(name):
            found.append((name.removeprefix(f"{path}/"), file.read()))
    return found


def tar(path: Path, *members: tuple[str, bytes], mode: str = "w", **attributes: Any) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            vars_of = attributes if name == "odd.xyz" else {}
            for key, value in vars_of.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive, warnings.catch_warnings(action="ignore"):
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["a.xyz", "A.XYZ", "a.xyz.gz", "a.xyz.bz2", "a.xyz.xz"])
def test_what_a_file_is_shows_in_its_content(pack, name, tmp_path):
    packed = pack(TEXT)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(packed)
    assert [content for _, content in read(tmp_path / "in" / name)] == [TEXT]
    for path in (
        tmp_path / "in",
        zipped(tmp_path / "d.ZIP", (name, packed)),
        zipped(tmp_path / "e.zip", (name, packed), kind=zipfile.ZIP_LZMA),
        tar(tmp_path / "d.tar", (name, packed)),
        tar(tmp_path / "d.TGZ", (name, packed), mode="w:gz"),
        tar(tmp_path / "d.tar.bz2", (name, packed), mode="w:bz2"),
        tar(tmp_path / "d.tar.xz", (name, packed), mode="w:xz"),
    ):
        assert read(path) == [(name, TEXT)]


def test_all_files_are_opened(tmp_path):
    """Those with one name twice too, and none of macOS's attributes."""
    (tmp_path / "sub").mkdir()
    for name in ("b.xyz", "a.xyz", "sub/c.xyz", "sub/._c.xyz", "readme.txt"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.xyz").symlink_to(tmp_path / "a.xyz")
    assert read(tmp_path) == [
        ("a.xyz", b"a.xyz"), ("b.xyz", b"b.xyz"), ("link.xyz", b"a.xyz"), ("sub/c.xyz", b"sub/c.xyz")
    ]  # fmt: skip
    twice = [("a.xyz", b"1"), ("__MACOSX/._a.xyz", b"\0"), ("../a.xyz", b"2"), ("/a.xyz", b"3"), ("a.xyz", b"4")]
    wanted = [(name, content) for name, content in twice if "._" not in name]
    for path in (zipped(tmp_path / "d.zip", *twice), tar(tmp_path / "d.tar", *twice)):
        assert [content for _, content in read(path)] == [content for _, content in wanted]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (tarfile.SYMTYPE, "odd.xyz is a link"),
        (tarfile.LNKTYPE, "odd.xyz is a link"),
        (tarfile.FIFOTYPE, "odd.xyz is a pipe or a device"),
        (tarfile.CHRTYPE, "odd.xyz is a pipe or a device"),
    ],
)
def test_what_is_no_file_in_an_archive_is_refused(kind, sentence, tmp_path):
    path = tar(tmp_path / "d.tar", ("a.xyz", TEXT), ("odd.xyz", b""), type=kind, linkname="a.xyz")
    with pytest.raises(DataError, match=sentence):
        read(path)


def test_what_is_no_file_in_a_folder_is_refused(tmp_path):
    for name in ("pipe", "broken", "loop"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.xyz").write_bytes(TEXT)
    os.mkfifo(tmp_path / "pipe" / "b.xyz")
    (tmp_path / "broken" / "b.xyz").symlink_to("nowhere")
    (tmp_path / "loop" / "b").symlink_to(tmp_path / "loop")
    for name, sentence in (
        ("pipe", "b.xyz is a pipe or a device"),
        ("broken", "b.xyz cannot be read: No such file"),
        ("loop", "b is a link to a folder"),
        ("pipe/b.xyz", "b.xyz cannot be read: it is none of them"),
    ):
        with pytest.raises(DataError, match=sentence):
            read(tmp_path / name)


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.xyz").write_bytes(TEXT)
    listed = os.scandir

    def forbidden(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read(tmp_path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
@pytest.mark.parametrize("damage", ["cut", "header"])
def test_a_damaged_tar_archive_has_no_end(mode, damage, tmp_path):
    """Python's reader takes a bad header, and the end of the file, for the end of the archive."""
    plain = bytearray(tar(tmp_path / "plain.tar", ("a.xyz", TEXT), ("b.xyz", TEXT)).read_bytes())
    if damage == "cut":
        plain = plain[:1024]
    else:
        plain[1024:1030] = b"\xff" * 6
    packed = {"w": bytes, "w:gz": gzip.compress, "w:bz2": bz2.compress}[mode](bytes(plain))
    (tmp_path / "d.tar.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"d\.tar\.gz cannot be read: it is damaged or cut"):
        read(tmp_path / "d.tar.gz")


def test_damage_of_any_byte_is_said_or_changes_nothing(tmp_path):
    """A zip archive's directory has no checksum, so a damaged name in it can hide a file, but never change one."""
    members = [("a.xyz", TEXT), ("b.xyz", TEXT)]
    for whole, path, possible in (
        (zipped(tmp_path / "w.zip", *members), tmp_path / "d.zip", ([TEXT, TEXT], [TEXT])),
        (zipped(tmp_path / "v.zip", *members, kind=zipfile.ZIP_LZMA), tmp_path / "d.zip", ([TEXT, TEXT], [TEXT])),
        (tar(tmp_path / "w.tar.gz", *members, mode="w:gz"), tmp_path / "d.tar.gz", ([TEXT, TEXT],)),
        (tar(tmp_path / "w.tar.xz", *members, mode="w:xz"), tmp_path / "d.tar.xz", ([TEXT, TEXT],)),
    ):
        content = whole.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
            with suppress(DataError):
                assert [text for _, text in read(path)] in possible, place


def test_two_archives_in_one_file_are_no_archive(tmp_path):
    one = tar(tmp_path / "one.tar.gz", ("a.xyz", TEXT), mode="w:gz").read_bytes()
    (tmp_path / "d.tar.gz").write_bytes(one + one)
    with pytest.raises(DataError, match="goes on after its end"):
        read(tmp_path / "d.tar.gz")


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"PK\3\4 and so on", "a.xyz", r"it is a zip archive; end its name in \.zip"),
        (b"7z\xbc\xaf", "a.7z", "it is a 7z archive"),
        ("1".encode("utf-16"), "a.xyz", "it is UTF-16; `iconv -f utf-16 -t utf-8` converts it"),
        ("1".encode("utf-32"), "a.xyz", "it is UTF-32"),
        (b"PK nothing", "a.zip", "not a zip file"),
        (b"nothing", "a.tar.gz", "it is none, or damaged"),
        (b"", "a.tar", "it is none, or damaged"),
        (gzip.compress(TEXT, mtime=0)[:-4], "a.xyz.gz", "ended before the end-of-stream"),
    ],
)
def test_what_is_not_read_is_named(content, name, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_names_that_do_not_fit_are_told(tmp_path):
    path = zipped(tmp_path / "d.zip", *[(f"inner{index}\n.zip", b"") for index in range(5)])
    with pytest.raises(DataError, match=r"it holds inner0\\n\.zip, inner1\\n\.zip, inner2\\n\.zip and 2 more"):
        read(path)


def test_an_archive_that_unpacks_to_far_more_is_refused_unread(tmp_path):
    """A header states 10 GB that are not there: nothing is waited for, and no memory taken."""
    large = tarfile.TarInfo("readme.txt")
    large.size = 10 << 30
    (tmp_path / "d.tar.gz").write_bytes(gzip.compress(large.tobuf() + bytes(1 << 20)))
    with pytest.raises(DataError, match=r"at most 100 times its size when unpacked, .* states 10,737,"):
        read(tmp_path / "d.tar.gz")
    name = tarfile.TarInfo("name")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2 << 30
    (tmp_path / "d.tar").write_bytes(name.tobuf(format=tarfile.GNU_FORMAT) + bytes(1 << 20))
    with pytest.raises(DataError, match=r"d\.tar cannot be read: it is none, or damaged"):
        read(tmp_path / "d.tar")
