"""`{settings}`: every key of a TOML file, from the typed fields of its dataclass and the docstring under each.

    ```{settings} tesseral.study.design.study_file:StudyFile
    ```

A field that holds a table of settings becomes a heading with the table's keys below it, each with its type, bounds and
default. `:index:` makes the keys targets of the role `confval`.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from inspect import cleandoc, getdoc
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tesseral.study.json_schema import field_docstrings

WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", dict: "table", Any: "any value"}
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


class Settings(SphinxDirective):
    """The keys of the dataclass `module:Class` and of the tables inside it, as Markdown that is parsed in place."""

    required_arguments = 1
    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {"index": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Parse the generated text where the directive stands."""
        module, _, name = self.arguments[0].partition(":")
        cls = getattr(import_module(module), name)
        self.env.note_dependency(import_module(module).__file__)
        text = "\n".join(_tables(cls, "", "index" in self.options))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _tables(cls: type, path: str, index: bool) -> Iterator[str]:
    """A table's own keys, then a section for each table inside it."""
    hints = get_type_hints(cls, include_extras=True)
    tables = [(item, inner) for item in fields(cls) if (inner := _sections(hints[item.name]))]
    for item in fields(cls):
        if item.name not in {table.name for table, _ in tables}:
            yield from _key(cls, item, hints[item.name], path, index)
    for item, inner in tables:
        where = f"{path}{item.name}"
        listed = _holds_tuple(hints[item.name])
        for section in inner:
            kind = _kind(section) if len(inner) > 1 else None
            yield from _heading(where, listed, kind, level=path.count(".") + 2)
            yield _prose(_without_path(getdoc(section) or ""))
            yield ""
            yield from _prose_of(cls, item)
            yield from _tables(section, f"{where}.", index and not listed)


def _heading(where: str, listed: bool, kind: str | None, level: int) -> Iterator[str]:
    title = f"`[[{where}]]`" if listed else f"`[{where}]`"
    yield f"{'#' * level} {title}" + (f" of kind `{kind}`" if kind else "")
    yield ""


def _key(cls: type, item: Field[Any], hint: Any, path: str, index: bool) -> Iterator[str]:
    yield f"````{{confval}} {path}{item.name}"
    if not index:
        yield ":no-index:"
    yield from ("", f"*{_type(hint)}; {_default(item)}*", "")
    yield from _prose_of(cls, item)
    yield "````"
    yield ""


def _prose_of(cls: type, item: Field[Any]) -> Iterator[str]:
    yield _prose(field_docstrings(cls).get(item.name, ""))
    yield ""


def _prose(text: str) -> str:
    """A docstring as Markdown: no reST in it but code in single backticks, and characters that Markdown would read."""
    parts = cleandoc(text).split("`")
    parts[::2] = [part.replace("*", r"\*").replace("<", r"\<").replace("$", r"\$") for part in parts[::2]]
    return "`".join(parts)


def _without_path(text: str) -> str:
    """A table's description without the table's name before it, which is the heading already."""
    path, colon, rest = text.partition("`: ")
    return rest[:1].upper() + rest[1:] if colon and path.startswith("`[") else text


def _default(item: Field[Any]) -> str:
    if item.default is not MISSING:
        return "optional" if item.default is None else f"default `{_toml(item.default)}`"
    if item.default_factory is not MISSING:
        made = item.default_factory()
        return f"default `{_toml(made)}`" if made else "default empty"
    return "required"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type(hint: Any) -> str:
    """A type and its bounds in words, such as `integer, at least 1, at most 20`."""
    kind = get_origin(hint)
    if kind is Annotated:
        inner, *notes = get_args(hint)
        bounds = [words for note in notes if (words := _bounds(note, get_origin(inner) is tuple))]
        return ", ".join([_type(inner), *bounds])
    if kind is Literal:
        return " or ".join(f"`{_toml(value)}`" for value in get_args(hint))
    if kind in (Union, UnionType):
        return " or ".join(_type(part) for part in get_args(hint) if part is not NoneType)
    if kind is tuple:
        return f"list of {_type(get_args(hint)[0])}"
    if kind is dict:
        return "table"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _bounds(note: Any, of_list: bool) -> str:
    bounds = dict(getattr(note, "bounds", {}))
    if of_list and (least := bounds.get("min_length")):
        exactly = least == bounds.get("max_length")
        return f"{least} entries" if exactly else f"at least {least} {'entry' if least == 1 else 'entries'}"
    return ", ".join(BOUNDS[word].format(f"{value:,}") for word, value in bounds.items() if word in BOUNDS)


def _sections(hint: Any) -> list[type]:
    """The dataclasses that a field may hold, by itself, optionally, in a list, or as one of several kinds."""
    if is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    kind = get_origin(hint)
    if kind is Annotated:
        return _sections(get_args(hint)[0])
    if kind in (Union, UnionType, tuple):
        return [section for part in get_args(hint) for section in _sections(part)]
    return []


def _holds_tuple(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _holds_tuple(get_args(hint)[0])
    return get_origin(hint) is tuple


def _kind(section: type) -> str:
    (kind,) = get_args(get_type_hints(section)["kind"])
    return str(kind)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
