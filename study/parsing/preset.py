"""Presets: smaller or larger versions of a study, in the same file.

`[presets.<name>]` holds tables like those of the study. The line `preset = "<name>"` at the top of the file chooses a
preset, and `--preset <name>` writes that line. So the frozen study file says which preset it is, and the name of the
study ends in it.
"""

import copy
import json
import re
from typing import Any

from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.validation import load_toml

REPLACED = ("factors", "arms")
"""Tables that a preset replaces as a whole: giving either replaces both. In all other tables it sets single keys."""
REFUSED = ("preset", "presets")
"""Keys that a preset may not hold."""
NAME = r"[A-Za-z0-9._-]+"
"""Pattern of a preset's name: the name of the study ends in it."""


def choose(text: str, preset: str | None, file: str) -> str:
    """Return the text of a study file with `preset` chosen in its first line.

    The text stays as it is if `preset` is None, or if the text chooses this preset already.

    :param text: of the study file.
    :param preset: its name; None chooses none.
    :param file: name of the study file, for errors.
    :raises StudyFileError: if the text chooses another preset.
    """
    if preset is None:
        return text
    try:
        written = load_toml(text, file).get("preset")
    except StudyFileError:
        return text  # `Study.parse` reports it, with the line numbers of the file
    if written is not None and written != preset:
        raise StudyFileError("preset", f"expected the preset that the file chooses, {written!r}, got {preset!r}", file)
    return text if written == preset else f"preset = {json.dumps(preset)}\n{text}"


def apply_preset(tree: dict[str, Any], file: str) -> dict[str, Any]:
    """Return the tables of a study file with those of its chosen preset merged in.

    :param tree: the tables of the study file.
    :param file: name of the study file, for errors.
    :raises StudyFileError: if there is no such preset, or it is not a table.
    """
    if "preset" not in tree:
        return tree
    name, presets = tree["preset"], read_presets(tree, file)
    if not isinstance(name, str) or name not in presets:
        several = "one of " if len(presets) > 1 else ""
        valid = f"{several}{', '.join(presets)}" if presets else "no preset, because the file has no [presets]"
        raise StudyFileError("preset", f"expected {valid}, got {name!r}", file)
    return merge(tree, presets[name], name)


def read_presets(tree: dict[str, Any], file: str) -> dict[str, dict[str, Any]]:
    """Return the presets of a study file, by name.

    :param tree: the tables of the study file.
    :param file: name of the study file, for errors.
    :raises StudyFileError: if a preset is not a table of tables, or its name cannot be part of a study's name.
    """
    presets = tree.get("presets", {})
    if not isinstance(presets, dict):
        raise StudyFileError("presets", f"expected tables such as [presets.small.data], got {presets!r}", file)
    for name, preset in presets.items():
        path = _path(name)
        if not re.fullmatch(NAME, name):
            expected = "expected a name of letters, digits, '.', '_' and '-', because it ends the name of the study"
            raise StudyFileError(path, f"{expected}, got {name!r}", file)
        if not isinstance(preset, dict):
            raise StudyFileError(path, f"expected a table such as [{path}.data], got {preset!r}", file)
        for key in REFUSED:
            if key in preset:
                raise StudyFileError(f"{path}.{key}", "expected tables of the study, a preset holds only those", file)
    return presets


def merge(tree: dict[str, Any], preset: dict[str, Any], name: str) -> dict[str, Any]:
    """Return `tree` with the keys of `preset` set, table by table, and the preset's name appended to the study's.

    :param tree: the tables of the study file.
    :param preset: the tables of the preset.
    :param name: the preset's name.
    """
    kept = {key: value for key, value in tree.items() if key not in REPLACED or preset.keys().isdisjoint(REPLACED)}
    merged = _merge(kept, preset)
    header = merged.get("study")
    if isinstance(header, dict) and isinstance(header.get("name"), str):
        header["name"] = preset_name(header["name"], name)
    return merged


def preset_name(study: str, preset: str) -> str:
    """Return the name of a study under a preset, such as `hierarchy-small`.

    :param study: the study's name.
    :param preset: the preset's name.
    """
    return f"{study}-{preset}"


def blame(error: StudyFileError, preset: dict[str, Any], name: str) -> StudyFileError:
    """Return the error, with its path in the preset if the mistake is in the preset.

    :param error: about the merged tables.
    :param preset: the tables of the preset.
    :param name: the preset's name.
    """
    tree: Any = preset
    for key in error.path.split("."):
        if not isinstance(tree, dict) or key.partition("[")[0] not in tree:
            return error
        if key.partition("[")[0] in REPLACED:
            break
        tree = tree[key.partition("[")[0]]
    return StudyFileError(f"{_path(name)}.{error.path}", error.message, error.file)


def _path(name: str) -> str:
    """Return the dotted path of a preset, quoted where TOML needs it."""
    return f"presets.{name}" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f"presets.{json.dumps(name)}"


def _merge(tree: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(tree)
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
