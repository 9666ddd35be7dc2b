"""Modules built by themselves are in the default precision, and draw from the global generator."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def precise() -> Iterator[None]:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(default)
