"""Images to train on: on the device as one tensor, or read from where they lie."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ._image import ImageLayout
from ._random import START, make_generator

# of images, to be worked on at a time: a copy of all may not fit
VALUES_AT_A_TIME = 2**22
# by the second and the first version of Linux's control groups
MEMORY_OF_CONTAINER = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


class Rows:
    """Rows that become images (n, C, H, W) on the device when they are indexed.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Perhaps a memory map; what is not asked for is not read.
    layout : ImageLayout
        Of the rows.
    device : device
        Where the images go.
    order : Tensor of shape (n,) or None
        The rows that are meant, None for all.
    """

    def __init__(
        self,
        rows: np.ndarray,
        layout: ImageLayout,
        device: torch.device,
        order: Tensor | None = None,
    ) -> None:
        self.rows = rows
        self.layout = layout
        self.device = device
        self.order = torch.arange(len(rows)) if order is None else order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        chosen = self.order[index.cpu() if isinstance(index, Tensor) else index]
        rows = self.rows[chosen.numpy()]
        return self.layout.to_images(rows, np.dtype(np.float32)).to(self.device)


Images = Tensor | Rows


class Samples(Dataset):
    """Images that are put in, and those that are to come out.

    Parameters
    ----------
    inputs : Tensor of shape (n, C, H, W) or Rows
        What is put in.
    targets : Tensor of shape (n, C, H, W), Rows or None
        What is to come out; None for the inputs themselves.
    """

    def __init__(self, inputs: Images, targets: Images | None = None) -> None:
        self.inputs = inputs
        self.targets = targets

    @property
    def clean(self) -> Images:
        return self.inputs if self.targets is None else self.targets

    def __len__(self) -> int:
        return len(self.inputs)

    def subset(self, order: Tensor) -> Samples:
        """Return the samples at these positions."""
        pick = [
            None if x is None else _pick(x, order) for x in (self.inputs, self.targets)
        ]
        return Samples(*pick)  # type: ignore[arg-type]

    def some(self, most: int, seed: int) -> Samples:
        """Return at most so many, from all over, since they may be sorted."""
        if len(self) <= most:
            return self
        generator = make_generator(seed, START)
        chosen = torch.randperm(len(self), generator=generator)[:most]
        return self.subset(chosen.sort().values)  # a disk is read in order


def place(
    given: Sequence[np.ndarray], layout: ImageLayout, device: torch.device
) -> list[Images]:
    """Put arrays of rows on the device as images: those not on disk, if there is room."""
    in_memory = [not _is_mapped(rows) for rows in given]
    values = sum(rows.size for rows, has_it in zip(given, in_memory) if has_it)
    has_room = 4 * values <= _room(device)
    return [
        _as_tensor(rows, layout, device)
        if has_room and has_it
        else Rows(rows, layout, device)
        for rows, has_it in zip(given, in_memory)
    ]


def _as_tensor(rows: np.ndarray, layout: ImageLayout, device: torch.device) -> Tensor:
    # in parts, since scaling takes a copy, of integers in float64
    images = torch.empty(
        (len(rows), *layout.data_shape), dtype=torch.float32, device=device
    )
    size = max(1, VALUES_AT_A_TIME // rows.shape[1])
    for start in range(0, len(rows), size):
        part = layout.to_images(rows[start : start + size], np.dtype(np.float32))
        images[start : start + size] = part
    return images


def _pick(images: Images, order: Tensor) -> Images:
    if isinstance(images, Tensor):
        return images[order]
    return Rows(images.rows, images.layout, images.device, images.order[order])


def _is_mapped(rows: Any) -> bool:
    while isinstance(rows, np.ndarray):  # a copy of a memmap is one by its type alone
        rows = rows.base
    return isinstance(rows, mmap)


def _room(device: torch.device) -> float:
    """Bytes that training images may take: half of what is free, or a quarter of all."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (torch.cuda.mem_get_info(device)[0] + kept) / 2
    memory = [math.inf]
    with suppress(AttributeError, ValueError):  # not on every system
        memory.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in MEMORY_OF_CONTAINER:
        with suppress(OSError, ValueError):  # "max" where there is no limit
            memory.append(int(Path(path).read_text()))
    return min(memory) / 4
