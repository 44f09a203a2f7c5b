"""Random image transforms for training: ``(batch, generator) -> batch``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Augmentation = Callable[[Tensor, Generator], Tensor]

# name: axis of images (n, C, H, W)
FLIPS = {"vertical": 2, "horizontal": 3}


def random_affine(x: Tensor, generator: Generator, *, strength: float) -> Tensor:
    """Shift, turn, scale and change the contrast of each image at random.

    At strength 1, uniformly: shifts of up to 5 % of a side, rotations of up to 5
    degrees, times the shorter side over the longer one, scales of 0.95 to 1.05, contrasts
    of 0.9 to 1.1 about the image's mean; other strengths multiply these bounds. Beyond
    the border the last pixel is repeated, and no value leaves the range of the batch.
    Lines of pixels stay as they are: their order may mean nothing.

    Parameters
    ----------
    x : Tensor of shape (n, C, H, W)
        Images.
    generator : Generator
        Source of randomness, on the device of `x`.
    strength : float
        Non-negative.
    """
    n, _, height, width = x.shape
    if strength == 0 or min(height, width) == 1:
        return x
    like: dict[str, Any] = {"device": x.device, "dtype": x.dtype}
    uniform = torch.rand((5, n), generator=generator, **like)
    dx, dy, turn, zoom, contrast = strength * (2 * uniform[..., None, None] - 1)
    # else the ends of a long image would leave it
    angle = turn * math.radians(5) * min(height, width) / max(height, width)
    scale = torch.exp(zoom * math.log(1.05))
    cos, sin = scale * angle.cos(), scale * angle.sin()
    # in the sampler's units a side has length 2, whatever its number of pixels
    column = (2 * torch.arange(width, **like) + 1) / width - 1
    row = ((2 * torch.arange(height, **like) + 1) / height - 1)[:, None]
    aspect = height / width
    grid = torch.stack(
        [
            cos * column - sin * aspect * row + dx / 10,
            sin / aspect * column + cos * row + dy / 10,
        ],
        -1,
    )
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    mean = moved.mean((1, 2, 3), keepdim=True)
    changed = mean + (moved - mean) * (1 + contrast / 10).unsqueeze(1)
    return changed.clamp(x.amin(), x.amax())


def default_share(n_samples: int) -> float:
    """Part of the images to transform: sqrt(200 / n), at least 0.4 and at most 0.8.

    The rest shows the network what it will be given.
    """
    return min(0.8, max(0.4, math.sqrt(200 / n_samples)))


def flipped_share(n_samples: int) -> float:
    """Part of the images that a flip is for: sqrt(1000 / n), at most half."""
    return min(0.5, math.sqrt(1000 / n_samples))


def make_augmentation(
    augment: float | Augmentation | None,
    n_samples: int,
    flips: Sequence[str] = (),
) -> Augmentation | None:
    """Return the transform that the parameter `augment` stands for, None for none.

    With `flips`, names of `FLIPS`, a share of all images is flipped as well.
    """
    if augment is None:
        return None
    if callable(augment):
        check_arguments("augment", augment)
        return UserTransform(augment)
    return SomeTransformed(
        strength=float(augment),
        share=default_share(n_samples),
        flips=tuple(flips),
        flipped=flipped_share(n_samples),
    )


@dataclass(frozen=True)
class SomeTransformed:
    """`random_affine` for a share of each batch, each of the flips for another one."""

    strength: float
    share: float
    flips: tuple[str, ...]
    flipped: float

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        like: dict[str, Any] = {"device": x.device, "dtype": x.dtype}
        order = torch.randperm(len(x), generator=generator, device=x.device)
        chosen = order[: math.ceil(self.share * len(x))]
        moved = random_affine(x[chosen], generator, strength=self.strength)
        x = x.index_copy(0, chosen, moved)
        for name in self.flips:
            drawn = torch.rand((len(x), 1, 1, 1), generator=generator, **like)
            x = torch.where(drawn < self.flipped, x.flip(FLIPS[name]), x)
        return x


@dataclass(frozen=True)
class UserTransform:
    """A function of the user's, what it returns being checked."""

    function: Augmentation

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        # of a copy, which it may change in place
        result = returned("augment", self.function(x.clone(), generator), x)
        return check_finite("augment", result)


def check_arguments(name: str, function: Callable[..., Any]) -> None:
    """See whether the callable `name` takes what it will be given."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # some that are not written in Python have none
    try:
        signature.bind("batch", "generator")
    except TypeError as error:
        raise ValueError(
            f"{name}={function!r} is called as {name}(batch, generator), but {error}. Pass "
            "a function of a batch of images and a torch.Generator that returns the batch."
        ) from error


def returned(name: str, result: Any, batch: Tensor) -> Tensor:
    """Return what the callable `name` made of `batch`, if it is a batch like it."""
    if not isinstance(result, Tensor) or result.shape != batch.shape:
        got = (
            tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        )
        raise ValueError(
            f"{name} returned {got} for a batch of shape {tuple(batch.shape)}. Return a "
            "tensor of the shape of the batch."
        )
    return result.to(batch)


def check_finite(name: str, batch: Tensor) -> Tensor:
    """Return the batch that the callable `name` made, if all of its values are finite."""
    if not batch.isfinite().all():
        raise ValueError(
            f"{name} returned values that are not finite. Return finite ones for a batch "
            "of finite ones."
        )
    return batch
