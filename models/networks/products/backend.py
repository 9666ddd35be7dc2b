"""The choice of how a network's products are computed. All ways agree up to rounding: no trial's id depends on it."""

import warnings
from functools import cache

import torch
from torch.nn import Module

from tesseral.models.compiled.library import NoLibraryError
from tesseral.models.networks.products.block_linear import BlockLinear
from tesseral.models.networks.products.channel_product import BACKENDS, ChannelProduct
from tesseral.models.networks.products.element_linear import ElementLinear
from tesseral.models.networks.products.fused.linear import open_linear
from tesseral.models.networks.products.fused.operator import open_operator
from tesseral.models.networks.products.fused.path_product import open_path_product
from tesseral.models.networks.products.fusion_product import FusionProduct
from tesseral.models.networks.products.linear import Linear
from tesseral.models.networks.products.symmetric_contraction import SymmetricContraction
from tesseral.study.errors import TesseralError

KEY = "resources.backend"


def choose_backend(network: Module, backend: str, device: torch.device) -> None:
    """Have every linear map and product of a network computed in one way.

    `reference` is e3nn's own modules for all but products of features with features, which are `portable` then.

    `auto` is `fused` on a CPU if the operator can be built, which is tried here. Else it is `portable`; a warning says
    so, once in a process.

    :param network: in the precision that it is to be used in; one of the user's own has no such product, or some.
    :param backend: `auto` or one of `channel_product.BACKENDS`.
    :param device: that the network is on.
    :raises TesseralError: if there is no such backend; if `fused` is asked for on an accelerator, or cannot be built.
    """
    if backend not in ("auto", *BACKENDS):
        raise TesseralError(f"{KEY}: expected auto or one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "fused" and device.type != "cpu":
        raise TesseralError(f"{KEY}: expected auto, reference or portable on {device}, got 'fused', which is for CPUs")
    if backend in ("auto", "fused") and device.type == "cpu":
        try:
            for product in network.modules():
                if isinstance(product, ChannelProduct) and product.paths:
                    open_operator("couple", product.plan, str(product.entries.dtype).removeprefix("torch."))
                elif isinstance(product, FusionProduct) and product.program:
                    open_path_product(product.program, str(product.coupling0.dtype).removeprefix("torch."))
                elif isinstance(product, BlockLinear | ElementLinear | Linear):
                    open_linear(product.program, str(product.weight.dtype).removeprefix("torch."))
                elif isinstance(product, SymmetricContraction):
                    open_path_product(product.program, str(product.scales.dtype).removeprefix("torch."))
        except NoLibraryError as error:
            if backend == "fused":
                raise
            say(str(error))
            backend = "portable"
        else:
            backend = "fused"
    for module in network.modules():
        if isinstance(module, ChannelProduct | ElementLinear | FusionProduct | Linear | SymmetricContraction):
            module.backend = "portable" if backend == "auto" else backend


def count_as_e3nn(network: Module) -> None:
    """Have self-connections computed by e3nn's products, whose operations are those that are counted as FLOPs.

    :param network: whose `ElementLinear` are changed.
    """
    for module in network.modules():
        if isinstance(module, ElementLinear):
            module.backend = "reference"


@cache
def say(reason: str) -> None:
    """Warn that the operator is not to be had, once in a process for each reason.

    :param reason: one sentence.
    """
    warnings.warn(f"products of features are computed by PyTorch, which is slower: {reason}", stacklevel=3)
