"""A study with known numbers, as the analysis meets it: tables and sealed files, from a seed and without training."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.analysis.tables.load import StudyTables, load
from tesseral.analysis.tables.open import study_info
from tesseral.analysis.tables.study_info import ReferenceInfo, StudyInfo
from tesseral.study.design.search_space import apply
from tesseral.study.design.stages import PlannedTrial, Proposal, confirm_seeds, make_trial, search_seeds
from tesseral.study.records.document import seal
from tesseral.study.records.ledger import freeze, write_plan
from tesseral.study.records.schemas import CURVES, TRACES, TRIALS, to_table
from tesseral.study.records.segments import Source
from tesseral.study.records.store import Store
from tesseral.study.study import Study

ERRORS = (0.58, 0.30, 0.26, 0.25)
"""ε of the arms lmax = 0..3, %."""
EPOCHS = 60


def info(**changes: Any) -> StudyInfo:
    labels = tuple(f"lmax={k}" for k in range(4))
    given = {
        "name": "hierarchy",
        "description": "Do features of higher order lower the error of the density?",
        "arms": labels,
        "baseline": labels[0],
        "factors": {"network.hidden.lmax": ("0", "1", "2", "3")},
        "blocks": 4,
        "replicates": 2,
        "seed": 7,
        "reference": ReferenceInfo(
            method="PBE0", basis="def2-SVP", auxiliary_basis="def2-universal-jfit", structures=56, fit_error=1.06
        ),
        "study_file": '[study]\nname = "hierarchy"\n',
    }
    return StudyInfo(**(given | changes))


def trial_row(arm: int, block: int, replicate: int, **changes: Any) -> dict[str, Any]:
    """A complete trial, without its metrics."""
    start = datetime(2025, 3, 1, 12, tzinfo=UTC)
    return {
        "study": "hierarchy",
        "trial": f"{arm}{block}{replicate}".ljust(64, "a"),
        "arm": f"lmax={arm}",
        "stage": "confirm",
        "block": block,
        "replicate": replicate,
        "state": "complete",
        "parameters": (91_000, 163_000, 228_000, 281_000)[arm % 4],
        "target": "density",
        "unreachable": "1x4e" if arm == 0 else None,
        "steps": 600,
        "seconds": (18.0, 75.0, 158.0, 209.0)[arm % 4] * (1 + 0.02 * block),
        "device": "cpu",
        "attempts": 1,
        "started": start,
        "ended": start + timedelta(hours=2),
        "data_hash": "d" * 64,
        "commit": "c0ffee",
        "versions": json.dumps({"torch": "2.13.0", "e3nn": "0.6.0"}),
        "factor.network.hidden.lmax": arm,
        "setting.network.hidden.irreps": "+".join(f"8x{k}e+8x{k}o" for k in range(arm + 1)),
        "setting.training.epochs": EPOCHS,
        "setting.loss.name": "overlap",
    } | changes


def trial_rows(seed: int = 0, arms: int = 4, blocks: int = 4, replicates: int = 2) -> list[dict[str, Any]]:
    """Complete trials with errors of log-normal block, interaction and replicate effects around `ERRORS`."""
    draw = np.random.default_rng(seed)
    shared = 0.12 * draw.standard_normal(blocks)
    rows = []
    for arm in range(arms):
        for block in range(blocks):
            own = 0.05 * draw.standard_normal()
            for replicate in range(replicates):
                error = ERRORS[arm] * float(np.exp(shared[block] + own + 0.08 * draw.standard_normal()))
                metrics: dict[str, float] = {"metric.test.epsilon": error, "metric.test.l2_error": 0.8 * error}
                for order in range(5):
                    reached = not (arm == 0 and order == 4)
                    size = error * 6 * (order + 1) ** 1.5 * float(np.exp(0.1 * draw.standard_normal()))
                    metrics[f"metric.test.block_error.l{order}"] = size if reached else 100.0
                rows.append(trial_row(arm, block, replicate) | metrics)
    return rows


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as the ledger's table: `TRIALS`, then what else they hold."""
    extra = sorted({key for row in rows for key in row} - set(TRIALS.names))
    fixed = pa.Table.from_pylist([{key: row.get(key) for key in TRIALS.names} for row in rows], schema=TRIALS)
    for key in extra:
        fixed = fixed.append_column(key, pa.array([row.get(key) for row in rows]))
    return fixed


def curve_rows(row: dict[str, Any], seed: int = 0) -> list[dict[str, Any]]:
    """Validation errors that fall to a little above the trial's test error."""
    draw = np.random.default_rng(seed)
    made = []
    for epoch in range(1, EPOCHS + 1):
        place = {"trial": row["trial"], "step": 10 * epoch, "epoch": epoch, "split": "validation"}
        noise = float(np.exp(0.06 * draw.standard_normal()))
        fall = (1 + 12 * np.exp(-epoch / 12)) * noise
        made.append({**place, "metric": "l2_error", "value": row["metric.test.l2_error"] * fall})
        for order in range(5):
            final = row[f"metric.test.block_error.l{order}"]
            slow = (1 + 12 * np.exp(-epoch / (6 + 5 * order))) * noise
            made.append({**place, "metric": "block_error", "l": order, "value": min(100.0, final * slow)})
    return made


def trace_rows(row: dict[str, Any], layers: int = 3) -> list[dict[str, Any]]:
    """Shares that leave l = 0 for higher orders, the higher the later; the odd parity holds a quarter of each."""
    made = []
    orders = range(row["factor.network.hidden.lmax"] + 1)
    for epoch in [*range(6), *range(10, EPOCHS + 1, 5)]:
        for layer in range(1, layers + 1):
            sizes = {k: 0.3**k * (0.2 + layer * (1 - np.exp(-epoch / (4 + 6 * k)))) for k in orders}
            total = sum(sizes.values())
            for order, size in sizes.items():
                for parity, part in ((1, 0.75), (-1, 0.25)):
                    place = {"trial": row["trial"], "step": 10 * epoch, "epoch": epoch, "layer": layer}
                    place |= {"l": order, "p": parity}
                    share = float(size / total * part)
                    rms = float(np.sqrt(share / (8 * (2 * order + 1))))  # 8 channels of 2l + 1 components
                    made += [
                        {**place, "statistic": "share", "value": share},
                        {**place, "statistic": "rms", "value": rms},
                    ]
    return made


def study_tables(folder: Path, rows: list[dict[str, Any]] | None = None, **changes: Any) -> StudyTables:
    """The whole study: trials of `rows`, and curves and traces of those that have metrics, sealed in `folder`."""
    rows = trial_rows() if rows is None else rows
    curves, traces = [], []
    for number, row in enumerate(row for row in rows if "metric.test.epsilon" in row):
        for name, made, schema, sources in (
            ("curves", curve_rows(row, number), CURVES, curves),
            ("traces", trace_rows(row), TRACES, traces),
        ):
            path = folder / name / f"trial={row['trial']}" / "1-all.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(to_table(made, schema), path)
            sources.append(Source(str(path), row["trial"], None))
    return load(table(rows), curves, traces, info(**changes))


CROSSED = """
[study]
name = "orders"
description = "Does the benefit of hidden features depend on the order of what is predicted?"
allow_unreachable = true

[factors]
network.hidden.lmax = [0, 1, 2]
target.quantity = ["energy", "density", "quadrupole", "dipole"]

[replication]
blocks = 4
replicates = 2

[data]
reference = "reference/none.parquet"
train = 8
validation = 2
test = 4
"""
TARGETS = ("energy", "density", "quadrupole", "dipole")
SPREADS = {"energy": 0.012, "dipole": 0.8, "quadrupole": 2.5}
"""Of the targets of `CROSSED`, in their units."""
BENEFIT = {0: (1.0, 0.95, 0.94), 1: (1.0, 0.62, 0.55), 2: (1.0, 0.8, 0.42), 3: (1.0, 0.9, 0.8), 4: (1.0, 0.95, 0.9)}
"""Order of the output → relative error of hidden l_max = 0, 1, 2 over that of l_max = 0, but for noise."""


def label(lmax: int, quantity: str) -> str:
    """Of an arm of `CROSSED`."""
    return f"lmax={lmax}, quantity={quantity}"


def crossed_rows(seed: int = 3) -> list[dict[str, Any]]:
    """Complete trials of `CROSSED`, whose relative errors fall with the hidden l_max as `BENEFIT` says."""
    draw = np.random.default_rng(seed)
    rows = []
    for number, arm in enumerate(Study.parse(CROSSED, "orders.toml").arms):
        lmax, quantity = arm.factors["network.hidden.lmax"], arm.factors["target.quantity"]
        order = {"energy": 0, "dipole": 1, "quadrupole": 2}.get(quantity)
        for block, replicate in ((block, replicate) for block in range(4) for replicate in range(2)):
            noise = (1 + 0.1 * block) * float(np.exp(0.03 * draw.standard_normal()))
            relative = {k: 20.0 * (k + 1) * gain[lmax] * noise for k, gain in BENEFIT.items()}
            metrics = {}
            if order is None:
                metrics |= {"epsilon": 0.02 * relative[0], "relative_error": relative[0]}
                metrics |= {f"relative_error.l{k}": value for k, value in relative.items()}
                metrics |= {f"block_error.l{k}": 0.9 * value for k, value in relative.items()}
            else:
                share = relative[order]
                metrics |= {"relative_error": share, "error": 0.008 * share * SPREADS[quantity]}
            row = trial_row(lmax, block, replicate) | {
                "study": "orders",
                "trial": f"{number:02d}{block}{replicate}".ljust(64, "b"),
                "arm": arm.label,
                "target": quantity,
                "unreachable": "1x4e" if order is None and lmax == 0 else None,
                "factor.target.quantity": quantity,
            }
            rows.append(row | {f"metric.test.{name}": value for name, value in metrics.items()})
    return rows


def crossed_tables(folder: Path, rows: list[dict[str, Any]] | None = None, text: str = CROSSED) -> StudyTables:
    """The study of hidden features × target, its arms and baselines read from its file."""
    rows = crossed_rows() if rows is None else rows
    fit = {"fit_error": 1.06, "electron_error": 0.0012, "dipole_error": 0.0034, "self_repulsion_error": 0.008}
    asked = study_info(Study.parse(text, "orders.toml"), folder, {row["arm"] for row in rows})
    asked = replace(asked, reference=ReferenceInfo(method="PBE0", basis="def2-SVP", structures=56, **fit))
    sources = []
    for number, row in enumerate(rows):
        path = folder / "curves" / f"trial={row['trial']}" / "1-all.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(to_table(relative_curves(row, number), CURVES), path)
        sources.append(Source(str(path), row["trial"], None))
    return load(table(rows), sources, [], asked)


def relative_curves(row: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Relative errors on the validation split, of the whole and of the orders that the trial has."""
    draw, prefix = np.random.default_rng(seed), "metric.test.relative_error"
    finals = {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix)}
    return [
        {
            "trial": row["trial"],
            "step": 10 * epoch,
            "epoch": epoch,
            "split": "validation",
            "metric": "relative_error",
            "l": int(ending[2:]) if ending else None,
            "value": final * (1 + 5 * float(np.exp(-epoch / 8))) * float(np.exp(0.03 * draw.standard_normal())),
        }
        for epoch in range(1, 31)
        for ending, final in finals.items()
    ]


TUNED = """
[study]
name = "tuned"
metric = "l2_error"
allow_unreachable = true

[factors]
network.hidden.lmax = [0, 1, 2]

[design]
where = ["network.hidden.lmax < 2"]

[search]
trials = 6

[search.space]
training.learning_rate = { low = 1e-4, high = 1e-1, log = true }

[search.asha]
min_epochs = 2

[replication]
blocks = 3
replicates = 1

[data]
reference = "reference/none.parquet"
train = 8
validation = 2
test = 4

[training]
epochs = 6
batch_size = 4
"""
VALIDATION = {
    "lmax=0": (0.9, "pruned", 0.7, 0.8, "repeat 2", "failed", 0.75),
    "lmax=1": (0.5, 0.6, "pruned", "pruned", 0.4),
}
"""What the proposals of each arm came to: a validation error, how they ended, or which one they repeated."""
ENDED = {"lmax=0": "its 6 trials are proposed", "lmax=1": "50 proposals running repeated earlier ones"}


def tuned_study(storage: Store) -> None:
    """The records of a study whose search has ended as `VALIDATION` says and that is confirmed, all by the code that
    reads and writes them; the test error of arm k in block b is 0.6 − 0.2 k + 0.01 b."""
    study, store = Study.parse(TUNED, "tuned.toml"), storage.child("tuned")
    freeze(store, study)
    hashes, seeds = {"reference/none.parquet": "d" * 64}, search_seeds(study.file.study.seed)
    for index, arm in enumerate(study.arms):
        planned = []
        for number, came in enumerate(VALIDATION[arm.label]):
            settings = {"training.learning_rate": 1e-3 * (number + 1)}
            if isinstance(came, str) and came.startswith("repeat"):
                planned.append(planned[int(came.split()[1])])
            else:
                configuration = apply(arm.configuration, settings)
                trial = make_trial(configuration, seeds, hashes, 1)
                planned.append(PlannedTrial(trial, arm, "search", 0, 0))
                write_plan(store, planned[-1], "tuned", proposal=number, max_steps=12)
                outcome(store, trial.id, came)
            proposal = Proposal(arm.key, number, planned[-1].trial.id, settings, {}, {}, {}, {})
            store.create(f"search/{arm.key}/{number}.json", seal(asdict(proposal)))
        values = [(came, number) for number, came in enumerate(VALIDATION[arm.label]) if isinstance(came, float)]
        value, number = min(values)
        settings = {"training.learning_rate": 1e-3 * (number + 1)}
        distinct = len({each.trial.id for each in planned})
        best = {"trial": planned[number].trial.id, "settings": settings, "value": value, "trials": distinct}
        record = seal(best | {"reason": ENDED[arm.label]})
        store.create(f"search/{arm.key}/best.json", record)
        for block in range(study.file.replication.blocks):
            trial = make_trial(
                apply(arm.configuration, settings), confirm_seeds(study.file.study.seed, block, 0), hashes, 1
            )
            write_plan(
                store, PlannedTrial(trial, arm, "confirm", block, 0), "tuned", max_steps=12, parameters=1000 + index
            )
            outcome(store, trial.id, 0.6 - 0.2 * index + 0.01 * block, split="test", reused="older" if block else None)


def outcome(store: Store, trial: str, came: float | str, split: str = "validation", reused: str | None = None) -> None:
    """Seal the end of a trial: an error, or how it ended before."""
    record: dict[str, Any] = {"files": {}, "checkpoint": None, "ended": "2025-03-01T12:00:00+00:00", "reused": reused}
    if isinstance(came, float):
        record |= {"state": "complete", "steps": 12, "seconds": 3.0, "metrics": {f"{split}.l2_error": came}}
    elif came == "pruned":
        reason = f"number {int(trial[:4], 16)} of 65536 in its arm"
        record |= {"state": "pruned", "steps": 4, "seconds": 1.5, "reason": reason}
    else:
        record |= {"state": "failed", "steps": 7, "reason": "the loss became NaN at step 7"}
    store.create(f"trials/{trial}/outcome.json", seal(record))
