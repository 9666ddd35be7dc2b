"""What an ended trial held is given back."""

import gc
import linecache
import weakref

import torch
from torch.fx import graph_module

from tesseral.cluster.execution.freed_memory import GENERATED, free_memory


class Held:
    """As a network does, it holds itself and much memory."""

    def __init__(self) -> None:
        self.itself, self.weights = self, torch.zeros(10)


def test_cycles_and_generated_code_are_given_back():
    gc.collect()
    gc.disable()
    try:
        held = weakref.ref(Held())
        double = torch.fx.symbolic_trace(lambda x: 2 * x)
        assert held() is not None
        assert any(name.startswith(GENERATED) for name in graph_module._loader.eval_cache)
        free_memory()
        assert held() is None
    finally:
        gc.enable()
        gc.unfreeze()
    assert not graph_module._loader.eval_cache
    assert not any(name.startswith(GENERATED) for name in linecache.cache)
    assert double(torch.ones(1)) == 2
