"""Matrix products of PyTorch's own BLAS for our C++, so that both use its threads, and the same instructions."""

import ctypes
import sys
from functools import cache
from pathlib import Path

import torch

from tesseral.models.compiled.library import NoLibraryError

_NAMES = {"float32": "sgemm_", "float64": "dgemm_"}


@cache
def matrix_product(real: str) -> int:
    """The address of BLAS's general matrix product.

    :param real: `float32` or `float64`.
    :raises NoLibraryError: if PyTorch shows none.
    """
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    path = Path(torch.__file__).parent / "lib" / f"libtorch_cpu{suffix}"
    try:
        found = getattr(ctypes.CDLL(str(path)), _NAMES[real])
    except (OSError, AttributeError) as error:
        raise NoLibraryError(f"expected {_NAMES[real]} in PyTorch's library, got {error}") from error
    return ctypes.cast(found, ctypes.c_void_p).value or 0
