"""The summary of a study: its progress as a sentence, and all results as plain values for JSON."""

from dataclasses import asdict
from typing import Any

import polars as pl

from tesseral.analysis.report.notes import notes
from tesseral.analysis.statistics.fit_floor import fit_errors
from tesseral.analysis.statistics.results import Results
from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.configuration.trial import Cause, State
from tesseral.study.records.schemas import ABLATION_STRUCTURES
from tesseral.study.wording import failures


def progress_text(results: Results) -> str:
    """The progress of both stages; the search only if the study has one.

    A report is read later, so what has begun is not said to be running. Such as
    `6 of 6 trials complete · search: 11 of 11 trials ended (3 stopped early, 1 failed)`.
    """
    confirm, search = results.progress, results.search_progress
    text = f"{confirm.complete:,} of {confirm.planned:,} trials complete"
    text += f", {confirm.running:,} begun" if confirm.running else ""
    text += f", {failures(_causes(results, 'confirm'))}" if confirm.failed else ""
    if search is None:
        return text
    text += f" · search: {search.ended:,} of {search.planned:,} trials ended"
    ways = [f"{search.pruned:,} stopped early"] if search.pruned else []
    ways += [failures(_causes(results, "search"))] if search.failed else []
    return text + (f" ({', '.join(ways)})" if ways else "")


def _causes(results: Results, stage: str) -> list[str | None]:
    trials = results.tables.trials
    return trials.filter(pl.col("stage") == stage, pl.col("state") == State.FAILED.value)["cause"].to_list()


def retry_line(results: Results) -> str | None:
    """How failed trials are trained again; None if there are none, or only refused ones."""
    if not {*_causes(results, "confirm"), *_causes(results, "search")} - {Cause.REFUSED}:
        return None
    return f"tesseral retry {results.study.name} makes failed trials due again; the next run trains them."


def to_dict(results: Results) -> dict[str, Any]:
    """All results as plain values that JSON can hold.

    Each of `arms` is an `arms.ArmSummary`. `groups` are the arms that are compared with one another, with their target
    and baseline; `own_baseline` is the study's own where a reader chose another. `floor` holds the errors of the
    density fit (`fit_floor.fit_errors`), `trends` the changes by order of the output and the claims on them
    (`order_trend.Trend`), `scaling` the errors against the size of the training set (`scaling.SizeCurve`), `reached`
    the errors over the orders that all arms reach (`orders.OverReached`), `search` the search's progress, each
    `SearchSummary`, the lowest errors to expect of n proposals, the rows of `slices.slices` and `Saved`, `best` each
    `best.Best`, `frontier` the rows of `frontier.frontier`, `test_sets` each `test_sets.SetError`, `steps` each
    `steps.Step`, `learning_rates` the recorded scan of the learning rate, `allocation` each `ArmAllocation`, `epochs`
    the changes during training (`epochs.epoch_changes`), `notes` sentences, and `layers` what hidden layers hold and
    use.

    `effects` holds each `factors.Effect`.

    An estimate holds value, low and high (95 %, for new data) and p; `change` is in percent of the error of the arm's
    baseline. `intervals` says what `low` and `high` hold for in rows that have one interval alone.
    `unit` is empty if targets have different units: then see `groups`, and the `errors` of an arm.
    """
    study, search, saved = results.study, results.search_progress, results.saved
    return {
        "study": study.name,
        "metric": study.metric,
        "unit": _unit(study),
        "baseline": study.baseline,
        "own_baseline": study.own_baseline or study.baseline,
        "groups": [
            {"target": group.target.to_dict(), "levels": dict(group.levels)}
            | {"baseline": study.baseline_of(arms[0]), "arms": arms}
            for group, arms in study.groups.items()
        ],
        "floor": fit_errors(study),
        "trends": [asdict(trend) for trend in results.trends],
        "scaling": [asdict(curve) for curve in results.scaling],
        "reached": [
            {"metric": table.metric} | asdict(table.reached) for _, table in results.order_tables if table.reached
        ],
        "epochs": results.epochs.to_dicts(),
        "progress": asdict(results.progress),
        "intervals": study.sampling.shown,
        "arms": [asdict(arm) | {"target": arm.target.to_dict(), "flags": arm.flags} for arm in results.arms],
        "search": search
        and {
            "progress": asdict(search),
            "arms": [asdict(arm) for arm in results.searches],
            "importances": [asdict(each) for each in results.importances],
            "expected": results.search_values.to_dicts(),
            "slices": results.slices.to_dicts(),
            "saved": saved and asdict(saved),
        },
        "best": [asdict(best) for best in results.best],
        "effects": [asdict(effect) for effect in results.effects],
        "frontier": results.frontier.to_dicts(),
        "test_sets": [asdict(each) for each in results.test_sets],
        "steps": [asdict(step) for step in results.steps],
        "learning_rates": study.scan and study.scan.to_dict(),
        "allocation": [asdict(arm) for arm in results.allocations],
        "notes": notes(results.tables),
        "layers": _layers(results),
    }


def _layers(results: Results) -> dict[str, Any]:
    """What complete trials of the confirm stage show, each a list of rows; empty if nothing was traced.

    `places`: arm, layer, l, epoch, earliest, latest; see `emergence.places_by_order`. `hierarchies`: each an
    `emergence.Hierarchy`. `effective_rank`: arm, layer, l, p, rank. `weight_effects`: at each arm's last trace, arm,
    epoch, l, effect; see `layers.gradients`. `ablations`: arm, layer, l, kind, error, intact, rise, low, high; see
    `ablations.ablations`; measured by `metrics` on at most `structures` structures of the validation split. `needs`:
    for each arm with ablations `most` and `unseen`, lists of layer and l; see `ablations.Needs`. `audit`: for each arm
    `dead`, `unforeseen` and `alive`, lists of layer, l and p, with `paths`, `dead_paths` and `wasted`; see
    `dead_irreps.DeadIrreps`.
    """
    study, layers = results.study, results.layers
    at_the_end = layers.gradients.filter(pl.col("epoch") == pl.col("epoch").max().over("arm"))
    return {
        "places": layers.places.to_dicts(),
        "hierarchies": [asdict(each) for each in layers.hierarchies],
        "effective_rank": layers.effective_ranks.to_dicts(),
        "weight_effects": at_the_end.to_dicts(),
        "ablations": layers.ablations.to_dicts(),
        "metrics": {arm: study.target_of(arm).quantity.ablation_metric for arm in layers.needs},
        "structures": ABLATION_STRUCTURES,
        "needs": {arm: needs._asdict() for arm, needs in layers.needs.items()},
        "audit": {arm: dead._asdict() for arm, dead in layers.dead_irreps.items()},
    }


def _unit(study: StudyInfo) -> str:
    name = study.metric.partition(".")[2]
    if name not in METRICS:
        return ""
    units = {group.target.unit_of(METRICS[name]) for group in study.groups}
    return units.pop() if len(units) == 1 else ""
