"""A large data set as files that the processes of a machine map: its pages are in memory once for all of them.

The tensors of all structures lie end to end, one file a field, each structure's at a multiple of 64 bytes as PyTorch's
own memory does: so a structure that is cut out equals one that was computed, in every bit of every result.
"""

import fcntl
import json
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.data.batch import Batch, DensityBatch, PropertyBatch
from tesseral.models.data.ranges import ranges
from tesseral.models.networks.graph import Graph
from tesseral.study.errors import DataError

LAYOUT = 3
"""Version of the files, for the name of a data set."""
KEPT = 4
"""Data sets that a machine keeps: the last opened."""
_ALIGNED = 64
_KINDS: dict[str, type[Batch]] = {kind.__name__: kind for kind in (DensityBatch, PropertyBatch)}
_INDEX, _PLACES = "index.json", "places.npy"
_GRAPH = "graph."
_OF_GRAPH = [_GRAPH + name for name in Graph._fields]
_OWN = {kind: [field.name for field in fields(kind) if field.name != "graph"] for kind in _KINDS.values()}
_GATHERED = 2000
"""Structures whose numbers are gathered at a time."""
_WITHOUT_EDGES = ("species", "positions", "charge")


class Packed(Sequence[Batch]):
    """Structures in mapped files, each cut out as a batch of one when it is asked for.

    :param folder: that `write_packed` has filled.
    :param device: where the tensors lie; on the CPU nothing is copied.
    :raises OSError: if a file is missing or torn.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        index = json.loads((folder / _INDEX).read_text())
        self._kind = _KINDS[index["kind"]]
        # (fields, structures, 4): where the structure begins, in numbers, then its shape, filled with zeros.
        self._places = np.load(folder / _PLACES, mmap_mode="r").view(np.ndarray)
        self._fields: dict[str, tuple[int, int, Tensor]] = {}
        for number, (name, field) in enumerate(index["fields"].items()):
            dtype, size = getattr(torch, field["dtype"]), field["numbers"]
            path = folder / name
            if path.stat().st_size != size * dtype.itemsize:
                raise OSError(f"{path} is torn")
            flat = torch.from_file(str(path), size=size, dtype=dtype) if size else torch.empty(0, dtype=dtype)
            self._fields[name] = (number, field["dimensions"], flat.to(device))

    def __len__(self) -> int:
        return self._places.shape[1]

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        places = self._places[:, index].tolist()
        parts = {}
        for name, (number, dimensions, flat) in self._fields.items():
            begin, *shape = places[number][: 1 + dimensions]
            strides = [1]
            for width in shape[:0:-1]:
                strides.insert(0, strides[0] * width)
            parts[name] = flat.as_strided(shape, strides, begin)
        return _batch(self._kind, parts)

    def rows(self, name: str, indices: Sequence[int]) -> int:
        """Rows of a field in some structures together.

        :param name: such as `graph.source`.
        :param indices: of structures.
        """
        return int(self._places[self._fields[name][0], np.asarray(indices), 1].sum())

    def _gathered(self, name: str, indices: NDArray[np.int64]) -> Tensor:
        """A field of some structures, concatenated; one that has rows.

        :param indices: of structures; at least one.
        """
        number, dimensions, flat = self._fields[name]
        places = self._places[number, indices]
        widths = places[0, 2 : 1 + dimensions].tolist()
        width = prod(widths)
        rows = flat.unfold(0, width, 1)  # overlapping: a row begins at each number
        gathered, done = flat.new_empty(int(places[:, 1].sum()), width), 0
        for first in range(0, len(places), _GATHERED):  # a few at a time, whose numbers a cache holds
            begins, sizes = places[first : first + _GATHERED, :2].T
            chosen = torch.from_numpy(ranges(begins, sizes, width)).to(flat.device)
            torch.index_select(rows, 0, chosen, out=gathered[done : done + len(chosen)])
            done += len(chosen)
        return gathered.reshape(-1, *widths)

    def without_edges(self, indices: Sequence[int]) -> list[Batch]:
        """Some structures as one batch for baselines and spreads, without edges and `elements`: it takes little memory.

        :param indices: of structures; at least one.
        :returns: one batch; of densities one for each structure, whose matrices are not copied.
        """
        if self._kind is DensityBatch:
            return [self[index] for index in indices]
        chosen = np.asarray(indices, dtype=np.int64)
        names = [name for name in self._fields if name.removeprefix(_GRAPH) in _WITHOUT_EDGES or _GRAPH not in name]
        parts = {name: self._gathered(name, chosen) for name in names}
        species, first = parts[_GRAPH + "species"], self[int(indices[0])]
        atoms = self._places[self._fields[_GRAPH + "species"][0], chosen, 1]
        structure = torch.from_numpy(np.repeat(np.arange(len(chosen)), atoms))
        parts[_GRAPH + "structure"] = structure.to(species.device)
        for name in Graph._fields:
            parts.setdefault(_GRAPH + name, getattr(first.graph, name)[:0])
        return [_batch(self._kind, parts)]


def open_packed(
    folder: Path, name: str, batches: Callable[[], Iterable[Batch]], device: torch.device, kept: int = KEPT
) -> Packed:
    """Open a data set that a process of this machine has made; the first one makes it, and the others wait for it.

    A process that is killed while it makes one leaves hidden files, which the next one removes. The folder keeps the
    last few data sets; one that is removed stays with the processes that have it open.

    :param folder: of this machine and user.
    :param name: of the data set, by its content and all that was made of it.
    :param batches: makes the structures.
    :param device: where the tensors lie.
    :param kept: number of data sets that the folder keeps.
    :raises OSError: if the folder cannot be written.
    :raises DataError: as `batches` does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            opened = Packed(place, device)
            os.utime(place)
        except (OSError, ValueError, KeyError):  # not made yet, or damaged
            shutil.rmtree(place, ignore_errors=True)
            new = folder / f".{name}"
            shutil.rmtree(new, ignore_errors=True)
            try:
                write_packed(batches(), new)
                new.rename(place)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            opened = Packed(place, device)
    _keep(folder, kept)
    return opened


def _keep(folder: Path, most: int) -> None:
    """Remove all but the last opened data sets, and what killed processes left; nothing that another opens or makes."""
    opened: dict[Path, float] = {}
    for index in folder.glob(f"[!.]*/{_INDEX}"):
        with suppress(FileNotFoundError):  # another process removes it
            opened[index.parent] = index.parent.stat().st_mtime
    unfinished = [place for place in folder.glob(".*") if place.is_dir()]
    for place in [*sorted(opened, key=opened.__getitem__, reverse=True)[most:], *unfinished]:
        with (folder / f"{place.name.removeprefix('.')}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(place, ignore_errors=True)


def write_packed(batches: Iterable[Batch], folder: Path) -> None:
    """Write structures for `Packed`, holding one at a time.

    :param batches: each of one structure, on the CPU; of one type and precision.
    :param folder: which does not exist yet.
    :raises DataError: if some structures have a value that others lack, such as an energy.
    :raises OSError: if it cannot be written.
    """
    folder.mkdir(parents=True)
    known: dict[str, dict[str, Any]] = {}
    places, kind, structures = array("q"), "", 0
    widest = 4  # where it begins, and at most three dimensions
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for batch in batches:
            parts = _parts(batch)
            if not files:
                kind = type(batch).__name__
                for name, part in parts.items():
                    files[name] = stack.enter_context((folder / name).open("wb"))
                    known[name] = {
                        "dtype": str(part.dtype).removeprefix("torch."),
                        "dimensions": part.dim(),
                        "numbers": 0,
                    }
            if parts.keys() != files.keys():
                raise DataError("expected an energy beside the forces of every structure or of none, some have one")
            for name, part in parts.items():
                places.extend([known[name]["numbers"], *part.shape, *[0] * (widest - 1 - part.dim())])
                data = part.contiguous().numpy().tobytes()
                files[name].write(data + bytes(-len(data) % _ALIGNED))
                known[name]["numbers"] += -(-len(data) // _ALIGNED) * _ALIGNED // part.element_size()
            structures += 1
    by_structure = np.frombuffer(places, dtype=np.int64).reshape(structures, len(known), widest)
    np.save(folder / _PLACES, np.ascontiguousarray(by_structure.swapaxes(0, 1)))
    (folder / _INDEX).write_text(json.dumps({"kind": kind, "fields": known}))


def _parts(batch: Batch) -> dict[str, Tensor]:
    graph = {_GRAPH + name: part for name, part in batch.graph._asdict().items()}
    own = {name: getattr(batch, name) for name in _OWN[type(batch)]}
    single = {name: part[0] if isinstance(part, tuple) else part for name, part in own.items()}  # of one structure
    return graph | {name: part for name, part in single.items() if part is not None}


def _batch(kind: type[Batch], parts: dict[str, Tensor]) -> Batch:
    graph = Graph(*map(parts.__getitem__, _OF_GRAPH))
    own: dict[str, Any] = {name: parts.get(name) for name in _OWN[kind]}
    if kind is DensityBatch:
        own |= {name: (own[name],) for name in ("overlap", "coulomb") if own[name] is not None}
    return kind(graph=graph, **own)
