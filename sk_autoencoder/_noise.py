"""Corruptions for denoising: ``(batch, generator) -> batch``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ._augment import check_arguments, check_finite, returned
from ._image import ImageLayout, read_pair, with_channels
from ._warnings import warn

Corruption = Callable[[Tensor, Generator], Tensor]
Range = tuple[float, float]
# of all features or of each; of a pair each image draws its own
Level = float | np.ndarray | tuple[float, float] | tuple[np.ndarray, np.ndarray]


def gaussian(x: Tensor, generator: Generator, level: Tensor, _: Range) -> Tensor:
    """x + N(0, level²)."""
    return x + level * _normal(x, generator)


def dropout(x: Tensor, generator: Generator, level: Tensor, _: Range) -> Tensor:
    """Each value is 0 with probability level, and else divided by 1 - level."""
    return x * (uniform(x, generator) >= level) / (1 - level)


def masking(x: Tensor, generator: Generator, level: Tensor, _: Range) -> Tensor:
    """Each value is 0 with probability level."""
    return x * (uniform(x, generator) >= level)


def salt_and_pepper(
    x: Tensor, generator: Generator, level: Tensor, value_range: Range
) -> Tensor:
    """Each value is the least or the greatest, with probability level / 2 each."""
    low, high = value_range
    u = uniform(x, generator)
    return torch.where(u < level / 2, low, torch.where(u < level, high, x))


def poisson(
    x: Tensor, generator: Generator, level: Tensor, value_range: Range
) -> Tensor:
    """Counts of variance level² at the greatest value; negative values count 0.

    Above a million the counts are drawn from a normal distribution.
    """
    high = value_range[1]
    gain = level.square() / high
    clean = x.clamp(min=0)
    rate = clean / gain.clamp(min=1e-12)
    few = gain * torch.poisson(rate.clamp(max=1e6), generator)
    many = clean + (gain * clean).sqrt() * _normal(x, generator)
    return torch.where(gain == 0, x, torch.where(rate > 1e6, many, few))


def speckle(x: Tensor, generator: Generator, level: Tensor, _: Range) -> Tensor:
    """x (1 + N(0, level²))."""
    return x * (1 + level * _normal(x, generator))


NOISES: dict[str, Callable[[Tensor, Generator, Tensor, Range], Tensor]] = {
    "gaussian": gaussian,
    "heteroscedastic": gaussian,
    "dropout": dropout,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
    "poisson": poisson,
    "speckle": speckle,
}

# noises whose level is a standard deviation in the units of the data
IN_UNITS_OF_X = "gaussian", "heteroscedastic", "poisson"

# noises whose level is a probability, and the largest they can do with
LARGEST_LEVEL = {"dropout": 0.99, "masking": 1.0, "salt_and_pepper": 1.0}


def read_level(
    noise: str, level: Any, image_shape: tuple[int, ...], generator: Generator
) -> Level:
    """Return the level that `noise_level` stands for.

    Of "heteroscedastic" noise that is one for each feature, drawn where `level` does not
    hold them: the number, or both of a pair, times what is uniform on [0, 2].
    """
    n_features = math.prod(image_shape)
    fits = np.shape(level) == (n_features,) or (
        np.ndim(level) > 1
        and with_channels(np.shape(level)) == with_channels(image_shape)
    )
    read: Level
    is_scalar = np.ndim(level) == 0 and hasattr(level, "item")  # of any library
    if isinstance(level.item() if is_scalar else level, Real):
        read = float(level)
    elif isinstance(level, tuple) and len(level) == 2:
        read = read_pair("noise_level", level)
    elif noise == "heteroscedastic" and fits:
        read = np.array(level, dtype=np.float64).ravel()
    elif np.ndim(level) == 1 and len(level) == 2:
        read = read_pair("noise_level", level)
    else:
        given = f"={level!r}" if np.size(level) < 5 else f" of shape {np.shape(level)}"
        array = ""
        if noise == "heteroscedastic":
            array = (
                f", or an array of one level for each of the {n_features} features, or "
                f"of the shape of an image, {image_shape}"
            )
        raise ValueError(
            f"noise_level{given} with noise={noise!r}: expected a number, or a pair "
            f"(low, high) that each sample draws its own from{array}."
        )
    largest = LARGEST_LEVEL.get(noise, math.inf)
    if not np.all(np.isfinite(read)) or np.min(read) < 0 or np.max(read) > largest:
        given = f"={level!r}"
        if np.size(level) > 4:
            given = f" from {np.min(read):g} to {np.max(read):g}"
        expected = f"levels from 0 to {largest:g}"
        if largest == math.inf:
            expected = "finite levels, 0 at least"
        raise ValueError(
            f"noise_level{given} with noise={noise!r}: expected {expected}."
        )
    if isinstance(read, tuple) and read[0] > read[1]:
        raise ValueError(
            f"noise_level={level!r}: expected (low, high) with low at most high."
        )
    if noise != "heteroscedastic" or isinstance(read, np.ndarray):
        return read
    factors = (
        2 * torch.rand(n_features, generator=generator, dtype=torch.float64).numpy()
    )
    if isinstance(read, tuple):
        return read[0] * factors, read[1] * factors
    return read * factors


def warn_of_units(noise: str, level: Level, layout: ImageLayout) -> None:
    """Warn of a level that is hardly meant in the units of the data, and of no counts."""
    (low, high), span = layout.value_range, layout.span
    strongest = float(np.max(level))
    if strongest == 0:
        return
    if noise == "poisson" and low < 0:
        warn(
            f"noise='poisson' is of counts, and takes values below 0 for 0, but X holds "
            f"values from {low:g} to {high:g}. Pass data of counts, or another noise."
        )
    if noise == "speckle" and strongest > 2:
        warn(
            f"noise_level={level!r} with noise='speckle' is a part of each value of X, "
            "whatever its units: too much noise to learn from. 0.2 is a fifth of it."
        )
    # the default, which suits pixels from 0 to 1, is hardly meant for 0 to 16
    least = 1 / 79 if strongest == 0.2 else 1 / 100
    if noise in IN_UNITS_OF_X and not least <= strongest / span <= 2:
        given = f" up to {strongest:g}" if np.size(level) > 2 else f"={level!r}"
        amount = "little" if strongest < span else "much"
        warn(
            f"noise_level{given} is in the units of X, whose values go from {low:g} "
            f"to {high:g}: too {amount} noise to learn from. Pass the standard deviation "
            f"of the noise to remove; {0.2 * span:g} is a fifth of the range."
        )


def make_corruption(
    noise: str | Corruption,
    level: Level | None,
    layout: ImageLayout,
    *,
    at: str = "batch",
) -> Corruption | None:
    """Corruption of images scaled to [0, 1], its law in the units of the data.

    Parameters
    ----------
    noise : str or callable
        A key of `NOISES`, or ``(batch, generator) -> batch`` in the units of the data.
    level : float, array, pair of either, or None
        As :func:`read_level` gives it. Of a pair, each image draws its own, low + (high -
        low) u³, u uniform on [0, 1]. Of a callable None.
    layout : ImageLayout
        Of the data.
    at : {"batch", "layer"}
        Images as the data have them, clipped to their range; or at the size the network
        works at, not clipped.
    """
    low, high = layout.value_range
    span = layout.span
    clips = at == "batch"
    if callable(noise):
        check_arguments("noise", noise)
        return UserNoise(noise, low, span, clips)
    if level is None or np.max(level) == 0:
        return None
    if noise == "poisson" and high <= 0:
        raise ValueError(
            f"noise='poisson' is of counts, but no value of value_range=({low:g}, "
            f"{high:g}) is positive. Pass data of counts, or another noise."
        )
    # the laws are the same in units of the span, in which no number is too large or
    # too small for single precision
    unit = span if noise in IN_UNITS_OF_X else 1.0
    pair = level if isinstance(level, tuple) else (level, level)
    weakest, strongest = (_as_image(each / unit, layout, at) for each in pair)
    return Noise(noise, weakest, strongest, (low / span, high / span), clips)


class Noise:
    """A law of `NOISES`, for images scaled to [0, 1].

    Parameters
    ----------
    name : str
        A key of `NOISES`.
    weakest, strongest : Tensor
        Levels between which each image draws its own; numbers or images (C, H, W).
    value_range : tuple of float
        Of the data in units of its length.
    clips : bool
        Whether noisy images stay within [0, 1].
    """

    def __init__(
        self,
        name: str,
        weakest: Tensor,
        strongest: Tensor,
        value_range: Range,
        clips: bool,
    ) -> None:
        self.law = NOISES[name]
        self.levels = weakest, strongest
        self.varies = not torch.equal(weakest, strongest)
        self.value_range = value_range
        self.clips = clips
        # data far from zero would lose their digits
        self.needs_double = max(map(abs, value_range)) > 1_000
        self.placed: dict[Any, tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        can_be_double = self.needs_double and images.device.type != "mps"
        x = images.double() if can_be_double else images
        weakest, level = self._levels_for(x)
        if self.varies:
            # drawn evenly, strong noise would rule the loss
            u = uniform(x[:, :1, :1, :1], generator)
            level = torch.lerp(weakest, level, u**3)
        low = self.value_range[0]
        noisy = self.law(x + low, generator, level, self.value_range) - low
        return (noisy.clamp(0.0, 1.0) if self.clips else noisy).to(images)

    def _levels_for(self, x: Tensor) -> tuple[Tensor, Tensor]:
        key = x.device, x.dtype
        if key not in self.placed:  # to send them to a GPU makes it wait
            weakest, strongest = (level.to(*key) for level in self.levels)
            self.placed[key] = weakest, strongest
        return self.placed[key]


@dataclass(frozen=True)
class UserNoise:
    """A function of the user's, in the units of the data, for images in [0, 1]."""

    function: Corruption
    low: float
    span: float
    clips: bool

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        data = self.low + self.span * images.float()
        # it may work in place
        noisy = returned("noise", self.function(data.clone(), generator), data)
        # data far from zero would lose their digits by the way there and back
        noisy = images + ((noisy - data) / self.span).to(images)
        return check_finite("noise", noisy.clamp(0.0, 1.0) if self.clips else noisy)


def _as_image(level: float | np.ndarray, layout: ImageLayout, at: str) -> Tensor:
    """A level of all features as a number, levels of each as an image (C, H, W)."""
    if isinstance(level, float):
        return torch.tensor(level)
    image = layout.arrange(level.astype(np.float32))
    return layout.shrink(image[None])[0].clamp(min=0) if at == "layer" else image


def _normal(x: Tensor, generator: Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def uniform(x: Tensor, generator: Generator) -> Tensor:
    return torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
