"""What a job is made of: tesseral's code, a study file or a recipe, and what it names. Nothing else is shipped.

The files are copied to a folder that is named by their content, so that the records, which lie beside the study file
and change while it runs, are never among them. Ray ships both folders by content: code that was edited is new code, be
its version the same.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tesseral.cluster.nodes.code import code_hash
from tesseral.cluster.submission.own_modules import own_modules
from tesseral.study.errors import StoreError, StudyFileError
from tesseral.study.parsing.validation import load_toml, read_toml
from tesseral.study.recipe.recipe import read_recipe
from tesseral.study.study import Study

EXCLUDED = ("__pycache__", "*.pyc")
"""Patterns of files that are no part of the code, as in a .gitignore."""
INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages, which are expected to be installed elsewhere too."""


@dataclass(frozen=True)
class Shipment:
    """The files of a job, ready to be shipped."""

    name: str
    """Name of the study, or of the reference data."""
    folder: Path
    """Holds copies of the files; its name is their content."""
    file: str
    """Path of the study file or recipe in it."""
    is_recipe: bool = False

    @property
    def content(self) -> str:
        """What the job runs, code included, as one hash of 16 digits."""
        return hashlib.sha256(f"{self.folder.name} {code_hash()}".encode()).hexdigest()[:16]


def ship(file: str | Path, preset: str | None = None) -> Shipment:
    """Copy what a study or a recipe needs to a folder of its own.

    :param file: path of a study file or a recipe.
    :param preset: a preset of the study file.
    :raises StudyFileError: if the file is not valid, or one that it names is missing.
    :raises StoreError: if the copies cannot be written.
    """
    path = Path(file)
    if is_recipe(path):
        return Shipment(read_recipe(path).reference.name, *_staged(path, _of_recipe(path)), is_recipe=True)
    study = Study.load(path, preset)
    return Shipment(study.name, *_staged(path, _of_study(study, path)))


def is_recipe(file: Path) -> bool:
    """Whether a TOML file is a recipe, which has a table `[reference]`, and no study file, which has `[study]`.

    :param file: its path.
    :raises StudyFileError: if it cannot be read or is no TOML.
    """
    tree = load_toml(read_toml(file), str(file))
    return "reference" in tree and "study" not in tree


def _of_study(study: Study, file: Path) -> dict[str, Path]:
    """Path relative to the study file's folder → file, of what a study names."""
    configurations = [arm.configuration for arm in study.arms]
    recipes = dict.fromkeys(each.data.recipe for each in configurations if each.data.recipe is not None)
    defines = dict.fromkeys(each.network.define for each in configurations if each.network.define is not None)
    search = study.file.search
    named = dict.fromkeys(defines, "network.define")
    if search is not None and search.define is not None:
        named[search.define] = "search.define"
    found = {name: file.parent / name for name in recipes if not Path(name).is_absolute()}
    for path in found.values():
        if not path.is_file():
            raise StudyFileError("data.recipe", f"expected a recipe, found none at {path}", str(file))
    folders = [Path(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    own = [each for each in folders if each.name not in INSTALLED]
    for define, key in named.items():
        try:
            found |= own_modules(define, key, [file.parent, *own])
        except StudyFileError as error:
            raise StudyFileError(error.path, error.message, str(file)) from None
    return found


def _of_recipe(file: Path) -> dict[str, Path]:
    """Path relative to the recipe's folder → file, of the geometries that a recipe reads."""
    tables = load_toml(read_toml(file), str(file)).get("structures", [])
    names = [table.get("file") for table in tables if isinstance(table, dict)]
    found = {name: file.parent / name for name in names if name is not None and not Path(name).is_absolute()}
    for name, path in found.items():
        if not path.is_file():
            raise StudyFileError("structures.file", f"expected {name} beside the recipe, found none", str(file))
    return found


def _staged(file: Path, others: Mapping[str, Path]) -> tuple[Path, str]:
    """Copy files so that they lie to each other as they do.

    :param file: the study file or recipe.
    :param others: path relative to its folder → file.
    :returns: the folder of the copies, and the path of the study file or recipe in it.
    """
    depth = max(os.path.normpath(name).split(os.sep).count("..") for name in [file.name, *others])
    above = PurePosixPath(*file.absolute().parent.parts[-depth:]) if depth else PurePosixPath()
    placed = {os.path.normpath(above / name): path.read_bytes() for name, path in {**others, file.name: file}.items()}
    content = hashlib.sha256()
    for name, data in sorted(placed.items()):
        content.update(f"{name}\0{len(data)}\0".encode() + data)
    root = _cache()
    folder = root / content.hexdigest()[:16]
    if not folder.is_dir():
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".") as made:
                for name, data in placed.items():
                    target = Path(made, "files", name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
                try:
                    Path(made, "files").rename(folder)
                except OSError:
                    if not folder.is_dir():  # another command has made the same
                        raise
        except OSError as error:
            raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    for path in (folder, *folder.rglob("*")):
        os.utime(path)  # a file system that sweeps old files away leaves these alone
    return folder, (above / file.name).as_posix()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tesseral" / "jobs"
