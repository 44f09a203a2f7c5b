"""Dense layers of trained networks, by the faster of torch's two libraries on a CPU."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

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
    then serve inference only, and hold what they held.
    """
    if not _is_slow_in_mkl():
        return
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and min(layer.weight.shape) >= FEWEST_FEATURES:
                setattr(parent, name, _OneDnnLinear(layer))


class _OneDnnLinear(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        if n < ROW_MULTIPLE // 2:
            return F.linear(x, self.weight, self.bias)
        # of views other than contiguous ones it has a slow product, or a wrong one
        padded = F.pad(x, (0, 0, 0, -n % ROW_MULTIPLE)).contiguous()
        return _product(padded, self.weight, self.bias)[:n]


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def _is_slow_in_mkl() -> bool:
    found = torch.cpu.get_capabilities()
    is_slow = found.get("cpu_name", "").startswith("AMD") and found.get("avx512_f")
    return bool(is_slow and _has_product())


def _has_product() -> bool:
    # no public function of torch calls it, so that some version may have another
    x, weight, bias = (
        torch.eye(ROW_MULTIPLE, dtype=torch.float32),
        torch.ones(2, ROW_MULTIPLE, dtype=torch.float32),
        torch.ones(2, dtype=torch.float32),
    )
    with suppress(Exception):
        return torch.equal(_product(x, weight, bias), F.linear(x, weight, bias))
    return False
