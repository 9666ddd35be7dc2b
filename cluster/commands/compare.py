"""`tesseral compare`: the arms of several studies in one storage."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tesseral.cluster.commands.display import console, show_results
from tesseral.cluster.commands.options import AsJson, ShownIn, Storage, records_name, study_names, unit_names
from tesseral.cluster.commands.streams import printed
from tesseral.study.errors import DataError
from tesseral.study.wording import duration, listed_labels

if TYPE_CHECKING:  # Polars takes a second
    from tesseral.analysis.statistics.across_studies import StudyArm


def compare(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY STUDY…",
            help="Names of two or more studies, or their files.",
            show_default=False,
            autocompletion=study_names,
        ),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY: ARM",
            help="Arm that the others are compared with; by default the baseline of the first study.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric, such as epsilon; by default that of all the studies.", show_default=False),
    ] = None,
    units: ShownIn = "",
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Compare the arms of several studies, in pairs where their trials share data, test split, block and seed.

    Studies are paired if they have the same `study.seed`, data and size of the test split. An arm that is not paired
    with the baseline is listed with its error and the reason.

    Example: `tesseral compare quickstart wider --baseline "quickstart: lmax=2"`
    """
    names = [records_name(study, None) for study in studies]
    if len(set(names)) < max(2, len(names)):
        raise DataError(f"expected two or more different studies, got {', '.join(names)}")

    from tesseral.analysis.statistics.across_studies import compare_studies
    from tesseral.analysis.tables.open import open_trials

    tables = [open_trials(storage, name) for name in names]
    wanted = metric if metric is None or "." in metric else f"test.{metric}"
    arms = compare_studies(tables, wanted, baseline, unit_names(units))
    if as_json:
        rows = [asdict(arm) | {"target": arm.target.to_dict(), "label": arm.label} for arm in arms]
        print(json.dumps(rows, indent=2, default=str))
    else:
        _show(arms, wanted or tables[0].study.metric)
    printed()


def _show(arms: "list[StudyArm]", metric: str) -> None:
    from tesseral.analysis.report.change_columns import change_columns
    from tesseral.analysis.terms.estimate import p_value
    from tesseral.analysis.terms.metric_label import describe, error_cell

    targets = {arm.target for arm in arms}
    label = describe(metric, targets.pop() if len(targets) == 1 else None)
    changes = change_columns(
        [arm.comparison.change if arm.comparison else None for arm in arms],
        " or ".join(dict.fromkeys(arm.change_here for arm in arms if arm.change_here)),
    )
    rows = []
    for arm, change in zip(arms, changes, strict=True):
        compared = arm.comparison
        if compared is None:
            change[next(iter(change))] = "not paired" if arm.unpaired else "baseline"
        rows.append(
            {
                "arm": arm.label,
                label.heading: error_cell(metric, arm.error.error, arm.target, label),
                **change,
                "Holm p": "–" if compared is None or compared.p_holm is None else p_value(compared.p_holm),
                "pairs": str(compared.pairs) if compared else "–",
                "parameters": "–" if arm.parameters is None else f"{arm.parameters:,}",
                "time": "–" if arm.seconds is None else duration(arm.seconds),
            }
        )
    show_results(rows, "use --json")
    reasons: dict[str, list[str]] = {}
    for arm in arms:
        if arm.unpaired:
            reasons.setdefault(arm.unpaired, []).append(arm.label)
    for reason, labels in reasons.items():
        console.print(f"Not paired with the baseline, because {reason}: {listed_labels(labels)}.", soft_wrap=True)
    if same := [arm.label for arm in arms if arm.same]:
        console.print(f"The same trials as the baseline's: {listed_labels(same)}.", soft_wrap=True)
    holds: dict[str, list[str]] = {}
    for arm in arms:
        if arm.error.error and arm.error.error.shown[0] is not None:
            holds.setdefault(arm.error_holds, []).append(arm.label)
    for what, labels in holds.items():
        of = "errors" if len(holds) == 1 else f"the errors of {listed_labels(labels)}"
        console.print(f"Intervals of {of} are 95 % {what}.", soft_wrap=True)
    if any(arm.comparison and arm.comparison.p_holm is not None for arm in arms):
        console.print(
            "p-values are corrected over these comparisons alone, which were chosen after the studies.", soft_wrap=True
        )
