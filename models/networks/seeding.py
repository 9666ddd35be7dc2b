"""Random numbers of networks: those of a seed alone, whatever torch drew before, and nothing is left changed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CPU = torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Random numbers that depend on `seed` alone; torch's global generators are afterwards as they were before."""
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would seed every accelerator
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def initialising(seed: int) -> Iterator[None]:
    """Weights that depend on `seed` alone, in float64 on the CPU, while a network is built."""
    default = torch.get_default_dtype()
    with seeded(seed):
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)
