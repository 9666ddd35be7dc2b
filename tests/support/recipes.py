"""Small recipes of hydrogen, helium and water, and the reference data that they make."""

import json
from pathlib import Path

from tesseral.cluster.data.recipe_run import inline, run_recipe
from tesseral.study.recipe.recipe import read_recipe

HEADER = '[reference]\nname = "small"\n[method]\nmethod = "HF"\nbasis = "STO-3G"\n'
WATERS = '[[structures]]\nkind = "water_clusters"\nmolecules = {}\ncount = {}\n'


def inline_table(name: str, elements: str, positions: list, rest: str = "") -> str:
    return (
        f'[[structures]]\nkind = "inline"\nname = "{name}"\nelements = {json.dumps(elements.split())}\n'
        f"positions = {json.dumps(positions).replace('NaN', 'nan')}\n{rest}"
    )


HYDROGEN = inline_table("h2", "H H", [[0, 0, 0], [0, 0, 0.74]])
HELIUM = inline_table("he", "He", [[0, 0, 0]])
# More electrons of one spin than orbitals: found when it is computed.
TRIPLET = inline_table("triplet", "He", [[0, 0, 0]], "spin = 2\n")


def recipe(folder: Path, *tables: str, header: str = HEADER) -> Path:
    file = folder / "recipe.toml"
    file.write_text(header + "".join(tables))
    return file


def make(storage: Path, *tables: str, header: str = HEADER, **listeners) -> tuple[str, bool]:
    return run_recipe(read_recipe(recipe(storage, *tables, header=header)), str(storage), inline, **listeners)
