"""Values that are hidden from whoever is to predict them, to learn from noisy images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ._noise import uniform


def hide(x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Hide a sixteenth of the pixels from whoever is to predict them.

    In each image the pixels of a grid, four apart and with a random offset, are replaced
    by the mean of their neighbours (weights 1, diagonally 1/2); of a line of features,
    whose order may mean nothing, one in sixteen at random by its mean over the others of
    the batch [1]_. Each image has at least one.

    Parameters
    ----------
    x : Tensor of shape (n, C, H, W)

    Returns
    -------
    hidden : Tensor of shape (n, C, H, W)
    mask : Tensor of bool of shape (n, C, H, W)
        Where values are hidden.

    References
    ----------
    .. [1] J. Batson and L. Royer, "Noise2Self: blind denoising by self-supervision",
       ICML (2019).
    """
    n, channels, height, width = x.shape
    if min(height, width) == 1:
        u = uniform(x, generator)
        some = max(1, x[0].numel() // 16)
        least = u.flatten(1).kthvalue(some).values.view(-1, 1, 1, 1)
        mask = u <= least
        others = (x.sum(0, keepdim=True) - x) / max(1, n - 1)
        return torch.where(mask, others, x), mask
    rows, columns = (
        _one_in(min(4, side), n, side, generator) for side in (height, width)
    )
    mask = rows[:, None, :, None] & columns[:, None, None, :]
    steps = torch.arange(-1, 2, device=x.device).abs()
    distance = steps + steps[:, None]
    weights = torch.where(distance > 0, 1 / distance, 0).to(x) / 6
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    around = F.conv2d(padded, weights.expand(channels, 1, 3, 3), groups=channels)
    mask = mask.expand_as(x)
    return torch.where(mask, around, x), mask


def _one_in(step: int, n: int, side: int, generator: Generator) -> Tensor:
    """True at every `step`-th of `side` places, from a random one on, n times."""
    device = generator.device
    first = torch.randint(step, (n, 1), generator=generator, device=device)
    return (torch.arange(side, device=device) - first) % step == 0
