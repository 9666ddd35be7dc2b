"""Asynchronous successive halving (Li et al., arXiv 1810.05934), as a rule over the sealed values of one arm."""

from collections.abc import Iterable


class Halving:
    """At each rung a trial goes on if its value is among the best 1/η of those that its arm has there so far.

    Of n values, itself included, the best max(1, ⌊n/η⌋) go on, so the first to arrive always does; ties go on. A
    trial is judged once at a rung: what was decided stands if its worker is lost and it comes there again.

    :param reduction: η.
    """

    def __init__(self, rungs: Iterable[int], reduction: int) -> None:
        self.reduction = reduction
        self.values: dict[int, dict[str, float]] = {epoch: {} for epoch in rungs}
        self._judged: dict[tuple[str, int], str | None] = {}

    def add(self, trial: str, epoch: int, value: float) -> None:
        """Take a sealed value without judging it: from the records, at a start."""
        if epoch in self.values:
            self.values[epoch][trial] = value

    def passed(self, trial: str, epoch: int) -> None:
        """The trial was judged at this rung before, and went on."""
        self._judged[trial, epoch] = None

    def judge(self, trial: str, epoch: int, value: float) -> str | None:
        """Why the trial is to stop at this rung; None if it goes on."""
        if (trial, epoch) not in self._judged:
            self.add(trial, epoch, value)
            self._judged[trial, epoch] = self._rank(epoch, value)
        return self._judged[trial, epoch]

    def _rank(self, epoch: int, value: float) -> str | None:
        values = sorted(self.values.get(epoch, {}).values())
        kept = max(1, len(values) // self.reduction)
        if not values or value <= values[kept - 1]:
            return None
        rank = sum(other < value for other in values) + 1
        return f"number {rank} of {len(values)} in its arm after {epoch} epochs, of which {kept} went on"
