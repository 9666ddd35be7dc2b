"""The shape of the data that a recipe makes, predicted before anything is computed, so that a study can be planned."""

from tesseral.models.data.data_shape import evenly, mean_shape
from tesseral.models.data.target_columns import choose_shells
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.networks.sizing.size import Shape
from tesseral.models.reference.geometries.recipe_structures import count_structures, elements, outline_at
from tesseral.study import configuration
from tesseral.study.configuration.quantities import find_quantity
from tesseral.study.errors import StudyFileError
from tesseral.study.recipe.recipe import Recipe


def recipe_shape(recipe: Recipe, cutoff: float, target: configuration.Target | None = None) -> Shape:
    """The shape of the data that a recipe makes, without any calculation.

    It equals `reference_shape` of the data if every structure converges, since the means are over converged structures,
    and if displaced molecules have as many edges as the molecules that the recipe displaces.

    :param recipe: structures and method.
    :param cutoff: Å.
    :param target: what a study predicts; None: the density.
    :raises StudyFileError: if there is no such auxiliary basis, it lacks an order of the target, or the recipe does not
        make the target's quantity; no recipe makes labels.
    """
    target, numbers = target or configuration.Target(), elements(recipe)
    quantity = find_quantity(target.quantity, labels={})
    layout = quantity.outputs
    if quantity.on_request and quantity.column not in recipe.method.quantities:
        asked = ", ".join(recipe.method.quantities) or "none"
        raise StudyFileError(
            "data.recipe",
            f"expected a recipe whose method.quantities hold {quantity.column!r}, for the target {quantity.name}, "
            f"got {asked}",
        )
    if layout is None:
        # Imported here: PySCF takes a second to import, which plans of other targets need not wait for.
        from tesseral.models.reference.calculation.auxiliary_shells import method_shells

        shells = {number: method_shells(number, recipe.method) for number in numbers}
        layout = choose_shells(AuxiliaryBasis(recipe.method.auxiliary_basis, shells), target.orders).layout
    counted = ((outline_at(recipe, index).positions, None) for index in evenly(count_structures(recipe)))
    return mean_shape(len(numbers), layout, counted, cutoff)
