"""The precision to expect of a study: from a stated spread of its changes, or from that of an earlier study."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from math import expm1, log1p
from typing import Any

from tesseral.analysis.terms.estimate import FEWEST_UNITS
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.study.errors import TesseralError
from tesseral.study.records.ledger import frozen
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tesseral.study.wording import count, listed

CHANGES = (2, 5, 10, 20)
"""Changes of the error, percent, for which blocks are counted."""


@dataclass(frozen=True)
class Precision:
    """What the planned blocks can tell of a change between two arms. Widths are percent, None below three blocks."""

    spread: float
    """Standard deviation between blocks of the paired change, percent."""
    source: str
    """Where the spread comes from, in words."""
    blocks: int
    """Planned blocks; with a sequential allocation, the least."""
    half_width: float | None
    """Half-width of the 95 % interval for new data of the same kind; None where all blocks test the same structures."""
    half_width_here: float | None
    """The same for these data."""
    needed: dict[int, int | None]
    """Change, percent → blocks that tell it for new data with a chance of 80 %; None if no number does. Empty where all
    blocks test the same structures."""
    needed_here: dict[int, int | None]
    """The same for these data."""

    def to_dict(self) -> dict[str, Any]:
        """The precision as plain values."""
        return asdict(self)


def expected_precision(plan: StudyPlan, spread: float | None = None) -> Precision | None:
    """The precision of the change between two arms of a study whose settings are not tuned.

    :param plan: the study's.
    :param spread: standard deviation between blocks of the paired change, percent. By default that of an earlier study
        of the same metric and reference data in the storage: of several, the largest.
    :returns: None for one arm, for tuned arms, and if nothing is known of the spread.
    """
    if len(plan.arms) < 2 or plan.study.file.search is not None:
        return None
    source = "as stated"
    if spread is None:
        earlier = _earlier(plan)
        if not earlier:
            return None
        source, spread = max(earlier.items(), key=lambda item: item[1])
        source = f"as in {source}"
    from tesseral.analysis.statistics.comparisons.precision import (  # SciPy takes a second to import
        half_width,
        units_to_tell,
    )

    deviation, blocks = log1p(spread / 100), plan.study.file.replication.blocks
    overlap = max(arm.configuration.data.test / arm.configuration.data.train for arm in plan.arms)
    new = not _fixed(plan)
    return Precision(
        spread=spread,
        source=source,
        blocks=blocks,
        half_width=half_width(deviation, blocks, overlap) if new else None,
        half_width_here=half_width(deviation, blocks),
        needed={change: units_to_tell(change, deviation, overlap) for change in CHANGES if new},
        needed_here={change: units_to_tell(change, deviation) for change in CHANGES},
    )


def _earlier(plan: StudyPlan) -> dict[str, float]:
    """Studies of the storage with the same metric and data, not tuned → their spread, percent."""
    from tesseral.analysis.statistics.comparisons.precision import paired_spread
    from tesseral.analysis.tables.open import open_trials
    from tesseral.study.records.started import started

    spreads: dict[str, float] = {}
    for name in started(plan.storage):
        with suppress(TesseralError):  # a study that cannot be read tells nothing
            study = frozen(Store(plan.storage).child(name))
            if study is not None and _alike(study, plan.study):
                spread = paired_spread(open_trials(plan.storage, name))
                spreads |= {} if spread is None else {name: 100 * expm1(spread)}
    return spreads


def _alike(one: Study, other: Study) -> bool:
    """Whether the spread of one study tells something of that of the other."""
    data = [{arm.configuration.data.reference for arm in study.arms} for study in (one, other)]
    return one.file.search is None and one.file.study.metric == other.file.study.metric and bool(data[0] & data[1])


def _fixed(plan: StudyPlan) -> bool:
    """Whether all blocks are judged on the same structures, those of a test set of its own or of a published split."""
    data = [arm.configuration.data for arm in plan.arms]
    judged = (plan.study.file.study.metric or "").partition(".")[0]
    return any(each.split is not None or judged in each.tests for each in data)


def block_notes(plan: StudyPlan) -> list[str]:
    """A note if a study will give no verdict: too few blocks without a search, or one set of test structures.

    :param plan: the study's.
    """
    replication = plan.study.file.replication
    most = max(replication.blocks, replication.max_blocks or 0)
    if len(plan.arms) < 2:
        return []
    if plan.study.file.search is not None or most >= FEWEST_UNITS:
        sentence = "all blocks test the same structures, so there will be no verdict for new data"
        return [sentence] if _fixed(plan) else []
    return [
        f"{count(most, 'block')}: intervals will hold for {'this split' if most == 1 else 'these splits'} only, and no "
        f"verdict will be given; that takes replication.blocks = {FEWEST_UNITS} or more"
    ]


def precision_sentences(precision: Precision) -> list[str]:
    """What precision to expect, a sentence each.

    :param precision: of a study.
    """
    basis = f"if a change spreads by {precision.spread:.2g} % between blocks, {precision.source}"
    lines = []
    if precision.half_width_here is not None:
        wide = precision.half_width
        first = "" if wide is None else f"±{wide:.2g} % for new data of the same kind and "
        lines.append(
            f"with {count(precision.blocks, 'block')}, expect the 95 % interval of a change to be about "
            f"{first}±{precision.half_width_here:.2g} % for these data, {basis}"
        )
    here = [f"{n} for {change} %" for change, n in precision.needed_here.items() if n is not None]
    new = [f"{n} for {change} %" for change, n in precision.needed.items() if n is not None]
    never = [f"{change} %" for change, n in precision.needed.items() if n is None]
    if here:
        lines.append(
            f"blocks that tell a change with a chance of 80 %: for these data {listed(here)}"
            + (f"; for new data {listed(new) if new else 'none does'}" if precision.needed else "")
            + (f", and no number for {listed(never)}, which takes more data" if new and never else "")
            + ("" if lines else f", {basis}")
        )
    return lines
