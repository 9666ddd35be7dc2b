"""The floor of density errors: how far the fitted density, which networks learn, is from the field's own."""

from tesseral.analysis.tables.study_info import StudyInfo
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.wording import interval

NOTHING = 1e-6
"""Below it an error of the fit is not told in digits: a fit under constraint of charge misses electrons by rounding."""


def floor(study: StudyInfo) -> dict[str, float | None] | None:
    """The fit's own errors: ε in percent, electrons in e, dipole in e bohr, self_repulsion in percent; None each where
    it is not known, and as a whole where no arm predicts a density. See `info.ReferenceInfo`."""
    if not study.predicts("density"):
        return None
    fit = study.reference
    return {
        "epsilon": fit.fit_error,
        "electrons": fit.electron_error,
        "dipole": fit.dipole_error,
        "self_repulsion": fit.self_repulsion_error,
    }


def floor_line(study: StudyInfo) -> float | None:
    """ε of the fit where ε is what the study is judged by, for a line in its figures."""
    return study.reference.fit_error if study.metric.endswith(".epsilon") else None


def floor_sentence(study: StudyInfo) -> str | None:
    """ε of the fit in words; None where no arm predicts a density, or where it is not known."""
    found = floor(study)
    if found is None or found["epsilon"] is None:
        return None
    own = interval(Estimate(found["epsilon"]), "%")
    return (
        "Errors of the density are against the fitted one; the floor, the fit’s own ε against the self-consistent "
        f"density, is {own}."
    )


def floor_note(study: StudyInfo) -> str:
    """The same for the caption of a figure whose axis ε is not on, after a space; empty where there is none."""
    found = floor(study)
    if found is None or found["epsilon"] is None:
        return ""
    return f" Errors are against the fitted density, whose own ε is {interval(Estimate(found['epsilon']), '%')}."


def floor_told(study: StudyInfo) -> list[str]:
    """Sentences to stand beside errors of a density; none where no arm predicts one."""
    found = floor(study)
    if found is None:
        return []
    sentence = floor_sentence(study)
    if sentence is None:
        return [
            "Errors of the density are against the fitted one; how far that is from the self-consistent density, "
            "their floor, is not known."
        ]
    told = [
        sentence,
        "It is a mean over the reference data, and of the whole: the self-consistent density has no parts by l.",
    ]
    parts = [
        f"{_size(value, unit)} of the {name.replace('_', '-')}"
        for name, unit in (("electrons", "e"), ("dipole", "e bohr"), ("self_repulsion", "%"))
        if (value := found[name]) is not None
    ]
    if parts:
        told.append(f"The fit misses {_and(parts)}, each in the mean of absolute values.")
    return told


def _size(value: float, unit: str) -> str:
    return interval(Estimate(value), unit) if value >= NOTHING else f"less than 10⁻⁶ {unit}"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
