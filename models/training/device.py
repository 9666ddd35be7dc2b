"""The device that a training runs on: found by name, made deterministic, its memory measured and its end told."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tesseral.study.errors import TesseralError

_FULL = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""How a `RuntimeError` of no class of its own says that memory has run out: on Linux, on Windows, outside of torch's
own allocator, in cuBLAS."""


def find_device(name: str) -> torch.device:
    """`auto` (an accelerator if there is one), `cpu`, `cuda` or `cuda:N`.

    :raises TesseralError: if there is no such device.
    """
    valid = ["cpu"] + [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    first = valid[1] if len(valid) > 1 else "cpu"
    full = {"auto": first, "cuda": "cuda:0"}.get(name, name)
    if full not in valid:
        raise TesseralError(f"device: expected auto or one of {', '.join(valid)}, got {name!r}")
    return torch.device(full)


def usable(device: torch.device) -> bool:
    """Whether this process can still compute there: after some errors of a kernel CUDA fails for good."""
    try:
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError:
        return False
    return True


def device_name(device: torch.device) -> str:
    """`cpu`, or the accelerator's name."""
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Sums in a fixed order on an accelerator too, so that a training resumed there repeats every bit."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True)
        torch.cuda.reset_peak_memory_stats(device)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory has run out: Python's, the CPU allocator's or the accelerator's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _FULL)


def peak_memory(device: torch.device) -> int:
    """Bytes: the process's largest resident memory on the CPU, the most allocated since `deterministic` on CUDA."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
