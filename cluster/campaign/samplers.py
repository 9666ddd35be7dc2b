"""Optuna's samplers by name. Each proposal gets a new sampler, so all memory lies in the Optuna study.

A study that is rebuilt from its records therefore continues exactly as the study that was killed would have. What the
samplers of Optuna 5 remember, and where:

- TPE, random: nothing but the trials.
- QMC: the index of the next point, in a study attribute. Its key contains the scrambling seed, so that seed is fixed.
- GP: kernel parameters, cached in the sampler as the start of the next fit. A new sampler fits from the default start.
- CMA-ES: its state, pickled into an attribute of the trial that was proposed when the last generation was complete.
  It is unpickled under restrictions, because records could have been made to hold anything.
- NSGA-II: the generation, in an attribute of each trial; the parents, in study attributes by trial id. In an in-memory
  storage that holds one study, ids equal the trials' numbers.
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
    """Make a sampler for one proposal.

    :param name: tpe, random, qmc, gp, cmaes or nsgaii.
    :param seed: the proposal's own seed.
    :param sequence_seed: the search's seed. It scrambles the points of qmc, which form one sequence over all proposals.
    :param trials: the search's budget. NSGA-II's population is a fifth of it (4 to 50); with Optuna's default of 50,
        a budget of 50 or less would be random search.
    """
    seed, sequence_seed = seed % 2**32, sequence_seed % 2**32  # the range of NumPy's RandomState
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
    """QMC with coordinates in the order of the parameters' names, as in the other samplers.

    Optuna's own order is that in which the first trial suggested its parameters. A record in JSON need not keep it.
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space: dict[str, BaseDistribution] = super().infer_relative_search_space(study, trial)
        return dict(sorted(space.items()))


class _SafeCmaEsSampler(CmaEsSampler):
    """CMA-ES over the parameters that all complete and pruned trials share; its state is unpickled under restrictions.

    Optuna infers the space from complete trials alone. With pruned trials considered too, it then raises
    AssertionError where one of them lacks a conditional parameter.
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space: dict[str, BaseDistribution] = super().infer_relative_search_space(study, trial)
        common = IntersectionSearchSpace(include_pruned=True).calculate(study)
        return {name: distribution for name, distribution in space.items() if name in common}

    def _restore_optimizer(self, completed_trials: list[optuna.trial.FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):  # Optuna restores the latest state only
            state = {key: text for key, text in trial.system_attrs.items() if key.startswith(self._attr_key_optimizer)}
            if state:
                _check_state(self._concat_optimizer_attrs(state), trial.number)
                break
        return super()._restore_optimizer(completed_trials)


def _check_state(state: str, number: int) -> None:
    """Reject a pickled state that holds anything but a CMA-ES optimiser and its arrays, before Optuna unpickles it.

    :param state: the pickle as hexadecimal text.
    :raises RecordError: if it is damaged, or names any other class or function.
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
                f"expected a CMA-ES state of numbers only in the search's records; it names {module}.{name}"
            )
        return super().find_class(module, name)
