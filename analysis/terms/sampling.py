"""How a study sampled its trials: what an interval averages first, what its unit is, and what it generalises to.

Trials differ by block (a split of the data and its order), by replicate (an initialisation within a block) and, where
arms are tuned, by search (the setting that an independent search chose). Values that share a split or a setting are
not independent. So replicates are averaged within their block, and blocks within the search whose setting they train.
The unit of an interval is the search where arms are tuned, else the block where three or more are planned. With fewer
planned blocks the trials are the units, and nothing is said beyond these splits. The plan decides the unit, because
what is complete would change it while a study runs.

For n units x_i with mean x̄ and standard deviation s, an interval is Student's with n − 1 degrees of freedom, two-sided
at 95 %. There is none below three units. Two are given:

- **new data** of the same kind: x̄ ± t·s·√(1/n + m·n_test/n_train). Blocks re-split one data set, so their training
  and test structures overlap and they vary less than new data would. Nadeau and Bengio's factor corrects that, where m
  is the number of blocks in a unit (Mach. Learn. 52, 239, 2003, eq. 9). More blocks narrow it to ±1.96·s·√(n_test/
  n_train), no further.
  Disjoint folds (`replication.split = "folds"`) share training structures alone. The factor is kept for them, and
  was wider than needed in a simulation of five folds: 98.7 % covered.
- **these data**: x̄ ± t·s/√n, for new splits, initialisations and searches of the data at hand.

In a study with a search, test splits are drawn from a hold-out of h structures that no search saw. Two of them share
n_test/h of their structures, more than two random splits do. The factor rests on that correlation ρ as ρ/(1 − ρ), so
n_test/(h − n_test) replaces n_test/n_train where it is larger. With h = n_test all blocks test the same structures.

Where all blocks are tested on the same structures, those of a test set of its own or of a published test split, the
spread between blocks tells nothing of other test structures: there is no interval for new data.

With `aggregate = "iqm"` the mean is the interquartile mean: a quarter of the units is left out at either end, so that
one start that fails changes little. With h units left and s_w the standard deviation of the n units, of which those
left out count as the nearest that is not (Winsorised), s_w·√((n + 1)/(h·(h − 1))) replaces s/√n, with h − 1 degrees
of freedom. This is Tukey and McLaughlin's (Sankhyā A 25, 331, 1963) times √((n + 1)/(n − 1)), without which intervals
of 5 to 20 normal units cover 93.5 to 94.4 %, with it 95.1 to 96.2 % (`make calibrate`).

Sources: Student, Biometrika 6, 1 (1908); Hurlbert, Ecol. Monogr. 54, 187 (1984), on units that only seem independent;
Bouthillier et al., MLSys 2021, arXiv 2103.03098, on searches as a source of variation; Agarwal et al., NeurIPS 2021,
arXiv 2108.13264, on the interquartile mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from tesseral.analysis.terms.estimate import FEWEST_UNITS, Aggregate, Estimate, t_estimate

Unit = Literal["search", "block", "trial"]


@dataclass(frozen=True)
class Sampling:
    """How trials were sampled, as far as an interval needs it."""

    blocks: int
    """Planned blocks; with a sequential allocation, the most that an arm may get."""
    searches: int = 0
    """Independent searches in each arm; 0 where arms are not tuned. Block b trains what search b mod `searches`
    chose."""
    overlaps: Mapping[str, float] = field(default_factory=dict)
    """Arm → test structures over training structures, n_test/n_train, or n_test/(h − n_test) if it is larger; 0 for an
    arm that is not listed."""
    aggregate: Aggregate = "mean"
    """What is taken over units: their mean or their interquartile mean."""
    fixed: bool = False
    """Whether all blocks are tested on the same structures."""

    @property
    def for_new_data(self) -> bool:
        """Whether there are intervals for new data."""
        return not (self.fixed or self.unit == "trial" or self._few_searches)

    @property
    def _few_searches(self) -> bool:
        """Whether searches are too few to be the units of an interval, so that it holds for the settings they found."""
        return 0 < self.searches < FEWEST_UNITS

    @property
    def unit(self) -> Unit:
        """What counts as one independent value."""
        if self.searches:
            return "search"
        return "block" if self.blocks >= FEWEST_UNITS else "trial"

    def overlap(self, *arms: str) -> float:
        """The largest n_test/n_train among arms."""
        return max((self.overlaps.get(arm, 0.0) for arm in arms), default=0.0)

    def units(self, rows: pl.DataFrame, values: np.ndarray, unit: Unit | None = None) -> np.ndarray:
        """The units of an interval: values averaged within blocks, and blocks within searches.

        :param rows: a frame with the column `block`, one row for each of `values`.
        :param values: one value a trial or pair of trials.
        :param unit: see `Sampling.unit`, which is the default.
        """
        unit = unit or self.unit
        if unit == "trial":
            return values
        blocks, means = _means(rows["block"].to_numpy(), values)
        return _means(blocks % self.searches, means)[1] if unit == "search" else means

    def widening(self, rows: pl.DataFrame, *arms: str) -> float:
        """What is added to 1/n for new data: m·n_test/n_train, m the number of blocks in a unit.

        :param rows: a frame with the column `block`.
        :param arms: the arms that are averaged or compared.
        """
        blocks = rows["block"]
        if self.unit != "search" or not rows.height:
            return self.overlap(*arms)
        return blocks.n_unique() / (blocks % self.searches).n_unique() * self.overlap(*arms)

    def estimate(self, rows: pl.DataFrame, values: np.ndarray, *arms: str) -> Estimate:
        """The mean over units, with its interval for new data and the one for these data.

        :param rows: a frame with the column `block`, one row for each of `values`.
        :param values: one value a trial or pair of trials, close to normally distributed.
        :param arms: the arms that the values come from.
        :raises TesseralError: if there is no value.
        """
        units = self.units(rows, values)
        estimate = t_estimate(units, self.aggregate, self.widening(rows, *arms))
        if self._few_searches:
            conditional = t_estimate(self.units(rows, values, "block"), self.aggregate)
            return Estimate(estimate.value, here=conditional.here)
        if not self.for_new_data:  # the data at hand are all that these units vary over
            return Estimate(estimate.value, here=estimate.here)
        return estimate

    @property
    def here(self) -> str:
        """What the interval beside that for new data holds for."""
        if self.unit == "trial":
            return "for these splits"
        return "for the settings found" if self._few_searches else "for these data"

    @property
    def shown(self) -> str:
        """What the interval that figures and tables show first holds for; see `Estimate.shown`."""
        return "for new data of the same kind" if self.for_new_data else self.here


def _means(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, ascending, and the mean of the values of each."""
    distinct, of_key = np.unique(keys, return_inverse=True)
    return distinct, np.bincount(of_key, weights=values) / np.bincount(of_key)
