"""Rows of features <-> batches of images: shape, value range and working size."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._warnings import warn


@dataclass(frozen=True)
class ImageLayout:
    """How the samples that `fit` saw become images for a network, and back.

    A network sees images of shape ``(n, C, h, w)`` whose values are
    ``(x - low) / (high - low)``; everything it gives is turned back into the layout,
    the size and the units of the data.

    Parameters
    ----------
    image_shape : tuple of int
        ``(H, W)`` or ``(H, W, C)`` of one sample.
    sample_shape : tuple of int
        Shape of one sample as `fit` saw it: ``(n_features,)`` for rows, otherwise
        `image_shape`.
    value_range : tuple of float
        ``(low, high)``, the values that are mapped to 0 and 1.
    resize : tuple of int or None
        ``(h, w)`` that the network works at; None for ``(H, W)``.
    """

    image_shape: tuple[int, ...]
    sample_shape: tuple[int, ...]
    value_range: tuple[float, float]
    resize: tuple[int, int] | None = None

    @classmethod
    def learn(
        cls,
        given: Sequence[np.ndarray],
        sample_shape: tuple[int, ...],
        *,
        image_shape: Sequence[int] | None,
        value_range: Sequence[float] | None,
        resize: Sequence[int] | None,
    ) -> ImageLayout:
        """Complete the parameters that are None from the data, and check the others.

        `given` are rows (n, n_features): of the inputs and of targets, if any.
        """
        single = any(rows.dtype == np.float32 for rows in given)
        precision = np.float32 if single else np.float64
        most = float(np.finfo(precision).max)
        if value_range is None:
            low = min(float(rows.min()) for rows in given)
            high = max(float(rows.max()) for rows in given)
            if high - low > most:
                raise ValueError(
                    f"X holds values from {low:g} to {high:g}, which are too far apart "
                    f"for {precision.__name__}. Divide X by a constant."
                )
        else:
            low, high = read_pair("value_range", value_range)
            if not 0 < high - low <= most:
                raise ValueError(
                    f"value_range={value_range!r}: expected finite (low, high) with low "
                    f"below high, less than {most:.1e} apart, or None to learn it from X."
                )
        size = None if resize is None else read_integers("resize", resize)
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"resize={resize!r}: expected a positive (height, width).")
        shape = infer_image_shape(sample_shape, image_shape)
        return cls(shape, sample_shape, (low, high), size)

    @property
    def channels(self) -> int:
        return self.image_shape[2] if len(self.image_shape) == 3 else 1

    @property
    def size(self) -> tuple[int, int]:
        return self.image_shape[0], self.image_shape[1]

    @property
    def data_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of the images at the size of the data."""
        return (self.channels, *self.size)

    @property
    def network_shape(self) -> tuple[int, int, int]:
        """``(C, h, w)`` of the images that the network sees."""
        return (self.channels, *(self.resize or self.size))

    @property
    def span(self) -> float:
        """Length of the value range; 1 for constant data, which it only shifts."""
        low, high = self.value_range
        return (high - low) or 1.0

    def to_images(
        self, rows: np.ndarray, dtype: np.dtype, copy: bool | None = None
    ) -> Tensor:
        """Rows (n, H * W * C) as images (n, C, H, W), scaled to [0, 1].

        Without `copy` they may lie over the memory of the rows, where there is nothing
        to change.
        """
        if rows.dtype == np.float16:  # the difference of two may be too large for it
            rows = rows.astype(np.float32)
        # scaled in the precision of the data: a large offset would not survive float32
        if self.value_range[0] != 0:
            rows = np.subtract(rows, self.value_range[0])
        if self.span != 1:
            rows = np.true_divide(rows, self.span)
        images = np.moveaxis(rows.reshape(len(rows), *self.size, self.channels), 3, 1)
        images = np.array(images, dtype, order="C", copy=copy)
        # torch warns of memory that is read-only, as that of a memory map
        return torch.from_numpy(np.require(images, requirements="W"))

    def arrange(self, values: np.ndarray) -> Tensor:
        """A number for each feature as one image (C, H, W), not scaled."""
        unscaled = replace(self, value_range=(0.0, 1.0))
        return unscaled.to_images(values[None], values.dtype)[0]

    def to_samples(self, images: Tensor) -> np.ndarray:
        """Images (n, C, H, W) as samples in the layout and units of the data."""
        pixels = images.permute(0, 2, 3, 1).cpu().numpy()
        samples = pixels.reshape(len(pixels), *self.sample_shape)
        low = samples.dtype.type(self.value_range[0])
        return samples * samples.dtype.type(self.span) + low

    def shrink(self, images: Tensor) -> Tensor:
        """Images (n, C, H, W) at the size that the network works at."""
        return _resample(images, self.resize or self.size)

    def grow(self, images: Tensor) -> Tensor:
        """Images (n, C, h, w) of the network at the size of the data."""
        return _resample(images, self.size)


def as_rows(
    X: Any, image_shape: tuple[int, ...] | None, name: str = "X"
) -> tuple[Any, tuple[int, ...] | None]:
    """Return images X as rows, and the shape of one; rows as they are, and None.

    Parameters
    ----------
    X : array-like
        Rows (n, n_features) or images (n, H, W) or (n, H, W, C).
    image_shape : tuple of int or None
        What images have to fit, None for any shape.
    name : str
        Of X, for errors.
    """
    if isinstance(X, Tensor):
        X = X.numpy(force=True)
    elif isinstance(X, (list, tuple)):
        X = np.asarray(X)
    given: tuple[int, ...] = getattr(X, "shape", ())
    one = () if image_shape is None else with_channels(image_shape)
    if with_channels(given) == one and len(given) in (2, 3) and given[0] > 1:
        raise ValueError(
            f"{name} is one image of shape {tuple(given)}, but samples are expected. "
            f"Pass np.asarray({name})[None] for this one."
        )
    if len(given) <= 2:
        return X, None
    X = np.asarray(X)
    shape = X.shape[1:]
    if X.ndim > 4:
        raise ValueError(
            f"{name} has {X.ndim} dimensions, shape {X.shape}: expected rows (n_samples, "
            "n_features) or images (n_samples, height, width) or (n_samples, height, "
            "width, channels)."
        )
    if image_shape is not None and with_channels(shape) != with_channels(image_shape):
        raise ValueError(
            f"{name} holds images of shape {shape}, but fit saw images of shape "
            f"{image_shape}. Pass images of that shape."
        )
    return X.reshape(len(X), math.prod(shape)), shape


def infer_image_shape(
    sample_shape: tuple[int, ...], image_shape: Sequence[int] | None
) -> tuple[int, ...]:
    """Return ``(H, W)`` or ``(H, W, C)`` of samples of the given shape.

    Rows of features are square images where their number is a perfect square, and
    one line of pixels where it is not, unless `image_shape` says otherwise.
    """
    if image_shape is None:
        if len(sample_shape) > 1:
            if _looks_channels_first(sample_shape):
                warn(
                    f"X holds images of shape {sample_shape}, which is read as "
                    f"{_in_words(sample_shape)}. If the channels are first, pass "
                    "np.moveaxis(X, 1, -1); if not, image_shape says so."
                )
            return sample_shape
        side = math.isqrt(sample_shape[0])
        return (side, side) if side**2 == sample_shape[0] else (1, sample_shape[0])

    shape = read_integers("image_shape", image_shape)
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(
            f"image_shape={image_shape!r} is no image: expected (height, width) or "
            "(height, width, channels), all of them positive."
        )
    if len(sample_shape) == 1:
        if math.prod(shape) != sample_shape[0]:
            raise ValueError(
                f"image_shape={image_shape!r} holds {math.prod(shape)} values, but X "
                f"has {sample_shape[0]} features. Pass the shape of the images in X, "
                "(height, width) or (height, width, channels), or None to infer it."
            )
    elif with_channels(shape) != with_channels(sample_shape):
        raise ValueError(
            f"image_shape={image_shape!r} does not fit the images in X, whose shape is "
            f"{sample_shape}. Pass image_shape=None to take it from X."
        )
    return shape


def warn_of_rows_channels_first(image_shape: tuple[int, ...]) -> None:
    """Warn of an `image_shape` for rows that looks like torch's order of axes."""
    is_line = image_shape[0] == 1 and len({*image_shape[1:]}) == 2
    if _looks_channels_first(image_shape) and not is_line:
        depth, height, width = image_shape
        warn(
            f"image_shape={image_shape} is read as {_in_words(image_shape)}. If each row "
            f"has all of a channel first, pass np.reshape(X, (-1, {depth}, {height}, "
            f"{width})).transpose(0, 2, 3, 1); if not, np.reshape(X, (-1, *image_shape))."
        )


def _looks_channels_first(shape: tuple[int, ...]) -> bool:
    if len(shape) != 3 or shape[2] <= 4:
        return False
    return shape[0] in (1, 3) or (shape[0] <= 5 and shape[1] == shape[2] > 5)


def _in_words(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} pixels of {shape[2]} channels"


def with_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of an image as ``(H, W, C)``."""
    return (*shape, 1)[:3]


def read_pair(name: str, value: Sequence[Any]) -> tuple[float, float]:
    """Return the pair of numbers that the parameter `name` holds."""
    try:
        if isinstance(value, str):  # "01" would be one
            raise TypeError
        first, second = value
        return float(first), float(second)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r}: expected a pair of numbers.") from error


def read_integers(name: str, value: Sequence[Any]) -> tuple[int, ...]:
    """Return the whole numbers that the parameter `name` holds."""
    try:
        return tuple(operator.index(each) for each in value)
    except TypeError as error:
        raise ValueError(
            f"{name}={value!r}: expected a tuple of whole numbers."
        ) from error


def _resample(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic interpolation of images (n, C, H, W) to another size."""
    height, width = images.shape[2:]
    if (height, width) == size:
        return images
    like = images.device, images.dtype
    return _bicubic(height, size[0], *like) @ images @ _bicubic(width, size[1], *like).T


@cache
def _bicubic(n_in: int, n_out: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Matrix (n_out, n_in) of cubic convolution along one axis.

    Output ``i`` is the input at ``i * n_in / n_out``, without a low-pass filter, so
    that halving a size keeps every second pixel. Kernel of Keys (1981) with
    ``a = -0.75``; beyond the border the last pixel is repeated.
    """
    a = -0.75
    position = np.arange(n_out) * (n_in / n_out)
    taps = np.floor(position)[:, None] + np.arange(-1, 3)
    d = np.abs(position[:, None] - taps)
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    matrix = np.zeros((n_out, n_in))
    columns = np.clip(taps, 0, n_in - 1).astype(int)
    np.add.at(matrix, (np.arange(n_out)[:, None], columns), np.where(d <= 1, near, far))
    with torch.inference_mode(False):  # since training may be next to use it
        return torch.from_numpy(matrix).to(device, dtype)
