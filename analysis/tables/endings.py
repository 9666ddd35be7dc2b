"""Trials that were stopped early or failed, counted by reason."""

from dataclasses import dataclass

import polars as pl

from tesseral.study.configuration.trial import State

_SHOWN = 3
"""Number of trials of a group that are named."""
_NUMBER = r"[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Ending:
    """Trials of one stage that were stopped or failed for one reason."""

    stage: str
    """Either search or confirm."""
    state: str
    """Either pruned or failed."""
    cause: str | None
    """Cause of the failure; None of a trial that was stopped early, and where it is not recorded."""
    reason: str
    """Reason of the first trial; others may have other numbers in it."""
    alike: bool
    """Whether all trials have exactly this reason."""
    trials: int
    """Their number."""
    arms: tuple[str, ...]
    """Labels of the arms that they belong to."""
    examples: tuple[str, ...]
    """Ids of the first few trials."""


def endings(trials: pl.DataFrame) -> list[Ending]:
    """Group trials that were stopped early or failed by stage, state, cause and reason; early stops also by step.

    Reasons that differ in numbers only are one. Failures come before early stops, and large groups before small ones.

    :param trials: the trials table.
    """
    state, pruned = pl.col("state"), State.PRUNED.value
    rows = (
        trials.filter(state.is_in([pruned, State.FAILED.value]))
        .with_columns(pl.col("reason").fill_null("not recorded"))
        .with_columns(
            kind=pl.col("reason").str.replace_all(_NUMBER, "0"),
            rung=pl.when(state == pruned).then("steps"),
        )
        .sort("arm", "block", "replicate", "proposal", "trial")
        .group_by("stage", "state", "cause", "rung", "kind", maintain_order=True)
        .agg(
            pl.col("reason").first(),
            alike=pl.col("reason").n_unique() == 1,
            trials=pl.len().cast(pl.Int64),
            arms=pl.col("arm").unique(maintain_order=True),
            examples=pl.col("trial").head(_SHOWN),
        )
        .sort("state", "stage", -pl.col("trials"), "kind", "rung", "cause")
        .drop("rung", "kind")
    )
    return [
        Ending(**(row | {"arms": tuple(row["arms"]), "examples": tuple(row["examples"])})) for row in rows.to_dicts()
    ]
