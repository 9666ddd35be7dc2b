"""The check of an accelerator, rehearsed on the CPU at a small size: all that it runs is whole."""

import pytest

from tests.benchmarks.gpu import figures


@pytest.mark.long
def test_a_rehearsal_on_the_cpu():
    made = {figure.what: figure for figure in figures("cpu", ["quickstart-24"], turns=1)}
    assert sum("disagreement" in what for what in made) == 8
    assert made["cpu: a resumed trial ends at the same last bit"].value == 1
    assert made["cpu: step quickstart-24: e3nn's time over ours"].value > 1
    assert all(figure.holds for figure in made.values())
