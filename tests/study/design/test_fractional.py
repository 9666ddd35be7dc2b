"""Fractional factorial designs against the tables of the textbooks, and aliases against the columns themselves."""

from collections import Counter
from itertools import combinations
from math import prod

import pytest

from tesseral.study.design.fractional import Fraction, describe, effect_name, fraction, letters_of, roman
from tesseral.study.errors import TesseralError

BOX_HUNTER_HUNTER = [
    (3, 4, "III", {3: 1}),
    (4, 8, "IV", {4: 1}),
    (5, 16, "V", {5: 1}),
    (5, 8, "III", {3: 2, 4: 1}),
    (6, 16, "IV", {4: 3}),
    (6, 8, "III", {3: 4, 4: 3}),
    (7, 64, "VII", {7: 1}),
    (7, 32, "IV", {4: 1, 5: 2}),
    (7, 16, "IV", {4: 7}),
    (7, 8, "III", {3: 7, 4: 7, 7: 1}),
    (8, 64, "V", {5: 2, 6: 1}),
    (8, 32, "IV", {4: 3, 5: 4}),
    (8, 16, "IV", {4: 14, 8: 1}),
    (9, 128, "VI", {6: 3}),
]
"""Factors, runs, resolution, how many words of each length (Montgomery, appendix X; least aberration)."""

CHEN_SUN_WU = [
    (9, 64, "IV", (0, 1)),
    (9, 32, "IV", (0, 6)),
    (9, 16, "III", (4, 14)),
    (10, 128, "V", (0, 0)),
    (10, 64, "IV", (0, 2)),
    (10, 32, "IV", (0, 10)),
    (10, 16, "III", (8, 18)),
    (11, 128, "V", (0, 0)),
    (11, 64, "IV", (0, 4)),
    (11, 32, "IV", (0, 25)),
    (11, 16, "III", (12, 26)),
    (12, 256, "VI", (0, 0)),
    (12, 128, "IV", (0, 1)),
    (12, 64, "IV", (0, 6)),
    (12, 32, "IV", (0, 38)),
    (12, 16, "III", (16, 39)),
]
"""Factors, runs, resolution, words of length 3 and 4 of the design of least aberration (Int. Stat. Rev. 61, 131)."""


def word_lengths(design: Fraction) -> Counter[int]:
    """The word-length pattern of the textbooks: length → number of words."""
    return Counter(word.bit_count() for word in design.words)


@pytest.mark.parametrize(("factors", "runs", "resolution", "lengths"), BOX_HUNTER_HUNTER)
def test_the_textbook_table(factors, runs, resolution, lengths):
    design = fraction(factors, runs=runs)
    assert design.runs == len(design.levels) == runs
    assert roman(design.resolution) == resolution
    assert word_lengths(design) == lengths
    assert len(design.words) == 2 ** (factors - design.base) - 1


@pytest.mark.parametrize(("factors", "runs", "resolution", "short_words"), CHEN_SUN_WU)
def test_least_aberration_of_large_designs(factors, runs, resolution, short_words):
    design = fraction(factors, runs=runs)
    assert roman(design.resolution) == resolution
    assert (word_lengths(design)[3], word_lengths(design)[4]) == short_words


def test_the_half_fraction_by_hand():
    design = fraction(3, runs=4)
    assert design.levels == [(-1, -1, 1), (-1, 1, -1), (1, -1, -1), (1, 1, 1)]
    assert [letters_of(word) for word in design.words] == ["ABC"]
    saturated = fraction(7, runs=8)
    assert [letters_of(word) for word in saturated.generators] == ["AB", "AC", "BC", "ABC"]
    assert fraction(2, runs=4).levels == [(-1, -1), (-1, 1), (1, -1), (1, 1)]


@pytest.mark.parametrize(("factors", "runs"), [(*row[:2],) for row in BOX_HUNTER_HUNTER + CHEN_SUN_WU])
def test_columns_are_balanced_and_orthogonal_and_the_fraction_principal(factors, runs):
    design = fraction(factors, runs=runs)
    columns = list(zip(*design.levels, strict=True))
    assert len(set(design.levels)) == runs
    assert {level for column in columns for level in column} == {-1, 1}
    assert all(sum(column) == 0 for column in columns)
    for one, other in combinations(columns, 2):
        assert sum(a * b for a, b in zip(one, other, strict=True)) == 0
    for word in design.words:
        chosen = [column for index, column in enumerate(columns) if word >> index & 1]
        assert all(prod(row) == 1 for row in zip(*chosen, strict=True))


def aliases_of_columns(design: Fraction) -> set[frozenset[int]]:
    """Effects whose columns are equal up to sign, from the runs alone."""
    groups: dict[tuple[int, ...], set[int]] = {}
    for order in (1, 2):
        for chosen in combinations(range(design.factors), order):
            column = tuple(prod(row[index] for index in chosen) for row in design.levels)
            key = max(column, tuple(-level for level in column))
            groups.setdefault(key, set()).add(sum(1 << index for index in chosen))
    return {frozenset(group) for group in groups.values() if len(group) > 1}


@pytest.mark.parametrize(("factors", "runs"), [(k, 2**m) for k in range(2, 10) for m in range(k.bit_length(), k + 1)])
def test_aliases_are_those_of_the_columns(factors, runs):
    design = fraction(factors, runs=runs)
    assert {frozenset(group) for group in design.aliases} == aliases_of_columns(design)
    for group in design.aliases:
        assert [word.bit_count() for word in group] == sorted(word.bit_count() for word in group)
    mains = {word for group in design.aliases for word in group if word.bit_count() == 1}
    assert bool(mains) == (design.resolution == 3)


def test_the_smallest_of_a_resolution():
    assert fraction(7, resolution=3).runs == 8
    assert fraction(7, resolution=4).runs == 16
    assert fraction(5, resolution=5).runs == 16
    assert fraction(5, resolution=4).runs == 16  # 2^(5-2) has III alone
    assert fraction(8, resolution=5).runs == 64
    full = fraction(3, resolution=4)
    assert (full.runs, full.resolution, full.aliases) == (8, None, [])


def test_what_plan_prints():
    lines = describe(fraction(3, runs=4), ["lmax", "layers", "loss"])
    assert lines == [
        "2^(3-1) fraction of resolution III: 4 of 8 combinations",
        "factors, each from its first level (−) to its second (+): A lmax, B layers, C loss",
        "generator C = AB: loss = lmax × layers",
        "defining relation: I = ABC",
        "lmax is aliased with layers × loss",
        "layers is aliased with lmax × loss",
        "loss is aliased with lmax × layers",
    ]
    names = ["a", "b", "c", "d", "e"]
    assert (
        describe(fraction(5, runs=16), names)[-1] == "no main effect or two-factor interaction is aliased with another"
    )
    assert describe(fraction(5, runs=32), names) == ["full factorial of 5 factors in 32 runs: nothing is aliased"]
    (relation,) = (
        line for line in describe(fraction(12, runs=16), list("abcdefghijkl")) if line.startswith("defining")
    )
    assert "(240 longer words)" in relation
    assert effect_name(0b101, names) == "a × c"


@pytest.mark.parametrize(
    ("factors", "settings", "words"),
    [
        (5, {}, ["exactly one", "neither", "8 (III), 16 (V), 32 (full)"]),
        (5, {"runs": 8, "resolution": 3}, ["exactly one", "both", "8 (III)"]),
        (5, {"runs": 12}, ["12 runs", "8 (III), 16 (V), 32 (full)"]),
        (5, {"runs": 4}, ["4 runs", "8 (III)"]),
        (5, {"runs": 64}, ["64 runs"]),
        (13, {"runs": 16}, ["2 to 12 factors", "got 13"]),
        (1, {"runs": 2}, ["2 to 12 factors", "got 1"]),
    ],
)
def test_what_cannot_be_had_is_said(factors, settings, words):
    with pytest.raises(TesseralError) as caught:
        fraction(factors, **settings)
    for word in words:
        assert word in str(caught.value)
