"""The trials of a confirm stage without matching, search or a user's network: a study file's arms, replicate by
replicate."""

from tesseral.study.design.stages import PlannedTrial, confirm_seeds, make_trial
from tesseral.study.study import Study


def confirm_trials(study: Study, data_hashes: dict[str, str], numerics: int) -> list[PlannedTrial]:
    """Every arm at its natural widths in every replicate of every block.

    :param study: without `[match]` and `[search]`.
    :param data_hashes: `data.reference` as written → hash of its content.
    :param numerics: version of the numerics.
    """
    planned = []
    for block in range(study.file.replication.blocks):
        for replicate in range(study.file.replication.replicates):
            seeds = confirm_seeds(study.file.study.seed, block, replicate)
            for arm in study.arms:
                trial = make_trial(arm.configuration, seeds, data_hashes, numerics)
                planned.append(PlannedTrial(trial, arm, "confirm", block, replicate))
    return planned
