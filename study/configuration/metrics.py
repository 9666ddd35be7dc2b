"""What is measured on a split, declared once for training, records and reports: name, unit and meaning.

Which quantity has which metrics stands in `tesseral.study.configuration.quantities`.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from tesseral.study.configuration.quantities import Quantity, quantity_of
from tesseral.study.configuration.target import Target
from tesseral.study.errors import StudyFileError
from tesseral.study.wording import listed


@dataclass(frozen=True)
class Metric:
    """One number of a split, or one for each order l. `Quantity.metrics` names those that a quantity has."""

    name: str
    unit: str | None
    """Empty for a dimensionless number; None for the unit of what is predicted."""
    description: str
    by_l: bool = False
    """Whether it has a value for each order l of the output and none for the whole: columns end in `.l<order>`. A
    metric of the whole has values by order beside it where the target has several orders."""
    test_only: bool = False
    """Whether it is measured once, at the end, on the test split: it costs too much for every epoch."""
    optional: bool = False
    """Whether it is there only if the reference data have what it takes, so that arms cannot be compared by it."""
    orders: tuple[int, ...] = ()
    """Orders l of the density that the metric depends on. Arms that do not predict all of them (`target.orders`)
    cannot be compared by it."""
    symbol: str = ""
    """Symbol that stands before its values where a column holds several metrics."""
    of_spread: bool = False
    """Whether it is a share of the target's spread, so that its values for different targets can be compared."""
    has_floor: bool = False
    """Whether the density fit has this error too, against the SCF density: the fit floor."""
    part_of: str = ""
    """For a metric by l: name of the metric of the whole density that it is a part of, if it has another name."""

    def judges(self, target: Target) -> bool:
        """Whether arms of this target can be compared with one another by it."""
        complete = target.orders is None or set(self.orders) <= set(target.orders)
        has = self.name in quantity_of(target.quantity).metrics
        return has and complete and not (self.by_l or self.optional)

    def unit_for(self, quantity: Quantity) -> str:
        """The unit of its values for a quantity; empty if dimensionless, or if the unit is not known."""
        return quantity.unit if self.unit is None else self.unit


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "epsilon",
            "%",
            "mean over structures of ε = 100·∫|ρ_ML − ρ| / ∫ρ, where ρ is the fitted density (on a Becke grid with 40 "
            "Treutler-Ahlrichs radii and 302 Lebedev directions for each atom)",
            test_only=True,
            symbol="ε",
            has_floor=True,
        ),
        Metric(
            "block_epsilon",
            "%",
            "mean over structures of 100·∫|ρ_ML,l − ρ_l| / ∫ρ, where ρ_l is the part of order l and ρ the whole fitted "
            "density",
            by_l=True,
            test_only=True,
            part_of="epsilon",
        ),
        Metric("l2_error", "%", "100·√(Σ∫(ρ_ML − ρ)² / Σ∫ρ²), where ρ is the fitted density of the chosen orders"),
        Metric(
            "block_error",
            "%",
            "100·√(Σerr² / Σy²) over the coefficients of order l, where y is relative to isolated atoms",
            by_l=True,
        ),
        Metric("mse", "", "mean squared error of the scaled coefficients y = 2√2·c/N (Rackers)"),
        Metric("electrons", "e", "mean over structures of |∫ρ_ML − ∫ρ|", orders=(0,)),
        Metric(
            "dipole_error",
            "e bohr",
            "mean over structures of |μ_ML − μ|, where μ is that of the fitted density about the centre of nuclear "
            "charge",
            test_only=True,
            orders=(0, 1),
        ),
        Metric(
            "quadrupole_error",
            "e bohr^2",
            "mean over structures of |Q_ML − Q|, the norm of the five components of the quadrupole about the centre of "
            "nuclear charge",
            test_only=True,
            orders=(0, 1, 2),
        ),
        Metric(
            "potential_error",
            "mhartree/e",
            "mean over structures of the root mean square of V_ML − V on points at 1.4 van der Waals radii",
            test_only=True,
        ),
        Metric(
            "relative_error",
            "%",
            "root mean square error as a share of the target’s spread, 100·√(Σ|err|² / Σ|y − ȳ|²), with sums over the "
            "split. For invariants (l = 0), ȳ is the training mean or, if they grow with the structure, a sum over the "
            "atoms of one constant per element, fitted to the training split; for l > 0 it is zero. For a density, "
            "100·√(Σ∫(ρ_ML − ρ)² / Σ∫(ρ − ρ̄)²), where ρ̄ is the mean by element and shell",
            of_spread=True,
        ),
        Metric(
            "error",
            None,
            "mean absolute error in the target’s unit (for vectors and tensors, the mean norm of the error)",
        ),
        Metric("component_mae", None, "mean absolute error of the components; it depends on the axes"),
        Metric("component_rmse", None, "root mean square error of the components"),
        Metric(
            "energy_error",
            "hartree",
            "mean absolute error of the energies, if the reference data have them",
            optional=True,
        ),
        Metric(
            "energy_error_per_atom",
            "hartree",
            "mean absolute error of the energies, each divided by the number of atoms, if the reference data have them",
            optional=True,
        ),
        Metric(
            "stress_error",
            "hartree/bohr^3",
            "mean over structures of the norm of the stress’s error, √Σ(σ_ML − σ)² over its nine components, if the "
            "reference data have it",
            optional=True,
        ),
        Metric(
            "stress_component_mae",
            "hartree/bohr^3",
            "mean absolute error of the stress’s six components xx, yy, zz, yz, xz and xy, if the reference data have "
            "it",
            optional=True,
        ),
    )
}


def common_metrics(targets: Sequence[Target]) -> list[Metric]:
    """Metrics of one value that the targets of all arms have and can be compared by; the default comes first.

    Errors in different units cannot be compared: a metric in the target's own unit is among them only if all targets
    have one unit. Units of different labels count as different, since a study file does not tell them.

    :param targets: of the arms, at least one.
    """
    quantities = [quantity_of(target.quantity) for target in targets]
    units = {quantity.unit or quantity.name for quantity in quantities}
    return [
        metric
        for metric in map(METRICS.__getitem__, quantities[0].metrics)
        if all(metric.judges(target) for target in targets) and (metric.unit is not None or len(units) == 1)
    ]


def measured(metric: str) -> str:
    """The name of a study's metric in the records, with what it is measured on: `test.epsilon`, `md.epsilon`.

    :param metric: as `study.metric`: without a test set's name, it is measured on the test split.
    """
    return metric if "." in metric else f"test.{metric}"


def choose_metric(name: str | None, targets: Sequence[Target], tests: Sequence[str] = ()) -> str:
    """The metric that a study is judged by: the one that it names, or the default of its arms' targets.

    :param name: as `study.metric`.
    :param targets: of the arms, at least one.
    :param tests: names of the test sets that all arms have.
    :raises StudyFileError: if the targets do not share the metric that it names, or the arms not the test set.
    """
    common = [metric.name for metric in common_metrics(targets)]
    if name is None:
        return common[0]
    split, dot, _ = name.rpartition(".")
    if dot and split not in tests:
        expected = f"one of {', '.join(tests)}" if tests else "the name of one in data.tests, which names none"
        raise StudyFileError("study.metric", f"expected a test set that all arms have, {expected}, got {split!r}")
    valid = [f"{split}{dot}{metric}" for metric in common]
    if name not in valid:
        names = sorted({target.quantity for target in targets})
        of = f"of the target {names[0]}" if len(names) == 1 else f"that {listed(names)} share in one unit"
        one, metrics = ("one of ", "metrics") if len(valid) > 1 else ("", "metric")
        expected = f"expected {one}{', '.join(valid)}, the {metrics} {of}"
        close = difflib.get_close_matches(name, valid, n=1, cutoff=0.65)
        raise StudyFileError(
            "study.metric", f"{expected}, got {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
        )
    return name
