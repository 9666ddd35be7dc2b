"""What a disturbed command is held against: the numbers of the same command undisturbed, and how it may end."""

import json
import shutil
import tempfile
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tesseral.study.errors import TesseralError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.segments import TABLES, Source, read_segment
from tesseral.study.records.store import Store
from tests.support.forked_commands import Commands, Ended, forked

FAULTS = (
    "rows lost silently, counted twice, or changed",
    "exit 0 with a wrong number",
    "hangs",
    "tracebacks",
    "failures without a sentence",
    "not whole after the same command again",
)
"""What must be zero."""

RECIPE = """
[reference]
name = "{name}"
[[structures]]
kind = "water_clusters"
molecules = 1
count = {count}
seed = 1
[method]
method = "HF"
basis = "STO-3G"
grid_level = 1
"""

STUDY = """
[study]
name = "{name}"
metric = "l2_error"
allow_unreachable = true

[factors]
training.learning_rate = [0.01, 0.02]

[replication]
blocks = 1
replicates = 1

[data]
reference = "reference/water_tiny.parquet"
train = 4
validation = 1
test = 1

[network]
hidden = {{ lmax = 0, mul = [4] }}
layers = 1

[training]
epochs = 4
batch_size = 4

[resources]
checkpoint_every = 0.0
seal_every = 0.0
"""

SEARCH = """
[search]
trials = 2

[search.space]
network.radial_width = { low = 4, high = 16 }

[search.asha]
min_epochs = 1
reduction = 2
"""

T = TypeVar("T")
Rows = dict[str, list[tuple[Any, ...]]]
Numbers = dict[str, tuple[str, dict[str, float], Rows]]
"""Trial → its state, metrics, and rows of each table."""


class Found:
    """What was tried, and what did not hold."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.faults: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))
        self.sentences: list[str] = []
        """What was tried and how it went wrong."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def add(self, other: "Found") -> None:
        """Add what another process tried and found."""
        self.tried += other.tried
        self.faults.update(other.faults)
        self.sentences += other.sentences

    def count(self, what: str) -> None:
        """Count a fault that was tried."""
        with self._lock:
            self.tried[what] += 1

    def failed(self, kind: str, where: str, ended: Ended | None = None, why: str = "") -> None:
        """Count what did not hold."""
        with self._lock:
            self.faults[kind] += 1
            end = f" (exit {ended.code}): {ended.text[-1500:]}" if ended else ""
            self.sentences.append(f"{kind}: {where} {why}{end}")
            print(self.sentences[-1], flush=True)

    def judge(self, where: str, ended: Ended) -> bool:
        """Hold the end of a command against what every command must do, whatever fails; return whether it holds."""
        faults = [
            ("hangs", ended.hung),
            ("tracebacks", ended.traceback and not ended.hung),
            ("failures without a sentence", ended.code > 0 and not ended.sentences),
        ]
        met = [kind for kind, failed in faults if failed]
        for kind in met:
            self.failed(kind, where, ended)
        return not met


class Studies:
    """A folder with the reference data, a study of two trials (`plain`) and one with a search (`searching`)."""

    def __init__(self, commands: Commands) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self.runs = self.folder / "runs"
        (self.folder / "recipe.toml").write_text(RECIPE.format(name="water_tiny", count=6))
        for name, search in (("plain", ""), ("searching", SEARCH)):
            (self.folder / f"{name}.toml").write_text(STUDY.format(name=name) + search)
        self.made = commands.run("reference", "make", self.folder / "recipe.toml", *self.at(self.runs), seconds=300)
        assert self.made.code == 0, self.made

    @staticmethod
    def at(storage: Path | str) -> list[str]:
        """Options that name the storage and, of commands that take one, the executor."""
        return ["--storage", str(storage), "--executor", "inline"]

    @contextmanager
    def copy(self, source: Path | None = None) -> Iterator[Path]:
        """A copy of a folder for one try."""
        target = Path(tempfile.mkdtemp(prefix="faults-"))
        shutil.copytree(source or self.folder, target, dirs_exist_ok=True)
        try:
            yield target
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def run(self, commands: Commands, folder: Path, name: str, **options: Any) -> Ended:
        """Run a study whose file and records lie in `folder`."""
        return commands.run("run", folder / f"{name}.toml", *self.at(folder / "runs"), **options)


def numbers(storage: Path | str, name: str) -> Numbers:
    """The numbers of a study as its records hold them, read through the records' own functions.

    :raises TesseralError: if a record is damaged.
    """
    store, found = Store(storage).child(name), {}
    ledger = Ledger(store, strict=True)
    sources: dict[str, dict[str, list[Source]]] = {table: _by_trial(ledger.sources(table)) for table in TABLES}
    for entry in ledger.entries():
        rows: Rows = {}
        for table, schema in TABLES.items():
            rows[table] = []
            for source in sources[table].get(entry.id, []):
                read = read_segment(store, source.path.removeprefix(f"{store.url}/"), entry.id, schema)
                if read is None:
                    raise FileNotFoundError(source.path)
                rows[table] += [tuple(row.values()) for row in read.to_pylist()]
            rows[table].sort(key=str)
        found[entry.id] = entry.state.value, dict((entry.outcome or {}).get("metrics", {})), rows
    return found


def _by_trial(sources: Iterable[Source]) -> dict[str, list[Source]]:
    grouped: dict[str, list[Source]] = {}
    for source in sources:
        grouped.setdefault(source.trial, []).append(source)
    return grouped


def difference(storage: Path | str, name: str, undisturbed: Numbers) -> str:
    """How the numbers of a study differ from those of an undisturbed run; empty if they do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            now = numbers(storage, name)
        except (TesseralError, FileNotFoundError, RuntimeError) as error:
            return f"cannot be read: {error}"
    if now.keys() != undisturbed.keys():
        return f"{len(now)} trials instead of {len(undisturbed)}, {len(now.keys() - undisturbed.keys())} of them others"
    for trial, expected in undisturbed.items():
        if now[trial] != expected:
            rows = {table: (len(now[trial][2][table]), len(expected[2][table])) for table in TABLES}
            return f"trial {trial[:10]}: {now[trial][0]} {now[trial][1]}, rows {rows} instead of {expected[:2]}"
    return ""


def each(items: Sequence[T], act: Callable[[Commands, T], None], threads: int = 3) -> None:
    """Do `act` for every item, in a few threads with a process for commands each: one more than cores, since a
    command waits a quarter of its time. A process takes a while to start, so few items get fewer threads.
    """
    threads = min(threads, 1 + len(items) // 10)
    waiting: SimpleQueue[T] = SimpleQueue()
    for item in items:
        waiting.put(item)
    errors: list[str] = []

    def work() -> None:
        with forked() as commands:
            while not errors:
                try:
                    item = waiting.get_nowait()
                except Empty:
                    return
                try:
                    act(commands, item)
                except Exception:  # noqa: BLE001 - raised again below, in the thread that waits
                    errors.append(f"{item}\n{traceback.format_exc()}")

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise RuntimeError(errors[0])


def figures(found: Found, path: Path) -> bool:
    """Write what was tried and what did not hold, as JSON; return whether all holds."""
    rows = [
        {"what": what, "value": value, "unit": "", "threshold": 0, "holds": value == 0}
        for what, value in found.faults.items()
    ]
    rows += [
        {"what": f"tried: {what}", "value": value, "unit": "", "threshold": 1, "holds": value > 0}
        for what, value in found.tried.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")
    return all(row["holds"] for row in rows)
