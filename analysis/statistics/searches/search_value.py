"""The lowest validation error to expect of n proposals, and where arms change order with n.

Let V be the error of a proposal drawn from the N distinct ones that a search made. The lowest of n drawn with
replacement is v with probability P(V ≥ v)^n − P(V > v)^n, for each distinct value v, so ties need no care. Its mean and
its quantiles follow without a simulation (Dodge et al., EMNLP 2019, arXiv 1909.03004, there for the highest). A
proposal that failed or was stopped early counts as one that is never the lowest; mean and quantiles are those given
that one of the n is complete. Searches have splits of their own, whose errors differ by that alone, so each is taken by
itself; mean and quantiles are averaged over the searches of an arm.

It describes a random search exactly. The proposals of a sampler that learns depend on one another: then it describes n
of those that were made, in any order. With replacement, the mean is a little high or low near n = N (Tang et al., ACL
2020, arXiv 2004.13705), so it ends at the length of the arm's shortest search. A difference between arms is described
and not tested.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import distinct_proposals
from tesseral.study.configuration.trial import State
from tesseral.study.wording import listed

_BAND = (0.1, 0.9)
"""Quantiles of the lowest error that bound the band."""
_NUMBERS = dict.fromkeys(("expected", "low", "high"), pl.Float64)
_SCHEMA = {"arm": pl.String, "n": pl.Int64, **_NUMBERS}


def expected_best(values: Sequence[float] | np.ndarray, proposals: int, most: int) -> pl.DataFrame:
    """The lowest error of n proposals, for n = 1 … most.

    :param values: errors of the complete proposals, at least one.
    :param proposals: N, those without an error included.
    :param most: largest n.
    :returns: n, expected (mean), low and high (quantiles at 10 and 90 %), in the unit of `values`.
    """
    errors, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    above = proposals - np.cumsum(counts)  # number of proposals that are worse than each error
    n = np.arange(1, most + 1)[:, None]
    chance = ((above + counts) / proposals) ** n - (above / proposals) ** n
    chance /= chance.sum(axis=1, keepdims=True)
    reached = np.cumsum(chance, axis=1)
    # Rounding may leave the last sum just below one.
    low, high = (errors[np.minimum((reached < q).sum(axis=1), errors.size - 1)] for q in _BAND)
    return pl.DataFrame({"n": n[:, 0], "expected": chance @ errors, "low": low, "high": high})


def search_values(tables: StudyTables) -> pl.DataFrame:
    """The lowest validation error to expect of n proposals of each arm, n up to the length of its shortest search.

    Searches without a complete proposal are left out.

    :returns: arm, n, expected, low, high, in the study's order and in the unit of the search's first objective; arms
        without a complete proposal are left out.
    """
    study = tables.study
    if not study.objectives:
        return pl.DataFrame(schema=_SCHEMA)
    ended = [state.value for state in State if state.finished]
    made = distinct_proposals(tables.trials, tables.search, study.objectives[0]).filter(pl.col("state").is_in(ended))
    parts = [pl.DataFrame(schema=_SCHEMA)]
    for arm in study.arms:
        own = made.filter(pl.col("arm") == arm)
        searches = [one for _, one in own.group_by("repeat", maintain_order=True) if one["value"].count()]
        if searches:
            shortest = min(one.height for one in searches)
            each = [expected_best(one["value"].drop_nulls().to_numpy(), one.height, shortest) for one in searches]
            best = pl.concat(each).group_by("n", maintain_order=True).mean()
            parts.append(best.select(pl.lit(arm).alias("arm"), pl.col("n").cast(pl.Int64), *_NUMBERS))
    return pl.concat(parts)


def order_changes(values: pl.DataFrame, arms: Sequence[str]) -> list[tuple[str, str, int]]:
    """Pairs of arms whose expected errors change order with the number of proposals.

    :param values: from `search_values`.
    :param arms: those to be compared with one another.
    :returns: the arm that is lower at the largest n of both, the other one, and the last n at which that one is lower.
    """
    curves = {arm: values.filter(pl.col("arm") == arm)["expected"].to_numpy() for arm in arms}
    measured = [arm for arm in arms if curves[arm].size]
    changes = []
    for number, one in enumerate(measured):
        for other in measured[number + 1 :]:
            n = min(curves[one].size, curves[other].size)
            difference = curves[one][:n] - curves[other][:n]
            winner, loser = (one, other) if difference[-1] < 0 else (other, one)
            before = np.flatnonzero(difference * difference[-1] < 0)
            if before.size:
                changes.append((winner, loser, int(before[-1]) + 1))
    return changes


def order_sentence(values: pl.DataFrame, arms: Sequence[str]) -> str:
    """Where arms change order, described and not tested; empty if none do.

    :param values: from `search_values`.
    :param arms: those to be compared with one another.
    """
    changes = order_changes(values, arms)
    if not changes:
        return ""
    each = [f"{loser} is lower than {winner} up to {n}, and higher at the end" for winner, loser, n in changes]
    return f"Arms change order with the number of proposals: {listed(each, most=4)}. This is not tested."
