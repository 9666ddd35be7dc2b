"""Asynchronous successive halving (ASHA; Li et al., arXiv 1810.05934) over the sealed values of one search."""

from collections.abc import Iterable


class Halving:
    """At each rung, a trial continues if its value is among the best 1/η that its search has reached there so far.

    Of n values, the trial's own included, the best max(1, ⌊n/η⌋) continue. The first trial at a rung therefore always
    continues, and so do ties. Values are minimised.

    A trial is judged once at each rung. If its worker is lost and the trial reaches the rung again, the first decision
    stands: the trials that arrived in between must not change it.

    :param rungs: epochs at which trials are judged.
    :param reduction: η.
    """

    def __init__(self, rungs: Iterable[int], reduction: int) -> None:
        self.reduction = reduction
        self.values: dict[int, dict[str, float]] = {epoch: {} for epoch in rungs}
        """Rung's epoch → trial → value."""
        self._reasons: dict[tuple[str, int], str | None] = {}

    def add(self, trial: str, epoch: int, value: float) -> None:
        """Take a sealed value without judging it, as when the records are read at a start.

        :param trial: the trial's id.
        :param epoch: of the rung.
        :param value: to be minimised.
        """
        if epoch in self.values:
            self.values[epoch][trial] = value

    def passed(self, trial: str, epoch: int) -> None:
        """Note that the trial was judged at this rung before, and continued.

        :param trial: the trial's id.
        :param epoch: of the rung.
        """
        self._reasons[trial, epoch] = None

    def judge(self, trial: str, epoch: int, value: float) -> str | None:
        """Decide about a trial that has reached a rung.

        :param trial: the trial's id.
        :param epoch: of the rung.
        :param value: to be minimised.
        :returns: why the trial is to stop, or None if it continues.
        """
        if (trial, epoch) not in self._reasons:
            self.add(trial, epoch, value)
            self._reasons[trial, epoch] = self._reason(epoch, value)
        return self._reasons[trial, epoch]

    def _reason(self, epoch: int, value: float) -> str | None:
        values = sorted(self.values.get(epoch, {}).values())
        kept = max(1, len(values) // self.reduction)
        if not values or value <= values[kept - 1]:
            return None
        rank = sum(other < value for other in values) + 1
        # Part of the trial's record: its words stay as they are.
        return f"number {rank} of {len(values)} in its arm after {epoch} epochs, of which {kept} went on"
