"""The device of a training: peak memory of one trial."""

from pathlib import Path

import pytest
import torch

from tesseral.models.training.device import deterministic, peak_memory


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_the_peak_of_a_trial_is_its_own():
    """A worker trains one trial after another: what an earlier one took is not the later one's."""
    cpu = torch.device("cpu")
    with deterministic(cpu):
        large = torch.ones(64_000_000)  # 256 MB
        del large
        first = peak_memory(cpu)
    with deterministic(cpu):
        second = peak_memory(cpu)
    assert first - second > 200e6
