"""Regular two-level fractional factorial designs 2^(k−p): fewer runs, bought with aliases that are stated.

The first k − p factors run through all combinations; each other factor is the product of some of them (its
generator), with levels −1 and +1. Products of columns that are +1 in every run are the words of the defining
relation I; effects whose product is such a word cannot be told apart: they are aliases. The length of the shortest
word is the resolution. Of all choices of generators the one of least aberration is taken: the fewest words of
length 3, of those the fewest of length 4, and so on (Fries & Hunter 1980; Box, Hunter & Hunter, chapter 6).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from tesseral.study.errors import TesseralError

LETTERS = "ABCDEFGHJKLM"
"""Of the factors, without I, which is the identity."""
MOST_FACTORS = len(LETTERS)
_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")

Word = int
"""A set of factors, as bits; the first factor is the lowest bit."""


@dataclass(frozen=True)
class Fraction:
    """A principal fraction: every word of its defining relation is +1."""

    factors: int
    """k."""
    generators: tuple[Word, ...]
    """Of the last p factors, in order: the first factors whose product each is."""

    @property
    def base(self) -> int:
        """k − p, the factors that run through all combinations."""
        return self.factors - len(self.generators)

    @property
    def runs(self) -> int:
        """2^(k−p)."""
        return 1 << self.base

    @property
    def words(self) -> tuple[Word, ...]:
        """The defining relation without I: 2^p − 1 words, short ones first."""
        words = [0]
        for index, generator in enumerate(self.generators):
            words += [word ^ generator ^ (1 << self.base + index) for word in words]
        return tuple(sorted(words[1:], key=_by_length))

    @property
    def word_lengths(self) -> tuple[int, ...]:
        """(A_1, …, A_k), how many words there are of each length."""
        lengths = [word.bit_count() for word in self.words]
        return tuple(lengths.count(length) for length in range(1, self.factors + 1))

    @property
    def resolution(self) -> int | None:
        """Length of the shortest word; None for a full factorial, which has none."""
        return min((word.bit_count() for word in self.words), default=None)

    @property
    def levels(self) -> list[tuple[int, ...]]:
        """The runs: −1 or +1 for each factor, the last of the base factors varying fastest."""
        rows = []
        for row in product((-1, 1), repeat=self.base):
            minus = sum(1 << index for index, level in enumerate(row) if level < 0)
            rows.append(row + tuple(-1 if (minus & word).bit_count() % 2 else 1 for word in self.generators))
        return rows

    @property
    def aliases(self) -> list[tuple[Word, ...]]:
        """Sets of main effects and two-factor interactions that cannot be told apart, main effects first."""
        found: dict[Word, list[Word]] = {}
        words = (0, *self.words)
        for effect in sorted(_effects(self.factors), key=_by_length):
            found.setdefault(min(effect ^ word for word in words), []).append(effect)
        return [tuple(effects) for effects in found.values() if len(effects) > 1]


def fraction(factors: int, runs: int | None = None, resolution: int | None = None) -> Fraction:
    """The fraction of least aberration in so many `runs`, or the smallest of at least this `resolution`.

    :raises TesseralError: unless exactly one of the two is given and can be had; says what can.
    """
    if not 2 <= factors <= MOST_FACTORS:
        raise TesseralError(f"expected 2 to {MOST_FACTORS} factors in a fractional design, got {factors}")
    if (runs is None) == (resolution is None):
        came = "none of them" if runs is None else "both"
        raise TesseralError(f"expected exactly one of runs and resolution, got {came}; {_available(factors)}")
    sizes = _sizes(factors)
    if resolution is not None:
        found = (_least_aberration(factors, base) for base in sizes)
        return next(one for one in found if one.resolution is None or one.resolution >= resolution)
    base = next((base for base in sizes if 1 << base == runs), None)
    if base is None:
        raise TesseralError(f"no fraction of {factors} factors has {runs} runs; {_available(factors)}")
    return _least_aberration(factors, base)


def describe(design: Fraction, names: Sequence[str]) -> list[str]:
    """What `tesseral plan` prints: size and resolution, generators, defining relation and aliases, a line each."""
    k, p = design.factors, len(design.generators)
    if not p:
        return [f"full factorial of {k} factors in {design.runs} runs: nothing is aliased"]
    lines = [
        f"2^({k}-{p}) fraction of resolution {roman(design.resolution or 0)}: {design.runs} of {2**k} combinations"
    ]
    lettered = (f"{letter} {name}" for letter, name in zip(LETTERS, names, strict=False))
    lines.append(f"factors, each from its first level (−) to its second (+): {', '.join(lettered)}")
    for index, generator in enumerate(design.generators):
        made = design.base + index
        letters = f"{LETTERS[made]} = {letters_of(generator)}"
        lines.append(f"generator {letters}: {names[made]} = {effect_name(generator, names)}")
    shown = design.words[:15]
    more = f" = … ({len(design.words) - 15} longer words)" if len(design.words) > 15 else ""
    lines.append(f"defining relation: I = {' = '.join(map(letters_of, shown))}{more}")
    for first, *others in design.aliases:
        lines.append(f"{effect_name(first, names)} is aliased with {', '.join(effect_name(o, names) for o in others)}")
    if not design.aliases:
        lines.append("no main effect or two-factor interaction is aliased with another")
    return lines


def letters_of(word: Word) -> str:
    """'ABD' for the first, second and fourth factor."""
    return "".join(letter for index, letter in enumerate(LETTERS) if word >> index & 1)


def effect_name(word: Word, names: Sequence[str]) -> str:
    """'lmax × layers'."""
    return " × ".join(name for index, name in enumerate(names) if word >> index & 1)


def roman(resolution: int) -> str:
    """Resolutions are written III, IV, V."""
    return _ROMAN[resolution]


def _by_length(word: Word) -> tuple[int, str]:
    return word.bit_count(), letters_of(word)


def _effects(factors: int) -> Iterator[Word]:
    for order in (1, 2):
        for chosen in combinations(range(factors), order):
            yield sum(1 << index for index in chosen)


def _sizes(factors: int) -> range:
    """k − p from the least that has resolution III, 2^(k−p) > k, to the full factorial."""
    return range(factors.bit_length(), factors + 1)


def _available(factors: int) -> str:
    found = [_least_aberration(factors, base) for base in _sizes(factors)]
    texts = [f"{one.runs} ({roman(one.resolution) if one.resolution else 'full'})" for one in found]
    return f"runs (and resolution) of {factors} factors can be {', '.join(texts)}"


@cache
def _least_aberration(factors: int, base: int) -> Fraction:
    """Branch and bound over sets of generators: further generators only add words, so a partial set that is no
    better than the best whole one is left. Base factors can be renamed: so the first generator, a longest one, and
    the second are taken once for each length and overlap. Exhaustive; 0.7 s for the largest, twelve factors."""
    added = factors - base
    found: list[tuple[tuple[int, ...], tuple[Word, ...]]] = []  # word lengths and generators, the best one last

    def extend(chosen: tuple[Word, ...], words: list[Word], lengths: tuple[int, ...], rest: list[Word]) -> None:
        if len(chosen) == added:
            found.append((lengths, chosen))
            return
        first = chosen[0] if chosen else 0

        def kind(word: Word) -> tuple[int, int]:
            return -word.bit_count(), (word & first).bit_count()

        if len(chosen) < 2:
            rest = sorted(rest, key=lambda word: (kind(word), letters_of(word)))
        options = []
        for index in range(len(rest) - (added - len(chosen) - 1)):
            if len(chosen) < 2 and index and kind(rest[index]) == kind(rest[index - 1]):
                continue
            more = [word ^ rest[index] ^ (1 << base + len(chosen)) for word in words]
            grown = list(lengths)
            for word in more:
                grown[word.bit_count() - 1] += 1
            options.append((tuple(grown), index, more))
        for total, index, more in sorted(options, key=lambda option: option[:2]):
            if found and total >= found[-1][0]:
                return
            extend((*chosen, rest[index]), words + more, total, rest[index + 1 :])

    extend((), [0], (0,) * factors, [word for word in range(1, 1 << base) if word.bit_count() > 1])
    return Fraction(factors, tuple(sorted(found[-1][1], key=_by_length)))
