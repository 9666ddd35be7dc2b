"""The fit floor: the error of the fitted density, which networks learn, against the SCF density.

Networks are trained on the fitted density and judged against it. A network with an error of zero would still differ
from the self-consistent (SCF) density by the fit floor.
"""

from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import Estimate, interval
from tesseral.study.configuration.metrics import METRICS
from tesseral.study.records.schemas import FIT_ERRORS
from tesseral.study.wording import listed

NEGLIGIBLE = 1e-6
"""Errors of the fit below this are stated as a bound: a fit constrained in charge misses electrons by rounding only."""


def fit_errors(study: StudyInfo) -> dict[str, float | None] | None:
    """Mean errors of the fit: epsilon (%), electrons (e), dipole (e bohr), self_repulsion (%).

    Each is None if it is unknown; the whole is None if no arm predicts a density. See `study_info.ReferenceInfo`.
    """
    if not study.predicts_densities:
        return None
    return {error.key: getattr(study.reference, column) for column, error in FIT_ERRORS.items()}


def floor_line(study: StudyInfo, metric: str) -> float | None:
    """The fit floor in percent, for figures and tables of a metric that the fit has too; None for other metrics.

    :param metric: such as `test.epsilon`; an unknown one has no floor.
    """
    split, _, name = metric.partition(".")
    declared = METRICS.get(name)
    known = declared is not None and declared.has_floor and split not in study.tests  # whose fit is another
    return study.reference.fit_error if known else None


def _floor(study: StudyInfo) -> str | None:
    """ε of the fit as text; None if no arm predicts a density or ε is unknown."""
    errors = fit_errors(study)
    if errors is None or errors["epsilon"] is None:
        return None
    return interval(Estimate(errors["epsilon"]), "%")


def floor_sentence(study: StudyInfo) -> str | None:
    """The fit floor in words; None if no arm predicts a density or ε of the fit is unknown."""
    floor = _floor(study)
    if floor is None:
        return None
    return (
        "Density errors are relative to the fitted density; the fit itself deviates from the SCF density by "
        f"ε = {floor}, the fit floor."
    )


def floor_note(study: StudyInfo) -> str:
    """The fit floor for the caption of a figure whose axis is not ε, after a space; empty if there is none."""
    floor = _floor(study)
    return "" if floor is None else f" Errors are measured against the fitted density; the fit floor is {floor}."


def floor_details(study: StudyInfo) -> list[str]:
    """Sentences that belong beside errors of a density; none if no arm predicts one."""
    errors = fit_errors(study)
    if errors is None:
        return []
    sentence = floor_sentence(study)
    if sentence is None:
        return [
            "Density errors are measured against the fitted density; its own error against the SCF density, the fit "
            "floor, is unknown."
        ]
    sentences = [
        sentence,
        "The fit floor is a mean over the reference structures. It exists for the whole density only, because the "
        "self-consistent (SCF) density is not divided into orders l.",
    ]
    parts = [
        f"{_size(value, error.unit)} in the {error.name}"
        for error in FIT_ERRORS.values()
        if error.key != "epsilon" and (value := errors[error.key]) is not None
    ]
    if parts:
        sentences.append(f"Mean absolute errors of the fit: {listed(parts)}.")
    return sentences


def _size(value: float, unit: str) -> str:
    """An error of the fit with its unit; one that is only rounding as a bound."""
    return interval(Estimate(value), unit) if value >= NEGLIGIBLE else f"less than 10⁻⁶ {unit}"
