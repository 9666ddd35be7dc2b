"""The search of each arm: what was proposed, how the proposals ended, and the setting that was chosen.

Nothing of it enters an error or an interval. A search sees validation errors only, on a split of its own, and the
lowest of many errors is lower than the error of its setting on new data. A report shows the search so that a reader
can see that arms were tuned alike.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from typing_extensions import TypedDict

from tesseral.study.configuration.trial import State, digest
from tesseral.study.design.labels import short_names
from tesseral.study.design.stages import Best
from tesseral.study.errors import RecordError
from tesseral.study.records.document import Json, Natural, read_document
from tesseral.study.records.store import Store
from tesseral.study.wording import count, duration

_PROPOSALS = {"arm": pl.String, "number": pl.Int64, "trial": pl.String}


class ProposalName(TypedDict):
    """What is read of a proposal here."""

    number: Natural
    trial: str


@dataclass(frozen=True)
class SearchRecords:
    """The records of a study's search, without its trials."""

    proposals: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_PROPOSALS))
    """arm, number, trial: one row for each proposal, including repeats of an earlier trial."""
    best: Mapping[str, Json] = field(default_factory=dict)
    """Label of the arm → the fields of its `study.design.stages.Best`, if its search has ended."""


@dataclass(frozen=True)
class SearchSummary:
    """The search of one arm so far."""

    arm: str
    planned: int
    """Distinct proposals: the budget, or the number that was made if the search ended before it."""
    proposed: int
    """Distinct proposals so far."""
    repeats: int
    """Proposals of a setting that an earlier one had; they were answered from its record and are not counted."""
    complete: int
    """Distinct proposals whose trial is complete."""
    pruned: int
    """Those that were stopped early by successive halving."""
    failed: int
    """Those whose trial failed."""
    best: float | None
    """Lowest validation error of a complete trial so far."""
    settings: Mapping[str, Any]
    """Dotted path → value that the arm is confirmed with; empty until its search has ended."""
    ended: str | None
    """Why the search ended; None while it goes on."""

    @property
    def chosen(self) -> str:
        """The settings as text, such as 'learning_rate=0.00213, layers=3'."""
        names = short_names(self.settings)
        return ", ".join(f"{names[path]}={_text(value)}" for path, value in self.settings.items())


@dataclass(frozen=True)
class Saved:
    """Training time that early stopping saved in a search."""

    trials: int
    """Trials stopped early whose training time is known."""
    unknown: int
    """Trials stopped early whose time is unknown, because they continued from a checkpoint."""
    seconds: float
    """Training time of `trials` until they were stopped, summed, s."""
    whole: float
    """Their time to the end at the same pace, Σ seconds · max_steps / steps, s."""

    @property
    def sentence(self) -> str:
        """The saving in words."""
        others = f" The time of {self.unknown:,} more is unknown." if self.unknown else ""
        return (
            f"Early stopping saved about {duration(self.whole - self.seconds)} of training: "
            f"{count(self.trials, 'trial')} took {duration(self.seconds)} in total before being stopped, and would "
            f"have taken {duration(self.whole)} to the end at the same pace.{others}"
        )


def saved(trials: pl.DataFrame) -> Saved | None:
    """The training time that early stopping saved; None if no trial was stopped early or no time is known.

    :param trials: the trials table.
    """
    pruned = trials.filter(pl.col("stage") == "search", pl.col("state") == State.PRUNED.value)
    known = pruned.drop_nulls(["seconds", "max_steps"]).filter(pl.col("steps") > 0)
    if known.is_empty():
        return None
    whole = pl.col("seconds") * pl.col("max_steps") / pl.col("steps")
    sums = known.select(pl.col("seconds").sum(), whole.sum().alias("whole")).row(0, named=True)
    return Saved(trials=known.height, unknown=pruned.height - known.height, **sums)


def read_search(store: Store, arms: Iterable[str], trials: pl.DataFrame) -> SearchRecords:
    """Read the records `search/<arm key>/…` of a study.

    A trial holds the number of its own proposal, so only repeats and proposals without a trial are read one by one.

    :param arms: labels as they are recorded.
    :param trials: the trials table.
    """
    launched = trials.filter(pl.col("stage") == "search").drop_nulls("proposal")
    recorded = launched.select("arm", pl.col("proposal").cast(pl.Int64).alias("number"), "trial")
    known = set(recorded.select("arm", "number").iter_rows())
    labels = {digest(arm)[:12]: arm for arm in arms}
    others: list[tuple[str, int, str]] = []
    best: dict[str, Json] = {}
    for path in store.paths("search"):
        key, _, name = path.removeprefix("search/").removesuffix(".json").rpartition("/")
        arm = labels.get(key)
        if arm is None:
            continue
        try:
            if name == "best":
                record = read_document(store, path, Best)
                best |= {arm: record} if record else {}
            elif name.isdecimal() and (arm, int(name)) not in known:
                record = read_document(store, path, ProposalName)
                others += [(arm, int(name), record["trial"])] if record else []
        except RecordError as error:
            warnings.warn(f"a record of the search is left out: {error}", stacklevel=2)
    proposals = pl.concat([recorded, pl.DataFrame(others, schema=_PROPOSALS, orient="row")])
    return SearchRecords(proposals.sort("arm", "number"), best)


def arm_searches(
    trials: pl.DataFrame, records: SearchRecords, arms: Sequence[str], budget: int, objective: str
) -> list[SearchSummary]:
    """The search of each of `arms`, in their order.

    :param trials: the trials table.
    :param records: from `read_search`.
    :param budget: distinct proposals in each arm.
    :param objective: such as `validation.l2_error`, a column of `trials` without its leading `metric.`.
    """
    distinct = _distinct(trials, records, objective)
    states = {(arm, state): n for arm, state, n in distinct.group_by("arm", "state").len().iter_rows()}
    proposed = dict(distinct.group_by("arm").len().iter_rows())
    made = dict(records.proposals.group_by("arm").len().iter_rows())
    lowest = dict(distinct.group_by("arm").agg(pl.col("value").min()).iter_rows())
    searches = []
    for arm in arms:
        best = records.best.get(arm)
        complete, pruned, failed = (
            states.get((arm, state.value), 0) for state in (State.COMPLETE, State.PRUNED, State.FAILED)
        )
        searches.append(
            SearchSummary(
                arm=arm,
                planned=best["trials"] if best else budget,
                proposed=proposed.get(arm, 0),
                repeats=made.get(arm, 0) - proposed.get(arm, 0),
                complete=complete,
                pruned=pruned,
                failed=failed,
                best=best["value"] if best else lowest.get(arm),
                settings=best["settings"] if best else {},
                ended=best["reason"] if best else None,
            )
        )
    return searches


def best_so_far(trials: pl.DataFrame, records: SearchRecords, objective: str) -> pl.DataFrame:
    """The lowest validation error among an arm's first n distinct proposals.

    :param trials: the trials table.
    :param records: from `read_search`.
    :param objective: such as `validation.l2_error`; `value` has its unit.
    :returns: arm, n, value, sorted: the values of n at which the error falls, and the last n whose trial has ended.
        Arms without a complete trial are left out.
    """
    ended = [state.value for state in State if state.finished]
    steps = (
        _distinct(trials, records, objective)
        # n leaves no gaps, unlike `number`, which counts repeats of earlier proposals too.
        .with_columns(n=pl.col("number").rank("ordinal").over("arm").cast(pl.Int64))
        .filter(pl.col("state").is_in(ended))
        .sort("arm", "n")
        .with_columns(lowest=pl.col("value").cum_min().forward_fill().over("arm"))
        .drop_nulls("lowest")
    )
    falls = (pl.col("lowest") != pl.col("lowest").shift()).fill_null(value=True)
    last = pl.col("n") == pl.col("n").max()
    return steps.filter((falls | last).over("arm")).select("arm", "n", pl.col("lowest").alias("value"))


def _distinct(trials: pl.DataFrame, records: SearchRecords, objective: str) -> pl.DataFrame:
    """arm, trial, number, state and value of each trial's first proposal; value is null unless it is complete."""
    column = f"metric.{objective}"
    value = pl.col(column).cast(pl.Float64) if column in trials.columns else pl.lit(None, dtype=pl.Float64)
    counts = (pl.col("state") == State.COMPLETE.value) & value.is_finite()
    search = trials.filter(pl.col("stage") == "search")
    known = search.select("arm", "trial", "state", value=pl.when(counts).then(value))
    first = records.proposals.group_by("arm", "trial").agg(pl.col("number").min())
    # A trial that several arms share has a row for each of them.
    return first.join(known, on=["arm", "trial"], how="left").sort("arm", "number")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)
