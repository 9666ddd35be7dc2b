"""Regular two-level fractional factorial designs 2^(k−p): fewer runs, at the price of aliases, which are listed.

With levels −1 and +1, the first k − p factors run through all combinations. Each other factor is a product of some of
them, its generator. Products of columns that are +1 in every run are the words of the defining relation I. Two effects
are aliases, and cannot be separated, if their product is a word. The length of the shortest word is the resolution.

Among all choices of generators, the one of least aberration is taken: that with the fewest words of length 3, then
with the fewest of length 4, and so on (Fries & Hunter, Minimum aberration 2^(k−p) designs, Technometrics 22, 601, 1980;
Box, Hunter & Hunter, Statistics for Experimenters, chapter 6).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from tesseral.study.errors import TesseralError

LETTERS = "ABCDEFGHJKLM"
"""Letters of the factors, without I, which is the identity."""
MOST_FACTORS = len(LETTERS)
_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")

Word = int
"""A set of factors as bits. The first factor is the lowest bit."""


@dataclass(frozen=True)
class Fraction:
    """A principal fraction: every word of its defining relation is +1."""

    factors: int
    """Number of factors, k."""
    generators: tuple[Word, ...]
    """For each of the last p factors, the set of first factors whose product it is."""

    @property
    def base(self) -> int:
        """Number of factors that run through all combinations, k − p."""
        return self.factors - len(self.generators)

    @property
    def runs(self) -> int:
        """Number of runs, 2^(k−p)."""
        return 1 << self.base

    @property
    def words(self) -> tuple[Word, ...]:
        """The defining relation without I: 2^p − 1 words, the short ones first."""
        words = [0]
        for index, generator in enumerate(self.generators):
            words += [word ^ generator ^ (1 << self.base + index) for word in words]
        return tuple(sorted(words[1:], key=_by_length))

    @property
    def resolution(self) -> int | None:
        """Length of the shortest word; None for a full factorial, which has no words."""
        return min((word.bit_count() for word in self.words), default=None)

    @property
    def levels(self) -> list[tuple[int, ...]]:
        """The runs, as −1 or +1 for each factor. The last base factor varies fastest."""
        rows = []
        for row in product((-1, 1), repeat=self.base):
            minus = sum(1 << index for index, level in enumerate(row) if level < 0)
            rows.append(row + tuple(-1 if (minus & word).bit_count() % 2 else 1 for word in self.generators))
        return rows

    @property
    def aliases(self) -> list[tuple[Word, ...]]:
        """Sets of main effects and two-factor interactions that are aliases, main effects first."""
        classes: dict[Word, list[Word]] = {}
        words = (0, *self.words)
        for effect in sorted(_effects(self.factors), key=_by_length):
            classes.setdefault(min(effect ^ word for word in words), []).append(effect)
        return [tuple(effects) for effects in classes.values() if len(effects) > 1]


def fraction(factors: int, runs: int | None = None, resolution: int | None = None) -> Fraction:
    """Return the fraction of least aberration with `runs` runs, or the smallest one of at least this `resolution`.

    :param factors: number of factors, k.
    :param runs: number of runs, a power of two.
    :param resolution: lowest resolution. Give exactly one of `runs` and `resolution`.
    :raises TesseralError: if both or none are given, or there is no such fraction; the sentence lists those that exist.
    """
    if not 2 <= factors <= MOST_FACTORS:
        raise TesseralError(f"expected 2 to {MOST_FACTORS} factors in a fractional design, got {factors}")
    if (runs is None) == (resolution is None):
        came = "neither" if runs is None else "both"
        raise TesseralError(f"expected exactly one of runs and resolution, got {came}; {_available(factors)}")
    sizes = _sizes(factors)
    if resolution is not None:
        fractions = (_least_aberration(factors, base) for base in sizes)
        return next(each for each in fractions if each.resolution is None or each.resolution >= resolution)
    base = next((base for base in sizes if 1 << base == runs), None)
    if base is None:
        raise TesseralError(f"no fraction of {factors} factors has {runs} runs; {_available(factors)}")
    return _least_aberration(factors, base)


def describe(design: Fraction, names: Sequence[str]) -> list[str]:
    """Describe a fraction in lines: size and resolution, generators, defining relation and aliases.

    :param design: the fraction.
    :param names: names of the factors, in order.
    """
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
    """Return the letters of a word, such as `ABD` for the first, second and fourth factor.

    :param word: a bit for each factor, the first factor lowest.
    """
    return "".join(letter for index, letter in enumerate(LETTERS) if word >> index & 1)


def effect_name(word: Word, names: Sequence[str]) -> str:
    """Return the name of an effect, such as `lmax × layers`.

    :param word: a bit for each factor, the first factor lowest.
    :param names: names of the factors, in order.
    """
    return " × ".join(name for index, name in enumerate(names) if word >> index & 1)


def roman(resolution: int) -> str:
    """Return a resolution in Roman numerals, as it is usually written.

    :param resolution: length of the shortest word of the defining relation.
    """
    return _ROMAN[resolution]


def _by_length(word: Word) -> tuple[int, str]:
    return word.bit_count(), letters_of(word)


def _effects(factors: int) -> Iterator[Word]:
    for order in (1, 2):
        for chosen in combinations(range(factors), order):
            yield sum(1 << index for index in chosen)


def _sizes(factors: int) -> range:
    """Return the values of k − p from the smallest with resolution III, 2^(k−p) > k, to the full factorial."""
    return range(factors.bit_length(), factors + 1)


def _available(factors: int) -> str:
    fractions = [_least_aberration(factors, base) for base in _sizes(factors)]
    texts = [f"{each.runs} ({roman(each.resolution) if each.resolution else 'full'})" for each in fractions]
    return f"runs (and resolution) of {factors} factors can be {', '.join(texts)}"


@cache
def _least_aberration(factors: int, base: int) -> Fraction:
    """Find the generators of least aberration by an exhaustive branch and bound.

    A further generator only adds words, so a partial set is dropped once it is no better than the best complete one.
    Base factors are interchangeable: the first generator, a longest one, and the second are therefore tried once for
    each length and overlap. The largest case, twelve factors, takes 0.7 s.
    """
    added = factors - base
    complete: list[tuple[tuple[int, ...], tuple[Word, ...]]] = []  # word lengths and generators, the best one last

    def extend(chosen: tuple[Word, ...], words: list[Word], lengths: tuple[int, ...], rest: list[Word]) -> None:
        if len(chosen) == added:
            complete.append((lengths, chosen))
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
            if complete and total >= complete[-1][0]:
                return
            extend((*chosen, rest[index]), words + more, total, rest[index + 1 :])

    extend((), [0], (0,) * factors, [word for word in range(1, 1 << base) if word.bit_count() > 1])
    return Fraction(factors, tuple(sorted(complete[-1][1], key=_by_length)))
