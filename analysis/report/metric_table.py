"""Every recorded metric of every arm as a table, beside the one that the study is judged by."""

from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import interval
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.configuration.metrics import METRICS


def metric_table(results: Results) -> list[dict[str, str]]:
    """One dictionary (heading → cell) for each arm, with a column for each metric and unit; empty without a trial.

    Errors are geometric means over units with 95 % intervals (see `Estimate.shown`), as in the table of arms.
    """
    cells: dict[str, dict[str, str]] = {}
    for arm in results.arms:
        for name, measured in arm.errors.items():
            if measured.error is not None:
                label = describe(f"test.{name}", arm.target)
                heading = f"{label.name}, {label.unit}" if label.unit else label.name
                cells.setdefault(heading, {})[arm.arm] = interval(measured.error)
    if not cells:
        return []
    return [
        {"arm": arm.arm, **{heading: of_arm.get(arm.arm, "–") for heading, of_arm in cells.items()}}
        for arm in results.arms
    ]


def metric_meanings(results: Results) -> list[tuple[str, str]]:
    """Name and definition of each metric in `metric_table`."""
    names = dict.fromkeys(name for arm in results.arms for name, each in arm.errors.items() if each.error is not None)
    return [(describe(f"test.{name}").name, METRICS[name].description) for name in names]
