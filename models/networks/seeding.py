"""Random numbers that depend on a seed alone, without any effect on torch's global generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CPU = torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Seed torch inside the block; the global generators' states are restored after it.

    :param seed: a whole number of at most 64 bits.
    :param device: the CUDA device to seed too, if it is one.
    """
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would seed every accelerator
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def initialising(seed: int) -> Iterator[None]:
    """Seed torch and make float64 the default dtype inside the block, in which a network is built.

    :param seed: all that the weights depend on.
    """
    default = torch.get_default_dtype()
    with seeded(seed):
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)
