"""What is measured on a split, declared once: name, unit and meaning, for training, records and reports alike."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number of a split, or one for each order l."""

    name: str
    unit: str
    description: str
    by_l: bool = False
    """Whether there is one for each order l of the output; its columns end in `.l<order>`."""
    test_only: bool = False
    """Whether it is measured once, at the end, on the test split alone: too dear for every epoch."""


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
        Metric("l2_error", "%", "100·√(Σ∫(ρ_ML − ρ)² / Σ∫ρ²), ρ the fitted density"),
        Metric(
            "block_error", "%", "100·√(Σerr² / Σy²) within the block of order l; y less the isolated atoms", by_l=True
        ),
        Metric("mse", "", "mean squared error of Rackers' y = 2√2·c/N"),
        Metric("electrons", "e", "mean over structures of |∫ρ_ML − ∫ρ|"),
    )
}
