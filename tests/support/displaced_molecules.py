"""Water and ammonia as tables of displaced molecules, by a method that takes a second."""

from dataclasses import replace

import numpy as np

from tesseral.models.reference.calculation.normal_modes import Vibrations, vibrations
from tesseral.models.reference.structure import Structure
from tesseral.study.recipe.method import Method
from tesseral.study.recipe.recipe import Recipe, RecipeReference
from tesseral.study.recipe.structures import Displacements

CHEAP = {"method": "HF", "basis": "STO-3G"}
WATER = Displacements(
    kind="displacements",
    name="water",
    elements=("O", "H", "H"),
    positions=((0.0, 0.0, 0.0), (0.1, 0.75, 0.6), (0.0, -0.8, 0.55)),
    count=4,
    **CHEAP,
)
AMMONIA = replace(
    WATER,
    name="ammonia",
    elements=("N", "H", "H", "H"),
    positions=((0, 0, 0.35), (0.95, 0, 0), (-0.47, 0.82, 0), (-0.47, -0.82, 0)),
)


def molecule(table: Displacements) -> Structure:
    return Structure(table.name, table.atomic_numbers, np.array(table.positions), table.charge, table.spin)


def recipe(*tables: Displacements) -> Recipe:
    return Recipe(reference=RecipeReference(name="displaced"), structures=tables)


def minimum(table: Displacements) -> Vibrations:
    return vibrations(molecule(table), Method(**CHEAP), table.optimise)
