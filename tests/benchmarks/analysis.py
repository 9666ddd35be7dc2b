"""What the analysis of traces costs beside DuckDB, on rows from a generator.

    python -m tests.benchmarks.analysis --files 10000 --figures build/bench.json

Each file holds the 10,000 rows of one trial: shares and norms of both parities of five orders in four layers at 125
epochs, so that none may be left out. They are read as a study's are, with every content hash checked, and become
features by order, their means over trials, and the epochs at which shares settle. DuckDB computes the same from the
same files, checks no hash, and is asked for the same numbers. Each runs in a process of its own, by turns.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tesseral.study.records.schemas import TRACES, TRIALS, with_metadata
from tesseral.study.records.segments import encode, named
from tests.benchmarks.figures import Figure, report

ARMS, LAYERS, ORDERS, EPOCHS = 100, 4, 5, 125
TURNS = 3


def trial_id(number: int) -> str:
    """As long as a SHA-256."""
    return f"{number:08d}".ljust(64, "a")


def traces(number: int, draw: np.random.Generator) -> pa.Table:
    """Of one trial: shares that move to other ones on the way, by epoch, layer, order, parity and statistic."""
    begin, end = draw.dirichlet(np.ones(2 * ORDERS), size=(2, LAYERS))
    way = (np.arange(EPOCHS) / (EPOCHS - 1))[:, None, None]
    shares = (1 - way) * begin + way * end * draw.uniform(0.99, 1.01, size=(EPOCHS, LAYERS, 2 * ORDERS))
    values = np.stack([shares, np.sqrt(shares / draw.integers(1, 9, size=2 * ORDERS))], axis=-1)
    epoch, layer, irrep, statistic = (index.ravel() for index in np.indices(values.shape))
    rows = len(epoch)
    columns = {
        "trial": pa.repeat(trial_id(number), rows),
        "step": 10 * epoch,
        "epoch": epoch,
        "layer": 1 + layer,
        "path": pa.nulls(rows),
        "l": irrep // 2,
        "p": 1 - 2 * (irrep % 2),
        "statistic": pa.DictionaryArray.from_arrays(statistic.astype("i4"), ["share", "rms"]),
        "value": values.ravel(),
    }
    return pa.table({field.name: _array(columns[field.name]).cast(field.type) for field in TRACES}, schema=TRACES)


def _array(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def make(folder: Path, files: int) -> None:
    """Write the traces, each as the compacted file of its trial."""
    draw = np.random.default_rng(0)
    for number in range(files):
        data = encode(traces(number, draw))
        place = folder / f"trial={trial_id(number)}"
        place.mkdir()
        (place / named(f"1-0-{10 * EPOCHS}-all", data, ".parquet")).write_bytes(data)


def paths(folder: Path) -> list[str]:
    """Of all files."""
    return sorted(map(str, folder.glob("*/*.parquet")))


def trials(files: int) -> pa.Table:
    """Complete trials of the confirm stage, arm after arm."""
    rows = [
        {"trial": trial_id(k), "arm": f"arm {k % ARMS}", "stage": "confirm", "state": "complete", "block": k // ARMS}
        for k in range(files)
    ]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in TRIALS.names} for row in rows], schema=with_metadata(TRIALS)
    )


def ours(folder: Path) -> dict[str, Any]:
    """As a report does."""
    from tesseral.analysis.statistics.features.features import emergence, hidden_features, mean_features
    from tesseral.analysis.tables.load import load
    from tesseral.analysis.tables.study_info import StudyInfo
    from tesseral.study.records.segments import Source

    files = paths(folder)
    table = trials(len(files))
    info = StudyInfo(name="traces", arms=("arm 0",), baseline="arm 0", blocks=1, replicates=1)
    began = time.monotonic()
    tables = load(table, [], [Source(path, "", None) for path in files], info)
    opened = time.monotonic()
    features = hidden_features(tables.traces, tables.trials)
    collected = time.monotonic()
    means, settled = mean_features(features), emergence(features)
    ended = time.monotonic()
    parts = {"opening": opened - began, "features": collected - opened, "means": ended - collected}
    return {
        "seconds": ended - began,
        **parts,
        "rows": features.height,
        "share": means["share"].sum(),
        "rms": means["rms"].sum(),
        "epoch": settled["epoch"].sum(),
    }


def duckdb(folder: Path) -> dict[str, Any]:
    """The same in SQL."""
    import duckdb as database

    connection = database.connect()
    connection.register("trials", trials(len(paths(folder))))
    began = time.monotonic()
    connection.execute(
        """
        create temp table features as
        with irreps as (
            select arm, trial, layer, epoch, l, p,
                   max(value) filter (statistic = 'share') as share, max(value) filter (statistic = 'rms') as rms
            from read_parquet($files) join (select trial, arm from trials where state = 'complete') using (trial)
            where path is null and statistic in ('share', 'rms') group by all
        )
        select arm, trial, layer, epoch, l, sum(share) as share,
               coalesce(sqrt(sum(share) filter (rms > 0) / sum(share / (rms * rms)) filter (rms > 0)), 0) as rms
        from irreps group by all
        """,
        {"files": paths(folder)},
    )
    (rows,) = connection.execute("select count(*) from features").fetchone()
    share, rms = connection.execute(
        """
        select sum(share), sum(rms) from (
            select arm, layer, epoch, l, count(*), avg(share) as share, avg(rms) as rms from features group by all
        )
        """
    ).fetchone()
    (epoch,) = connection.execute(
        """
        with ends as (
            select arm, trial, layer, l, arg_min(share, epoch) as first, arg_max(share, epoch) as last
            from features group by all
        ), distances as (
            select *, abs(share - last) as distance from features join ends using (arm, trial, layer, l)
        ), ways as (
            select arm, trial, layer, l, max(distance) / 2 as half from distances group by all
        ), far as (
            select arm, trial, layer, l, first, last, epoch, max(epoch) filter (distance > half)
                   over (partition by arm, trial, layer, l) as far
            from distances join ways using (arm, trial, layer, l)
        ), settled as (
            select arm, trial, layer, l, first, last, min(epoch) filter (epoch > far) as epoch from far group by all
        ), orders as (
            select arm, layer, l, avg(first), avg(last), count(*), median(epoch) as epoch, min(epoch), max(epoch)
            from settled group by all
        )
        select sum(epoch) from orders
        """
    ).fetchone()
    return {"seconds": time.monotonic() - began, "rows": rows, "share": share, "rms": rms, "epoch": epoch}


RUNS = {"ours": ours, "duckdb": duckdb}


def apart(what: str, folder: Path) -> dict[str, Any]:
    """One of the above in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.analysis", "--only", what, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(folder: Path, turns: int) -> list[Figure]:
    """Everything measured."""
    runs = [{name: apart(name, folder) for name in RUNS} for _ in range(turns)]
    first, files = runs[0], len(paths(folder))
    for name in ("share", "rms", "epoch"):
        np.testing.assert_allclose(first["ours"][name], first["duckdb"][name], rtol=1e-9)
    seconds = statistics.median(run["ours"]["seconds"] for run in runs)
    ratio = statistics.median(run["ours"]["seconds"] / run["duckdb"]["seconds"] for run in runs)
    rows = f"{files * LAYERS * ORDERS * EPOCHS * 4 / 1e6:g} million trace rows in {files:,} files"
    parts = {part: statistics.median(run["ours"][part] for run in runs) for part in ("opening", "features", "means")}
    return [
        Figure(f"analysis of {rows}", seconds, "s", 15.0),
        Figure(f"memory of the analysis of {rows}", first["ours"]["memory"], "GB", 4.0),
        Figure(f"analysis of {rows} over DuckDB", ratio, "ratio", 1.2),
        Figure(f"memory of DuckDB with {rows}", first["duckdb"]["memory"], "GB"),
        *(Figure(f"{part} of {rows}", value, "s") for part, value in parts.items()),
    ]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--folder", type=Path, help="where the files are, if they are made already")
    parser.add_argument("--only", choices=list(RUNS))
    options = parser.parse_args()
    if options.only:
        result = RUNS[options.only](options.folder)
        print(json.dumps(result | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}))
        return
    if options.folder is not None:
        report(measured(options.folder, options.turns), options.figures)
        return
    with tempfile.TemporaryDirectory(prefix="traces-") as folder:
        make(Path(folder), options.files)
        report(measured(Path(folder), options.turns), options.figures)


if __name__ == "__main__":
    main()
