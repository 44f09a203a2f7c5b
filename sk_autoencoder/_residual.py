"""PCA, and what perceptrons and a stack of convolutions learn beyond it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """PCA, and what a nonlinear network adds to it.

    .. math::

        z_0 = E (x - \\mu) + f(x - \\mu), \\qquad
        z = z_0 + E d + h(d), \\quad d = x - \\mu - y(z_0), \\qquad
        y(z) = D z + g(z), \\qquad
        \\hat x = \\mu + y(z) + r(y(z))

    f, g and h are perceptrons of two hidden layers; h corrects the code by what its
    first draft misses of the image. r is a stack of convolutions that refines the image
    y. The last layer of each starts at zero: with E and D at the principal components of
    the data, training starts at PCA and goes down from there.

    A denoiser's network reads :math:`c(x - \\mu)` in place of :math:`x - \\mu`,

    .. math:: c(x) = w(x) + s(x, w(x)), \\qquad w(x) = D (\\gamma \\odot E x + \\beta)

    where the gains :math:`\\gamma` and offsets :math:`\\beta` make w a Wiener filter at
    first, and s is a stack of convolutions like r that sees the image and its filtered
    version, and for noise of many levels the mean and the standard deviation of each
    channel, which tell of the level.

    Parameters
    ----------
    image_shape : tuple of int
        (C, H, W).
    n_components : int
        Length K of the code.
    channels : sequence of int
        Feature maps of the refiner's blocks.
    strides : sequence of one int
        The refiner works on blocks of stride x stride pixels. By default a power of two
        that leaves a grid of at most 24 x 24, if the image has room for it.
    cleaner : bool
        Whether the network is a denoiser's.
    many_levels : bool
        Whether that is to tell the level of the noise from the image.
    """

    starts_linear = True
    hidden = 512
    thumbnail = 48 * 48

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_components: int,
        channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        cleaner: bool = False,
        many_levels: bool = False,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        depth, height, width = image_shape
        size = math.prod(image_shape)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(image_shape))
        self.to_code = nn.Linear(size, n_components, bias=False)
        self.from_code = nn.Linear(n_components, size, bias=False)

        # the order of the pixels in a line may mean nothing
        is_line = min(height, width) == 1
        # beyond this many pixels the perceptrons see and add thumbnails
        self.pool = 1
        while (
            not is_line
            and -(-height // self.pool) * -(-width // self.pool) > self.thumbnail
        ):
            self.pool *= 2
        self.small = depth, -(-height // self.pool), -(-width // self.pool)
        self.more_code = _perceptron(math.prod(self.small), self.hidden, n_components)
        self.more_image = _perceptron(n_components, self.hidden, math.prod(self.small))
        self.correction = _perceptron(math.prod(self.small), self.hidden, n_components)

        fold = 2 ** max(0, math.ceil(math.log2(max(height, width) / 24)))
        fold = min(fold, 2 ** int(math.log2(min(height, width))))
        strides = (fold,) if strides is None else tuple(strides)
        if len(strides) != 1 or not 1 <= strides[0] <= max(height, width):
            raise ValueError(
                f"strides={strides}: architecture='residual' has one, the side of the "
                f"blocks of the {height} x {width} pixels that its refiner works on."
            )
        self.fold = strides[0]
        if channels is None:
            maps = 32 if self.fold <= 2 else 64 if cleaner else 48
            channels = (maps,) * 3
        if not channels or min(channels) < 1:
            raise ValueError(
                f"channels={tuple(channels)}: expected a positive number of feature maps "
                "for each block of the refiner."
            )
        blocks = depth * self.fold**2
        self.refiner = None if is_line else _refiner(blocks, channels)
        self.filters = cleaner
        self.many_levels = many_levels
        self.cleaner: nn.Module | None = None
        if cleaner:
            self.gain = nn.Parameter(torch.ones(n_components))
            self.offset = nn.Parameter(torch.zeros(n_components))
            if not is_line:
                statistics = 2 * depth if many_levels else 0
                self.cleaner = _refiner(2 * blocks + statistics, channels, blocks)

    def encode(self, x: Tensor) -> Tensor:
        x = x - self.mean
        if self.filters:
            x = self._clean(x)
        z = self.to_code(x.flatten(1)) + self.more_code(self._thumbnail(x))
        missed = x - self._draft(z)
        return (
            z
            + self.to_code(missed.flatten(1))
            + self.correction(self._thumbnail(missed))
        )

    def decode(self, z: Tensor) -> Tensor:
        return self._refined(self.refiner, self._draft(z)) + self.mean

    def _clean(self, x: Tensor) -> Tensor:
        code = self.gain * self.to_code(x.flatten(1)) + self.offset
        filtered = self.from_code(code).unflatten(1, self.image_shape)
        statistics: Sequence[Tensor] = ()
        if self.many_levels:
            statistics = torch.std_mean(x, (2, 3), correction=0, keepdim=True)
        return self._refined(self.cleaner, filtered, x, statistics=statistics)

    def _refined(
        self,
        refiner: nn.Module | None,
        x: Tensor,
        *more: Tensor,
        statistics: Sequence[Tensor] = (),
    ) -> Tensor:
        """x, and what the refiner makes of blocks of x and of more images to add.

        It sees statistics (n, C, 1, 1) in all places, too.
        """
        if refiner is None:
            return x
        _, height, width = self.image_shape
        seen = torch.cat([x, *more], 1) if more else x
        padded = F.pad(seen, (0, -width % self.fold, 0, -height % self.fold))
        seen = F.pixel_unshuffle(padded, self.fold)
        everywhere = [each.expand(-1, -1, *seen.shape[2:]) for each in statistics]
        refined = refiner(torch.cat([seen, *everywhere], 1) if everywhere else seen)
        return x + F.pixel_shuffle(refined, self.fold)[..., :height, :width]

    def _draft(self, z: Tensor) -> Tensor:
        """The image y, centred and not refined."""
        _, height, width = self.image_shape
        more = self.more_image(z).unflatten(1, self.small)
        if self.pool > 1:  # F.interpolate, in a third of the time
            for axis in (2, 3):
                more = more.repeat_interleave(self.pool, axis)
        y = self.from_code(z).unflatten(1, self.image_shape)
        return y + more[..., :height, :width]

    def _thumbnail(self, x: Tensor) -> Tensor:
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool, ceil_mode=True)
        return x.flatten(1)


class _Block(nn.Module):
    """x + c(relu(c(relu(x)))), the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = _zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


def _refiner(
    depth: int, channels: Sequence[int], depth_out: int | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in zip((depth, *channels), channels):
        if before != width or not layers:
            layers.append(nn.Conv2d(before, width, 3, padding=1))
        layers.append(_Block(width))
    last = _zero(nn.Conv2d(channels[-1], depth_out or depth, 3, padding=1))
    return nn.Sequential(*layers, nn.ReLU(), last)


def _perceptron(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        _zero(nn.Linear(hidden, n_out)),
    )


def _zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
