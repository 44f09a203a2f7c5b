"""What Adam remembers: as arrays and back, and kept from underflowing."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

State = dict[int, dict[str, np.ndarray]]

# moments up to this count as zero; in so many steps those above it, which fall by a
# tenth per step, stay within the normal numbers of float32
NO_MOMENT = 1e-30
STEPS_TO_CLEAR = 100


@torch.no_grad()
def clear_moments(optimizer: Optimizer) -> None:
    """Set those of Adam's moments to zero that are about to underflow.

    Where a gradient stays zero its moments decay, until rounding keeps them at subnormal
    numbers, with which CPUs are many times slower. Long before that they move no weight.
    """
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name].copy_(F.hardshrink(state[name], NO_MOMENT))


def state_of(optimizer: Optimizer) -> State:
    """Return Adam's step and moments for each parameter, as arrays."""
    state = optimizer.state_dict()["state"]
    return {i: to_numpy(entry) for i, entry in state.items()}


def load_state(optimizer: Optimizer, saved: State) -> None:
    """Go on from what :func:`state_of` gave."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        i: {name: _as_laid_out(array, parameter) for name, array in entry.items()}
        for i, parameter in enumerate(parameters)
        if (entry := saved.get(i))
    }
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def to_numpy(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of named tensors as arrays."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().copy()
        for name, tensor in tensors.items()
    }


def _as_laid_out(array: np.ndarray, parameter: Tensor) -> Tensor:
    # the fused optimiser walks through memory, so a moment needs its weight's strides
    tensor = torch.tensor(array)
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)
