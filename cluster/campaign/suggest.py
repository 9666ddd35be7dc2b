"""What a trial of Optuna is asked for: the parameters of the declared space, or a function of the user's own."""

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
"""Where a study file names a function."""

Ask = Callable[[optuna.Trial], dict[str, Any]]
"""From a trial of Optuna to settings: dotted path → value."""


def make_ask(arm: Arm, search: Search, space: Sequence[Parameter]) -> Ask:
    """How the settings of this arm are asked for.

    `search.define` names a function of Optuna's trial and of the arm's values (dotted path → value) that returns
    settings; parameters of the declared space are asked for in order, where their conditions hold.

    :raises StudyFileError: if `search.define` cannot be imported; what is returned raises `TesseralError` where the
        function does, or returns no dict.
    """
    values = arm_values(arm)
    if search.define is not None:
        return _user_ask(search.define, arm, values)

    def ask(trial: optuna.Trial) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for parameter in space:
            if is_active(parameter, values, settings):
                settings[parameter.path] = _suggest(trial, parameter)
        return settings

    return ask


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """The value that Optuna takes; lists and tables are JSON text to it."""
    path, log, step = parameter.path, parameter.log, parameter.step
    if parameter.kind == "categorical":
        choices = {canonical(one) if isinstance(one, list | dict) else one: one for one in parameter.choices}
        return choices[trial.suggest_categorical(path, list(choices))]
    low, high = parameter.ends
    if parameter.kind == "int":
        return trial.suggest_int(path, low, high, log=log, step=int(step or 1))
    return trial.suggest_float(path, low, high, log=log, step=step)


def _user_ask(name: str, arm: Arm, values: dict[str, Any]) -> Ask:
    function = load(name, DEFINE)

    def ask(trial: optuna.Trial) -> dict[str, Any]:
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

    return ask
