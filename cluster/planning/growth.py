"""What a study that was started before grows by, why its file is refused otherwise, and which arms it has no more."""

from collections.abc import Iterator

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.study.changes import changes
from tesseral.study.errors import StudyFileError
from tesseral.study.records.ledger import frozen
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tesseral.study.wording import count, listed_labels


def growth(plan: StudyPlan, before: Study) -> tuple[str, ...]:
    """What a study grows by, a phrase each.

    :param plan: of the study file.
    :param before: the study as it was.
    :raises StudyFileError: if its trials would change.
    """
    name = plan.study.name
    found = changes(plan.study, before)
    refused = list(found.refused)
    if not refused and len(plan.arms) > len(before.arms):
        earlier = {arm.label: arm for arm in before.matched(plan.measure.count)}
        refused = [
            f"with the further arms, arm {arm.label!r} would have {arm.configuration.network.hidden.irreps} in place "
            f"of {old.configuration.network.hidden.irreps}, since arms are matched to the largest of them"
            for arm in plan.arms
            if (old := earlier.get(arm.label)) is not None and old.configuration != arm.configuration
        ]
    if refused:
        raise StudyFileError(
            "",
            f"the study {name!r} was started with other settings: {'; '.join(refused[:3])}"
            f"{f'; and {len(refused) - 3} more' if len(refused) > 3 else ''}; restore them, or give the study another "
            "name, under which the trials that both have are copied",
        )
    return found.grown


def dropped_notes(plan: StudyPlan) -> Iterator[str]:
    """Say which arms of the study file are left out, because they were dropped; nothing where none was.

    :param plan: of the study file.
    """
    if dropped := plan.study.dropped:
        done = "was dropped and is" if len(dropped) == 1 else "were dropped and are"
        yield f"{count(len(dropped), 'arm')} of the study file {done} left out: {listed_labels(dropped)}"


def growth_notes(plan: StudyPlan) -> Iterator[str]:
    """Say of a study that was started before what `tesseral run` makes of its file; nothing where it is as it was.

    :param plan: of the study file.
    """
    before = frozen(Store(plan.storage).child(plan.study.name))
    if before is None:
        return
    try:
        if grown := growth(plan, before):
            yield f"the study was started before and grows: {'; '.join(grown)}"
    except StudyFileError as error:
        yield f"tesseral run refuses this file: {error.message}"
