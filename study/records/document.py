"""JSON records: the checksum that each of them ends with, and the keys, types and ranges of each kind.

`"sha256"` is the last key of a record: the SHA-256 of the record without it. Reading checks it, then types and ranges,
so a record that the disk has altered is named and never believed. Records of earlier versions have no checksum; their
types and ranges are checked alike, and a warning says once that they have none.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict  # pydantic needs it below Python 3.12

from tesseral.study.configuration.trial import canonical
from tesseral.study.errors import RecordError
from tesseral.study.records.store import Store

Json = dict[str, Any]
"""A JSON object."""

Natural = Annotated[int, Field(ge=0, lt=2**63)]
Small = Annotated[int, Field(ge=0, lt=2**31)]
Large = Annotated[FiniteFloat, Field(ge=0, lt=2**63)]
Positive = Annotated[int, Field(ge=1)]
Number = Annotated[FiniteFloat, Field(ge=0)]


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""A date and time of ISO 8601."""


class ProvenanceRecord(TypedDict):
    """Where a trial's numbers come from."""

    commit: NotRequired[str | None]
    versions: NotRequired[dict[str, str]]


class TrialRecord(TypedDict):
    """`trials/<id>/trial.json`: a planned trial, before it is launched."""

    id: str
    arm: str
    factors: Json
    stage: Literal["search", "confirm"]
    block: NotRequired[Small | None]
    replicate: NotRequired[Small | None]
    trial: Json
    study: NotRequired[str]
    target: NotRequired[str]
    max_steps: NotRequired[Natural]
    parameters: NotRequired[Natural]
    parameters_live: NotRequired[Natural]
    components: NotRequired[Natural]
    flops: NotRequired[Large]
    hidden_natural: NotRequired[str | None]
    match: NotRequired[str | None]
    residual: NotRequired[FiniteFloat | None]
    unreachable: NotRequired[str | None]
    dead: NotRequired[str | None]
    dead_irreps: NotRequired[list[dict[str, int]]]
    traces: NotRequired[Json]
    provenance: NotRequired[ProvenanceRecord]
    proposal: NotRequired[Natural]
    settings: NotRequired[Json]
    rungs: NotRequired[list[Natural]]
    objective: NotRequired[str]


class ArmRecord(TypedDict):
    """`trials/<id>/arms/<key>.json`: a further arm that chose the same network and shares the trial."""

    arm: str
    factors: Json
    match: str


class AttemptRecord(TypedDict):
    """`trials/<id>/attempts/<n>.json`: the beginning of an execution."""

    trial: NotRequired[str]
    attempt: Positive
    lease: Natural
    start: Natural
    began: Moment
    version: NotRequired[Positive]
    parts: NotRequired[Positive]
    host: NotRequired[str]
    address: NotRequired[str]
    node: NotRequired[str]
    pid: NotRequired[Natural]
    device: NotRequired[str]
    cpus: NotRequired[Positive]
    alone: NotRequired[bool]


class OutcomeRecord(TypedDict):
    """`trials/<id>/outcome.json`: the end of a trial; `attempts/<n>.failed.json` once a failed one is retried."""

    trial: NotRequired[str]
    state: Literal["complete", "pruned", "failed"]
    files: dict[str, Natural]
    checkpoint: str | None
    ended: Moment
    attempts: NotRequired[Natural]
    attempt: NotRequired[Natural]
    lease: NotRequired[Natural]
    steps: NotRequired[Natural]
    metrics: NotRequired[dict[str, FiniteFloat]]
    seconds: NotRequired[Number | None]
    device: NotRequired[str | None]
    peak_memory: NotRequired[Natural | None]
    reason: NotRequired[str]
    cause: NotRequired[Literal["training", "memory", "machine", "code", "refused"]]
    reused: NotRequired[str | None]


class RungRecord(TypedDict):
    """`trials/<id>/rungs/<epoch>.json`: the value by which a trial was judged there."""

    trial: NotRequired[str]
    epoch: Positive
    step: Positive
    value: FiniteFloat
    attempt: Positive
    lease: Natural
    seconds: NotRequired[Number | None]


class DecisionRecord(TypedDict):
    """`trials/<id>/decisions/<lease>.json`: the driver's decision to prune a trial."""

    trial: NotRequired[str]
    epoch: Positive
    step: Positive
    reason: str
    lease: Natural


UNCHECKED = "records of an earlier version have no checksums; they are read unchecked"
"""The warning at the first record without a checksum."""

ADVICE = "remove it and run the study again"
"""What to do about most damaged records: they are written again."""

_TAIL = re.compile(rb',"sha256":"([0-9a-f]{64})"\}')
_TAIL_LENGTH = len(b',"sha256":""}') + 64


def seal(record: Mapping[str, Any]) -> bytes:
    """Return a record as canonical JSON with its checksum as the last key."""
    body = canonical(record).encode()
    return body[:-1] + b',"sha256":"%s"}' % hashlib.sha256(body).hexdigest().encode()


class Record(dict[str, Any]):
    """A JSON record that was read."""

    sealed: bool
    """Whether it had a checksum, which held. Records of earlier versions have none."""


def read_document(store: Store, path: str, kind: Any, advice: str = ADVICE, **own: Any) -> Record | None:
    """Return the JSON record at `path`, without its checksum.

    :param kind: a `TypedDict` or dataclass with the keys, types and ranges that it must have. Others may follow.
    :param advice: what to do if it is damaged.
    :param own: key → value that the record must have there. Earlier versions may lack the key.
    :returns: None if there is no such record.
    :raises RecordError: if it is torn, altered, of another kind or another's.
    """
    data = store.read(path)
    if data is None:
        return None
    sealed = _TAIL.fullmatch(data[-_TAIL_LENGTH:])
    if sealed is not None:
        data = data[:-_TAIL_LENGTH] + b"}"
        if hashlib.sha256(data).hexdigest().encode() != sealed[1]:
            raise damaged(store, path, "its checksum does not match its content", advice)
    try:
        tree = from_json(data, allow_inf_nan=False)
    except ValueError:
        raise damaged(store, path, "it is torn, or not JSON", advice) from None
    try:
        _adapter(kind).validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        raise damaged(store, path, f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}", advice) from None
    for key, value in own.items():
        if (there := tree.get(key, value)) != value:
            raise damaged(store, path, f"it is that of {key} {there[:10] if key == 'trial' else there}", advice)
    if sealed is None:
        warnings.warn(UNCHECKED, stacklevel=1)  # one place, so that it is said once
    record = Record(tree)
    record.sealed = sealed is not None
    return record


def damaged(store: Store, path: str, why: str, advice: str = ADVICE) -> RecordError:
    """The error of a damaged record: which one, why, and what to do."""
    return RecordError(f"{store.location(path)} is damaged: {why}; {advice}")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
