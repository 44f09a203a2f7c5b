"""Corruptions for denoising: ``(batch, generator) -> batch``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor

Corruption = Callable[[Tensor, Generator], Tensor]


def gaussian(x: Tensor, generator: Generator, *, level: float) -> Tensor:
    """x + N(0, level²), one variance for all components, clipped to [0, 1]."""
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return (x + level * noise).clamp_(0.0, 1.0)


NOISES: dict[str, Callable[..., Tensor]] = {"gaussian": gaussian}


def make_corruption(noise: str, noise_level: float, span: float) -> Corruption:
    """Corruption of images scaled to [0, 1], its level given in the data's units.

    Parameters
    ----------
    noise : str
        A key of `NOISES`.
    noise_level : float
        Strength in the units of the data.
    span : float
        Length of the data's value range, which the scaling divides by.
    """
    return partial(NOISES[noise], level=noise_level / span)
