"""Notes on settings: those without an effect, and defaults in which arms differ."""

import tomllib
from collections.abc import Iterator

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.study.configuration.configuration import flatten
from tesseral.study.configuration.network import without_effect
from tesseral.study.configuration.quantities import QUANTITIES, quantity_of
from tesseral.study.design.arm import Arm
from tesseral.study.design.baselines import baselines
from tesseral.study.design.study_file import CONFIGURATION
from tesseral.study.parsing.preset import apply_preset
from tesseral.study.study import Study

WEIGHTS = {f"loss.{weight}" for quantity in QUANTITIES.values() for weight in quantity.loss_weights}
"""Settings that weigh the terms of some target's loss."""


def setting_notes(plan: StudyPlan) -> Iterator[str]:
    """Name settings of the file, a factor or the search that change no arm.

    A setting is passed over if the search varies what decides its effect, such as the interaction. With `search.define`
    the proposals are not known, so nothing is said.

    :param plan: the study's.
    :returns: one sentence for each setting.
    """
    study = plan.study
    if study.file.search is not None and study.file.search.define is not None:
        return
    searched = {parameter.path for parameter in plan.space}
    written = _written(study) | searched
    idle: dict[str, str] = {}
    used: set[str] = set()
    for arm in study.arms:
        without = _without(arm)
        for path in written | set(flatten(arm.factors)):
            if path in without and searched.isdisjoint(_DECIDE[path]):
                idle[path] = without[path]
            else:
                used.add(path)
    yield from (f"{path} has no effect {why}" for path, why in sorted(idle.items()) if path not in used)


def open_notes(plan: StudyPlan) -> Iterator[str]:
    """Say so if arms differ in a default, and if no arm is compared with another, a sentence each.

    :param plan: the study's.
    """
    arms = plan.study.arms
    readouts = {arm.configuration.network.readout for arm in arms if arm.configuration.network.define is None}
    written = _written(plan.study).union(*(flatten(arm.factors) for arm in arms))
    if len(readouts) > 1 and "network.readout" not in written:
        yield (
            "network.readout is not set: it is a convolution in gated arms and linear in the others. Set it, and arms "
            "differ in their layers alone"
        )
    densities = plan.study.file.traces.densities
    fewest = min(arm.configuration.data.validation for arm in arms)
    if densities > fewest:
        yield f"traces.densities is {densities}, and data.validation is {fewest}: so many structures are measured"
    compared = baselines(arms, plan.study.baseline, plan.study.within)
    if len(arms) > 1 and all(base in (None, label) for label, base in compared.items()):
        yield "no arm has a baseline: no two arms share a target and the levels of study.within"


_DECIDE = {
    "network.correlation": {"network.interaction"},
    "network.saturation": {"network.interaction", "network.fusion.diagram"},
    "network.fusion.k_max": {"network.fusion.diagram"},
    "network.fusion.channels": {"network.fusion.diagram"},
} | {weight: {"target.quantity"} for weight in WEIGHTS}
"""Setting → settings that decide whether it has an effect."""


def _written(study: Study) -> set[str]:
    """Dotted paths that the file or its preset sets."""
    tree = apply_preset(tomllib.loads(study.text), "")
    return set(flatten({key: tree[key] for key in CONFIGURATION if key in tree}))


def _without(arm: Arm) -> dict[str, str]:
    """Settings of the whole configuration that change nothing, and when: see `without_effect`."""
    idle = without_effect(arm.configuration.network)
    own = {f"loss.{weight}" for weight in quantity_of(arm.configuration.target.quantity).loss_weights}
    idle |= dict.fromkeys(sorted(WEIGHTS - own), "unless the target is forces")
    return idle
