"""Optuna's samplers by name, made anew for every proposal: what they remember lies in the Optuna study alone.

So a study that is rebuilt from records goes on exactly as the one that was killed. Of the samplers of Optuna 5:

- TPE, random: nothing is kept but the trials.
- QMC: the index of the next point is a study attribute, whose key holds the scrambling seed: that seed stays the same.
- GP: kernel parameters are cached in the sampler alone, as a start for the next fit. A new sampler fits from the start.
- CMA-ES: its state is an attribute of the trial that was proposed when the last generation was complete: a pickle,
  which is opened without running anything that records could have been made to hold.
- NSGA-II: the generation is an attribute of each trial; parents are study attributes, by trial id. Those are the
  trials' numbers in an in-memory storage that holds one study.
"""

import io
import pickle
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace

from tesseral.study.errors import RecordError


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
                return _SafeCmaEsSampler(
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


class _SafeCmaEsSampler(CmaEsSampler):
    """Over the parameters that every pruned trial has too, its state unpickled under restrictions.

    Optuna's infers the space from complete trials alone, and raises AssertionError where a pruned one, which it is
    asked to consider, lacks a conditional parameter.
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space: dict[str, BaseDistribution] = super().infer_relative_search_space(study, trial)
        common = IntersectionSearchSpace(include_pruned=True).calculate(study)
        return {name: distribution for name, distribution in space.items() if name in common}

    def _restore_optimizer(self, completed_trials: list[optuna.trial.FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):  # the latest is the one that Optuna opens
            state = {key: text for key, text in trial.system_attrs.items() if key.startswith(self._attr_key_optimizer)}
            if state:
                _check_state(self._concat_optimizer_attrs(state), trial.number)
                break
        return super()._restore_optimizer(completed_trials)


def _check_state(state: str, number: int) -> None:
    """Refuse a pickled CMA-ES that is anything but one and its arrays, before Optuna opens it.

    :raises RecordError: if it names anything else.
    """
    try:
        _StateUnpickler(io.BytesIO(bytes.fromhex(state))).load()
    except RecordError:
        raise
    except Exception as error:  # noqa: BLE001 - a torn or foreign pickle can raise anything
        raise RecordError(f"the CMA-ES state of proposal {number} is damaged: {error}") from None


class _StateUnpickler(pickle.Unpickler):
    ADMITTED = frozenset(
        {
            ("cmaes._cma", "CMA"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ADMITTED:
            raise RecordError(
                f"expected a CMA-ES state of numbers alone in the search's records, it names {module}.{name}"
            )
        return super().find_class(module, name)
