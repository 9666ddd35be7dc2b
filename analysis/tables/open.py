"""Opens the records of a study by name: the start of every analysis script.

import polars as pl
import tesseral

tables = tesseral.open_study("runs", "quickstart")
tables.curves.filter(pl.col("split") == "validation").collect()
"""

import json
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.analysis.tables.load import StudyTables, load, trials_frame
from tesseral.analysis.tables.search import read_search
from tesseral.analysis.tables.study_info import ReferenceInfo, StudyInfo
from tesseral.analysis.terms.shown_units import ShownUnits
from tesseral.analysis.terms.targets import label_target
from tesseral.study.configuration.configuration import Data
from tesseral.study.configuration.metrics import measured
from tesseral.study.configuration.quantities import Label, quantity_of
from tesseral.study.design.arm import Arm
from tesseral.study.design.baselines import baselines
from tesseral.study.design.labels import text_of
from tesseral.study.design.stages import objectives
from tesseral.study.errors import RecordError, StoreError, TesseralError
from tesseral.study.records.growth import read_dropped, read_growth
from tesseral.study.records.ledger import Ledger, frozen
from tesseral.study.records.parquet import open_parquet
from tesseral.study.records.rate_scan import RateScan, read_scan
from tesseral.study.records.schemas import FIT_ERRORS
from tesseral.study.records.started import not_started
from tesseral.study.records.store import Store
from tesseral.study.study import Study

T = TypeVar("T")

_READINGS = 5
"""Number of attempts to read a study whose files vanish: the end of one trial makes at most one attempt fail."""


def open_study(storage: str | Path, name: str, baseline: str | None = None) -> StudyTables:
    """Open a study: its trials in memory, its curves and traces as lazy frames.

    While the study runs, a file can be compacted before its rows are collected; `read_study` reads anew in that case.

    :param storage: folder or URL that holds the study.
    :param name: name of the study.
    :param baseline: label of the arm that others are compared with, instead of the study's own baseline.
    :raises StudyFileError: if no study of that name was started there.
    :raises TesseralError: if there is no such arm, or if the study's own baseline decided the number of blocks.
    """
    return read_study(storage, name, lambda tables: tables, baseline)


def read_study(storage: str | Path, name: str, use: Callable[[StudyTables], T], baseline: str | None = None) -> T:
    """Open a study and pass its tables to a function, safely while the study runs.

    Example: `tesseral.read_study("runs", "quickstart", lambda tables: tables.curves.collect())`

    A trial that ends compacts its files. If these were listed but not read yet, the study is opened again and `use` is
    called again; it should only collect rows and compute.

    :param storage: folder or URL that holds the study.
    :param name: name of the study.
    :param use: function of the tables, such as `tesseral.analysis.analyse`.
    :param baseline: label of the arm that others are compared with, instead of the study's own baseline.
    :returns: the result of `use`.
    :raises FileNotFoundError: if files vanish in each of five attempts; see `open_study` for other
        errors.
    """
    for _ in range(_READINGS - 1):
        with suppress(FileNotFoundError):
            return use(_open(storage, name, baseline))
    return use(_open(storage, name, baseline))


def open_trials(storage: str | Path, name: str, ledger: Ledger | None = None) -> StudyTables:
    """Open a study's trials without its curves and traces: quick, and enough for its progress.

    :param storage: folder or URL that holds the study.
    :param name: name of the study.
    :param ledger: of the study, which reads what has ended once, however often this is called.
    :raises StudyFileError: if no study of that name was started there.
    """
    return _open(storage, name, None, files=False, ledger=ledger)


def _open(
    storage: str | Path, name: str, baseline: str | None, files: bool = True, ledger: Ledger | None = None
) -> StudyTables:
    store = Store(storage).child(name)
    study = frozen(store)
    if study is None:
        raise not_started(storage, name)
    ledger = ledger or Ledger(store)
    dropped = read_dropped(store)
    trials = trials_frame(ledger.table()).filter(~pl.col("arm").is_in([each["arm"] for each in dropped]))
    hashes = trials["data_hash"].drop_nulls().unique().to_list()
    held = dict(trials.filter(pl.col("held").is_not_null()).select("arm", "held").iter_rows())
    info = study_info(study, storage, trials["arm"].unique(), baseline, hashes, held)
    info = replace(info, scan=_scan(store, study), grown=tuple(read_growth(store)), dropped=tuple(dropped))
    search = read_search(store, info.arms, trials, info.searches) if info.search else None
    curves, traces = (ledger.sources(kind) if files else () for kind in ("curves", "traces"))
    return load(trials, curves, traces, info, search)


def study_info(
    study: Study,
    storage: str | Path,
    recorded: Iterable[str] = (),
    baseline: str | None = None,
    hashes: Collection[str] = (),
    held: Mapping[str, int] | None = None,
) -> StudyInfo:
    """What a study asked, as a report needs it.

    :param study: the study.
    :param storage: folder or URL that holds the reference data.
    :param recorded: labels of arms in the trials table. Arms that matching made one network have a joined label there,
        and are one arm here too.
    :param baseline: as in `open_study`.
    :param hashes: content hashes of the data that trials were trained on; of none, the data are not held against them.
    :param held: arm → structures that no search sees, for arms that are tested on some of them.
    """
    file, replication = study.file, study.file.replication
    known = _recorded(study.arms, recorded)
    paths = dict.fromkeys(path for arm in study.arms for path in arm.factors)
    levels = {path: tuple(dict.fromkeys(str(arm.factors.get(path)) for arm in study.arms)) for path in paths}
    written = dict.fromkeys(arm.configuration.data.reference for arm in study.arms)
    data = {path: _data_file(path, storage, hashes) for path in written}
    targets = {
        known[arm.label]: label_target(arm.configuration.target, data[arm.configuration.data.reference].labels)
        for arm in study.arms
    }
    # The fit is that of the first arm that predicts a density.
    densities = [arm for arm in study.arms if quantity_of(arm.configuration.target.quantity).in_basis]
    shown = data[(densities or study.arms)[0].configuration.data.reference]
    order = list(dict.fromkeys(targets.values()))
    base = study.baseline if baseline is None else _chosen(study, known, baseline)
    compared = baselines(study.arms, base, study.within)
    info = StudyInfo(
        name=study.name,
        description=file.study.description,
        arms=tuple(sorted(targets, key=lambda arm: order.index(targets[arm]))),
        within=study.within,
        baseline=known[base.label],
        own_baseline=known[study.baseline.label],
        targets=targets,
        baselines={known[arm]: other and known[other] for arm, other in compared.items()},
        levels={
            known[arm.label]: {path: text_of(level) for path, level in arm.factors.items()}
            for arm in reversed(study.arms)
        },
        metric=measured(file.study.metric or ""),
        tests=tuple(dict.fromkeys(name for arm in study.arms for name in arm.configuration.data.tests)),
        published=any(arm.configuration.data.split is not None for arm in study.arms),
        factors=levels,
        blocks=replication.blocks,
        replicates=replication.replicates,
        folds=replication.split == "folds",
        sequential=replication.allocate == "sequential",
        precision=replication.precision,
        max_blocks=replication.max_blocks,
        design="arms written out" if file.arms else file.design.kind,
        design_notes=study.design_notes,
        excluded=study.excluded,
        match=file.match,
        overlaps={
            known[arm.label]: overlap(arm.configuration.data, (held or {}).get(known[arm.label])) for arm in study.arms
        },
        held=tuple(sorted({*(held or {}).values()})),
        holds_out=study.holds_out,
        grouped_by=tuple(sorted({groups for arm in study.arms if (groups := arm.configuration.data.groups)})),
        densities=file.traces.densities,
        aggregate=file.study.aggregate,
        margin=file.study.margin,
        search=file.search,
        searches=study.repeats,
        objectives=objectives(file, study.arms),
        seed=file.study.seed,
        reference=shown.info,
        units=ShownUnits.chosen(
            file.units, {name: unit for each in data.values() for name, unit in each.units.items()}
        ),
        doubts=tuple(file.doubt for file in data.values() if file.doubt),
        study_file=study.text,
    )
    return replace(info, arms=tuple(arm for arms in info.groups.values() for arm in arms))


def overlap(data: Data, held: int | None) -> float:
    """What `Sampling.overlaps` holds of an arm: n_test/n_train, or more if tests are drawn from a hold-out.

    :param data: sizes of the splits.
    :param held: structures of the hold-out; None without one. Infinite if all of them are tested.
    """
    shared = data.test / data.train
    if held is None or data.split is not None:
        return shared
    return max(shared, data.test / (held - data.test)) if held > data.test else inf


def _scan(store: Store, study: Study) -> RateScan | None:
    """The recorded scan of the learning rate. It decides no trial, so a damaged one is left out, with a warning."""
    try:
        return read_scan(store, study)
    except RecordError as error:
        warnings.warn(str(error), stacklevel=2)
        return None


def _chosen(study: Study, known: Mapping[str, str], label: str) -> Arm:
    """The arm with a label as in the study file or as in the records."""
    if study.file.replication.allocate == "sequential" and label not in study.baseline.labels:
        raise TesseralError(
            f"expected the study's own baseline {study.baseline.label!r}, because the change against it decided the "
            f"number of blocks, got {label!r}"
        )
    for arm in study.arms:
        if label in (*arm.labels, known[arm.label]):
            return arm
    there_are = "; ".join(dict.fromkeys(known.values()))
    raise TesseralError(f"expected the label of an arm as a baseline, got {label!r}; there are: {there_are}")


def _recorded(arms: Iterable[Arm], recorded: Iterable[str]) -> dict[str, str]:
    """Label of an arm in the study file → its label in the records, which may be joined with other labels."""
    labels = list(recorded)
    joined = {part: label for label in labels for part in label.split(" = ")} | {label: label for label in labels}
    return {arm.label: joined.get(arm.label, joined.get(arm.labels[0], arm.label)) for arm in arms}


@dataclass(frozen=True)
class _DataFile:
    """What a file of reference data tells a report. Empty if the file is not there, or cannot be read."""

    labels: Mapping[str, Label] = field(default_factory=dict)
    info: ReferenceInfo = field(default_factory=ReferenceInfo)
    units: Mapping[str, str] = field(default_factory=dict)
    """Column → unit of the label that filled it, of imported data."""
    doubt: str = ""
    """A sentence, if the file cannot be read or is not what the trials were trained on."""


def _data_file(written: str, storage: str | Path, hashes: Collection[str]) -> _DataFile:
    """Read what a report needs of reference data.

    :param written: `data.reference` of an arm.
    :param hashes: content hashes of the data that the study's trials were trained on.
    """
    location = Store(storage).location(written)
    try:
        file = open_parquet(location)
        if file is None:
            return _DataFile()
        with file:
            metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
            content = metadata.get("tesseral.content")
            if content is not None and hashes and content not in hashes:
                return _DataFile(
                    doubt=f"{location} now holds other data (content {content[:12]}) than the trials were trained on "
                    f"(content {', '.join(sorted(known[:12] for known in hashes))}): its labels and fit floor are left "
                    "out."
                )
            declared: dict[str, dict[str, Any]] = json.loads(metadata.get("tesseral.labels") or "{}")
            labels = {name: Label.from_dict(tree) for name, tree in declared.items()}
            mapping: dict[str, Any] = json.loads(metadata.get("tesseral.mapping") or "{}")
            labelled = [label for label in mapping.get("labels", ()) if label.get("convention") != "virial"]
            units = {label["column"]: label["unit"] for label in labelled}
            return _DataFile(labels, _fit(file), units)
    except StoreError as error:
        return _DataFile(doubt=f"{error}: its labels and fit floor are left out.")
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or ["no more is known"])[0].rstrip(".")
        named = "" if location in reason else f"{location} cannot be read: "
        return _DataFile(doubt=f"{named}{reason}: its labels and fit floor are left out.")


def _fit(file: pq.ParquetFile) -> ReferenceInfo:
    """The method behind reference data, and the mean errors of their density fit."""
    words = ("method", "basis", "auxiliary_basis")
    there = [name for name in ("converged", *words, *FIT_ERRORS) if name in file.schema_arrow.names]
    rows = pl.DataFrame(file.read(columns=there)).filter("converged")
    if rows.is_empty():
        return ReferenceInfo()
    fit: dict[str, Any] = {name: rows[name].cast(pl.Float64).abs().mean() for name in FIT_ERRORS if name in there}
    texts: dict[str, Any] = {name: rows[name][0] or "" for name in words if name in there}
    return ReferenceInfo(structures=len(rows), **texts, **fit)
