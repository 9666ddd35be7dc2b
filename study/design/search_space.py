"""What is searched in each arm: hyperparameters with ranges or choices, some of them under a condition."""

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
    "data.reference": "every trial of an arm learns from the same data",
    "data.recipe": "it only says where data comes from",
    "data.validation": "proposals are compared on one validation split",
    "data.test": "arms are compared on one test split",
    "target.quantity": "errors of different targets say nothing of each other",
    "target.orders": "errors of different targets say nothing of each other",
    "network.define": "a study is held to the source of the networks that its arms name",
    "training.epochs": "every proposal is given the same largest number of epochs",
}
"""Settings that cannot be searched, and why."""


def read_space(search: Search, factors: Iterable[str], matched: bool, arms: Sequence[Arm]) -> tuple[Parameter, ...]:
    """The parameters of `[search.space]`, each after those that its condition names; none with `search.define`.

    :param factors: dotted paths that the arms set.
    :param matched: whether arms are matched in size, by their hidden widths.
    :param arms: every one must take both ends of each range, and every choice.
    :raises StudyFileError: at `search.space.<path>`.
    """
    if bool(search.space) == (search.define is not None):
        came = "both" if search.space else "neither"
        raise StudyFileError("search", f'expected either [search.space] or define = "module:function", got {came}')
    if search.sampler == "cmaes" and len(search.objectives or ()) > 1:
        raise StudyFileError("search.sampler", "expected tpe, random, qmc, gp or nsgaii: cmaes takes one objective")
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


def apply(configuration: Configuration, settings: Mapping[str, Any]) -> Configuration:
    """The configuration with each setting made at its dotted path; validated and resolved.

    A table sets its keys and leaves the others, but at `network.hidden`, which it replaces: the irreps there are
    resolved ones.

    :raises StudyFileError: if a setting does not exist, or its value is refused.
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
    """Dotted path → value of everything that the arm sets, as conditions name them; levels as they were written."""
    return flatten(arm.configuration.to_dict()) | flatten(arm.factors)


def is_active(parameter: Parameter, values: Mapping[str, Any], proposed: Mapping[str, Any]) -> bool:
    """Whether the parameter's condition holds, over an arm's values (`arm_values`) and what is proposed so far."""
    if parameter.when is None:
        return True
    holds = parameter.when.evaluate({**values, **flatten(dict(proposed))})
    if not isinstance(holds, bool):
        raise TesseralError(f"expected a condition, true or false, got {holds!r} from {parameter.when.text!r}")
    return holds


def refusal(path: str, factors: Iterable[str], matched: bool) -> str | None:
    """Why the setting at `path` cannot be searched; None if it can."""
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
    """Dotted paths and what is written there: `"a.b" = …` and nested tables are the same."""
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
    """Each parameter after those that its condition names; else as they are written."""
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
