"""Widths of a given size: one factor scales the multiplicities, and the scalars close what rounding leaves.

m_l → max(1, ⌊s·m_l + ½⌋) for every hidden irrep, halves upwards, with one s for all; then the multiplicity of 0e
alone moves the size to the target. Size is whatever the caller's counter counts, so nothing here knows networks.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import floor

from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Hidden
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps

CountSize = Callable[[Configuration, str], float]
"""Size of a configuration in `parameters` (live ones), `components` or `flops` (per structure); wider irreps never
make it smaller."""
Widths = tuple[int, ...]
"""Multiplicities of the hidden irreps, in their canonical order."""

WIDEST = 10_000
"""Largest multiplicity."""
CLOSE = 1e-3
"""Residual at which no other scale is tried."""
NEAR, FAR, FAIR = 6, 24, 1e-2
"""Scales that are tried for a close residual, and those beyond them for a fair one."""
MOST_COUNTS = 110
"""Sizes counted by a fit before it tries no other scale."""


def fit(configuration: Configuration, target: float, by: str, count: CountSize) -> tuple[Configuration, float]:
    """The configuration with its hidden irreps scaled to the size `target`, resolved, and the scale s.

    The two scales on either side of the target are tried first, each with 0e closing the residual, then their
    neighbours until it is at most 0.1 %, and further ones only where it is above 1 %. The least residual wins; of
    equal ones, the least change of 0e.

    :param configuration: at its natural widths.
    :param target: size to reach, in the unit `by`.
    :param by: `parameters`, `components` or `flops`.
    :param count: called about a hundred times at most.
    :raises TesseralError: if multiplicities of 1 are too large already, or the largest ones too small.
    """
    natural = configuration.resolved()
    irreps = natural.network.hidden.irreps
    if irreps is None:
        if count(natural, by) == target:
            return natural, 1.0
        raise TesseralError(
            "expected network.hidden, whose multiplicities are scaled, of a network of your own, got none"
        )
    terms = parse_irreps(irreps)
    counted = 0

    @cache
    def size(widths: Widths) -> float:
        nonlocal counted
        counted += 1
        return count(_with_widths(natural, terms, widths), by)

    if size(tuple(term.mul for term in terms)) == target:
        return natural, 1.0
    steps = _steps(terms, target, size)
    scalar = next((index for index, term in enumerate(terms) if (term.l, term.p) == (0, 1)), None)
    below = bisect_right(steps, target, key=lambda step: size(step[0])) - 1
    order = sorted(range(len(steps)), key=lambda index: abs(index - below - 0.5))[:FAR]
    order[:2] = sorted(order[:2], key=lambda index: abs(size(steps[index][0]) - target))
    tried: list[tuple[float, int, Widths, float]] = []
    for number, index in enumerate(order, start=1):
        widths, scale = steps[index]
        for closed in [widths] if scalar is None else [widths, *_close(widths, scalar, target, size)]:
            change = 0 if scalar is None else abs(closed[scalar] - widths[scalar])
            tried.append((abs(size(closed) / target - 1), change, closed, scale))
        if min(tried)[0] <= (CLOSE if number < NEAR else FAIR) or counted > MOST_COUNTS:
            break
    _, _, widths, scale = min(tried, key=lambda one: one[:2])
    return _with_widths(natural, terms, widths), scale


def _steps(terms: Sequence[MulIrrep], target: float, size: Callable[[Widths], float]) -> list[tuple[Widths, float]]:
    """Every set of widths between a size of at most the target and one of at least it, with a scale that makes it.

    Widths change where s·m + ½ is an integer; between two such scales lies one set.
    """

    def widths(scale: float) -> Widths:
        return tuple(min(WIDEST, max(1, floor(scale * term.mul + 0.5))) for term in terms)

    low = high = 1.0
    while size(widths(low)) > target:
        if max(widths(low)) == 1:
            least = f"multiplicities of 1 make {size(widths(low)):.6g}"
            raise TesseralError(f"expected a size that widths can be scaled to, got {target:.6g}; {least}")
        low, high = low / 2, low
    while size(widths(high)) < target:
        if min(widths(high)) == WIDEST:
            most = f"multiplicities of {WIDEST} make {size(widths(high)):.6g}"
            raise TesseralError(f"expected a size that widths can be scaled to, got {target:.6g}; {most}")
        low, high = high, high * 2
    changes = {
        (width - 0.5) / mul
        for mul in {term.mul for term in terms}
        for width in range(floor(low * mul + 0.5), floor(high * mul + 0.5) + 1)
    }
    ends = sorted({low, high} | {change for change in changes if low < change < high})
    scales: dict[Widths, float] = {}
    for scale in (low, *((left + right) / 2 for left, right in pairwise(ends))):
        scales.setdefault(widths(scale), scale)
    scales[widths(high)] = high
    return list(scales.items())


def _close(widths: Widths, scalar: int, target: float, size: Callable[[Widths], float]) -> Iterator[Widths]:
    """The two neighbouring multiplicities of the scalars between which the target lies, or the last one possible."""

    def at(mul: int) -> Widths:
        return (*widths[:scalar], mul, *widths[scalar + 1 :])

    short = size(widths) < target

    def beyond(mul: int) -> bool:
        return size(at(mul)) >= target if short else size(at(mul)) <= target

    last = WIDEST if short else 1
    near = far = widths[scalar]
    step = 1
    while far != last and not beyond(far):
        near, far = far, min(last, far + step) if short else max(last, far - step)
        step *= 2
    while abs(far - near) > 1:
        middle = (near + far) // 2
        near, far = (near, middle) if beyond(middle) else (middle, far)
    yield at(near)
    yield at(far)


def _with_widths(natural: Configuration, terms: Sequence[MulIrrep], widths: Widths) -> Configuration:
    text = format_irreps(term._replace(mul=mul) for term, mul in zip(terms, widths, strict=True))
    return replace(natural, network=replace(natural.network, hidden=Hidden(irreps=text)))
