"""The baseline of each arm: the arm that it is compared with, within its target and the factors compared apart."""

from collections.abc import Sequence

from tesseral.study.configuration.trial import canonical
from tesseral.study.design.arm import Arm

FACTORS = ("target", "target.quantity", "target.orders")
"""Dotted paths of the factors that decide what is predicted."""


def baselines(arms: Sequence[Arm], baseline: Arm, within: Sequence[str] = ()) -> dict[str, str | None]:
    """Label of an arm → label of the arm that it is compared with: that of its group with the baseline's levels.

    A baseline has itself. None where no arm of the group has these levels.

    :param within: factors at each combination of whose levels arms are compared apart.
    """

    def group(arm: Arm) -> str:
        target = arm.configuration.target
        return canonical([target.quantity, target.orders, [arm.factors.get(path) for path in within]])

    paths = {path for arm in arms for path in arm.factors}.difference(FACTORS, within)
    alike = [arm for arm in arms if all(arm.factors.get(path) == baseline.factors.get(path) for path in paths)]
    found = {group(arm): arm.label for arm in [*reversed(alike), baseline]}
    return {arm.label: found.get(group(arm)) for arm in arms}
