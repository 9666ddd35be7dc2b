"""Every kind of record damaged: in eight ways through the commands, and by single bits through the readers."""

import json
import random
import re
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

from tesseral.models.data.reference_file import read_reference
from tesseral.study.errors import TesseralError
from tesseral.study.records.ledger import Ledger, frozen
from tesseral.study.records.rungs import read_rungs
from tesseral.study.records.segments import TABLES, altered, read_segment
from tesseral.study.records.store import Store
from tests.support.disturbed import FAULTS, Found, Numbers, Studies, difference, each, numbers
from tests.support.failing_files import Failure
from tests.support.forked_commands import Commands, forked

KINDS = {
    "trial": "trials/*/trial.json",
    "attempt": "trials/*/attempts/*.json",
    "checkpoint": "trials/*/checkpoint/[0-9]*",
    "outcome": "trials/*/outcome.json",
    "rung": "trials/*/rungs/*.json",
    "decision": "trials/*/decisions/*.json",
    "proposal": "search/*/[0-9].json",
    "best": "search/*/best.json",
    "lease": "lease/*/0",
    "study": "study.toml",
    "segment of curves": f"curves/trial=*/[0-9]-[0-9]-[0-9]-{16 * '?'}.parquet",
    "segment of traces": f"traces/trial=*/[0-9]-[0-9]-[0-9]-{16 * '?'}.parquet",
    "compacted curves": "curves/trial=*/*-all-*.parquet",
    "compacted traces": "traces/trial=*/*-all-*.parquet",
    "reference": "../reference/*.parquet",
}
"""Kind of record → where its files are in the records of a study."""


def _empty(path: Path, data: bytes, other: bytes) -> None:
    path.write_bytes(b"")


def _torn(path: Path, data: bytes, other: bytes) -> None:
    path.write_bytes(data[: len(data) // 2])


def _flipped(path: Path, data: bytes, other: bytes) -> None:
    path.write_bytes(flipped(data, len(data) * 4))


def _other_types(path: Path, data: bytes, other: bytes) -> None:
    """JSON of values that are all text; of other records, JSON."""
    try:
        tree = {key: str(value) for key, value in json.loads(data).items() if key != "sha256"}
    except (ValueError, AttributeError):
        tree = {"a": "record"}
    path.write_text(json.dumps(tree))


def _anothers(path: Path, data: bytes, other: bytes) -> None:
    path.write_bytes(other)


def _folder(path: Path, data: bytes, other: bytes) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_bytes(b"")


def _not_utf8(path: Path, data: bytes, other: bytes) -> None:
    path.write_bytes(b"\xff\xfe" + data)


def _removed(path: Path, data: bytes, other: bytes) -> None:
    path.unlink()


WAYS = (_empty, _torn, _flipped, _other_types, _anothers, _folder, _not_utf8, _removed)


def flipped(data: bytes, bit: int) -> bytes:
    """These bytes with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def try_records(found: Found, share: float = 1.0, seed: int = 0) -> None:
    """Damage every kind of record of a finished, a half-finished and a searching study; then follow the advice."""
    chosen = random.Random(seed)
    with forked() as commands:
        studies = Studies(commands)
        undisturbed = {name: _finished(studies, commands, name) for name in ("plain", "searching")}
        states = {
            "finished": ("searching", _started(studies, commands, "searching", None)),
            "half-finished": ("plain", _started(studies, commands, "plain", 7)),
            "searching": ("searching", _started(studies, commands, "searching", 7)),
        }
    cases = [
        (states[state], kind, way, undisturbed)
        for state in states
        for kind, pattern in KINDS.items()
        if sorted((states[state][1] / "runs" / states[state][0]).glob(pattern))
        for way in WAYS
        if chosen.random() < share
    ]
    each(cases, lambda commands, case: _try(found, studies, commands, *case))


def _finished(studies: Studies, commands: Commands, name: str) -> Numbers:
    with studies.copy() as folder:
        assert studies.run(commands, folder, name).code == 0
        return numbers(folder / "runs", name)


def _started(studies: Studies, commands: Commands, name: str, checkpoints: int | None) -> Path:
    """A copy of the studies in which one is finished, or was killed before it kept that many checkpoints."""
    folder = studies.folder.with_name(f"{studies.folder.name}-{name}-{checkpoints}")
    shutil.copytree(studies.folder, folder)
    if checkpoints is None:
        assert studies.run(commands, folder, name).code == 0
        return folder
    place = f"runs/{name}/trials/*/checkpoint/*-*-*"
    failure = Failure("link", place, checkpoints, "SIGKILL")
    ended = studies.run(commands, folder, name, watched=folder, failure=failure)
    assert ended.code == -signal.SIGKILL, ended
    return folder


def _try(
    found: Found,
    studies: Studies,
    commands: Commands,
    state: tuple[str, Path],
    kind: str,
    way: Callable[[Path, bytes, bytes], None],
    undisturbed: dict[str, Numbers],
) -> None:
    name, source = state
    where = f"{source.name.partition('-')[2]}: {kind} {way.__name__[1:]}"
    with studies.copy(source) as folder:
        records = folder / "runs" / name
        paths = [path.resolve() for path in sorted(records.glob(KINDS[kind]))]
        path, data = paths[0], paths[0].read_bytes()
        other = paths[-1].read_bytes() if len(paths) > 1 else next(records.glob("trials/*/trial.json")).read_bytes()
        way(path, data, other)
        found.count("records damaged")
        said = []
        for words in (["status", name], ["report", name]):
            ended = commands.run(*words, "--storage", folder / "runs")
            found.judge(f"{where}, {words[0]}", ended)
            said += ended.sentences
        for _ in range(3):  # one sentence may lead to another
            ended = studies.run(commands, folder, name)
            if not found.judge(f"{where}, run", ended):
                return
            why = difference(folder / "runs", name, undisturbed[name])
            if ended.code == 0 and not why:
                return
            if ended.code == 0 and not said:
                break
            for sentence in ended.sentences if ended.code else said:
                _follow(sentence, folder, path, data)
        kind = "not whole after the same command again" if ended.code or said else "exit 0 with a wrong number"
        found.failed(kind, where, ended, f"{why} {said}")


def _follow(sentence: str, folder: Path, path: Path, data: bytes) -> None:
    """Do what a sentence says: restore the record, or remove or move away the file that it names."""
    named = [Path(text.rstrip(";:,.")) for text in re.findall(rf"{re.escape(str(folder))}[^\s;,]*", sentence)]
    if "restore" in sentence:
        _remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return
    outcome = "remove outcome.json of that trial" in sentence
    for place in named:
        if "move it away" in sentence or ("remove" in sentence and not outcome):
            _remove(place)
        if outcome:
            _remove(place.parents[2] / "trials" / place.parent.name.removeprefix("trial=") / "outcome.json")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def try_bits(found: Found, share: float = 1.0, seed: int = 0) -> None:
    """Flip bits in every kind of record, 2,000 each: its reader must say so, or return what it did before."""
    chosen = random.Random(seed)
    with forked() as commands:
        studies = Studies(commands)
        folders = [
            (name, _started(studies, commands, name, checkpoints))
            for name, checkpoints in (("searching", None), ("plain", 7), ("searching", 7))
        ]
    for kind, pattern in KINDS.items():
        records = [path for name, folder in folders for path in (folder / "runs" / name).glob(pattern)]
        whole = {path: _read(kind, path) for path in records}
        for _ in range(round(2000 * share)):
            path = chosen.choice(records)
            data = path.read_bytes()
            bit = chosen.randrange(len(data) * 8)
            path.write_bytes(flipped(data, bit))
            try:
                after = _read(kind, path)
            except Exception as error:  # noqa: BLE001 - whatever a reader raises is what is looked for
                found.failed("tracebacks", f"{kind}: bit {bit} of {path}", why=repr(error))
            else:
                if after is not None and after != whole[path]:
                    found.failed(FAULTS[0], f"{kind}: bit {bit} of {path}")
            finally:
                path.write_bytes(data)
            found.count("bits flipped")


def _read(kind: str, path: Path) -> object:
    """What a reader returns of a record; None if it says that the record is damaged."""
    path = path.resolve()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return _READERS[kind](path)
        except (TesseralError, UserWarning):
            return None


def _parts(path: Path) -> tuple[Store, str]:
    """The store of a study, and the path of a record in it."""
    root = next(folder for folder in path.parents if (folder / "study.toml").exists())
    return Store(root), path.relative_to(root).as_posix()


def _of_ledger(path: Path) -> object:
    store, name = _parts(path)
    return repr(Ledger(store, strict=True).read(name.split("/")[1]))


def _of_segment(path: Path) -> object:
    store, name = _parts(path)
    table, trial = name.split("/")[:2]
    found = read_segment(store, name, trial.removeprefix("trial="), TABLES[table])
    return found and found.to_pylist()


def _of_checkpoint(path: Path) -> object:
    data = path.read_bytes()
    return None if altered(path.name, data) else data


def _of_search(path: Path) -> object:
    from tesseral.study.design.stages import Best, Proposal
    from tesseral.study.records.document import read_document

    store, name = _parts(path)
    return read_document(store, name, Best if path.stem == "best" else Proposal)


def _of_lease(path: Path) -> object:
    from tesseral.study.records.lease import driver

    return repr(driver(_parts(path)[0]))


def _of_decision(path: Path) -> object:
    from tesseral.study.records.rungs import read_pruning

    store, name = _parts(path)
    return read_pruning(store, name.split("/")[1], int(path.stem))


_READERS: dict[str, Callable[[Path], object]] = {
    "trial": _of_ledger,
    "attempt": _of_ledger,
    "outcome": _of_ledger,
    "checkpoint": _of_checkpoint,
    "rung": lambda path: read_rungs(_parts(path)[0], _parts(path)[1].split("/")[1]),
    "decision": _of_decision,
    "proposal": _of_search,
    "best": _of_search,
    "lease": _of_lease,
    "study": lambda path: getattr(frozen(_parts(path)[0]), "file", None),
    "segment of curves": _of_segment,
    "segment of traces": _of_segment,
    "compacted curves": _of_segment,
    "compacted traces": _of_segment,
    "reference": lambda path: read_reference(path).table.to_pydict(),
}
