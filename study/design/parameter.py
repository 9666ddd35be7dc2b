"""A hyperparameter of a search: the setting that it sets, and the values that it can take."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from math import prod
from typing import Any, Literal

from tesseral.study.configuration.configuration import flatten
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.expression import Expression
from tesseral.study.parsing.section import Section
from tesseral.study.parsing.validation import validate

MOST_STEPS = 1_000_000
"""Most values of a hyperparameter with a step."""


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter: the dotted path that it sets, and the values that it can take."""

    path: str
    kind: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    """Both ends are included."""
    log: bool = False
    """Whether it is sampled uniformly in the logarithm."""
    step: float | None = None
    choices: tuple[Any, ...] = ()
    """Values of a categorical parameter, which may be lists and tables."""
    when: Expression | None = None
    """Condition under which it is proposed; otherwise the arm's own value stays."""

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every choice, or the two ends of the range. If these are valid, so are all values."""
        return self.choices or (self.low, self.high)

    @property
    def count(self) -> int | None:
        """Number of values that it can take; None if it is continuous."""
        if self.choices:
            return len(self.choices)
        low, high = Decimal(str(self.low)), Decimal(str(self.high))
        if low == high:
            return 1
        step = self.step or (1 if self.kind == "int" else None)
        return None if step is None else int((high - low) / Decimal(str(step))) + 1

    @property
    def touches(self) -> set[str]:
        """Dotted paths of the settings that it sets: several if its choices are tables."""
        return {path for choice in self.ends for path in flatten({self.path: choice})}


@dataclass(frozen=True, kw_only=True)
class Definition(Section):
    """How `[search.space]` defines a parameter: by `low` and `high`, or by `choices`."""

    low: int | float | None = None
    """Lower end of the range, included."""
    high: int | float | None = None
    """Upper end of the range, included."""
    log: bool = False
    """Sample uniformly in the logarithm. `low` must then be greater than 0, and there can be no `step`."""
    step: int | float | None = None
    """Distance between neighbouring values, counted from `low`. `high` must be a whole number of steps above `low`."""
    choices: tuple[Any, ...] | None = None
    """The values of a categorical parameter, each once."""
    when: str | None = None
    """Condition under which the parameter is proposed, such as `network.interaction == "mace"`. Where it does not hold,
    the arm keeps its own value."""


KEYS = tuple(item.name for item in fields(Definition))
"""Keys of a table that defines a parameter."""


def cardinality(parameters: Sequence[Parameter]) -> int | None:
    """Return the number of distinct points of the space; None if a parameter is continuous or conditional.

    :param parameters: all parameters of the space.
    """
    counts = [parameter.count for parameter in parameters if parameter.when is None]
    known = [count for count in counts if count is not None]
    return prod(known) if len(known) == len(parameters) > 0 else None


def read_parameter(where: str, path: str, written: Any) -> Parameter:
    """Read the definition of a parameter: a list of choices, or a table with some of `KEYS`.

    A range is of integers if `low`, `high` and `step` are integers, else of floats. Numeric choices become floats if
    one of them is a float.

    :param where: dotted path of the definition, for errors.
    :param path: dotted path of the setting.
    :param written: the definition, as `tomllib` reads it.
    :raises StudyFileError: if it is neither a list nor such a table, or contradicts itself.
    """
    if isinstance(written, list):
        written = {"choices": written}
    if not isinstance(written, dict):
        raise StudyFileError(
            where, f"expected choices such as [2, 4, 8], or {{ low = 1, high = 8 }}, got {json.dumps(written)}"
        )
    try:
        given = validate(Definition, written)
    except StudyFileError as error:
        raise StudyFileError(f"{where}.{error.path}" if error.path else where, error.message) from None
    try:
        when = Expression(given.when) if given.when is not None else None
    except TesseralError as error:
        raise StudyFileError(f"{where}.when", str(error)) from None
    if given.choices is not None:
        if written.keys() - {"choices", "when"}:
            raise StudyFileError(where, "expected either choices, or low and high, got both")
        return Parameter(path, "categorical", choices=_choices(where, given.choices), when=when)
    if given.low is None or given.high is None:
        raise StudyFileError(where, f"expected both low and high, or choices, got {json.dumps(written)}")
    _check_range(where, given.low, given.high, given.log, given.step)
    if all(isinstance(number, int) for number in (given.low, given.high, given.step or 1)):
        return Parameter(path, "int", given.low, given.high, given.log, given.step, when=when)
    step = None if given.step is None else float(given.step)
    return Parameter(path, "float", float(given.low), float(given.high), given.log, step, when=when)


def _choices(where: str, choices: tuple[Any, ...]) -> tuple[Any, ...]:
    if not choices:
        raise StudyFileError(where, "expected at least one choice, got an empty list")
    if all(type(choice) in (int, float) for choice in choices) and any(isinstance(c, float) for c in choices):
        choices = tuple(float(choice) for choice in choices)
    for index, choice in enumerate(choices):
        if choice in choices[:index]:
            raise StudyFileError(where, f"choice {json.dumps(choice)} is written twice")
    return choices


def _check_range(where: str, low: float, high: float, log: bool, step: float | None) -> None:
    if low > high:
        raise StudyFileError(where, f"expected low to be at most high, got {low} and {high}")
    if log and low <= 0:
        raise StudyFileError(where, f"expected low to be greater than 0 with log = true, got {low}")
    if log and step is not None:
        raise StudyFileError(where, "expected either log = true or a step, got both")
    if step is not None:
        if step <= 0:
            raise StudyFileError(where, f"expected a step greater than 0, got {step}")
        if (high - low) / step > MOST_STEPS:
            raise StudyFileError(where, f"expected at most {MOST_STEPS:,} steps from low to high, got a step of {step}")
        rest = (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))
        if rest:
            raise StudyFileError(
                where, f"expected high to be whole steps above low, such as {Decimal(str(high)) - rest}, got {high}"
            )
