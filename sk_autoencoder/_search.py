"""Codes that reconstruct an image better than the encoder's, searched for from there."""

from __future__ import annotations

import torch
from torch import Tensor

from ._modules import Autoencoder

# the length that is tried, as a part of the farthest, and what shortens it for an image
# that no length helped
TRIAL, SHORTER = 0.2, 0.1


def search(module: Autoencoder, x: Tensor, n_steps: int) -> Tensor:
    r"""Return codes (n, K) of images x, by so many steps of steepest descent.

    Each lowers the squared error of an image or leaves its code as it is. A step along the
    gradient g has the length at which a parabola is least, through the error here, with
    its slope, and the error at a trial length,

    .. math:: t = \frac{s}{2 c}, \quad
        s = \lVert g \rVert^2, \quad c = \frac{f(t_0) - f(0) + s t_0}{t_0^2}

    but for :math:`2 f(0) / s` at most, where a parabola would be negative beyond. It is
    one of what the activation of the code is given, so that codes stay in its range.
    """

    def errors(u: Tensor) -> Tensor:
        restored = module.decode(module.code_activation(u))
        return (restored - x).square().flatten(1).sum(1)

    u = module.preactivation(x.clone()).detach()  # who knows what it does to x
    part = torch.full((len(x),), TRIAL, dtype=x.dtype, device=x.device)
    for _ in range(n_steps):
        with torch.enable_grad():
            u.requires_grad_()
            error = errors(u)
            if not error.requires_grad:
                raise ValueError(
                    f"transform_max_iter={n_steps} needs to differentiate what decodes, "
                    f"but decode of architecture={type(module.network).__name__} lets no "
                    "gradient through. Set transform_max_iter=0."
                )
            (gradient,) = torch.autograd.grad(error.sum(), u)
        with torch.no_grad():
            gradient = gradient.nan_to_num(0, 0, 0)
            error, slope = error.detach(), gradient.square().sum(1)
            farthest = 2 * error / slope.clamp(min=torch.finfo(x.dtype).tiny)
            trial = part * farthest
            tried = errors(u - trial[:, None] * gradient)
            curvature = (tried - error + slope * trial) / trial.square()
            best = torch.where(curvature > 0, slope / (2 * curvature), torch.inf)
            best = torch.minimum(best, farthest)
            lengths = torch.stack([torch.zeros_like(trial), trial, best])
            found = errors(u - best[:, None] * gradient)
            least = torch.stack([error, tried, found]).nan_to_num(torch.inf).argmin(0)
            u = u - lengths.gather(0, least[None])[0, :, None] * gradient
            part = torch.where(least == 0, SHORTER * part, TRIAL)
    return module.code_activation(u)
