"""Optuna's samplers by name, made anew for every proposal: what they remember lies in the Optuna study alone.

So a study that is rebuilt from records goes on exactly as the one that was killed. Of the samplers of Optuna 5:

- TPE, random: nothing is kept but the trials.
- QMC: the index of the next point is a study attribute, whose key holds the scrambling seed: that seed stays the same.
- GP: kernel parameters are cached in the sampler alone, as a start for the next fit. A new sampler fits from the start.
- CMA-ES: its state is an attribute of the trial that was proposed when the last generation was complete (a pickle).
- NSGA-II: the generation is an attribute of each trial; parents are study attributes, by trial id. Those are the
  trials' numbers in an in-memory storage that holds one study.
"""

import warnings

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace


def make_sampler(name: str, seed: int, sequence_seed: int, trials: int) -> BaseSampler:
    """A new sampler.

    :param name: tpe, random, qmc, gp, cmaes or nsgaii.
    :param seed: of this proposal.
    :param sequence_seed: of the whole arm: scrambles the points of qmc, which belong to one sequence.
    :param trials: the arm's budget. NSGA-II's population is a fifth of it (4 to 50): with Optuna's 50, a budget of 50
        or less would be random search.
    """
    seed, sequence_seed = seed % 2**32, sequence_seed % 2**32  # NumPy's RandomState takes no more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match name:
            case "tpe":  # Optuna 5's defaults: multivariate for one objective, and running trials count as bad ones
                return TPESampler(seed=seed, constant_liar=True)
            case "random":
                return RandomSampler(seed=seed)
            case "qmc":
                return _SortedQMCSampler(
                    scramble=True,  # unscrambled, the first point is the corner of all lows, in every arm
                    seed=sequence_seed,
                    independent_sampler=RandomSampler(seed=seed),
                    warn_independent_sampling=False,
                )
            case "gp":
                return GPSampler(seed=seed, warn_independent_sampling=False)
            case "cmaes":
                return _CommonCmaEsSampler(
                    seed=seed,
                    consider_pruned_trials=True,  # as Optuna advises under successive halving
                    warn_independent_sampling=False,
                )
            case "nsgaii":
                return NSGAIISampler(seed=seed, population_size=min(50, max(4, trials // 5)))
    raise ValueError(f"expected tpe, random, qmc, gp, cmaes or nsgaii, got {name!r}")


class _SortedQMCSampler(QMCSampler):
    """With coordinates in the order of the parameters' names, as other samplers have them.

    Optuna's follows the order in which the first trial was given its parameters, which JSON need not keep.
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space: dict[str, BaseDistribution] = super().infer_relative_search_space(study, trial)
        return dict(sorted(space.items()))


class _CommonCmaEsSampler(CmaEsSampler):
    """Over the parameters that every pruned trial has too.

    Optuna's infers the space from complete trials alone, and raises AssertionError where a pruned one, which it is
    asked to consider, lacks a conditional parameter.
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space: dict[str, BaseDistribution] = super().infer_relative_search_space(study, trial)
        common = IntersectionSearchSpace(include_pruned=True).calculate(study)
        return {name: distribution for name, distribution in space.items() if name in common}
