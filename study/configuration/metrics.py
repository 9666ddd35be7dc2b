"""What is measured on a split, declared once: name, unit and meaning, for training, records and reports alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tesseral.study.configuration.quantities import LABEL, QUANTITIES
from tesseral.study.configuration.target import Target
from tesseral.study.errors import StudyFileError


@dataclass(frozen=True)
class Metric:
    """One number of a split, or one for each order l."""

    name: str
    unit: str
    """Empty where it has none, or where it is the target's: see `unit_of`."""
    description: str
    targets: Literal["density", "forces", "others", "all"] = "density"
    """Which targets have it: `others` are all but the density."""
    by_l: bool = False
    """Whether there is one for each order l of the output alone; its columns end in `.l<order>`. Of a metric that has
    one number for all orders, those of each stand beside it where the target has several."""
    test_only: bool = False
    """Whether it is measured once, at the end, on the test split alone: too dear for every epoch."""
    optional: bool = False
    """Whether the reference data decides if there is one, so that arms cannot be compared by it."""
    orders: tuple[int, ...] = ()
    """Of the density, the orders l without which it says little: arms that do not predict them (`target.orders`) cannot
    be compared by it."""

    def judges(self, target: Target) -> bool:
        """Whether arms of this target can be compared by it, among each other."""
        complete = target.orders is None or set(self.orders) <= set(target.orders)
        return self.of(target.quantity) and complete and not (self.by_l or self.optional)

    def of(self, quantity: str) -> bool:
        """Whether a target has it."""
        return self.targets in ("all", quantity) or (self.targets == "others" and quantity != "density")


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "epsilon",
            "%",
            "mean over structures of ε = 100·∫|ρ_ML − ρ| / ∫ρ, ρ the fitted density; by Becke's partition, 40 radii "
            "(Treutler-Ahlrichs) and 302 directions (Lebedev) about each atom",
            test_only=True,
        ),
        Metric(
            "block_epsilon",
            "%",
            "the same of the part of order l alone, over the whole ∫ρ",
            by_l=True,
            test_only=True,
        ),
        Metric("l2_error", "%", "100·√(Σ∫(ρ_ML − ρ)² / Σ∫ρ²), ρ the fitted density, of the chosen orders alone"),
        Metric(
            "block_error", "%", "100·√(Σerr² / Σy²) within the block of order l; y less the isolated atoms", by_l=True
        ),
        Metric("mse", "", "mean squared error of Rackers' y = 2√2·c/N"),
        Metric("electrons", "e", "mean over structures of |∫ρ_ML − ∫ρ|", orders=(0,)),
        Metric(
            "dipole_error",
            "e bohr",
            "mean over structures of |μ_ML − μ|, both about the centre of nuclear charge, μ of the fitted density",
            test_only=True,
            orders=(0, 1),
        ),
        Metric(
            "quadrupole_error",
            "e bohr^2",
            "mean over structures of |Q_ML − Q|, the norm over five components, about the centre of nuclear charge",
            test_only=True,
            orders=(0, 1, 2),
        ),
        Metric(
            "potential_error",
            "mhartree/e",
            "mean over structures of the root mean square of V_ML − V over points at 1.4 van der Waals radii",
            test_only=True,
        ),
        Metric(
            "relative_error",
            "%",
            "error as a share of the target's spread, 100·√(Σ|err|² / Σ|y − ȳ|²), both over the split; ȳ follows from "
            "the training split for an invariant (its mean, or the sum of a number for each element by least squares "
            "where it grows with the structure) and is 0 above l = 0. Of the density 100·√(Σ∫(ρ_ML − ρ)² / "
            "Σ∫(ρ − ρ̄)²), ρ̄ the mean by element and shell",
            targets="all",
        ),
        Metric(
            "error",
            "",
            "mean absolute error in the target's unit; of vectors and tensors the mean length of the error",
            targets="others",
        ),
        Metric(
            "energy_error",
            "hartree",
            "mean absolute error of the energies, where the reference has them",
            targets="forces",
            optional=True,
        ),
    )
}


def unit_of(metric: str, quantity: str) -> str:
    """The unit of a target's metric; empty if it has none, or is that of an imported label."""
    if metric == "error" and quantity in QUANTITIES:
        return QUANTITIES[quantity].unit
    return METRICS[metric].unit if metric in METRICS else ""


def common_metrics(targets: Sequence[Target]) -> list[Metric]:
    """Single numbers that the targets of all arms have, by which they can be compared; the default comes first.

    Errors of different units cannot be compared: then `error` is not among them.
    """
    quantities = {target.quantity for target in targets}
    units = {name if name.startswith(LABEL) else unit_of("error", name) for name in quantities}
    found = [
        metric
        for metric in METRICS.values()
        if all(metric.judges(target) for target in targets) and (metric.name != "error" or len(units) == 1)
    ]
    first = ("epsilon", "l2_error") if quantities == {"density"} else ("relative_error",)
    return sorted(found, key=lambda metric: metric.name not in first)


def choose_metric(name: str | None, targets: Sequence[Target]) -> str:
    """The metric that a study names, or the one that fits its arms' targets.

    :raises StudyFileError: if it names one that they do not share.
    """
    valid = [metric.name for metric in common_metrics(targets)]
    if name is None:
        return valid[0]
    if name not in valid:
        names = sorted({target.quantity for target in targets})
        of = f"the target {names[0]} has" if len(names) == 1 else f"all of {', '.join(names)} have in one unit"
        raise StudyFileError("study.metric", f"expected a metric that {of}, {' or '.join(valid)}, got {name!r}")
    return name
