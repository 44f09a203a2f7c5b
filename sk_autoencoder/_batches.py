"""Batches of images that lie on the device, and how many."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ._augment import Augmentation
from ._noise import Corruption
from ._random import ORDER, TRANSFORM, VALIDATION_NOISE, make_generator


def default_batch_size(n_samples: int) -> int:
    """n / 20 rounded to a power of two, at least 32 and at most 128."""
    return int(np.clip(2 ** round(np.log2(n_samples / 20)), 32, 128))


def default_epochs(n_samples: int) -> int:
    """Epochs that show about 100,000 (n / 300)^0.25 samples to the network.

    At least 10; at most 400 and 3 n, since few samples are soon learnt by heart.
    """
    shown = 100_000 * (n_samples / 300) ** 0.25
    return int(max(10, min(shown / n_samples, 400, 3 * n_samples)))


class Batches:
    """Slices of images that lie on the device as one tensor: ``(input, target)``.

    Each pass over the training images is one epoch: shuffled, augmented, corrupted,
    each from generators seeded with (seed, epoch) alone. A pass over validation
    images has the same corruption every time.
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        *,
        training: bool,
        seed: int,
        first_epoch: int,
        augment: Augmentation | None,
        corrupt: Corruption | None,
        shrink: Callable[[Tensor], Tensor],
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.training = training
        self.seed = seed
        self.epoch = first_epoch
        self.augment = augment if training else None
        self.corrupt = corrupt
        self.shrink = shrink

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.images.device
        keys = (TRANSFORM, self.epoch) if self.training else (VALIDATION_NOISE,)
        generator = make_generator(self.seed, *keys, device=device)
        order = self._order().to(device)
        self.epoch += 1
        for rows in order.split(self.batch_size):
            clean = self.images[rows]
            if self.augment is not None:
                clean = self.augment(clean, generator)
            target = self.shrink(clean)
            if self.corrupt is None:
                yield target, target
            else:
                yield self.shrink(self.corrupt(clean, generator)), target

    def _order(self) -> Tensor:
        n = len(self.images)
        if not self.training:
            return torch.arange(n)
        return torch.randperm(n, generator=make_generator(self.seed, ORDER, self.epoch))
