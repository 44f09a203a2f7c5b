"""Batches of images, and how many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from ._augment import Augmentation, UserTransform
from ._hide import hide
from ._noise import Corruption, UserNoise
from ._random import ORDER, TRANSFORM, VALIDATION_NOISE, make_generator, reseed
from ._samples import Samples


def default_batch_size(n_samples: int) -> int:
    """n / 20 rounded to a power of two, at least 32 and at most 128."""
    return int(np.clip(2 ** round(np.log2(n_samples / 20)), 32, 128))


def default_epochs(n_samples: int, *, many_levels: bool = False) -> int:
    """Epochs that show about 60,000 (n / 300)^0.25 samples to the network.

    At least 10; at most 400 and 3 n, since few samples are soon learnt by heart. Within
    that half as many again with noise of many levels, which is more to learn.
    """
    epochs = max(10, 60_000 * (n_samples / 300) ** 0.25 / n_samples)
    if many_levels:
        epochs *= 1.5
    return int(max(10, min(epochs, 400, 3 * n_samples)))


def batch_sizes(n_samples: int, size: int, *, training: bool = True) -> list[int]:
    """Of an epoch; in training none of a single sample, which has no variance."""
    sizes = [min(size, n_samples - start) for start in range(0, n_samples, size)]
    if training and size > 1 and len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [size - 1, 2] if size > 2 else [3]
    return sizes


@dataclass(frozen=True)
class Feed:
    """How batches are made of samples.

    Parameters
    ----------
    seed : int
        Of the order, the augmentation and the corruption.
    first_epoch : int
        Epochs that were trained before.
    augment : callable or None
        Transforms inputs and targets alike.
    corrupt : callable or None
        Makes inputs of targets.
    corrupt_at : {"batch", "layer"}
        "batch" corrupts the images as they come; "layer" what the network sees, in
        training only.
    self_supervised : bool
        Hide values of the input: batches are ``(input, target, mask)``, and the target
        is to be met where the mask is true.
    shrink : callable
        From the images to those that the network works at.
    """

    seed: int = 0
    first_epoch: int = 0
    augment: Augmentation | None = None
    corrupt: Corruption | None = None
    corrupt_at: str = "batch"
    self_supervised: bool = False
    shrink: Callable[[Tensor], Tensor] = lambda images: images


class Batches:
    """Slices of images: ``(input, target)``.

    Each pass over the training images is one epoch: shuffled, augmented, corrupted,
    each from generators seeded with (seed, epoch) alone. A pass over validation
    images has the same corruption every time.

    Parameters
    ----------
    samples : Samples
        Images, and their targets where they are not their own.
    batch_size : int
        Number of images in all but the last batch.
    feed : Feed
        What becomes of them.
    training : bool
        Whether they are to train or to validate.
    """

    def __init__(
        self, samples: Samples, batch_size: int, feed: Feed, *, training: bool
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.feed = feed
        self.training = training
        self.epoch = feed.first_epoch
        self.augment = feed.augment if training else None
        at_all = training or feed.corrupt_at == "batch"
        self.corrupt = feed.corrupt if at_all else None
        self.generator = Generator(samples.inputs.device)

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for (rows,) in self.rows():
            yield self.make(rows)

    def rows(self) -> Iterator[tuple[Tensor]]:
        """Begin a pass over the images: the positions of those of each batch."""
        keys = (TRANSFORM, self.epoch) if self.training else (VALIDATION_NOISE,)
        reseed(self.generator, self.feed.seed, *keys)
        order = self._order().to(self.generator.device)
        self.epoch += 1
        for rows in order.split(self._sizes()):
            yield (rows,)

    def make(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Make the next batch, of the images at these positions."""
        inputs, targets = self.samples.inputs, self.samples.targets
        if targets is None:
            return self._alone(inputs[rows])
        return self._pair(inputs[rows], targets[rows])

    @property
    def can_be_recorded(self) -> bool:
        """Whether `make` does nothing on a GPU but compute, always in the same way."""
        inputs, targets = self.samples.inputs, self.samples.targets
        # functions of the user's may do anything
        by_user = isinstance(self.augment, UserTransform) or isinstance(
            self.corrupt, UserNoise
        )
        return isinstance(inputs, Tensor) and targets is None and not by_user

    def _alone(self, images: Tensor) -> tuple[Tensor, ...]:
        generator = self.generator
        if self.augment is not None:
            images = self.augment(images, generator)
        target = self.feed.shrink(images)
        if self.feed.self_supervised:
            hidden, mask = hide(target, generator)
            return hidden, target, mask
        if self.corrupt is None:
            return target.clone(), target  # a network may change its input in place
        if self.feed.corrupt_at == "layer":
            return self.corrupt(target, generator), target
        return self.feed.shrink(self.corrupt(images, generator)), target

    def _pair(self, images: Tensor, clean: Tensor) -> tuple[Tensor, ...]:
        if self.augment is not None:
            generator = self.generator
            state = generator.get_state()
            images = self.augment(images, generator)
            generator.set_state(state)  # so that both move alike
            clean = self.augment(clean, generator)
        return self.feed.shrink(images), self.feed.shrink(clean)

    def _sizes(self) -> list[int]:
        n, size = len(self.samples), self.batch_size
        return batch_sizes(n, size, training=self.training)

    def _order(self) -> Tensor:
        n = len(self.samples)
        if not self.training:
            return torch.arange(n)
        generator = make_generator(self.feed.seed, ORDER, self.epoch)
        return torch.randperm(n, generator=generator)
