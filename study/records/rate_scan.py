"""A scan of the learning rate: `<study>/learning_rates.json`, short trainings of each arm at rates about the study's.

Arms that share a learning rate may be at different distances from their own best one, and a difference between them is
then partly one of rates. The scan shows this. It belongs to no trial, and a later scan takes its place.

A short training need not have the best rate of a long one (Wu et al., ICLR 2018, arXiv 1803.02021), and each rate has
one initialisation. So a scan shows a rate that is far from an arm's best, and tunes nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from pydantic import FiniteFloat

from tesseral.study.configuration.trial import digest
from tesseral.study.records.document import read_document, seal
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tesseral.study.wording import listed_labels

PATH = "learning_rates.json"
"""The record, in the study's folder."""

SETTING = "training.learning_rate"
"""Dotted path of what is scanned."""

FAVOURS = 0.1
"""Losses of two arms that differ by more than this mean that the study's rate favours one of them. A scan has one start
a rate: smaller differences may be its chance."""


@dataclass(frozen=True)
class ArmScan:
    """The short trainings of one arm."""

    arm: str
    rate: float
    """The study's learning rate of this arm."""
    rates: tuple[float, ...]
    """Learning rates that were tried, ascending; `rate` is one of them."""
    errors: tuple[FiniteFloat | None, ...]
    """Validation error at each rate; None where training diverged."""

    @property
    def best(self) -> float | None:
        """The rate of the lowest error; None if every training diverged."""
        known = [(error, rate) for error, rate in zip(self.errors, self.rates, strict=True) if error is not None]
        return min(known)[1] if known else None

    @property
    def loss(self) -> float:
        """By what share the error at the study's rate exceeds the lowest; infinite if training diverged there."""
        here = self.errors[self.rates.index(self.rate)]
        if here is None:
            return inf
        lowest = min(error for error in self.errors if error is not None)
        return here / lowest - 1 if here > lowest else 0.0

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the lowest or highest that was tried, so that a better one may lie beyond."""
        return self.best in (None, self.rates[0], self.rates[-1])


@dataclass(frozen=True)
class RateScan:
    """The scan of a study's arms."""

    of: str
    """Hash of the arms and their matching, see `arms_hash`."""
    metric: str
    """What is measured on the validation split, such as `l2_error`."""
    share: float
    """Epochs of a short training as a share of the study's, rounded up."""
    arms: tuple[ArmScan, ...]

    @property
    def favours(self) -> bool:
        """Whether the losses of two arms differ by more than `FAVOURS`."""
        losses = [arm.loss for arm in self.arms]
        return max(losses) - min(losses) > FAVOURS if min(losses) < inf else False

    def to_dict(self) -> dict[str, Any]:
        """The scan as plain values, with the best rate of each arm and its loss at the study's; null if it diverged."""
        arms = [
            asdict(arm) | {"best": arm.best, "loss": arm.loss if arm.loss < inf else None, "at_edge": arm.at_edge}
            for arm in self.arms
        ]
        return asdict(self) | {"arms": arms, "favours": self.favours}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "RateScan":
        """Build a scan from its record.

        :param tree: as it was sealed.
        """
        arms = tuple(
            ArmScan(arm["arm"], arm["rate"], tuple(arm["rates"]), tuple(arm["errors"])) for arm in tree["arms"]
        )
        return cls(tree["of"], tree["metric"], tree["share"], arms)


def arms_hash(study: Study) -> str:
    """Hash of a study's arms, as its file sets them, and of how they are matched: what a scan holds for.

    :param study: the study.
    """
    arms = []
    for arm in study.arms:
        configuration = arm.configuration.to_dict()
        del configuration["data"]["recipe"]
        arms.append([arm.label, arm.match, configuration])
    return digest([arms, asdict(study.file.match)])


def write_scan(store: Store, scan: RateScan) -> None:
    """Record a scan in place of an earlier one.

    :param store: of the study.
    :param scan: what was measured.
    """
    store.replace(PATH, seal(asdict(scan)))


def read_scan(store: Store, study: Study) -> RateScan | None:
    """The recorded scan of a study; None if there is none, or it is that of other settings.

    :param store: of the study.
    :param study: as it is run.
    :raises RecordError: if the record is damaged.
    """
    document = read_document(store, PATH, RateScan, "scan again: tesseral plan STUDY.toml --probe-rate")
    if document is None or document["of"] != arms_hash(study):
        return None
    return RateScan.from_dict(document)


def scan_sentences(scan: RateScan) -> list[str]:
    """What a scan says of the study's learning rate: a warning if it favours an arm, else how near it is to the best.

    Arms whose best rate is at an end of the scan are named, because a better one may lie beyond.

    :param scan: of the study.
    """
    at_edge = [arm.arm for arm in scan.arms if arm.at_edge and arm.best is not None]
    told = _of_losses(scan)
    if at_edge:
        told.append(
            f"The best scanned rate is the lowest or highest that was tried in {listed_labels(at_edge)}: a better one "
            "may lie beyond."
        )
    return told


def _of_losses(scan: RateScan) -> list[str]:
    """What the losses of the arms say, without those whose best rate may lie beyond."""
    low, high = min(scan.arms, key=lambda arm: arm.loss), max(scan.arms, key=lambda arm: arm.loss)
    made = f"a scan with {100 * scan.share:.0f} % of the epochs and one start a rate"
    if scan.favours:
        return [
            f"The learning rate may favour arms: at the study's rate, the validation error {_above(low)} in "
            f"{low.arm} and {_above(high)} in {high.arm} ({made}). A difference between these arms is partly one of "
            "rates: set a rate for each arm, or tune it ([search])."
        ]
    if high.loss == inf:
        return [f"Training diverges at the study's learning rate in every arm ({made})."]
    near = (
        f"The learning rate was scanned: at the study's rate, the validation error of every arm is within "
        f"{100 * high.loss:.1f} % of that at the arm's best scanned rate ({made})."
    )
    if low.loss <= FAVOURS:
        return [near]
    best = sorted({arm.best for arm in scan.arms if arm.best is not None})
    rates = f"{best[0]:.2g} to {best[-1]:.2g}" if len(best) > 1 else f"{best[0]:.2g}"
    return [near, f"Every arm does better at another rate: {rates}."]


def _above(arm: ArmScan) -> str:
    """By how much the error at the study's rate exceeds the lowest, in words."""
    if arm.loss == inf:
        return "is not finite"
    return f"is {100 * arm.loss:.1f} % above that at the best rate" if arm.loss else "is that at the best rate"
