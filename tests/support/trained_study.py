"""A study that trains in seconds on closed functions of the geometry, with its storage."""

from pathlib import Path

from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.models.data.reference_file import encode_reference
from tesseral.study.study import Study
from tests.support.synthetic_properties import LABELS, property_reference

ARMS = ("lmax=0", "lmax=1")


def train_study(
    storage: Path,
    quantity: str,
    name: str = "trained",
    metric: str | None = None,
    *,
    orders: tuple[int, ...] = (0, 1),
    data: str | None = None,
) -> None:
    """A study of two blocks with an arm of each order, on data of the storage, by default on those that it makes."""
    if data is None:
        rows = property_reference(24).table.to_pylist()
        (storage / "reference").mkdir(exist_ok=True)
        (storage / "reference" / "synthetic.parquet").write_bytes(encode_reference(rows, None, labels=LABELS))
    study = Study.parse(
        f"""
        [study]
        name = "{name}"
        allow_unreachable = true
        {"" if metric is None else f'metric = "{metric}"'}
        [factors]
        network.hidden.lmax = {list(orders)}
        [replication]
        blocks = 2
        replicates = 1
        [data]
        reference = "reference/{data or "synthetic"}.parquet"
        train = 12
        validation = 4
        test = 6
        [network]
        hidden = {{ mul = [4, 2] }}
        layers = 1
        radial_width = 8
        harmonics_lmax = 1
        [target]
        quantity = "{quantity}"
        [training]
        epochs = 2
        batch_size = 4
        [traces]
        dense_epochs = 0
        growth = 10
        """,
        "trained.toml",
    )
    run_study(prepare(study, str(storage)), InlineExecutor(), Silent())
