"""The records of a study as a whole: planned and finished trials, and the files that count.

Workers write by `attempt.py`, the driver by `write_plan` here. Every call derives its answer from the create-only
records. So reading is safe at any moment, and a restart needs nothing else.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any

import pyarrow as pa

from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.trial import State, Trial, canonical
from tesseral.study.design.stages import PlannedTrial
from tesseral.study.errors import RecordError, StudyFileError
from tesseral.study.records.document import (
    ArmRecord,
    AttemptRecord,
    Json,
    OutcomeRecord,
    TrialRecord,
    damaged,
    read_document,
    seal,
)
from tesseral.study.records.growth import dropped_arms, read_growth
from tesseral.study.records.schemas import TRIALS
from tesseral.study.records.segments import Source, begin_of, encode, failed_attempts, folder, missing, tile
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tesseral.study.wording import dead_text


@dataclass(frozen=True)
class Entry:
    """The records of one trial."""

    id: str
    plan: Json
    """Content of `trial.json`."""
    begins: tuple[Json, ...]
    """Contents of `attempts/<n>.json`, in order of n."""
    outcome: Json | None
    """Content of `outcome.json`; None until the trial is finished."""
    others: tuple[Json, ...] = ()
    """Contents of `arms/<key>.json`: further arms that chose the same network and share the trial."""
    failed: int = 0
    """Number of the last attempt after which the trial failed and was retried; 0 if it never was."""

    @property
    def plans(self) -> tuple[Json, ...]:
        """`trial.json` as it would be for each arm that shares the trial."""
        return self.plan, *(self.plan | other for other in self.others)

    @property
    def state(self) -> State:
        """State of the trial. `running` means begun and not finished, by a live worker or by one that was lost."""
        if self.outcome is not None:
            return State(self.outcome["state"])
        return State.RUNNING if self.begins and self.begins[-1]["attempt"] > self.failed else State.PLANNED

    @property
    def trial(self) -> Trial:
        """The trial."""
        return Trial.from_dict(self.plan["trial"])


_REPEATS = re.compile(rb"\n# search\.repeats = ([0-9]+)(, with a hold-out)?\n\Z")
_FROZEN = re.compile(rb"\n# sha256 ([0-9a-f]{64})\n")
_FROZEN_LENGTH = len(b"\n# sha256 \n") + 64
_OWN = ("files", "metrics")
"""Parts of a record that no other trial has."""


def freeze(store: Store, study: Study) -> Study | None:
    """Freeze the study file at the first start, with its checksum as a comment in the last line.

    The number of independent searches in each arm stands in a comment above it, if there is a search, since its default
    may be another one later; and that structures are kept from them, which earlier versions did not do.

    :param store: the study's records.
    :param study: the study that is started.
    :returns: None at the first start; later, the study as it was frozen.
    :raises RecordError: if the storage overwrites existing files: leases and outcomes would be lost there.
    """
    if store.read("study.toml") is None:
        store.check_conditional()
        text = study.text.encode()
        if study.file.search is not None:
            text += b"\n# search.repeats = %d%s\n" % (study.repeats, b", with a hold-out" if study.holds_out else b"")
        if store.create("study.toml", text + b"\n# sha256 %s\n" % hashlib.sha256(text).hexdigest().encode()):
            return None
    return frozen(store)


def frozen(store: Store) -> Study | None:
    """Return the study as it was started or has grown since, without arms that were dropped; None if it never was.

    A file that says no number of searches is of a time when each arm had one; one that says nothing of a hold-out, of a
    time when searches could see what arms are tested on.

    :raises RecordError: if its file is damaged.
    """
    data = store.read("study.toml")
    if data is None:
        return None
    if sealed := _FROZEN.fullmatch(data[-_FROZEN_LENGTH:]):
        data = data[:-_FROZEN_LENGTH]
        if hashlib.sha256(data).hexdigest().encode() != sealed[1]:
            raise damaged(store, "study.toml", "its checksum does not match its content")
    try:
        study = Study.parse(data.decode(), store.location("study.toml"))
        recorded = _REPEATS.search(data)
        held = study.file.search is None or (recorded is not None and recorded[2] is not None)
        if growth := read_growth(store):
            study = Study.parse(growth[-1]["study"], store.location(f"grown/{len(growth)}.json"))
        study = study.without(dropped_arms(store))
        return replace(study.with_repeats(int(recorded[1]) if recorded else 1), holds_out=held)
    except UnicodeDecodeError:
        raise damaged(store, "study.toml", "it is not UTF-8") from None
    except StudyFileError as error:
        if sealed:
            raise  # whole: another version of tesseral wrote it
        raise damaged(store, "study.toml", f"it is torn, or no study file ({error.message})") from None


def write_plan(store: Store, planned: PlannedTrial, study: str, **facts: Any) -> Entry | None:
    """Write `trial.json`, before the trial is launched.

    :param store: the study's records.
    :param planned: the trial, with its arm and its place in the design.
    :param study: name of the study.
    :param facts: further keys of the record.
    :returns: the trial as it is recorded now; None if another record was there first.
    """
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
    written = store.create(f"trials/{planned.trial.id}/trial.json", seal(record))
    return Entry(planned.trial.id, json.loads(canonical(record)), (), None) if written else None


def write_arm(store: Store, planned: PlannedTrial, **facts: Any) -> None:
    """Record that a trial of another arm belongs to this arm too.

    :param store: the study's records.
    :param planned: the trial as a trial of that arm.
    :param facts: further keys of the record.
    """
    record = {"arm": planned.arm.label, "factors": planned.arm.factors, "match": planned.arm.match, **facts}
    store.create(f"trials/{planned.trial.id}/arms/{planned.arm.key}.json", seal(record))


class Ledger:
    """The records of one study.

    :param store: the study's records.
    :param strict: whether a damaged record is an error. If not, a warning names it, and its trial is left out.
    """

    def __init__(self, store: Store, *, strict: bool = False) -> None:
        self.store = store
        self.strict = strict
        self._finished: dict[str, Entry] = {}  # kept: a finished trial never changes while a driver holds the study
        self._parts: dict[str, Json] = {}

    def entries(self) -> list[Entry]:
        """Return every trial that has a `trial.json`, in order of id.

        :raises RecordError: if a record is damaged, and the ledger is strict.
        """
        paths = self.store.paths("trials")
        by_trial: dict[str, list[str]] = {}
        for path in paths:
            _, trial, *rest = path.split("/")
            by_trial.setdefault(trial, []).append("/".join(rest))
        due = {trial: names for trial, names in by_trial.items() if trial not in self._finished}
        read = dict(zip(due, self.store.each(lambda item: self._entry(*item), due.items()), strict=True))
        found = (read[trial] if trial in read else self._entry(trial, names) for trial, names in by_trial.items())
        return [entry for entry in found if entry is not None]

    def read(self, trial: str) -> Entry | None:
        """Return the current records of one trial; None if it has none.

        :raises RecordError: as `entries`.
        """
        prefix = f"trials/{trial}/"
        return self._entry(trial, [path.removeprefix(prefix) for path in self.store.paths(f"trials/{trial}")])

    def _entry(self, trial: str, names: list[str]) -> Entry | None:
        shared = [f"trials/{trial}/{name}" for name in names if name.startswith("arms/")]
        known = self._finished.get(trial)
        if known is not None and len(known.others) == len(shared):
            return known
        begun = [f"trials/{trial}/{name}" for name in names if name.startswith("attempts/")]
        try:
            entry = self._checked(trial, shared, begun)
        except RecordError as error:
            if self.strict:
                raise
            warnings.warn(f"trial {trial[:10]} is left out: {error}", stacklevel=3)
            return None
        if entry is None and (begun or "outcome.json" in names) and not self.strict:  # a driver writes it again
            place = self.store.location(f"trials/{trial}/trial.json")
            warnings.warn(f"trial {trial[:10]} is left out: {place} is missing; run the study again", stacklevel=3)
        return entry

    def _checked(self, trial: str, shared: list[str], begun: list[str]) -> Entry | None:
        path = f"trials/{trial}/trial.json"
        plan_ = read_document(self.store, path, TrialRecord)
        if plan_ is None:
            return None
        if plan_["id"] != trial:
            raise damaged(self.store, path, f"it is that of trial {plan_['id'][:10]}")
        if not plan_.sealed and _trial_id(plan_["trial"]) != trial:
            raise damaged(self.store, path, "its configuration does not have its id")
        failed = failed_attempts(begun)
        begun = [path for path in begun if path not in failed.values()]
        begins = [tree for path in begun if (tree := self._begin(path, trial)) is not None]
        begins.sort(key=lambda tree: int(tree["attempt"]))
        path = f"trials/{trial}/outcome.json"
        outcome = read_document(self.store, path, OutcomeRecord)
        others = tuple(tree for path in shared if (tree := read_document(self.store, path, ArmRecord)))
        if outcome is None:
            return Entry(trial, plan_, tuple(begins), None, others, max(failed, default=0))
        if outcome.get("trial", trial) != trial:
            raise damaged(self.store, path, f"it is that of trial {outcome['trial'][:10]}")
        entry = Entry(trial, self._shared(plan_), tuple(map(self._shared, begins)), self._shared(outcome), others)
        self._finished[trial] = entry
        return entry

    def _begin(self, path: str, trial: str) -> Json | None:
        """The record of an attempt. Damage need not stop a study: without it the trial trains from the start again."""
        try:
            return read_document(self.store, path, AttemptRecord, trial=trial)
        except RecordError as error:
            warnings.warn(f"an attempt is left out: {error}", stacklevel=5)
            return None

    def _shared(self, tree: Json) -> Json:
        """Return an equal tree whose parts are shared with earlier trees.

        Trials differ in a few numbers. Without sharing, 10,000 of them take 100 MB.
        """
        shared = {}
        for key, value in tree.items():
            if isinstance(value, dict):
                value = self._part(key, value)
            shared[intern(key)] = intern(value) if isinstance(value, str) else value
        return shared

    def _part(self, key: str, tree: Json) -> Json:
        """As `_shared`, for a part of a tree. A configuration is that of its arm's other trials, as a whole."""
        nested = any(isinstance(leaf, dict) for leaf in tree.values())
        if key in _OWN or (nested and key != "configuration"):
            return self._shared(tree)
        text = repr(tree)
        if text not in self._parts:
            self._parts[text] = self._shared(tree)
        return self._parts[text]

    def sources(self, table: str) -> list[Source]:
        """Return the files of `curves` or `traces` that count, as paths or URLs that Polars can scan.

        :param table: `curves` or `traces`.
        """
        listed: dict[str, list[str]] = {}
        for path in self.store.paths(table):
            listed.setdefault(path.split("/")[1].removeprefix("trial="), []).append(path)
        sources: list[Source] = []
        for entry in self.entries():
            if entry.outcome is not None:
                prefix = folder(table, entry.id) + "/"
                sources += [Source(path, entry.id, None) for path in entry.outcome["files"] if path.startswith(prefix)]
            else:
                begins = [begin_of(tree, entry.failed) for tree in entry.begins]
                paths = listed.get(entry.id, [])
                counted, lacked = tile(paths, entry.id, begins)
                sources += counted
                if missing(paths, begins, lacked):
                    place = self.store.location(folder(table, entry.id))
                    warnings.warn(f"{place} lacks a segment from step {lacked}: later rows are left out", stacklevel=2)
        return [Source(self.store.location(source.path), source.trial, source.below) for source in sources]

    def table(self, entries: Iterable[Entry] | None = None) -> pa.Table:
        """Return the `trials` table: the columns of `TRIALS`, then `factor.<path>`, `setting.<path>`, `metric.<name>`.

        It has one row per trial and arm: several if arms share a trial. Settings are everything in the configuration,
        hyperparameters included.

        :param entries: from `entries`, if they are known already.
        """
        rows = [_row(entry, plan_) for entry in entries or self.entries() for plan_ in entry.plans]
        extra = sorted({key for row in rows for key in row} - set(TRIALS.names))
        fixed = pa.Table.from_pylist([{key: row.get(key) for key in TRIALS.names} for row in rows], schema=TRIALS)
        for key in extra:
            fixed = fixed.append_column(key, _column([row.get(key) for row in rows]))
        return fixed

    def snapshot(self, entries: Iterable[Entry] | None = None) -> None:
        """Write `trials.parquet`, for readers without this library. It is derived, and so may be replaced.

        :param entries: from `entries`, if they are known already.
        """
        self.store.replace("trials.parquet", encode(self.table(entries)))


def _trial_id(tree: Json) -> str | None:
    """The id of a trial that a record without a checksum holds; None if it is no trial."""
    try:
        return Trial.from_dict(tree).id
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def _row(entry: Entry, plan_: Json) -> Json:
    outcome = entry.outcome or {}
    provenance = plan_.get("provenance", {})
    row = {key: plan_.get(key) for key in ("study", "arm", "stage", "block", "replicate", "target")}
    row |= {key: plan_.get(key) for key in ("parameters", "parameters_live", "components", "flops", "proposal")}
    row |= {key: plan_.get(key) for key in ("hidden_natural", "match", "residual", "max_steps")}
    row |= {key: outcome.get(key) for key in ("reason", "cause", "steps", "seconds", "device", "peak_memory", "reused")}
    row |= {
        "trial": entry.id,
        "state": entry.state,
        "unreachable": plan_.get("unreachable") or None,
        "dead": dead_text(plan_.get("dead") or "") or None,
        "dead_irreps": plan_.get("dead_irreps"),
        "attempts": len(entry.begins),
        "started": datetime.fromisoformat(entry.begins[0]["began"]) if entry.begins else None,
        "ended": datetime.fromisoformat(outcome["ended"]) if outcome else None,
        "data_hash": plan_["trial"]["data_hash"],
        "held": plan_["trial"]["seeds"].get("holdout", {}).get("size"),
        "commit": provenance.get("commit"),
        "versions": json.dumps(provenance.get("versions"), sort_keys=True),
    }
    row |= {f"factor.{path}": level for path, level in plan_["factors"].items()}
    row |= _settings(canonical(plan_["trial"]["configuration"]))
    row |= {f"metric.{name}": value for name, value in outcome.get("metrics", {}).items()}
    return row


@lru_cache(maxsize=1024)
def _settings(configuration: str) -> Json:
    """The columns `setting.<path>` of a configuration, which the trials of an arm share."""
    settings = Configuration.from_dict(json.loads(configuration)).settings()
    return {f"setting.{path}": value for path, value in settings.items()}


def _column(values: list[Any]) -> pa.Array:
    """Return a typed column if the values share a type, else a column of JSON."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else json.dumps(value) for value in values])
