"""`{commands}`: every command of `tesseral` with its arguments and options, from the command line itself."""

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tesseral.cluster.commands.app import app as tesseral


class Commands(SphinxDirective):
    """The whole command line."""

    def run(self) -> list[nodes.Node]:
        """Parse the generated text where the directive stands."""
        text = "\n".join(_commands(typer.main.get_command(tesseral), "tesseral"))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _commands(command: Any, name: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield from _command(command, name)
        return
    for key, each in inner.items():
        yield from _commands(each, f"{name} {key}")


def _command(command: Any, name: str) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    yield from (f"## `{name}`", "", "```text", " ".join([name, *command.collect_usage_pieces(context)]), "```", "")
    yield from (_prose(cleandoc(command.help or "")), "")
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        yield f"`{_spelling(parameter, context)}`"
        yield f": {_prose(_help(parameter))}"
        yield ""


def _spelling(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        return " ".join(parameter.get_usage_pieces(context))
    spelling, _ = parameter.get_help_record(context)
    return str(spelling)


def _help(parameter: Any) -> str:
    parts = [parameter.help or ""]
    default = parameter.default
    if parameter.param_type_name == "option" and not parameter.is_flag and default is not None:
        parts.append(f"Default: `{default:g}`." if isinstance(default, float) else f"Default: `{default}`.")
    if isinstance(parameter.envvar, str):
        parts.append(f"Environment variable: `{parameter.envvar}`.")
    return " ".join(parts)


def _prose(text: str) -> str:
    return text.replace("<", r"\<").replace("*", r"\*")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
