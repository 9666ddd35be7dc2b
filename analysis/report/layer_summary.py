"""What trained networks hold and use by layer and order l, as plain values."""

from typing import Any

import polars as pl

from tesseral.analysis.figures.ablation_figures import ablation_metric
from tesseral.analysis.statistics.ablations import ablations, needs
from tesseral.analysis.statistics.dead_irreps import dead_irreps_by_arm
from tesseral.analysis.statistics.layers import effective_ranks, gradients, layer_traces
from tesseral.analysis.tables.load import StudyTables
from tesseral.study.records.schemas import ABLATION_STRUCTURES


def layers_to_dict(tables: StudyTables) -> dict[str, Any]:
    """What complete trials of the confirm stage show, each a list of rows; empty where nothing was traced.

    `effective_rank`: arm, layer, l, p, rank. `weight_effects`: at each arm's last trace, arm, epoch, l, effect; see
    `layers.gradients`. `ablations`: arm, layer, l, kind, error, intact, rise, low, high; see `ablations.ablations`;
    with `metrics`, by which they were measured on at most `structures` of the validation split. `needs`: for each arm
    with ablations `most` and `unseen`, lists of layer and l; see `ablations.Needs`. `audit`: for each arm `dead`,
    `unforeseen` and `alive`, lists of layer, l and p, with `paths`, `dead_paths` and `wasted`; see `audit.DeadIrreps`.
    """
    rows, study = layer_traces(tables.traces, tables.trials), tables.study
    taken, ended = ablations(rows, study.most_blocks), gradients(rows)
    found = set(taken["arm"])
    return {
        "effective_rank": effective_ranks(rows).to_dicts(),
        "weight_effects": ended.filter(pl.col("epoch") == pl.col("epoch").max().over("arm")).to_dicts(),
        "ablations": taken.to_dicts(),
        "metrics": {arm: ablation_metric(study.target_of(arm)) for arm in study.arms if arm in found},
        "structures": ABLATION_STRUCTURES,
        "needs": {
            arm: needs(rows.filter(pl.col("arm") == arm), study.most_blocks)._asdict()
            for arm in study.arms
            if arm in found
        },
        "audit": {arm: one._asdict() for arm, one in dead_irreps_by_arm(tables, rows).items()},
    }
