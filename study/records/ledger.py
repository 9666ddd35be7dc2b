"""A study's records read as a whole: what is planned, what is finished, and which files count.

Writers are `attempt.py` (workers) and `write_plan` here (the driver). Everything is derived from the create-only
records at each call, so reading is safe at any moment and a restart needs nothing else.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Any

import pyarrow as pa

from tesseral.study.configuration.trial import State, Trial, canonical
from tesseral.study.design.stages import PlannedTrial
from tesseral.study.errors import RecordError
from tesseral.study.records.schemas import TRIALS
from tesseral.study.records.segments import Begin, Source, encode, folder, segment_sources
from tesseral.study.records.store import Json, Store, read_document
from tesseral.study.study import Study


@dataclass(frozen=True)
class Entry:
    """What the records say of one trial."""

    id: str
    plan: Json
    """trial.json."""
    begins: tuple[Json, ...]
    """attempts/<n>.json, by number."""
    outcome: Json | None
    """outcome.json, None while the trial is not finished."""
    others: tuple[Json, ...] = ()
    """arms/<key>.json: further arms that chose the same network, and so have the trial too."""

    @property
    def plans(self) -> tuple[Json, ...]:
        """trial.json as each arm has it that the trial belongs to."""
        return self.plan, *(self.plan | other for other in self.others)

    @property
    def state(self) -> State:
        """Where the trial stands. `running` means begun and not finished, by a live worker or a lost one."""
        if self.outcome is not None:
            return State(self.outcome["state"])
        return State.RUNNING if self.begins else State.PLANNED

    @property
    def trial(self) -> Trial:
        """The trial itself."""
        return Trial.from_dict(self.plan["trial"])


def freeze(store: Store, study: Study) -> Study | None:
    """Freeze the study file at the first start; afterwards return what was frozen.

    :raises RecordError: if the storage ignores that the file is there: leases and outcomes would be overwritten.
    """
    if store.create("study.toml", study.text.encode()):
        if store.create("study.toml", study.text.encode()):
            raise RecordError(
                f"expected a storage that refuses to create a file twice, {store.url} overwrites it: records could be "
                "lost there; use one with conditional writes (If-None-Match), such as S3, GCS, Azure or MinIO"
            )
        return None
    return frozen(store)


def frozen(store: Store) -> Study | None:
    """The study as it was first started, or None if it never was."""
    data = store.read("study.toml")
    return None if data is None else Study.parse(data.decode(), store.location("study.toml"))


def write_plan(store: Store, planned: PlannedTrial, study: str, **facts: Any) -> None:
    """Write a trial's create-only record, before it is launched."""
    record = {
        "study": study,
        "id": planned.trial.id,
        "arm": planned.arm.label,
        "factors": planned.arm.factors,
        "stage": planned.stage,
        "block": planned.block,
        "replicate": planned.replicate,
        "trial": planned.trial.to_dict(),
        **facts,
    }
    store.create(f"trials/{planned.trial.id}/trial.json", canonical(record).encode())


def write_arm(store: Store, planned: PlannedTrial, **facts: Any) -> None:
    """Write, create-only, that a trial which another arm asked for first belongs to this one as well."""
    record = {"arm": planned.arm.label, "factors": planned.arm.factors, "match": planned.arm.match, **facts}
    store.create(f"trials/{planned.trial.id}/arms/{planned.arm.key}.json", canonical(record).encode())


class Ledger:
    """The records of one study."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._finished: dict[str, Entry] = {}  # a finished trial never changes
        self._parts: dict[str, Json] = {}

    def entries(self) -> list[Entry]:
        """Every trial that has a trial.json, in order of id."""
        paths = self.store.paths("trials")
        by_trial: dict[str, list[str]] = {}
        for path in paths:
            _, trial, *rest = path.split("/")
            by_trial.setdefault(trial, []).append("/".join(rest))
        return [entry for trial, names in by_trial.items() if (entry := self._entry(trial, names)) is not None]

    def read(self, trial: str) -> Entry | None:
        """One trial, as it is now; None if it has no record."""
        prefix = f"trials/{trial}/"
        return self._entry(trial, [path.removeprefix(prefix) for path in self.store.paths(f"trials/{trial}")])

    def _entry(self, trial: str, names: list[str]) -> Entry | None:
        shared = [f"trials/{trial}/{name}" for name in names if name.startswith("arms/")]
        known = self._finished.get(trial)
        if known is not None and len(known.others) == len(shared):
            return known
        plan_ = read_document(self.store, f"trials/{trial}/trial.json", "id", "arm", "factors", "stage", "trial")
        if plan_ is None:
            return None
        begun = [f"trials/{trial}/{name}" for name in names if name.startswith("attempts/")]
        keys = ("attempt", "lease", "start", "began")
        begins = [tree for path in begun if (tree := read_document(self.store, path, *keys)) is not None]
        begins.sort(key=lambda tree: int(tree["attempt"]))
        outcome = read_document(self.store, f"trials/{trial}/outcome.json", "state", "files", "ended")
        others = tuple(tree for path in shared if (tree := read_document(self.store, path, "arm", "factors", "match")))
        if outcome is None:
            return Entry(trial, plan_, tuple(begins), None, others)
        entry = Entry(trial, self._shared(plan_), tuple(map(self._shared, begins)), self._shared(outcome), others)
        self._finished[trial] = entry
        return entry

    def _shared(self, tree: Json) -> Json:
        """The same tree, parts that it has in common with earlier ones being the same objects.

        Trials differ in a few numbers; 10,000 of them read apart would take 100 MB.
        """
        shared = {}
        for key, value in tree.items():
            if isinstance(value, dict):
                value = self._shared(value)
                if not any(isinstance(leaf, dict) for leaf in value.values()):
                    value = self._parts.setdefault(canonical(value), value)
            shared[intern(key)] = intern(value) if isinstance(value, str) else value
        return shared

    def sources(self, table: str) -> list[Source]:
        """Files of `curves` or `traces` that count, as locations that Polars can scan."""
        listed: dict[str, list[str]] = {}
        for path in self.store.paths(table):
            listed.setdefault(path.split("/")[1].removeprefix("trial="), []).append(path)
        sources: list[Source] = []
        for entry in self.entries():
            if entry.outcome is not None:
                prefix = folder(table, entry.id) + "/"
                sources += [Source(path, entry.id, None) for path in entry.outcome["files"] if path.startswith(prefix)]
            else:
                begins = [Begin(tree["attempt"], tree["lease"], tree["start"]) for tree in entry.begins]
                sources += segment_sources(listed.get(entry.id, []), entry.id, begins)
        return [Source(self.store.location(source.path), source.trial, source.below) for source in sources]

    def table(self) -> pa.Table:
        """The `trials` table: TRIALS, then a typed column for each factor, setting and metric.

        One row a trial; where several arms chose the same network, one for each of them.
        Settings are the hyperparameters and everything else in the configuration, by dotted path.
        """
        rows = [_row(entry, plan_) for entry in self.entries() for plan_ in entry.plans]
        extra = sorted({key for row in rows for key in row} - set(TRIALS.names))
        fixed = pa.Table.from_pylist([{key: row.get(key) for key in TRIALS.names} for row in rows], schema=TRIALS)
        for key in extra:
            fixed = fixed.append_column(key, _column([row.get(key) for row in rows]))
        return fixed

    def snapshot(self) -> None:
        """Write `trials.parquet`, for whoever reads without this library. Derived, so it may be replaced."""
        self.store.replace("trials.parquet", encode(self.table()))


def _row(entry: Entry, plan_: Json) -> Json:
    outcome = entry.outcome or {}
    provenance = plan_.get("provenance", {})
    row = {key: plan_.get(key) for key in ("study", "arm", "stage", "block", "replicate", "target")}
    row |= {key: plan_.get(key) for key in ("parameters", "parameters_live", "components", "flops", "proposal")}
    row |= {key: plan_.get(key) for key in ("hidden_natural", "match", "residual", "max_steps")}
    row |= {key: outcome.get(key) for key in ("reason", "steps", "seconds", "device", "peak_memory", "reused")}
    row |= {
        "trial": entry.id,
        "state": entry.state,
        "unreachable": plan_.get("unreachable") or None,
        "dead": plan_.get("dead") or None,
        "dead_irreps": plan_.get("dead_irreps"),
        "attempts": len(entry.begins),
        "started": datetime.fromisoformat(entry.begins[0]["began"]) if entry.begins else None,
        "ended": datetime.fromisoformat(outcome["ended"]) if outcome else None,
        "data_hash": plan_["trial"]["data_hash"],
        "commit": provenance.get("commit"),
        "versions": json.dumps(provenance.get("versions"), sort_keys=True),
    }
    row |= {f"factor.{path}": level for path, level in plan_["factors"].items()}
    row |= {f"setting.{path}": value for path, value in entry.trial.settings().items()}
    row |= {f"metric.{name}": value for name, value in outcome.get("metrics", {}).items()}
    return row


def _column(values: list[Any]) -> pa.Array:
    """Typed where the values share a type; otherwise their JSON."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else json.dumps(value) for value in values])
