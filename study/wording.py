"""Numbers, durations and lists in words, as all rooms print them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_PREFIXES = "kMGTPE"


HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
"""Characters that act instead of being seen: control characters but tab and newline, and those that turn the direction
of text. On a terminal they can hide or forge lines; in XML they are not allowed."""


def printable(text: str) -> str:
    """Text of others as it may be shown: hidden characters as escapes, such as `\\x1b`.

    :param text: any text.
    """
    return HIDDEN.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def count(n: int, noun: str) -> str:
    """A number with its noun, such as `1 trial` or `8 trials`.

    :param n: how many.
    :param noun: in the singular, see `plural`.
    """
    return f"{n:,} {noun if n == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """A noun in the plural: in -es after a sibilant, such as `searches`, else in -s.

    :param noun: in the singular.
    """
    return noun + ("es" if noun.endswith(("ch", "sh", "s", "x")) else "s")


_FAILURES = {
    "memory": "out of memory",
    "machine": "by a fault of the machine",
    "training": "diverged",
    "code": "by an exception",
    "refused": "with a refused network",
}


def failures(causes: Iterable[str | None]) -> str:
    """Failed trials by cause, such as `3 failed: 2 out of memory, 1 diverged`.

    :param causes: that of each; None where an earlier version recorded none.
    """
    counted = Counter(causes)
    ways = [f"{counted[cause]:,} {words}" for cause, words in _FAILURES.items() if counted[cause]]
    ways += [f"{counted[None]:,} for a cause not recorded"] if ways and counted[None] else []
    return f"{counted.total():,} failed" + (f": {', '.join(ways)}" if ways else "")


def failure(cause: str | None) -> str:
    """How a trial failed, such as `failed, out of memory`; `failed` where no cause is recorded.

    :param cause: a cause of failure.
    """
    return "failed" if cause is None else f"failed, {_FAILURES[cause]}"


def listed(things: Sequence[object], most: int = 6) -> str:
    """A list such as `a, b and c`; of more than `most` things, the first ones and how many more.

    :param things: at least one.
    :param most: how many are shown.
    """
    shown = [str(thing) for thing in things[:most]]
    if len(things) > most:
        shown.append(f"{len(things) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def listed_labels(labels: Sequence[str], most: int = 8) -> str:
    """Labels of arms such as `lmax=0, layers=2; lmax=1, layers=2; and 3 more`: they hold commas themselves.

    :param labels: of arms.
    :param most: how many are shown.
    """
    more = [f"and {len(labels) - most} more"] if len(labels) > most else []
    return "; ".join([*labels[:most], *more])


def duration(seconds: float) -> str:
    """A duration such as `4.2 ms`, `75 s`, `12 min`, `3.4 h` or `12 days`.

    :param seconds: at least 0.
    """
    if seconds < 1:
        value, unit = 1000 * seconds, "ms"
    else:
        # A unit is used from two of it on: 119 s, 2.0 min.
        units = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))
        size, unit = next((each for each in units if seconds >= 2 * each[0]), (1.0, "s"))
        value = seconds / size
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"


def scaled(n: float) -> str:
    """A number to three digits with an SI prefix, such as `950`, `1.24 M` or `35.0 G`.

    :param n: at least 0.
    """
    power = 0
    while float(f"{n:.3g}") >= 1000 and power < len(_PREFIXES):
        n, power = n / 1000, power + 1
    text = f"{n:#.3g}".rstrip(".") if power else f"{n:.3g}"
    return f"{text} {_PREFIXES[power - 1]}" if power else text


def amount(value: float) -> str:
    """A number to two decimals, to two digits below 0.1, and to none from 100 on.

    :param value: at least 0.
    """
    return f"{value:.2g}" if value < 0.1 else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


_DEAD = {
    "made or read by nothing": "dead: never produced in some layers, never read in the others",
    "made by nothing": "never produced",
    "read by nothing": "never read",
}


def dead_text(recorded: str) -> str:
    """Dead hidden irreps in today's words, from the phrase that a record stores.

    Records keep the words that they were written with: `0o in layer 3 is read by nothing` was written for never read.

    :param recorded: the phrase, as `dead` of a trial's record.
    """
    for written, shown in _DEAD.items():
        recorded = recorded.replace(written, shown)
    return recorded
