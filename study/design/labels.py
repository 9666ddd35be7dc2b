"""Short labels of factors and levels for tables and figures."""

from collections.abc import Iterable, Mapping
from typing import Any

from tesseral.study.configuration.configuration import flatten
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.fusion_tree import parse_tree


def short_names(factors: Iterable[str]) -> dict[str, str]:
    """Return dotted path → the shortest ending that is unique: `network.hidden.lmax` becomes `lmax`.

    Endings `.name` and `.by` are left out: `loss.name` becomes `loss`, `match.by` becomes `match`.

    :param factors: dotted paths.
    """
    names = {}
    paths = {path: path.removesuffix(".name").removesuffix(".by") for path in factors}
    for path, shown in paths.items():
        parts = shown.split(".")
        for keep in range(1, len(parts) + 1):
            ending = ".".join(parts[-keep:])
            if sum(other == ending or other.endswith("." + ending) for other in paths.values()) == 1:
                break
        names[path] = ending
    return names


def label(levels: Mapping[str, Any], names: dict[str, str], factors: dict[str, list[Any]]) -> str:
    """Return the label of an arm, such as `lmax=1, loss=raw`.

    :param levels: dotted path → level.
    :param names: dotted path → its short name.
    :param factors: dotted path → all of its levels.
    """
    parts = (f"{names[path]}={_level_text(level, factors.get(path, []))}" for path, level in levels.items())
    return ", ".join(parts) or "all"


def _level_text(level: Any, levels: list[Any]) -> str:
    """Return a level as text. A table is shown without the keys that are the same in all levels of the factor."""
    if not isinstance(level, dict) or not all(isinstance(other, dict) for other in levels):
        return text_of(level)
    flat, others = flatten(level), [flatten(other) for other in levels]
    telling = {key: value for key, value in flat.items() if any(other.get(key) != value for other in others)}
    return text_of(telling or flat)


def text_of(level: Any) -> str:
    """Return a level on one line: lists in brackets, tables in braces with dotted keys, diagrams in uniform spacing.

    :param level: as written.
    """
    if isinstance(level, dict):
        return "{" + ", ".join(f"{key}={text_of(value)}" for key, value in flatten(level).items()) + "}"
    if isinstance(level, list):
        return "[" + ",".join(text_of(value) for value in level) + "]"
    if isinstance(level, str) and level.lstrip().startswith("("):
        return _tree_text(level)
    return str(level).lower() if isinstance(level, bool) else str(level)


def _tree_text(text: str) -> str:
    """Return a fusion diagram in uniform spacing, without reordering it; other text stays as it is."""
    try:
        return str(parse_tree(text))
    except TesseralError:
        return text
