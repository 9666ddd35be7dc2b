"""The device that a training runs on: lookup by name, determinism, memory use, and running out of memory."""

import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from tesseral.study.errors import TesseralError

_STATUS = Path("/proc/self/status")
"""What Linux knows of this process; `VmHWM` is the peak of its resident memory, KiB."""

_FULL = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""Messages of a plain `RuntimeError` for exhausted memory: on Linux, on Windows, outside torch's allocator, in
cuBLAS."""


def find_device(name: str) -> torch.device:
    """The torch device of a name.

    :param name: `auto` (an accelerator if there is one), `cpu`, `cuda` or `cuda:N`.
    :raises TesseralError: if there is no such device.
    """
    valid = ["cpu"] + [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    first = valid[1] if len(valid) > 1 else "cpu"
    full = {"auto": first, "cuda": "cuda:0"}.get(name, name)
    if full not in valid:
        raise TesseralError(f"resources.device: expected auto or one of {', '.join(valid)}, got {name!r}")
    return torch.device(full)


def usable(device: torch.device) -> bool:
    """Whether this process can still compute on the device: after some kernel errors CUDA fails for good."""
    try:
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError:
        return False
    return True


CONTEXT = 2**30
"""Memory of a GPU that a process takes beside torch's allocator: CUDA itself and its libraries, at most, bytes."""


def limit_memory(device: torch.device, share: float) -> None:
    """Let this process allocate no more than its share of a GPU's memory, so that others on it keep theirs.

    :param device: CPU, where nothing is limited, or CUDA.
    :param share: of the GPU that this process was given; 0, 1 and above are the whole.
    """
    if device.type == "cuda":
        size = torch.cuda.get_device_properties(device).total_memory
        part = share - min(CONTEXT / size, share / 2) if 0 < share < 1 else 1.0
        torch.cuda.set_per_process_memory_fraction(part, device)


def device_name(device: torch.device) -> str:
    """`cpu`, or the accelerator's name.

    :param device: CPU or CUDA.
    """
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)


def device_label(device: torch.device) -> str:
    """`cpu`, or the accelerator's name and its number on the machine, such as `NVIDIA H200 (3)`.

    :param device: CPU or CUDA.
    """
    if device.type == "cpu":
        return "cpu"
    index = device.index or 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    number = visible[index].strip() if index < len(visible) and visible[index] else str(index)
    return f"{device_name(device)} ({number})"


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Make sums deterministic on an accelerator too, so that a resumed training repeats every bit.

    :param device: CPU or CUDA.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first use
        torch.use_deterministic_algorithms(True)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _forget_peak()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means exhausted memory: Python's, the system's, the CPU allocator's or the accelerator's.

    :param error: any exception.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _FULL)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes since `deterministic`: largest resident memory of the process (CPU), or most allocated
    (CUDA).

    Where the system cannot forget an earlier peak, as macOS, the CPU's is that of the whole life of the process.

    :param device: CPU or CUDA.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = _STATUS.read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _forget_peak() -> None:
    """Set the peak of the resident memory to the present one: a worker trains one trial after another."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
