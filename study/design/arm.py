"""Arms: the levels of each factor set in the study's configuration, under the conditions of `design.where`."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tesseral.study.configuration.configuration import Configuration, flatten
from tesseral.study.configuration.trial import canonical, digest
from tesseral.study.design.study_file import Match
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.expression import Expression
from tesseral.study.parsing.validation import validate

Levels = dict[str, Any]
"""Dotted path → level."""


@dataclass(frozen=True)
class Arm:
    """One level of each factor, and the configuration that has them.

    Design points with equal resolved configurations and equal matching are one arm, with all their labels.
    """

    labels: tuple[str, ...]
    factors: dict[str, Any]
    """Dotted path → level, of the design point of the first label."""
    configuration: Configuration
    """Resolved, at its natural widths: those of the study file."""
    match: str = "none"
    """The size in which it is matched to other arms: `match.by`, or the arm's level of it."""

    @property
    def label(self) -> str:
        """All labels, joined by ' = '."""
        return " = ".join(self.labels)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits of the label's hash: a name that every storage accepts."""
        return digest(self.label)[:12]


@dataclass(frozen=True)
class Excluded:
    """An arm that a condition in `design.where` leaves out."""

    label: str
    condition: str
    where: str
    """Dotted path of the condition."""


@dataclass(frozen=True)
class DesignPoint:
    """A combination of levels that the design asks for. It becomes an arm if every condition admits it."""

    label: str
    levels: Levels
    place: str
    """Where the study file asks for it: `factors` or `arms[<index>]`."""


def assemble(
    base: dict[str, Any], points: list[DesignPoint], where: Sequence[str], by: str, file: str
) -> tuple[list[Arm], list[Excluded]]:
    """Turn design points into arms: leave out those that a condition excludes, and join equal ones.

    :param base: the configuration's tables, as written.
    :param points: one combination of levels for each arm.
    :param where: conditions; their names are dotted paths of factors, or of the configuration as written.
    :param by: `match.by` of the study, for points that have no level of it.
    :param file: what error messages call the study file.
    :raises StudyFileError: if a condition cannot be read, or an arm's configuration is not valid.
    """
    conditions = [(f"design.where[{index}]", _expression(index, text)) for index, text in enumerate(where)]
    paths = dict.fromkeys(path for point in points for path in point.levels)
    arms: dict[str, Arm] = {}
    excluded = []
    for point in points:
        label, levels, place = point.label, point.levels, point.place
        try:
            written, match = _configure(base, levels, by, file)
            values = paths | flatten(written.to_dict()) | {"match.by": match} | levels
            broken = next((each for each in conditions if not _holds(*each, values)), None)
            if broken is not None:
                excluded.append(Excluded(label, broken[1].text, broken[0]))
                continue
            configuration = written.resolved()
        except StudyFileError as error:
            raise StudyFileError(_blame(error.path, levels, place), error.message, file) from None
        key = canonical({"configuration": configuration.to_dict(), "match": match})
        same = arms.get(key)
        labels, factors = ((*same.labels, label), same.factors) if same else ((label,), levels)
        arms[key] = Arm(labels, factors, configuration, match)
    return list(arms.values()), excluded


def _configure(base: dict[str, Any], levels: Levels, by: str, file: str) -> tuple[Configuration, str]:
    """The configuration with `levels` set in it, as written, and the size in which it is matched."""
    tree = copy.deepcopy(base) | {"match": {"by": by}}
    for path, level in levels.items():
        _set(tree, path, level)
    match = tree.pop("match")
    if not isinstance(match, dict) or set(match) != {"by"}:
        raise StudyFileError("match", "expected a setting of a trial, or match.by alone, as a factor")
    if match["by"] != by:
        try:
            by = validate(Match, match).by
        except StudyFileError as error:
            raise StudyFileError(f"match.{error.path}", error.message) from None
    return validate(Configuration, tree, file), by


def _expression(index: int, text: str) -> Expression:
    try:
        return Expression(text)
    except TesseralError as error:
        raise StudyFileError(f"design.where[{index}]", str(error)) from None


def _holds(where: str, condition: Expression, values: dict[str, Any]) -> bool:
    try:
        holds = condition.evaluate(values)
    except TesseralError as error:
        raise StudyFileError(where, str(error)) from None
    if not isinstance(holds, bool):
        raise StudyFileError(where, f"expected a condition, true or false, got {holds!r} from {condition.text!r}")
    return holds


def _blame(path: str, levels: Levels, place: str) -> str:
    """Where the study file causes an error at `path`: the factor that set it, or the path itself."""
    for factor in levels:
        if path == factor or path.startswith((f"{factor}.", f"{factor}[")) or factor.startswith(f"{path}."):
            return f"{place}.{factor}"
    return path


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise StudyFileError(path, f"expected a table at {parent!r}, which holds a value")
    if isinstance(value, dict) and isinstance(tree.get(last), dict):
        tree[last] |= value  # a level that is a table sets its keys and leaves the others
    else:
        tree[last] = copy.deepcopy(value)  # another factor may set a key in it
