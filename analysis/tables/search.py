"""The searches of each arm: what was proposed, how the proposals ended, and the setting that was chosen.

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
from tesseral.study.design.search_budget import share_out
from tesseral.study.design.stages import Best, search_folder
from tesseral.study.errors import RecordError
from tesseral.study.records.document import Json, Natural, read_document
from tesseral.study.records.store import Store
from tesseral.study.wording import count, duration

_PROPOSALS = {"arm": pl.String, "repeat": pl.Int64, "number": pl.Int64, "trial": pl.String}
_REPEAT = pl.col("block").cast(pl.Int64).fill_null(0).alias("repeat")
"""The search of a trial among the arm's independent ones. It has its own split and order, so `block` holds it."""


class ProposalName(TypedDict):
    """What is read of a proposal here."""

    number: Natural
    trial: str


@dataclass(frozen=True)
class SearchRecords:
    """The records of a study's searches, without their trials."""

    proposals: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_PROPOSALS))
    """arm, repeat (number of the search among the arm's independent ones, from 0), number, trial: one row for each
    proposal, those of an earlier trial included."""
    best: Mapping[tuple[str, int], Json] = field(default_factory=dict)
    """(label of the arm, repeat) → the fields of the search's `study.design.stages.Best`, if it has ended."""


@dataclass(frozen=True)
class SearchSummary:
    """One search of an arm so far."""

    arm: str
    repeat: int
    """Number of the search among the arm's independent ones, from 0."""
    budget: int
    """Distinct proposals that it may make."""
    planned: int
    """Distinct proposals: the budget, or the number that was made if the search ended before it."""
    proposed: int
    """Distinct proposals so far."""
    repeated: int
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
    """Dotted path → value that the blocks of this search are confirmed with; empty until it has ended."""
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


def read_search(store: Store, arms: Iterable[str], trials: pl.DataFrame, repeats: int) -> SearchRecords:
    """Read the records `search/…` of a study.

    A trial holds the number of its own proposal. So only proposals of an earlier trial, and those without a trial, are
    read one by one.

    :param arms: labels as they are recorded.
    :param trials: the trials table.
    :param repeats: number of independent searches in each arm.
    """
    launched = trials.filter(pl.col("stage") == "search").drop_nulls("proposal")
    recorded = launched.select("arm", _REPEAT, pl.col("proposal").cast(pl.Int64).alias("number"), "trial")
    known = set(recorded.select("arm", "repeat", "number").iter_rows())
    folders = {search_folder(digest(arm)[:12], repeat): (arm, repeat) for arm in arms for repeat in range(repeats)}
    others: list[tuple[str, int, int, str]] = []
    best: dict[tuple[str, int], Json] = {}
    for path in store.paths("search"):
        folder, _, name = path.removesuffix(".json").rpartition("/")
        search = folders.get(folder)
        if search is None:
            continue
        try:
            if name == "best":
                record = read_document(store, path, Best)
                best |= {search: record} if record else {}
            elif name.isdecimal() and (*search, int(name)) not in known:
                record = read_document(store, path, ProposalName)
                others += [(*search, int(name), record["trial"])] if record else []
        except RecordError as error:
            warnings.warn(f"a record of the search is left out: {error}", stacklevel=2)
    proposals = pl.concat([recorded, pl.DataFrame(others, schema=_PROPOSALS, orient="row")])
    return SearchRecords(proposals.sort("arm", "repeat", "number"), best)


def arm_searches(
    trials: pl.DataFrame, records: SearchRecords, arms: Sequence[str], budget: int, repeats: int, objective: str
) -> list[SearchSummary]:
    """The searches of each of `arms`, in their order, and by number in each.

    :param trials: the trials table.
    :param records: from `read_search`.
    :param budget: distinct proposals in each arm, over its searches.
    :param repeats: number of independent searches in each arm.
    :param objective: such as `validation.l2_error`, a column of `trials` without its leading `metric.`.
    """
    distinct = distinct_proposals(trials, records, objective)
    own = pl.col("arm"), pl.col("repeat")
    states = {row[:3]: row[3] for row in distinct.group_by(*own, "state").len().iter_rows()}
    proposed = {row[:2]: row[2] for row in distinct.group_by(own).len().iter_rows()}
    made = {row[:2]: row[2] for row in records.proposals.group_by(own).len().iter_rows()}
    lowest = {row[:2]: row[2] for row in distinct.group_by(own).agg(pl.col("value").min()).iter_rows()}
    searches = []
    for search in [(arm, repeat) for arm in arms for repeat in range(repeats)]:
        best, share = records.best.get(search), share_out(budget, repeats)[search[1]]
        complete, pruned, failed = (
            states.get((*search, state.value), 0) for state in (State.COMPLETE, State.PRUNED, State.FAILED)
        )
        searches.append(
            SearchSummary(
                *search,
                budget=share,
                planned=best["trials"] if best else share,
                proposed=proposed.get(search, 0),
                repeated=made.get(search, 0) - proposed.get(search, 0),
                complete=complete,
                pruned=pruned,
                failed=failed,
                best=best["value"] if best else lowest.get(search),
                settings=best["settings"] if best else {},
                ended=best["reason"] if best else None,
            )
        )
    return searches


def best_so_far(trials: pl.DataFrame, records: SearchRecords, objective: str) -> pl.DataFrame:
    """The lowest validation error among the first n distinct proposals of each search.

    :param trials: the trials table.
    :param records: from `read_search`.
    :param objective: such as `validation.l2_error`; `value` has its unit.
    :returns: arm, repeat, n, value, sorted: the values of n at which the error falls, and the last n whose trial has
        ended. Searches without a complete trial are left out.
    """
    search = ["arm", "repeat"]
    ended = [state.value for state in State if state.finished]
    steps = (
        distinct_proposals(trials, records, objective)
        # n leaves no gaps, unlike `number`, which counts repeats of earlier proposals too.
        .with_columns(n=pl.col("number").rank("ordinal").over(search).cast(pl.Int64))
        .filter(pl.col("state").is_in(ended))
        .sort(*search, "n")
        .with_columns(lowest=pl.col("value").cum_min().forward_fill().over(search))
        .drop_nulls("lowest")
    )
    falls = (pl.col("lowest") != pl.col("lowest").shift()).fill_null(value=True)
    last = pl.col("n") == pl.col("n").max()
    return steps.filter((falls | last).over(search)).select(*search, "n", pl.col("lowest").alias("value"))


def distinct_proposals(trials: pl.DataFrame, records: SearchRecords, objective: str) -> pl.DataFrame:
    """The distinct proposals: each trial's first one.

    :param trials: the trials table.
    :param records: from `read_search`.
    :param objective: such as `validation.l2_error`; `value` has its unit.
    :returns: arm, repeat, trial, number, state, value, sorted; value is null unless the trial is complete.
    """
    column = f"metric.{objective}"
    value = pl.col(column).cast(pl.Float64) if column in trials.columns else pl.lit(None, dtype=pl.Float64)
    counts = (pl.col("state") == State.COMPLETE.value) & value.is_finite()
    search = trials.filter(pl.col("stage") == "search")
    known = search.select("arm", _REPEAT, "trial", "state", value=pl.when(counts).then(value))
    own = ["arm", "repeat", "trial"]
    first = records.proposals.group_by(own).agg(pl.col("number").min())
    # A trial that several arms share has a row for each of them.
    return first.join(known, on=own, how="left").sort("arm", "repeat", "number")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)
