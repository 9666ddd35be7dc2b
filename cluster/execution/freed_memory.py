"""The memory of ended trials, given back: a worker that trains one trial after another does not grow."""

import ctypes
import gc
import linecache
import sys
from contextlib import suppress
from functools import cache

GENERATED = "<eval_with_key>"
"""How torch.fx begins the file names of the code that it generates."""


@cache
def _freeze() -> None:
    """Once a process: the libraries' objects, some 400,000, need not be looked at again.

    `gc.get_freeze_count` would tell, but it walks over all of them: 25 ms a trial.
    """
    gc.freeze()


def free_memory() -> None:
    """Give back what ended trials of this process held.

    A network holds itself in cycles, which Python collects rarely beside the many objects of the libraries. torch.fx
    keeps the source of all code that it ever generated, 0.1 MB a network. The C library keeps what is freed; GNU's
    gives it back when asked.
    """
    gc.collect()
    _freeze()
    if (generated := sys.modules.get("torch.fx.graph_module")) is not None:
        # No public name: another torch may keep it elsewhere, and a trial ends all the same.
        with suppress(AttributeError):
            generated._loader.eval_cache.clear()
    for name in [name for name in linecache.cache if name.startswith(GENERATED)]:
        del linecache.cache[name]
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
