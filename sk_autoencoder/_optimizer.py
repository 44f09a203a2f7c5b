"""The optimiser, and what it remembers: as arrays and back, kept from underflowing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

State = dict[int, dict[str, np.ndarray]]

# moments up to this count as zero; in so many steps those above it, which fall by a
# tenth per step, stay within the normal numbers of float32
NO_MOMENT = 1e-30
STEPS_TO_CLEAR = 100

# of the polynomial a x + b x^3 + c x^5, which takes singular values between 0.002 and 1
# to some between 0.68 and 1.21 when it is applied five times
NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315
ITERATIONS = 5


def _alone(method: Any) -> Any:
    # as torch writes it, around which it puts what torch.compile needs
    return getattr(method, "__wrapped__", method)


class LightAdamW(AdamW):
    """torch's AdamW, which does not import torch's compiler: that takes over a second."""

    add_param_group = _alone(AdamW.add_param_group)
    zero_grad = _alone(AdamW.zero_grad)
    state_dict = _alone(AdamW.state_dict)
    load_state_dict = _alone(AdamW.load_state_dict)
    step = torch.no_grad()(_alone(AdamW.step))
    # for classes derived from it, since torch wraps `step` in its hooks
    _step_alone = step


class MuonAdamW(LightAdamW):
    r"""Muon for the kernels of convolutions, AdamW for all other weights.

    Muon [1]_ moves a kernel W, a matrix of output maps by weights, along its momentum M
    made orthogonal, so that all its directions are learnt at one pace. With the gradient
    G, the learning rate :math:`\eta` and the weight decay :math:`\lambda`,

    .. math::

        M \leftarrow \mu M + (1 - \mu) G, \qquad
        W \leftarrow (1 - \eta \lambda) W
            - 0.2 \, \eta \sqrt{\max(\text{rows}, \text{columns})} \;
            p(\mu M + (1 - \mu) G)

    where p is :func:`polar`, and the factor makes the step as large as Adam's are [2]_.
    torch.optim.Muon with ``adjust_lr_fn="match_rms_adamw"`` does so in bfloat16 for one
    matrix after the other; here those of one shape go together, in half of the time.

    Parameters
    ----------
    params : iterable of Tensor, or one group of them
        Weights; those of four dimensions are kernels.
    momentum : float
        Of Muon.
    **options
        AdamW's `betas` and `fused`, and the `lr` and `weight_decay` of both.

    References
    ----------
    .. [1] K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks"
       (2024), https://kellerjordan.github.io/posts/muon.
    .. [2] J. Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982 (2025).
    """

    def __init__(self, params: Any, *, momentum: float = 0.95, **options: Any) -> None:
        super().__init__(params, **options)
        (group,) = self.param_groups
        kernels = [weight for weight in group["params"] if weight.ndim == 4]
        group["params"] = [weight for weight in group["params"] if weight.ndim != 4]
        # the steps of which are none of torch's
        self.add_param_group({"params": kernels, "momentum": momentum, "fused": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:  # before AdamW would, while it can reach all weights
            with torch.enable_grad():
                loss = closure()
        others, kernels = self.param_groups
        self.param_groups = [others]
        try:
            self._step_alone()
        finally:
            self.param_groups = [others, kernels]
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for kernel in kernels["params"]:
            if kernel.grad is not None:
                alike[kernel.shape].append((kernel, kernel.grad))
        for pairs in alike.values():
            self._move(pairs, kernels)
        return loss

    def _move(self, pairs: list[tuple[Tensor, Tensor]], group: dict[str, Any]) -> None:
        """Take a step with kernels of one shape, which are given with their gradients."""
        kernels, gradients = zip(*pairs)
        lr, momentum = group["lr"], group["momentum"]
        for kernel in kernels:
            if not self.state[kernel]:
                # when a state is loaded, AdamW looks for the step of every weight
                step = torch.zeros(())
                self.state[kernel] = {"step": step, "exp_avg": torch.zeros_like(kernel)}
        moments = [self.state[kernel]["exp_avg"] for kernel in kernels]
        torch._foreach_lerp_(moments, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, moments, momentum)
        matrices = torch.stack([each.flatten(1) for each in ahead])
        size = 0.2 * lr * math.sqrt(max(matrices.shape[1:]))
        with torch.autocast(matrices.device.type, enabled=False):
            steps = -size * polar(matrices)
        torch._foreach_mul_(kernels, 1 - lr * group["weight_decay"])
        torch._foreach_add_(kernels, [step.view_as(kernels[0]) for step in steps])


def optimizer_for(module: nn.Module) -> tuple[type[AdamW], tuple[float, float]]:
    """Return what trains `module`, with Muon if it starts linear, and Adam's betas."""
    if getattr(module, "starts_linear", False):
        return MuonAdamW, (0.9, 0.99)
    return LightAdamW, (0.9, 0.999)


def polar(matrices: Tensor) -> Tensor:
    """Return U V' for each matrix U S V', (n, rows, columns), and that roughly.

    Newton-Schulz iterations, most of them on the smaller Gram matrices.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    wide = wide / (torch.linalg.matrix_norm(wide, keepdim=True) + 1e-7)
    for iterations in (2, ITERATIONS - 2):  # more would amplify rounding errors
        gram = wide @ wide.mT
        product = factor = _factor(gram)
        for _ in range(iterations - 1):
            gram = factor @ gram @ factor
            factor = _factor(gram)
            product = factor @ product
        wide = product @ wide
    return wide.mT if tall else wide


def _factor(gram: Tensor) -> Tensor:
    """What an iteration multiplies the matrices of these Gram matrices by."""
    a, b, c = NEWTON_SCHULZ
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


@torch.no_grad()
def clear_moments(optimizer: Optimizer) -> None:
    """Set those of the moments to zero that are about to underflow.

    Where a gradient stays zero its moments decay, until rounding keeps them at subnormal
    numbers, with which CPUs are many times slower. Long before that they move no weight.
    """
    for state in optimizer.state.values():
        for name, moment in state.items():
            if name != "step":
                moment.copy_(F.hardshrink(moment, NO_MOMENT))


def state_of(optimizer: Optimizer) -> State:
    """Return what is kept of each parameter (Adam's step and moments), as arrays."""
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
