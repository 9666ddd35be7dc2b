"""The search space: hyperparameters with ranges or choices, some of them under a condition."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tesseral.study.configuration.configuration import Configuration, flatten
from tesseral.study.design.arm import Arm
from tesseral.study.design.parameter import KEYS, Parameter, read_parameter
from tesseral.study.design.study_file import Search
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.validation import validate

HIDDEN = "network.hidden"
FIXED = {
    "data.reference": "every trial of an arm is trained on the same data",
    "data.recipe": "it only says where data comes from",
    "data.validation": "proposals are compared on one validation split",
    "data.test": "arms are compared on one test split",
    "data.groups": "proposals are compared on one validation split",
    "data.split": "proposals are compared on one validation split",
    "data.tests": "arms are compared on one test split",
    "target.quantity": "errors of different targets cannot be compared",
    "target.orders": "errors of different targets cannot be compared",
    "network.define": "a study is bound to the source of the networks that its arms name",
    "training.epochs": "every proposal gets the same largest number of epochs",
    "training.steps": "every proposal gets the same largest number of epochs",
}
"""Setting that cannot be searched → why."""


def read_space(search: Search, factors: Iterable[str], matched: bool, arms: Sequence[Arm]) -> tuple[Parameter, ...]:
    """Read the parameters of `[search.space]`. Each comes after the parameters that its condition names.

    :param search: the table `[search]`. With `search.define` there are no parameters.
    :param factors: dotted paths that the arms set.
    :param matched: whether arms are matched in size, by their hidden widths.
    :param arms: arms of the study. Both ends of every range and every choice must be valid in all of them.
    :raises StudyFileError: at `search.space.<path>`, if a definition, a value or a condition is invalid.
    """
    if bool(search.space) == (search.define is not None):
        came = "both" if search.space else "neither"
        raise StudyFileError("search", f'expected either [search.space] or define = "module:function", got {came}')
    if search.sampler == "cmaes" and len(search.objectives or ()) > 1:
        raise StudyFileError(
            "search.sampler", "expected tpe, random, qmc, gp or nsgaii with several objectives; cmaes takes one only"
        )
    leaves = {path for arm in arms for path in arm_values(arm)}
    parameters: dict[str, Parameter] = {}
    for path, definition in _definitions(search.space, leaves):
        where = f"search.space.{path}"
        if path in parameters:
            raise StudyFileError(where, "expected one definition of this parameter, got two")
        parameters[path] = read_parameter(where, path, definition)
        _refuse(where, parameters[path], set(factors), matched)
    for parameter in parameters.values():
        for arm in arms:
            for value in parameter.ends:
                try:
                    apply(arm.configuration, {parameter.path: value})
                except StudyFileError as error:
                    raise StudyFileError(f"search.space.{parameter.path}", error.message) from None
    ordered = _order(parameters, leaves)
    for arm in arms:
        proposed: dict[str, Any] = {}
        for parameter in ordered:
            try:
                is_active(parameter, arm_values(arm), proposed)
            except TesseralError as error:
                raise StudyFileError(f"search.space.{parameter.path}.when", str(error)) from None
            proposed[parameter.path] = parameter.ends[0]
    return tuple(ordered)


def tunes(search: Search, path: str) -> bool:
    """Whether a search may propose a value of a setting, by itself or in tables to choose from.

    A user's own function may propose any.

    :param search: the table `[search]`, of a valid study.
    :param path: dotted path of the setting.
    """
    definitions = _definitions(search.space, set())
    own = (read_parameter(f"search.space.{name}", name, definition) for name, definition in definitions)
    return search.define is not None or any(path in parameter.touches for parameter in own)


def apply(configuration: Configuration, settings: Mapping[str, Any]) -> Configuration:
    """Return the configuration with settings applied, validated and resolved.

    A value that is a table sets its keys and leaves the others. Only `network.hidden` is replaced as a whole, because
    the irreps in a resolved configuration exclude the other keys.

    :param configuration: resolved or as written.
    :param settings: dotted path → value.
    :raises StudyFileError: if a setting does not exist, or its value is invalid.
    """
    tree = configuration.to_dict()
    for path, value in settings.items():
        *parents, last = path.split(".")
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise StudyFileError(path, f"expected the path of a setting, got {path!r}: {parent!r} holds a value")
        if isinstance(value, dict) and isinstance(table.get(last), dict) and path != HIDDEN:
            table[last] = table[last] | value
        else:
            table[last] = value
    return validate(Configuration, tree).resolved()


def arm_values(arm: Arm) -> dict[str, Any]:
    """Return the settings of an arm that conditions can name, by dotted path; levels as they were written.

    :param arm: the arm.
    """
    return flatten(arm.configuration.to_dict()) | flatten(arm.factors)


def is_active(parameter: Parameter, values: Mapping[str, Any], proposed: Mapping[str, Any]) -> bool:
    """Return whether the condition of a parameter holds.

    :param parameter: the parameter.
    :param values: settings of the arm, see `arm_values`.
    :param proposed: dotted path → value of the parameters that are proposed so far.
    :raises TesseralError: if the condition names an unknown setting, or is neither true nor false.
    """
    if parameter.when is None:
        return True
    holds = parameter.when.evaluate({**values, **flatten(dict(proposed))})
    if not isinstance(holds, bool):
        raise TesseralError(f"expected a condition, true or false, got {holds!r} from {parameter.when.text!r}")
    return holds


def refusal(path: str, factors: Iterable[str], matched: bool) -> str | None:
    """Return why the setting at `path` cannot be searched; None if it can.

    :param path: dotted path of the setting.
    :param factors: dotted paths of the factors.
    :param matched: whether some arm is matched in size.
    """
    path = "data.tests" if path.startswith("data.tests.") else path
    if path in FIXED:
        return FIXED[path]
    for factor in sorted(factors):
        hidden = path.startswith(HIDDEN) and factor.startswith(HIDDEN)
        if path == factor or hidden or path.startswith(f"{factor}.") or factor.startswith(f"{path}."):
            return f"arms differ in {factor}"
    if matched and path.startswith(HIDDEN):
        return "hidden widths are scaled to match the arms in size"
    return None


def _definitions(tree: dict[str, Any], leaves: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted paths and their definitions. `"a.b" = …` and nested tables are the same."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path not in leaves and not value.keys() & set(KEYS):
            yield from _definitions(value, leaves, f"{path}.")
        else:
            yield path, value


def _refuse(where: str, parameter: Parameter, factors: set[str], matched: bool) -> None:
    for path in sorted(parameter.touches):
        if reason := refusal(path, factors, matched):
            raise StudyFileError(where, f"expected another setting than {path}, which cannot be searched: {reason}")
    if parameter.path.startswith(f"{HIDDEN}.") and parameter.path != f"{HIDDEN}.irreps":
        raise StudyFileError(where, f"expected {HIDDEN}.irreps, or whole tables as choices of {HIDDEN}")


def _order(parameters: dict[str, Parameter], leaves: set[str]) -> list[Parameter]:
    """Sort parameters so that each comes after those that its condition names."""
    names = {path: set(p.when.names) if p.when else set() for path, p in parameters.items()}
    for path, wanted in names.items():
        for name in sorted(wanted - parameters.keys() - leaves):
            close = difflib.get_close_matches(name, [*parameters, *leaves], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise StudyFileError(
                f"search.space.{path}.when", f"expected names of settings or of other parameters, got {name!r}{hint}"
            )
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        ready = next((path for path in waiting if not names[path] & set(waiting)), None)
        if ready is None:
            raise StudyFileError(
                f"search.space.{waiting[0]}.when", f"conditions depend on each other: {', '.join(waiting)}"
            )
        waiting.remove(ready)
        ordered.append(parameters[ready])
    return ordered
