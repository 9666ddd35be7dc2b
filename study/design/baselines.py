"""The baseline of each arm: the arm with which it is compared, of the same target and levels of `study.within`."""

from collections.abc import Sequence

from tesseral.study.configuration.trial import canonical
from tesseral.study.design.arm import Arm

FACTORS = ("target", "target.quantity", "target.orders")
"""Dotted paths of the factors that decide what is predicted."""


def baselines(arms: Sequence[Arm], baseline: Arm, within: Sequence[str] = ()) -> dict[str, str | None]:
    """Return the label of each arm → the label of the arm with which it is compared.

    That is the arm of its group that has the levels of the study's baseline in all other factors. A baseline is
    compared with itself. The value is None if the group has no such arm.

    :param arms: of the study.
    :param baseline: baseline of the study.
    :param within: factors that separate groups; each target is a group of its own.
    """

    def group(arm: Arm) -> str:
        target = arm.configuration.target
        return canonical([target.quantity, target.orders, [arm.factors.get(path) for path in within]])

    paths = {path for arm in arms for path in arm.factors}.difference(FACTORS, within)
    alike = [arm for arm in arms if all(arm.factors.get(path) == baseline.factors.get(path) for path in paths)]
    of_group = {group(arm): arm.label for arm in [*reversed(alike), baseline]}
    return {arm.label: of_group.get(group(arm)) for arm in arms}
