"""Factors and levels to arms: what is compared with what."""

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from tesseral.study.configuration import Configuration, flatten
from tesseral.study.errors import StudyFileError
from tesseral.study.trial import canonical, digest
from tesseral.study.validation import validate


@dataclass(frozen=True)
class Arm:
    """One level of each factor, and the configuration that it makes.

    Arms that resolve to one configuration are one arm, with all their labels.
    """

    labels: tuple[str, ...]
    factors: dict[str, Any]
    """Dotted path → level (of the first label)."""
    configuration: Configuration
    """Resolved."""

    @property
    def label(self) -> str:
        """All labels, joined by ' = '."""
        return " = ".join(self.labels)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits of the label: a name that any storage takes."""
        return digest(self.label)[:12]


def factor_levels(tree: dict[str, Any]) -> dict[str, list[Any]]:
    """`[factors]` as dotted paths to lists of levels; both `"a.b" = […]` and `a.b = […]` are read.

    :raises StudyFileError: if a factor is no list, is empty, or holds a level twice.
    """
    factors = flatten(tree)
    for path, levels in factors.items():
        where = f"factors.{path}"
        if not isinstance(levels, list):
            raise StudyFileError(where, f"expected a list of levels such as [0, 1, 2], got {levels!r}")
        if not levels:
            raise StudyFileError(where, "expected at least one level, got an empty list; leave the factor out instead")
        _refuse_twice(where, "level", levels)
    return factors


def factorial(factors: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of levels; the last factor varies fastest."""
    return [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]


def make_arms(base: dict[str, Any], combinations: list[dict[str, Any]], where: list[str], file: str) -> list[Arm]:
    """Arms of a study: `base` (a configuration tree) with each combination of levels set in it.

    :param where: for each combination, the place in the study file that errors name.
    :raises StudyFileError: if an arm is written twice, or its configuration is not valid.
    """
    _refuse_twice("arms", "arm", combinations)
    names = _short_names({path for levels in combinations for path in levels})
    arms: dict[str, Arm] = {}
    for place, levels in zip(where, combinations, strict=True):
        tree = copy.deepcopy(base)
        for path, level in levels.items():
            _set(tree, path, level)
        try:
            configuration = validate(Configuration, tree, file).resolved()
        except StudyFileError as error:
            raise StudyFileError(_blame(error.path, levels, place), error.message, file) from None
        label = ", ".join(f"{names[path]}={_text(level)}" for path, level in levels.items()) or "all"
        key = canonical(configuration.to_dict())
        same = arms.get(key)
        arms[key] = (
            Arm((*same.labels, label), same.factors, configuration) if same else Arm((label,), levels, configuration)
        )
    return list(arms.values())


def _blame(path: str, levels: dict[str, Any], place: str) -> str:
    """The place in the study file for an error at `path`: the factor that set it, or the path itself."""
    for factor in levels:
        if path == factor or path.startswith((f"{factor}.", f"{factor}[")) or factor.startswith(f"{path}."):
            return f"{place}.{factor}"
    return path


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise StudyFileError(f"factors.{path}", f"expected a table at {parent!r}, which holds a value")
    if isinstance(value, dict) and isinstance(tree.get(last), dict):
        tree[last] |= value  # a level that is a table sets its keys and leaves the others
    else:
        tree[last] = value


def _refuse_twice(where: str, what: str, values: Iterable[Any]) -> None:
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        first = seen.setdefault(json.dumps(value, sort_keys=True, default=str), index)
        if first != index:
            raise StudyFileError(f"{where}[{index}]", f"{what} {_text(value)} is written twice, first at [{first}]")


def _short_names(factors: set[str]) -> dict[str, str]:
    """The shortest endings of dotted paths that tell them apart: network.hidden.lmax becomes lmax, loss.name loss."""
    names = {}
    paths = {path: path.removesuffix(".name") for path in factors}
    for path, shown in paths.items():
        parts = shown.split(".")
        for keep in range(1, len(parts) + 1):
            ending = ".".join(parts[-keep:])
            if sum(other == ending or other.endswith("." + ending) for other in paths.values()) == 1:
                break
        names[path] = ending
    return names


def _text(level: Any) -> str:
    if isinstance(level, dict):
        return "{" + ", ".join(f"{key}={_text(value)}" for key, value in level.items()) + "}"
    if isinstance(level, list):
        return "[" + ",".join(_text(value) for value in level) + "]"
    return str(level)
