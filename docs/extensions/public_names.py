"""`public-names`: the public names, those that a package's `__init__.pyi` hands on and those of `MODULES`, by autodoc.

    .. public-names::

documents every package of tesseral that has such a list, in the order of the rooms, and then the public modules.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from inspect import cleandoc, isclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import tesseral
from tesseral.study.parsing.section import Section

PAGES = {
    "tesseral.study.recipe.mapping": "mapping",
    "tesseral.study.recipe": "recipe",
    "tesseral": "study_file",
}
"""Where the keys of a table of settings are documented, by its module."""
ROOMS = ("", "study", "models", "analysis", "cluster")
MODULES = ("tesseral.models.networks.testing",)
"""Public modules that no package hands on: what they import is not installed with tesseral."""
_ROOT = Path(tesseral.__file__).parent


class PublicNames(SphinxDirective):
    """Every package that hands on public names, every public module, and each of the names."""

    def run(self) -> list[nodes.Node]:
        """Parse the generated text where the directive stands."""
        return self.parse_text_to_nodes("\n".join(_packages()), allow_section_headings=True)


def packages() -> list[str]:
    """The packages with a list of public names, `tesseral` first."""
    folders = [file.parent.relative_to(_ROOT).parts for room in ROOMS for file in _stubs(room)]
    return [".".join(("tesseral", *parts)) for parts in dict.fromkeys(folders)]


def _stubs(room: str) -> list[Path]:
    if not room:
        return [file for file in [_ROOT / "__init__.pyi"] if file.exists()]
    return sorted((_ROOT / room).rglob("__init__.pyi"))


def _packages() -> Iterator[str]:
    documented: dict[int, str] = {}
    for name in (*packages(), *MODULES):
        package = import_module(name)
        yield from (f"``{name}``", "-" * (len(name) + 4), "", f".. py:module:: {name}", "")
        summary, *_ = cleandoc(package.__doc__ or "").split("\n\n")
        yield from (*_escaped([summary]), "")
        for public in package.__all__:
            value = getattr(package, public)
            if (same := documented.setdefault(id(value), f"{name}.{public}")) != f"{name}.{public}":
                yield from (f"``{public}``: see `{same}`.", "")
                continue
            if not public.startswith("__"):
                yield from _name(value, f"{name}.{public}")


def _name(value: Any, path: str) -> Iterator[str]:
    kind = "class" if isclass(value) else "function" if callable(value) else "data"
    yield f".. auto{kind}:: {path}"
    if isclass(value) and issubclass(value, Section):  # a table of a TOML file: its keys have a page of their own
        page = next(page for module, page in PAGES.items() if value.__module__.startswith(module))
        keys = ", ".join(item.name for item in fields(value))
        yield from (f"   :exclude-members: {keys}", "", f"   Its fields are the keys of :doc:`{page}`.")
    yield ""


_MARKUP = re.compile(r"(?<!\\)([*|])|(?<=\w)_(?=\W|$)")


def _escaped(lines: list[str]) -> list[str]:
    """Docstrings use code in backticks and field lists alone: stars, bars and underscores stand for themselves."""
    text = "\n".join(lines)
    parts = re.split(r"(``.*?``|`[^`]*`)", text, flags=re.S)
    parts[::2] = [_MARKUP.sub(lambda match: "\\" + match[0], part) for part in parts[::2]]
    return "".join(parts).split("\n")


def _docstring(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = _escaped(lines)


def _signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    return ("", "") if is_dataclass(value) else None  # its fields are documented one by one


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, and how docstrings are read."""
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
