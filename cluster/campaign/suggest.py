"""How one trial gets its hyperparameters from Optuna: by the declared search space, or by a user's function."""

from collections.abc import Callable, Sequence
from typing import Any

import optuna

from tesseral.study.configuration.configuration import flatten
from tesseral.study.configuration.trial import canonical
from tesseral.study.design.arm import Arm
from tesseral.study.design.parameter import Parameter
from tesseral.study.design.search_space import arm_values, is_active, refusal
from tesseral.study.design.study_file import Search
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.user_function import load

DEFINE = "search.define"
"""The key by which a study file names its own suggest function."""

Suggest = Callable[[optuna.Trial], dict[str, Any]]
"""Takes an Optuna trial and returns the settings that it suggests: dotted path → value."""


def make_suggest(arm: Arm, search: Search, space: Sequence[Parameter]) -> Suggest:
    """Make the function that suggests the settings of this arm.

    Parameters of the declared space are suggested in order, each where its condition holds. `search.define` replaces
    them by a user's function of the Optuna trial and the arm's values (dotted path → value), which returns settings.

    :param arm: the arm that is searched.
    :param search: `[search]`.
    :param space: from `read_space`; not used with `search.define`.
    :returns: a function that raises `TesseralError` if the user's function raises, returns something other than a dict
        of dotted paths, or sets what cannot be searched.
    :raises StudyFileError: if `search.define` cannot be imported.
    """
    values = arm_values(arm)
    if search.define is not None:
        return _user_suggest(search.define, arm, values)

    def suggest(trial: optuna.Trial) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for parameter in space:
            if is_active(parameter, values, settings):
                settings[parameter.path] = _suggest_parameter(trial, parameter)
        return settings

    return suggest


def _suggest_parameter(trial: optuna.Trial, parameter: Parameter) -> Any:
    """One value. Optuna stores only numbers, text and booleans, so it sees lists and tables as JSON text."""
    path, log, step = parameter.path, parameter.log, parameter.step
    if parameter.kind == "categorical":
        choices = {
            canonical(choice) if isinstance(choice, list | dict) else choice: choice for choice in parameter.choices
        }
        return choices[trial.suggest_categorical(path, list(choices))]
    low, high = parameter.ends
    if parameter.kind == "int":
        return trial.suggest_int(path, low, high, log=log, step=int(step or 1))
    return trial.suggest_float(path, low, high, log=log, step=step)


def _user_suggest(name: str, arm: Arm, values: dict[str, Any]) -> Suggest:
    function = load(name, DEFINE)

    def suggest(trial: optuna.Trial) -> dict[str, Any]:
        try:
            settings = function(trial, dict(values))
        except Exception as error:
            raise TesseralError(
                f"search.define: {name} raised {type(error).__name__} in arm {arm.label!r}: {error}"
            ) from error
        if not isinstance(settings, dict) or not all(isinstance(path, str) for path in settings):
            raise TesseralError(
                f"search.define: expected {name} to return a dict of dotted path → value, got {settings!r}"
            )
        for path in flatten(settings):
            if reason := refusal(path, flatten(arm.factors), matched=False):
                raise TesseralError(f"search.define: {name} sets {path}, which cannot be searched: {reason}")
        return settings

    return suggest
