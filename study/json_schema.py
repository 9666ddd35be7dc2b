"""The study file, the recipe and the mapping as JSON Schema (draft 2020-12), for editors and other programs.

pydantic makes the schemas from the typed fields, with their types, bounds, literals and defaults; the docstring under
each field becomes its description. Some tables of a study file hold settings of a trial under dotted paths:
`[factors]`, `[[arms]]`, `[search.space]` and `[presets]`. pydantic sees free tables there, so their schemas are
assembled here from the schema of the settings.

A schema judges one value at a time. What the schema refuses, tesseral refuses too; tesseral also checks conditions
between keys, names of arms, irreps and expressions.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from inspect import cleandoc, getsource
from itertools import pairwise
from textwrap import dedent
from typing import Any, Literal, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from tesseral.study.configuration.configuration import Configuration
from tesseral.study.design.parameter import KEYS, Definition
from tesseral.study.design.search_space import FIXED, HIDDEN
from tesseral.study.design.study_file import StudyFile
from tesseral.study.parsing.preset import NAME, REFUSED
from tesseral.study.recipe.mapping import Mapping
from tesseral.study.recipe.recipe import Recipe

Json = dict[str, Any]
Kind = Literal["study", "recipe", "mapping"]
"""Kinds of files that people write for tesseral."""

_KINDS: dict[Kind, tuple[Any, str]] = {
    "study": (StudyFile, "tesseral study file"),
    "recipe": (Recipe, "tesseral recipe of reference data"),
    "mapping": (Mapping, "tesseral mapping of labels to reference data"),
}


def json_schema(kind: Kind) -> Json:
    """The JSON Schema of a kind of file.

    :param kind: `study`, `recipe` or `mapping`.
    :returns: a tree that `json.dumps` takes.
    """
    cls, title = _KINDS[kind]
    schema = TypeAdapter(cls).json_schema(schema_generator=_TomlSchema)
    if kind == "study":
        _assemble(schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": title}


class _TomlSchema(GenerateJsonSchema):
    """pydantic's schema with our docstrings, without nulls, which TOML cannot write, and without generated titles."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> Json:
        made = super().dataclass_schema(schema)
        for name, text in field_docstrings(schema["cls"]).items():
            made["properties"][name]["description"] = text
        made["description"] = _unwrapped(made["description"])
        return made


def field_docstrings(cls: Any) -> dict[str, str]:
    """Field → the text under it, inherited fields too.

    pydantic's `use_attribute_docstrings` misses inherited fields, and reads the source whenever a validator is built.
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not is_dataclass(base):
            continue
        definition = cast(ast.ClassDef, ast.parse(dedent(getsource(cast(type, base)))).body[0])
        for field, text in pairwise(definition.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                    docs[name] = _unwrapped(cleandoc(doc))
    return docs


def _unwrapped(text: str) -> str:
    """Each paragraph on one line: an editor wraps them to its own width."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


@dataclass(frozen=True)
class _Setting:
    """A setting of a trial, or a table of settings."""

    path: str
    """Dotted path."""
    reference: str
    """Where its schema stands."""
    schema: Json
    table: bool


def _assemble(schema: Json) -> None:
    """Fill in the tables whose keys are dotted paths, and presets."""
    tables, definitions = schema["properties"], schema["$defs"]
    # A preset, a level or an arm gives a table in part; the study file alone has to give its required keys.
    for table in tables.values():
        required = _referred(table, definitions).pop("required", None)
        if required:
            table["required"] = required
    definitions["MatchFactor"] = _table({"by": definitions["Match"]["properties"]["by"]}, "`match.by` as a factor.")
    names = [name for name in tables if name in Configuration.__dataclass_fields__]
    roots = {name: {"$ref": tables[name]["$ref"]} for name in names} | {"match": {"$ref": "#/$defs/MatchFactor"}}
    settings = list(_settings(roots, "", "", definitions))
    searched = [setting for setting in settings if _can_be_searched(setting.path, settings)]
    definitions["Definition"] = TypeAdapter(Definition).json_schema(schema_generator=_TomlSchema)

    _define(definitions, "Factors", settings, _levels)
    _define(definitions, "Arm", settings, lambda setting: None if setting.table else {"$ref": setting.reference})
    _define(definitions, "Space", searched, _choices_or_range)
    _refer(tables["factors"], "Factors")
    tables["arms"]["items"] = {"$ref": "#/$defs/Arm"}
    _refer(definitions["Search"]["properties"]["space"], "Space")

    own = {name: {key: value for key, value in table.items() if key != "required"} for name, table in tables.items()}
    definitions["Preset"] = _table(
        {name: table for name, table in own.items() if name not in REFUSED},
        "A version of the study: keys that it sets in the study's own tables. Factors or arms replace both whole.",
    )
    tables["presets"] |= {
        "propertyNames": {"pattern": f"^{NAME}$"},
        "additionalProperties": {"$ref": "#/$defs/Preset"},
    }


def _referred(schema: Json, definitions: Json) -> Json:
    """The definition that `schema` refers to; an empty one if it refers to none."""
    definition: Json = definitions.get(schema.get("$ref", "").removeprefix("#/$defs/"), {})
    return definition


def _refer(schema: Json, name: str) -> None:
    """Keep the description of `schema`; its content is a definition's."""
    kept = {key: schema[key] for key in ("description",) if key in schema}
    schema.clear()
    schema |= {"$ref": f"#/$defs/{name}", **kept}


def _table(properties: Json, description: str) -> Json:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _settings(properties: Json, pointer: str, prefix: str, definitions: Json) -> Iterator[_Setting]:
    """Every setting and table below a table, each table before what it holds."""
    for name, schema in properties.items():
        inner = _referred(schema, definitions)
        reference = schema["$ref"] if inner else f"{pointer}/properties/{name}"
        yield _Setting(f"{prefix}{name}", reference, inner or schema, bool(inner))
        if inner:
            yield from _settings(inner["properties"], reference, f"{prefix}{name}.", definitions)


def _define(definitions: Json, name: str, settings: list[_Setting], make: Callable[[_Setting], Json | None]) -> None:
    """Define a table whose keys are paths of settings, nested (`a.b = …`) or in quotes (`"a.b" = …`).

    Each table of settings becomes a definition `<name>.<path>`, so that every setting is described once.

    :param make: what a setting, or a whole table of settings, can be given; None if nothing.
    """
    for table in ("", *(setting.path for setting in settings if setting.table)):
        prefix = f"{table}." if table else ""
        properties: Json = {}
        free: Json = {}
        for setting in settings:
            key = setting.path.removeprefix(prefix)
            if not setting.path.startswith(prefix):
                continue
            parent, _, last = setting.path.rpartition(".")
            if setting.schema.get("additionalProperties") and not setting.table:
                free[rf"^{re.escape(key)}\."] = {}
            if parent != table:
                properties[key] = {"$ref": f"#/$defs/{_name(name, parent)}/properties/{last}"}
                continue
            made = make(setting)
            nested = {"$ref": f"#/$defs/{_name(name, setting.path)}"} if setting.table else None
            given = [schema for schema in (made, nested) if schema is not None]
            if setting.schema.get("additionalProperties") and not setting.table:
                given.append({"type": "object"})  # its keys are the user's, such as those of network.options
            properties[key] = given[0] if len(given) == 1 else {"description": _about(setting), "anyOf": given}
        what = f"Settings of `{table}`, by path." if table else "Settings of a trial, by dotted path."
        definitions[_name(name, table)] = _table(properties, what) | ({"patternProperties": free} if free else {})


def _name(name: str, table: str) -> str:
    return f"{name}.{table}" if table else name


def _about(setting: _Setting) -> str:
    return f"`{setting.path}`: {setting.schema['description']}"


def _levels(setting: _Setting) -> Json:
    """The levels of a factor."""
    return {
        "type": "array",
        "description": f"Levels of {_about(setting)}",
        "items": {"$ref": setting.reference},
        "minItems": 1,
    }


def _can_be_searched(path: str, settings: list[_Setting]) -> bool:
    """Whether `search.space` takes a setting, or some setting of a table."""
    if path in FIXED or path.startswith("match"):
        return False
    if path.startswith(f"{HIDDEN}."):
        return path == f"{HIDDEN}.irreps"
    below = [setting.path for setting in settings if setting.path.startswith(f"{path}.")]
    return not below or any(_can_be_searched(each, settings) for each in below)


def _choices_or_range(setting: _Setting) -> Json:
    """What `search.space` takes for a setting: choices, a table of choices, or a range of numbers."""
    value = {"$ref": setting.reference}
    keys = {key: {"$ref": f"#/$defs/Definition/properties/{key}"} for key in KEYS}
    choices = {"type": "array", "items": value, "minItems": 1}
    ways = [choices, _table({"choices": choices, "when": keys["when"]}, "Choices.") | {"required": ["choices"]}]
    members = setting.schema.get("anyOf", [setting.schema])
    if any(member.get("type") in ("integer", "number") for member in members):
        ends = {end: {"allOf": [keys[end], value]} for end in ("low", "high")}
        rest = {key: keys[key] for key in ("log", "step", "when")}
        ways.append(_table(ends | rest, "A range.") | {"required": ["low", "high"]})
    return {"description": f"Values of {_about(setting)}", "anyOf": ways}
