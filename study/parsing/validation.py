"""Validation of what a user wrote in TOML: typed settings, or one sentence about the first mistake."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from tesseral.study.errors import StudyFileError
from tesseral.study.wording import HIDDEN, printable

T = TypeVar("T")

_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list in brackets",
    "list_type": "a list in brackets",
    "dict_type": "a table of keys and values",
    "dataclass_type": "a table of keys and values",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "a list of at least {min_length} entries",
    "too_long": "a list of at most {max_length} entries",
    "string_too_short": "text of at least {min_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "literal_error": "{expected}",
}
"""Type of a pydantic error → what was expected, in words. `{…}` are filled from the context of the error."""


LONGEST = 4_000_000
"""Most characters of a study file, a recipe or a mapping."""
DEEPEST = 32
"""Most tables and lists in each other. Study files need eight."""
MOST_DIGITS = 30
"""Most digits of an integer. Bounds of the settings refuse what is shorter and too large."""

_DOTTED = re.compile(r"""(?:\.[ \t]{0,10}[\w"'-]{1,100}[ \t]{0,10}){64}""")

_MARKS: dict[str, tuple[str, str]] = {
    "study": ("a study file", "`tesseral run {file}` runs it"),
    "structures": ("a recipe", "`tesseral reference make {file}` computes its reference data"),
    "labels": ("a mapping", "`tesseral reference import {file}` imports its labels"),
}
"""Table that only one kind of file has → the kind, and the command that takes it."""


def read_toml(file: str | Path) -> str:
    """Read the text of a TOML file.

    :param file: its path.
    :returns: the text, without a byte-order mark.
    :raises StudyFileError: if the file is missing, too long or not UTF-8; or if a name or text in it has characters
        that act instead of being seen.
    """
    try:
        with Path(file).open(encoding="utf-8-sig") as opened:
            text = opened.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise StudyFileError("", f"expected a TOML file, but it cannot be read: {reason}", str(file)) from None
    if "\\" in text or HIDDEN.search(text):
        for path, _, value in _entries(load_toml(text, str(file))):
            for word in (path.rpartition(".")[2], value):
                if isinstance(word, str) and HIDDEN.search(word):
                    message = f"expected text without control characters, got {printable(word)[:80]}"
                    raise StudyFileError(printable(path), message, str(file))
    return text


def load_toml(text: str, file: str) -> dict[str, Any]:
    """Parse TOML within limits that every honest file keeps.

    :param text: of the file.
    :param file: name of the file, for errors.
    :raises StudyFileError: if the text is not TOML, with the parser's line and column; or if it is too long or nested
        too deep, or holds integers of more than `MOST_DIGITS` digits.
    """
    if len(text) > LONGEST:
        raise StudyFileError("", f"expected at most {LONGEST:,} characters, got more", file)
    if _DOTTED.search(text):  # the time and memory of tomllib grow with the square of a key's parts
        raise StudyFileError("", f"expected keys of at most {DEEPEST} parts, got more", file)
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise StudyFileError("", f"expected at most {DEEPEST} tables and lists in each other, got more", file) from None
    except tomllib.TOMLDecodeError as error:
        hint = '; text needs quotes, such as name = "water"' if str(error).startswith("Invalid value") else ""
        reason = printable(str(error))[:200]
        raise StudyFileError("", f"expected TOML, got something else: {reason}{hint}", file) from None
    except ValueError:  # Python's limit of digits
        raise StudyFileError("", f"expected integers of at most {MOST_DIGITS} digits, got a longer one", file) from None
    for path, depth, value in _entries(tree):
        if depth > DEEPEST:
            raise StudyFileError("", f"expected at most {DEEPEST} tables and lists in each other, got more", file)
        if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
            raise StudyFileError(path, f"expected integers of at most {MOST_DIGITS} digits, got a longer one", file)
    return tree


def _entries(tree: Any) -> Iterator[tuple[str, int, Any]]:
    """Path, depth and value of every value, table and list; of those nested deeper than `DEEPEST`, of the first."""
    left: list[tuple[str, int, Any]] = [("", 0, tree)]
    while left:
        path, depth, value = left.pop()
        if path:
            yield path, depth, value
        if depth > DEEPEST:
            continue
        if isinstance(value, dict | list):
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            left += [(f"{path}.{key}" if path else str(key), depth + 1, each) for key, each in inside]


def parse_toml(text: str, mark: str, file: str) -> dict[str, Any]:
    """Parse the text of a study file, a recipe or a mapping.

    :param text: of the file.
    :param mark: table that tells the expected kind of file: `study`, `structures` or `labels`.
    :param file: name of the file, for errors.
    :returns: the tables.
    :raises StudyFileError: if the text is not TOML, with the parser's line and column; or if it is another kind of
        file, with the command that takes it.
    """
    tree = load_toml(text, file)
    if mark not in tree:
        for other, (came, command) in _MARKS.items():
            if other in tree:
                message = f"expected {_MARKS[mark][0]}, got {came}; {command.format(file=file)}"
                raise StudyFileError("", message, file)
    return tree


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # Building takes milliseconds, and a study validates one configuration per arm.
    return TypeAdapter(kind)


def validate(kind: type[T], tree: dict[str, Any], file: str | None = None) -> T:
    """Build an instance of the dataclass `kind` from `tree`, with every nested dataclass checked.

    :param kind: a dataclass, usually a `Section`.
    :param tree: nested tables, as `tomllib` reads them.
    :param file: name of the source, for errors.
    :raises StudyFileError: for the first mistake. Unknown keys come first, because a misspelt key is also a missing
        one. The sentence says what was expected, what came, what is valid and what may have been meant.
    """
    try:
        # In strict mode, only JSON input takes a list for a tuple; it still refuses "3" for 3.
        built: T = _adapter(cast(Any, kind)).validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    else:
        return built
    unknown = [m for m in mistakes if m["type"] in ("unexpected_keyword_argument", "extra_forbidden")]
    first = (unknown or mistakes)[0]
    path = tuple(_walk(tree, first))
    if first["type"].startswith("union_tag"):
        path = (*path, first["ctx"]["discriminator"].strip("'"))
    dotted = ".".join(map(str, path))
    if unknown:
        message = _unknown_key(str(path[-1]), _keys(kind, tree, path[:-1]))
    elif first["type"] == "missing" and isinstance(path[-1], int):
        dotted = ".".join(map(str, path[:-1]))
        message = _too_few(first, mistakes)
    elif first["type"] == "missing":
        message = f"expected this key, it is missing; {_valid(_keys(kind, tree, path[:-1]))}"
    elif first["type"].startswith("union_tag"):
        message = _wrong_kind(first["ctx"].get("tag"), _kinds(kind, path[:-1]))
    else:
        same = [m for m in mistakes if tuple(_walk(tree, m)) == path]
        message = wrong_value(same)
    raise StudyFileError(dotted, message, file)


def _walk(tree: Any, mistake: Any) -> Iterator[int | str]:
    """Yield the keys on the way to a mistake that the user wrote. pydantic also lists the names of union members."""
    location: Sequence[int | str] = mistake["loc"]
    for position, key in enumerate(location):
        if isinstance(tree, dict) and key in tree:
            tree = tree[str(key)]
        elif isinstance(tree, list) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
        elif mistake["type"] != "missing" or position < len(location) - 1:
            continue
        yield key


def _keys(kind: Any, tree: Any, path: Sequence[int | str]) -> list[str]:
    """Return the valid keys of the table at `path` under `kind`; none if there is no dataclass there.

    If several dataclasses are possible, the table's own `kind` chooses among them.
    """
    for key in path:
        tree = tree[key]
    possible = _dataclasses(kind, path)
    named = [hint for hint in possible if isinstance(tree, dict) and tree.get("kind") in _values_of_kind(hint)]
    return list(dict.fromkeys(item.name for hint in named or possible for item in fields(hint)))


def _kinds(kind: Any, path: Sequence[int | str]) -> list[str]:
    """Return the values of `kind` that tell the dataclasses possible at `path` apart."""
    return [value for hint in _dataclasses(kind, path) for value in _values_of_kind(hint)]


def _values_of_kind(hint: Any) -> tuple[Any, ...]:
    value = get_type_hints(hint).get("kind")
    return get_args(value) if get_origin(value) is Literal else ()


def _dataclasses(kind: Any, path: Sequence[int | str]) -> list[Any]:
    """Return the dataclasses that are possible at `path` under `kind`."""
    hints = list(_members(kind))
    for key in path:
        hints = [member for hint in hints for inner in _inside(hint, key) for member in _members(inner)]
    return [hint for hint in hints if is_dataclass(hint)]


def _members(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, or the type itself."""
    if get_origin(hint) in (Union, UnionType):
        for member in get_args(hint):
            yield from _members(member)
    else:
        yield hint


def _inside(hint: Any, key: int | str) -> Sequence[Any]:
    """Return the type under a key of a dataclass or `dict[str, T]`, or of an entry of `tuple[T, ...]` or `list[T]`."""
    if is_dataclass(hint):
        return [inner for name, inner in get_type_hints(hint).items() if name == key]
    return get_args(hint)[1:] if get_origin(hint) is dict else get_args(hint)[:1]


def _unknown_key(key: str, valid: list[str]) -> str:
    return f"unknown key {key!r}; {_nearest(key, valid)}{_valid(valid)}"


def _too_few(first: Any, mistakes: Sequence[Any]) -> str:
    """A sentence on a list that lacks its last entries: pydantic names each of them."""
    lacking = [mistake["loc"] for mistake in mistakes if mistake["type"] == "missing"]
    entries = 1 + max(location[-1] for location in lacking if location[:-1] == first["loc"][:-1])
    return f"expected a list of {entries} entries, got {json.dumps(first['input'], ensure_ascii=False)}"


def _wrong_kind(came: str | None, kinds: list[str]) -> str:
    expected = f"expected {' or '.join(map(repr, kinds))}"
    if came is None:
        return f"{expected}, it is missing"
    return f"{expected}, got {json.dumps(came, ensure_ascii=False)}; {_nearest(came, kinds)}".strip("; ")


def _valid(keys: list[str]) -> str:
    return f"valid keys are {', '.join(keys)}"


def _nearest(word: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.65)
    close = close or [name for name in valid if name.endswith(f"_{word}") or word.endswith(f"_{name}")]
    return f"did you mean {close[0]!r}? " if close else ""


def wrong_value(mistakes: Sequence[Any]) -> str:
    """Return one sentence about a value.

    :param mistakes: pydantic's errors about it. Each member of a union may have refused it for another reason.
    """
    if mistakes[0]["type"] in ("value_error", "assertion_error"):
        return str(mistakes[0]["ctx"]["error"])
    contexts = [mistake.get("ctx", {}) for mistake in mistakes]
    expected = dict.fromkeys(
        _EXPECTED.get(mistake["type"], mistake["msg"]).format(**context)
        for mistake, context in zip(mistakes, contexts, strict=True)
    )
    came = mistakes[0]["input"]
    sentence = f"expected {' or '.join(expected)}, got {json.dumps(came, ensure_ascii=False, default=str)}"
    choices = [word for context in contexts for word in re.findall(r"'([^']+)'", context.get("expected", ""))]
    hint = _nearest(came, choices) if isinstance(came, str) else ""
    return f"{sentence}; {hint}".strip("; ")
