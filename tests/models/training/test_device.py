"""The device of a training: peak memory of one trial."""

import mmap
from pathlib import Path

import pytest
import torch

from tesseral.models.training.device import deterministic, peak_memory

SIZE = 2**28
"""256 MiB."""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_the_peak_of_a_trial_is_its_own():
    """A worker trains one trial after another: what an earlier one took is not the later one's."""
    cpu = torch.device("cpu")
    with deterministic(cpu):
        pass  # the first time torch imports its compiler, 70 MB
    with deterministic(cpu):
        # From the system itself: a tensor may get memory that the C library kept from an earlier test.
        with mmap.mmap(-1, SIZE) as large:
            for page in range(0, SIZE, mmap.PAGESIZE):
                large[page] = 1
        first = peak_memory(cpu)
    with deterministic(cpu):
        second = peak_memory(cpu)
    assert first - second > 0.8 * SIZE
