"""Outlying trials: starts whose error is far above that of their arm's other trials.

For the logarithm x of a trial's error, the median of its arm is taken out, then that of its block over all arms of the
group (not with one arm), then that of its arm again. What remains, divided by 1.4826 times the median absolute
remainder (of its arm or of its group, whichever is larger), is the trial's distance; 1.4826 makes it a standard
deviation of normal logarithms. A trial is *outlying* if its distance exceeds 6. Only errors that are too high count:
these are starts that fail. With fewer than four blocks none is looked for.

Simulated with 1 to 10 arms whose spreads differ threefold (1,000 studies each): any trial of a study without failing
starts is called outlying in at most 8 % of studies from four blocks on and in 5 % from six on for normal logarithms; in
2 to 17 % from six on where they have the tails of Student's t with five degrees of freedom.

The rate of an arm counts failed trials and outlying ones among all that ended. Its 95 % interval is exact, for trials
that fail independently.

Where no start is seen to fail, that interval still reaches from zero to 1 − 0.025^(1/n): to 46 % with six trials. An
interval of a mean knows nothing of starts that were not seen, so it holds for starts that do not fail. A rate *matters*
if starts that fail, at three times the error, would change a mean by δ (`study.margin`) or more; for δ = 2 % that is a
rate of 1.8 %, which fewer than 203 trials do not exclude.

Sources: Tukey, Exploratory Data Analysis (1977), on medians of two ways; Hampel, J. Am. Stat. Assoc. 69, 383 (1974), on
the median absolute deviation; Clopper & Pearson, Biometrika 26, 404 (1934).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log1p

import polars as pl
from scipy import stats

from tesseral.analysis.statistics.comparisons.paired import trial_errors
from tesseral.analysis.tables.load import StudyTables
from tesseral.study.configuration.trial import State
from tesseral.study.design.allocation import CONFIDENCE
from tesseral.study.wording import count, listed

FAR = 6.0
"""Distance beyond which a trial is outlying."""

FEWEST_BLOCKS = 4
"""Number of blocks from which outlying trials are looked for."""

FAILING = 3.0
"""Error of a failing start over that of another one, by which a rate of failing starts matters or not."""

_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True)
class Outlier:
    """A trial whose error is far above that of its arm's other trials."""

    block: int
    replicate: int
    ratio: float
    """Its error over what its arm and block let expect."""


@dataclass(frozen=True)
class FailingStarts:
    """The trials of an arm that failed or are outlying."""

    arm: str
    outliers: tuple[Outlier, ...]
    failed: int
    """Trials that failed."""
    trials: int
    """Trials that ended."""
    rate: float
    """Share of the trials that failed or are outlying."""
    low: float
    high: float
    """Exact 95 % interval of the rate."""


def failing_starts(tables: StudyTables) -> tuple[FailingStarts, ...]:
    """The arms with a failed or outlying trial, in the order of the study.

    :raises TesseralError: if the study's metric is not recorded.
    """
    study, confirm = tables.study, tables.trials.filter(pl.col("stage") == "confirm")
    errors = trial_errors(tables.trials, study.metric).filter(pl.col("error") > 0)
    far = [_outlying(errors.filter(pl.col("arm").is_in(list(arms)))) for arms in study.groups.values()]
    found: dict[str, list[Outlier]] = {}
    for arm, *outlier in (row for rows in far for row in rows.iter_rows()):
        found.setdefault(arm, []).append(Outlier(*outlier))
    state = pl.col("state")
    ended = confirm.group_by("arm").agg(
        failed=(state == State.FAILED.value).sum(), complete=(state == State.COMPLETE.value).sum()
    )
    counts = {arm: (failed, failed + complete) for arm, failed, complete in ended.iter_rows()}
    made = []
    for arm in study.arms:
        outliers, (failed, trials) = tuple(found.get(arm, ())), counts.get(arm, (0, 0))
        if outliers or failed:
            bad = len(outliers) + failed
            rate = stats.binomtest(bad, trials).proportion_ci(CONFIDENCE, method="exact")
            made.append(FailingStarts(arm, outliers, failed, trials, bad / trials, float(rate.low), float(rate.high)))
    return tuple(made)


def _outlying(errors: pl.DataFrame) -> pl.DataFrame:
    """arm, block, replicate and ratio of the outlying trials of a group.

    :param errors: of the group, from `paired.trial_errors`, all positive.
    """
    rest = pl.col("rest")
    rows = errors.with_columns(rest=pl.col("error").log()).with_columns(rest - rest.median().over("arm"))
    if rows["arm"].n_unique() > 1:
        rows = rows.with_columns(rest - rest.median().over("block")).with_columns(rest - rest.median().over("arm"))
    scale = _NORMAL * pl.max_horizontal(rest.abs().median().over("arm"), rest.abs().median())
    enough = pl.col("block").n_unique().over("arm") >= FEWEST_BLOCKS
    far = rows.filter(enough & (scale > 0) & (rest > FAR * scale)).sort("block", "replicate")
    return far.select("arm", "block", "replicate", rest.exp())


def failing_sentences(found: Sequence[FailingStarts], aggregate: str) -> list[str]:
    """How often starts of an arm fail, and what hides it; empty if no trial failed or is outlying.

    :param found: from `failing_starts`.
    :param aggregate: `study.aggregate`.
    """
    if not found:
        return []
    arms = [
        f"{len(arm.outliers) + arm.failed} of {count(arm.trials, 'trial')} of {arm.arm} failed or are outlying "
        f"({100 * arm.rate:.0f} % [{100 * arm.low:.0f}, {100 * arm.high:.0f}])"
        for arm in found
    ]
    text = f"{listed(arms)}. "
    if aggregate == "iqm":
        return [f"{text}The interquartile mean leaves such starts out: read the rate beside it."]
    return [
        f'{text}The mean of an arm hides such starts; study.aggregate = "iqm" takes a mean that few of them change.'
    ]


def largest_rate(trials: int) -> float:
    """The upper end of the exact 95 % interval of the rate of failing starts, where none of `trials` fails."""
    return 1 - ((1 - CONFIDENCE) / 2) ** (1 / trials)


def matters(rate: float, margin: float) -> bool:
    """Whether starts that fail at this rate, at `FAILING` times the error, change a mean by δ or more.

    :param rate: share of starts that fail.
    :param margin: δ, percent.
    """
    return rate * log(FAILING) >= log1p(margin / 100)


def unseen_sentences(trials: Sequence[int], margin: float, aggregate: str) -> list[str]:
    """How many starts may fail where none was seen to; empty if that does not matter, or of the interquartile mean.

    :param trials: complete trials of each arm without a failed or outlying one, in four blocks or more.
    :param margin: δ, percent.
    :param aggregate: `study.aggregate`.
    """
    if not trials or aggregate == "iqm" or not matters(rate := largest_rate(min(trials)), margin):
        return []
    return [
        f"Where none of {count(min(trials), 'trial')} is seen to fail, up to {100 * rate:.2g} % of starts still may "
        "(exact 95 %): the interval of a mean holds for starts that do not fail."
    ]


def outlier_note(found: FailingStarts) -> str:
    """The outlying trials of an arm for its row in a table, such as `1 outlying trial (block 3: 3.1 ×)`; or empty."""
    if not found.outliers:
        return ""
    places = [f"block {outlier.block}: {outlier.ratio:.1f} ×" for outlier in found.outliers]
    return f"{count(len(places), 'outlying trial')} ({listed(places)})"
