"""Pickles of tensors from other people, opened without running any code in them.

A pickle names functions that are called as it is opened, so it can run any code. This reader admits the three names
that a pickled tensor needs, each replaced by a function that only makes a tensor, and rejects any other by name.
"""

import contextlib
import io
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from tesseral.study.errors import DataError


def load_tensors(path: str | Path) -> Any:
    """Content of a pickle of tensors, lists, tuples, dicts, text and numbers.

    :param path: of the file.
    :raises DataError: if it is missing, torn or not a pickle, or names anything else.
    """
    try:
        with Path(path).open("rb") as file:
            return _TensorUnpickler(file, str(path)).load()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"expected a pickle at {path}, cannot read it: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 - a torn or foreign pickle can raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"expected a whole pickle of tensors, {path} cannot be read: {reason}") from None


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, path: str) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """The replacement of an admitted name; `pickle` calls this for each name in the file."""
        admitted = {
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch.storage._load_from_bytes": self._flat,
            "collections.OrderedDict": OrderedDict,
        }
        if f"{module}.{name}" not in admitted:
            raise self._refusal(f"{module}.{name}")
        return admitted[f"{module}.{name}"]

    def _refusal(self, name: str) -> DataError:
        return DataError(
            f"expected a pickle of nothing but tensors, lists, dicts and numbers, {self.path} names {name}; "
            "it was refused and not run"
        )

    def _flat(self, content: bytes) -> Tensor:
        """A storage as a flat tensor. torch's own `_load_from_bytes` would unpickle `content` freely."""
        for name in _names(content):
            if re.fullmatch(r"torch\.\w+Storage", name) is None:
                raise self._refusal(name)
        try:  # this decides: a name can be hidden from `_names`, which only serves a clear message
            storage = torch.load(io.BytesIO(content), weights_only=True)
        except pickle.UnpicklingError:
            raise self._refusal("something that is no tensor's storage") from None
        return torch.empty(0, dtype=storage.dtype).set_(storage)


def _names(content: bytes) -> Iterator[str]:
    """Names in the pickles at the start of `content`, read without running them."""
    stream = io.BytesIO(content)
    texts: list[str] = []
    with contextlib.suppress(ValueError):  # raised where the pickles end and the numbers begin
        while stream.tell() < len(content):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL":
                    yield ".".join(texts[-2:])
                elif isinstance(argument, str):
                    texts.append(argument)


def _tensor(flat: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("a tensor's sizes and strides are no whole numbers")
    if prod(size) > flat.numel():  # a stride of 0 makes terabytes of one number
        raise ValueError(f"a tensor has {prod(size):,} elements, its storage {flat.numel():,}")
    return torch.as_strided(flat, size, stride, offset).clone()  # raises if it would leave the storage
