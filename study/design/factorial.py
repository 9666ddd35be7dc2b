"""Designs: from factors and levels to the arms of a study."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from tesseral.study.configuration.configuration import flatten
from tesseral.study.design.arm import Arm, DesignPoint, Excluded, Levels, assemble
from tesseral.study.design.fractional import describe, fraction
from tesseral.study.design.labels import label, short_names, text_of
from tesseral.study.design.study_file import Design
from tesseral.study.errors import StudyFileError, TesseralError

MOST_ARMS = 10_000
"""Largest number of arms of a study."""


@dataclass(frozen=True)
class Designed:
    """Arms of a study, arms that conditions leave out, and lines about the design for `tesseral plan`."""

    arms: tuple[Arm, ...]
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]


def make_design(
    base: dict[str, Any], factors: dict[str, Any], arms: Sequence[dict[str, Any]], design: Design, by: str, file: str
) -> Designed:
    """Make the arms of a study from its factors, or from arms that are written out.

    :param base: the tables of the configuration, as written.
    :param factors: `[factors]`, as written.
    :param arms: `[[arms]]`, as written.
    :param design: `[design]`.
    :param by: `match.by` of the study, for arms without a level of it.
    :param file: name of the study file, for errors.
    :raises StudyFileError: if levels, arms or the design are invalid, or no arm is left.
    """
    if len(arms) > MOST_ARMS:
        raise StudyFileError("arms", f"expected at most {MOST_ARMS:,} arms, got {len(arms):,}")
    levels = factor_levels(factors)
    _check_design(design, bool(levels), bool(arms))
    if arms:
        written = [flatten(arm) for arm in arms]
        _refuse_twice("arms", "arm", written)
        names = short_names(dict.fromkeys(path for one in written for path in one))
        labels = [label(one, names, {}) for one in written]
        places = [f"arms[{index}]" for index in range(len(written))]
        points = [DesignPoint(*each) for each in zip(labels, written, places, strict=True)]
        notes: list[str] = []
    else:
        points, notes = _from_factors(levels, design)
    left, excluded = assemble(base, points, design.where, by, file)
    if not left:
        raise StudyFileError("design.where", f"expected conditions that leave an arm, got {list(design.where)}")
    if excluded and design.kind in ("one-factor-out", "one-factor-in") and excluded[0].label == points[0].label:
        raise StudyFileError(
            excluded[0].where, "expected a condition that the baseline meets, because the other arms are made from it"
        )
    return Designed(tuple(left), tuple(excluded), tuple(notes))


def factor_levels(tree: dict[str, Any]) -> dict[str, list[Any]]:
    """Return `[factors]` as dotted path → levels. Both `"a.b" = […]` and `a.b = […]` are accepted.

    :param tree: `[factors]`, as written.
    :raises StudyFileError: if a factor is not a list, is empty, or holds a level twice.
    """
    factors = flatten(tree)
    for path, levels in factors.items():
        where = f"factors.{path}"
        if not isinstance(levels, list):
            raise StudyFileError(where, f"expected a list of levels such as [0, 1, 2], got {levels!r}")
        if not levels:
            raise StudyFileError(where, "expected at least one level, got an empty list; leave the factor out instead")
        if len(levels) > MOST_ARMS:
            raise StudyFileError(where, f"expected at most {MOST_ARMS:,} levels, got {len(levels):,}")
        _refuse_twice(where, "level", levels)
    return factors


def factorial(factors: dict[str, list[Any]]) -> list[Levels]:
    """Return every combination of levels; the last factor varies fastest.

    :param factors: dotted path → levels.
    """
    return [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]


def one_factor(factors: dict[str, list[Any]], baseline: int) -> list[tuple[str | None, Levels]]:
    """Return the baseline, then each other level of one factor at a time.

    :param factors: dotted path → levels.
    :param baseline: index of the level of every factor that the baseline has.
    :returns: for each combination, the path of the factor that differs from the baseline, and the levels.
    """
    start = {path: levels[baseline] for path, levels in factors.items()}
    others = ((path, level) for path, levels in factors.items() for level in levels if level is not levels[baseline])
    return [(None, start)] + [(path, start | {path: level}) for path, level in others]


def _check_design(design: Design, factors: bool, arms: bool) -> None:
    if arms and factors:
        raise StudyFileError("arms", "expected either [factors] or [[arms]], got both")
    if design.kind != "factorial" and not factors:
        raise StudyFileError("design.kind", f"expected [factors] with the kind {design.kind!r}, got none")
    if design.kind != "fractional":
        for key in ("runs", "resolution"):
            if getattr(design, key) is not None:
                raise StudyFileError(
                    f"design.{key}", f"expected none with the kind {design.kind!r}; only fractional designs take it"
                )
    elif design.where:
        raise StudyFileError(
            "design.where",
            "expected no conditions with the kind 'fractional': without some of its arms, its effects would be aliased",
        )


def _from_factors(factors: dict[str, list[Any]], design: Design) -> tuple[list[DesignPoint], list[str]]:
    names = short_names(factors)

    def named(levels: Levels) -> str:
        return label(levels, names, factors)

    if design.kind in ("one-factor-out", "one-factor-in"):
        if (number := 1 + sum(len(each) - 1 for each in factors.values())) > MOST_ARMS:
            raise StudyFileError("factors", f"expected at most {MOST_ARMS:,} arms, got {number:,}")
        made = one_factor(factors, 0 if design.kind == "one-factor-out" else -1)
        points = [
            DesignPoint("baseline" if path is None else named({path: levels[path]}), levels, "factors")
            for path, levels in made
        ]
        return points, [f"baseline: {named(made[0][1])}"]
    if design.kind == "fractional":
        combinations, notes = _fractional(factors, design, [names[path] for path in factors])
    elif (number := prod(map(len, factors.values()))) > MOST_ARMS:
        raise StudyFileError("factors", f"expected at most {MOST_ARMS} combinations of levels, got {number}")
    else:
        combinations, notes = factorial(factors), []
    return [DesignPoint(named(levels), levels, "factors") for levels in combinations], notes


def _fractional(factors: dict[str, list[Any]], design: Design, names: list[str]) -> tuple[list[Levels], list[str]]:
    for path, levels in factors.items():
        if len(levels) != 2:
            raise StudyFileError(f"factors.{path}", f"expected two levels in a fractional design, got {len(levels)}")
    try:
        made = fraction(len(factors), design.runs, design.resolution)
    except TesseralError as error:
        raise StudyFileError("design.runs" if design.runs else "design", str(error)) from None
    rows = [
        {path: levels[sign > 0] for sign, (path, levels) in zip(row, factors.items(), strict=True)}
        for row in made.levels
    ]
    return rows, describe(made, names)


def _refuse_twice(where: str, what: str, values: Iterable[Any]) -> None:
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        first = seen.setdefault(json.dumps(value, sort_keys=True, default=str), index)
        if first != index:
            raise StudyFileError(
                f"{where}[{index}]", f"{what} {text_of(value)} is written twice, first as entry {first + 1}"
            )
