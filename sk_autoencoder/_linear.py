"""Dense layers of trained networks, by the faster of torch's two libraries on a CPU."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._device import cpu_capabilities

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
        y = torch.ops.mkldnn._linear_pointwise(
            padded, self.weight, self.bias, "none", [], ""
        )
        return y[:n]


@cache
def _is_slow_in_mkl() -> bool:
    found = cpu_capabilities()
    return (
        found.get("cpu_name", "").startswith("AMD")
        and found.get("avx512_f", False)
        # no public function of torch calls it, so that some version may lack it
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
