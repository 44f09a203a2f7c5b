"""Dense layers by the faster of the two libraries that torch has for them on a CPU."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ._device import cpu_capabilities

# multiplications, with fewer of which oneDNN takes longer to begin than MKL to end
FEWEST_FOR_ONEDNN = 2**20


class Linear(nn.Linear):
    """`torch.nn.Linear`, in half of the time on an AMD processor with AVX-512."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """:math:`x W^T + b` of x (n, n_in), W (n_out, n_in) and b (n_out,).

    torch leaves float32 products to MKL, which uses no AVX-512 on processors that are
    not Intel's; oneDNN, which torch convolves by, does.
    """
    if (
        x.dtype != torch.float32
        or x.device.type != "cpu"
        or len(x) * weight.numel() < FEWEST_FOR_ONEDNN
        or torch.is_autocast_enabled("cpu")
        or not _is_slow_in_mkl()
    ):
        return F.linear(x, weight, bias)
    x = x.contiguous()  # of other layouts it has a slow product only
    if torch.is_grad_enabled():
        return _OneDnnLinear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _onednn(grad, weight.t()) if for_x else None,
            _onednn(grad.t(), x.t()) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def _is_slow_in_mkl() -> bool:
    found = cpu_capabilities()
    return (
        found.get("cpu_name", "").startswith("AMD")
        and found.get("avx512_f", False)
        # no public function of torch calls it, so that some version may lack it
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
