"""The record of a study's growth: `grown/<n>.json`, `dropped/<arm key>.json` and `holdouts/<data>.json`, create-only.

The study file that was frozen at the first start stays as it is. The last of `grown/` holds the study file that counts.
A hold-out is recorded when its data come into the study, because later arms would ask for another one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, cast

from typing_extensions import TypedDict

from tesseral.study.design.arm import Arm
from tesseral.study.design.match import counterpart
from tesseral.study.errors import RecordError, TesseralError
from tesseral.study.records.document import Moment, Natural, read_document, seal
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tesseral.study.wording import listed_labels

RESTORE = "restore it from a copy"


class Grown(TypedDict):
    """`grown/<n>.json`: the study file from then on."""

    when: Moment
    changes: list[str]
    """What was added, a phrase each."""
    complete: Natural
    """Complete trials of the confirm stage at that time."""
    blocks: Natural
    """Blocks that the study had before."""
    arms: list[str]
    """Labels of the arms that it had before."""
    study: str
    """Text of the study file."""


class Dropped(TypedDict):
    """`dropped/<arm key>.json`: an arm that the study has no more. Its trials stay."""

    when: Moment
    arm: str
    complete: Natural
    """Complete trials of the arm's confirm stage at that time."""


def read_growth(store: Store) -> list[Grown]:
    """How a study grew, in order; empty if it never did.

    :param store: the study's records.
    :raises RecordError: if a record is damaged or missing.
    """
    names = (path.removeprefix("grown/").removesuffix(".json") for path in store.paths("grown"))
    numbers = sorted(int(name) for name in names if name.isdecimal())
    if numbers != list(range(1, len(numbers) + 1)):
        raise RecordError(f"expected {store.location('grown')} to hold 1.json to {len(numbers)}.json, some are missing")
    records = (read_document(store, f"grown/{number}.json", Grown, RESTORE) for number in numbers)
    return [cast(Grown, dict(record)) for record in records if record is not None]


def read_dropped(store: Store) -> list[Dropped]:
    """The arms that were dropped, in the order in which they were.

    :param store: the study's records.
    :raises RecordError: if a record is damaged.
    """
    records = (read_document(store, path, Dropped, RESTORE) for path in store.paths("dropped"))
    found = [cast(Dropped, dict(record)) for record in records if record is not None]
    return sorted(found, key=lambda each: each["when"])


def dropped_arms(store: Store) -> list[str]:
    """Labels of the arms that were dropped, as `read_dropped`.

    :param store: the study's records.
    :raises RecordError: if a record is damaged.
    """
    return [dropped["arm"] for dropped in read_dropped(store)]


class HoldOut(TypedDict):
    """`holdouts/<data>.json`: how many structures no search of the study sees, as when their data came into it."""

    data: str
    """`holdout_name` of the data."""
    size: Natural


class HoldOuts(TypedDict):
    """`holdouts.json`, of earlier records."""

    sizes: dict[str, Natural]
    """`holdout_name` → structures."""


def holdout_name(content_hash: str, groups: str | None) -> str:
    """What a hold-out is recorded under: the data, and what one split holds together.

    :param content_hash: of the reference data.
    :param groups: as `data.groups`.
    """
    return f"{content_hash} {groups or ''}".rstrip()


def read_holdouts(store: Store) -> dict[str, int]:
    """The hold-outs of a study, by `holdout_name`; empty if it was not started, or has none.

    :param store: the study's records.
    :raises RecordError: if a record is damaged.
    """
    records = (read_document(store, path, HoldOut, RESTORE) for path in store.paths("holdouts"))
    own = {record["data"]: record["size"] for record in records if record is not None}
    # Earlier records have one file for all data.
    first = read_document(store, "holdouts.json", HoldOuts, RESTORE)
    return own if first is None else first["sizes"] | own


def keep_holdouts(store: Store, sizes: dict[str, int]) -> None:
    """Record the hold-outs of data that are new in a study.

    :param store: the study's records.
    :param sizes: `holdout_name` → structures.
    :raises RecordError: if another size is recorded for one of the data.
    """
    for name, size in sizes.items():
        path = f"holdouts/{sha256(name.encode()).hexdigest()[:16]}.json"
        _record(store, path, HoldOut(data=name, size=size))


def grow(store: Store, study: Study, before: Study, changes: Sequence[str], complete: int) -> None:
    """Record that a study goes on with another study file.

    :param store: the study's records.
    :param study: with that file.
    :param before: as it was.
    :param changes: what was added, a phrase each.
    :param complete: complete trials of the confirm stage.
    :raises RecordError: if another driver recorded a growth at the same time.
    """
    number = len(read_growth(store)) + 1
    record = Grown(
        when=_now(),
        changes=list(changes),
        complete=complete,
        blocks=before.file.replication.blocks,
        arms=[arm.label for arm in before.arms],
        study=study.text,
    )
    _record(store, f"grown/{number}.json", record)


def droppable(study: Study, label: str) -> Arm:
    """The arm of a study that can be dropped under this label.

    :param study: as it is.
    :param label: of the arm.
    :raises TesseralError: if there is no such arm, it is the baseline, or others are matched to it or to the largest.
    """
    arm = next((arm for arm in study.arms if label in (arm.label, *arm.labels)), None)
    if arm is None:
        known = listed_labels([arm.label for arm in study.arms])
        raise TesseralError(f"--arm: expected the label of an arm of {study.name}, got {label!r}; there are: {known}")
    if arm == study.baseline:
        raise TesseralError(
            f"--arm: expected another arm than the baseline {arm.label!r}, with which the others are compared; name "
            "another one as study.baseline first, and run the study"
        )
    match, others = study.file.match, [each for each in study.arms if each.match != "none" and each != arm]
    if isinstance(match.to, str) and arm in [counterpart(study.arms, match, each) for each in others]:
        raise TesseralError(
            f"--arm: expected another arm than {arm.label!r}, to which others are matched; a study of another name "
            "without the arm copies the trials that both have"
        )
    if any(each.match != "none" for each in study.arms) and match.to is None:
        raise TesseralError(
            "--arm: expected a study whose arms are not matched to the largest of them, which dropping one may change; "
            "a study of another name without the arm copies the trials that both have"
        )
    return arm


def drop(store: Store, arm: Arm, complete: int) -> None:
    """Record that a study has an arm no more.

    :param store: the study's records.
    :param arm: from `droppable`.
    :param complete: complete trials of the arm's confirm stage.
    :raises RecordError: if another driver dropped it at the same time.
    """
    _record(store, f"dropped/{arm.key}.json", Dropped(when=_now(), arm=arm.label, complete=complete))


def _record(store: Store, path: str, record: Mapping[str, Any]) -> None:
    if not store.create(path, seal(record)):
        raise RecordError(f"{store.location(path)} was written by another driver; the same command goes on from it")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
