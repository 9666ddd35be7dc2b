"""Presets: smaller or larger versions of a study, in its own file.

`[presets.<name>]` holds tables as the study itself has them. A preset is chosen by `preset = "<name>"` at the top of
the text, which `--preset <name>` writes there: so the frozen file says which one it is, and its name ends in it.
"""

import copy
import json
import re
import tomllib
from typing import Any

from tesseral.study.errors import StudyFileError

REPLACED = ("factors", "arms")
"""Tables that a preset replaces whole, both by either of them; of all others it sets keys and leaves the rest."""
REFUSED = ("preset", "presets")
"""What a preset may not hold."""
NAME = r"[A-Za-z0-9._-]+"
"""What a preset may be called: the name of the study ends in it."""


def choose(text: str, preset: str | None, file: str) -> str:
    """The text of a study file with `preset` chosen in its first line; as it is if None, or if it says so already.

    :param file: what errors call the study file.
    :raises StudyFileError: if the text chooses another one.
    """
    if preset is None:
        return text
    try:
        written = tomllib.loads(text).get("preset")
    except tomllib.TOMLDecodeError:
        return text  # said by whoever reads it, with the line that is wrong in the file
    if written is not None and written != preset:
        raise StudyFileError("preset", f"expected the preset that the file chooses, {written!r}, got {preset!r}", file)
    return text if written == preset else f"preset = {json.dumps(preset)}\n{text}"


def apply_preset(tree: dict[str, Any], file: str) -> dict[str, Any]:
    """The tables of a study file with its chosen preset's set in them: the study that is asked for.

    :raises StudyFileError: if there is no such preset, or it is no table.
    """
    if "preset" not in tree:
        return tree
    name, presets = tree["preset"], read_presets(tree, file)
    if not isinstance(name, str) or name not in presets:
        there_are = f"one of {', '.join(presets)}" if presets else "none, for the file has no [presets]"
        raise StudyFileError("preset", f"expected {there_are}, got {name!r}", file)
    return merge(tree, presets[name], name)


def read_presets(tree: dict[str, Any], file: str) -> dict[str, dict[str, Any]]:
    """The presets of a study file, by name.

    :raises StudyFileError: if one is no table of the study's tables, or has a name that no study can have.
    """
    presets = tree.get("presets", {})
    if not isinstance(presets, dict):
        raise StudyFileError("presets", f"expected tables such as [presets.small.data], got {presets!r}", file)
    for name, preset in presets.items():
        path = _path(name)
        if not re.fullmatch(NAME, name):
            expected = "expected a name of letters, digits, '.', '_' and '-', for it ends the name of the study"
            raise StudyFileError(path, f"{expected}, got {name!r}", file)
        if not isinstance(preset, dict):
            raise StudyFileError(path, f"expected a table such as [{path}.data], got {preset!r}", file)
        for key in REFUSED:
            if key in preset:
                raise StudyFileError(f"{path}.{key}", "expected tables of the study, a preset holds no other", file)
    return presets


def merge(tree: dict[str, Any], preset: dict[str, Any], name: str) -> dict[str, Any]:
    """`tree` with the keys of `preset` set in it, table by table, and the preset's name after the study's."""
    kept = {key: value for key, value in tree.items() if key not in REPLACED or preset.keys().isdisjoint(REPLACED)}
    merged = _merge(kept, preset)
    header = merged.get("study")
    if isinstance(header, dict) and isinstance(header.get("name"), str):
        header["name"] = preset_name(header["name"], name)
    return merged


def preset_name(study: str, preset: str) -> str:
    """What a study is called under a preset, such as `hierarchy-small`."""
    return f"{study}-{preset}"


def blame(error: StudyFileError, preset: dict[str, Any], name: str) -> StudyFileError:
    """The error with its path in the preset, where the preset says what is wrong."""
    tree: Any = preset
    for key in error.path.split("."):
        if not isinstance(tree, dict) or key.partition("[")[0] not in tree:
            return error
        if key.partition("[")[0] in REPLACED:
            break
        tree = tree[key.partition("[")[0]]
    return StudyFileError(f"{_path(name)}.{error.path}", error.message, error.file)


def _path(name: str) -> str:
    """Of a preset, as TOML writes it: quoted where it must be."""
    return f"presets.{name}" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f"presets.{json.dumps(name)}"


def _merge(tree: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(tree)
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
