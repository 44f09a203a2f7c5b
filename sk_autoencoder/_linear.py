"""Dense layers on a CPU, by the faster of torch's two libraries."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# oneDNN keeps what it compiles for each number of rows: few numbers are to be asked for
ROW_MULTIPLE = 64
# features in and out, with fewer of which MKL is as fast
FEWEST_FEATURES = 16


def speed_up_linear(module: nn.Module) -> None:
    """Let the dense layers of a float32 module on a CPU compute what they can by oneDNN.

    torch leaves float32 products to MKL, which on AMD processors makes no use of
    AVX-512; oneDNN, which torch convolves by, does, in about half of the time. The layers
    hold what they held, and are torch's own again where they are copied or pickled.
    """
    if _is_slow_in_mkl():
        for layer in module.modules():
            if type(layer) is nn.Linear and min(layer.weight.shape) >= FEWEST_FEATURES:
                layer.__class__ = _OneDnnLinear


class _OneDnnLinear(nn.Linear):
    def __reduce_ex__(self, protocol: Any) -> Any:
        # pickle has a way of its own for what protocols from 2 on give
        reduced: Any = super().__reduce_ex__(1)
        make, (_, *arguments), *state = reduced
        return make, (nn.Linear, *arguments), *state

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        is_float32 = x.dtype == torch.float32 and x.device.type == "cpu"
        if n < ROW_MULTIPLE // 2 or not is_float32:
            return F.linear(x, self.weight, self.bias)
        product = _Product.apply if torch.is_grad_enabled() else _product
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            # unlike in training, n may be any number
            x = F.pad(x, (0, 0, 0, -n % ROW_MULTIPLE))
        return product(x, self.weight, self.bias)[:n]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.t()) if wants_x else None,
            _product(gradient.t(), x.t()) if wants_weight else None,
            gradient.sum(0) if wants_bias else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # of an x that is a view it has a slow product, or a wrong one; the weight may be
    # transposed
    return torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), weight, bias, "none", [], ""
    )


@cache
def _is_slow_in_mkl() -> bool:
    found = torch.cpu.get_capabilities()
    is_slow = found.get("cpu_name", "").startswith("AMD") and found.get("avx512_f")
    return bool(is_slow and _has_product())


def _has_product() -> bool:
    # no public function of torch calls it, so that some version may have another
    x, weight, bias = (
        torch.eye(ROW_MULTIPLE, dtype=torch.float32),
        torch.arange(2.0 * ROW_MULTIPLE, dtype=torch.float32).view(2, ROW_MULTIPLE),
        torch.ones(2, dtype=torch.float32),
    )
    with suppress(Exception):
        return torch.equal(
            _product(x, weight, bias), F.linear(x, weight, bias)
        ) and torch.equal(_product(weight, x.t()), weight)
    return False
