"""Settings of cuDNN under which a GPU computes what a CPU does, the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from ._shared import Shared


def _make_deterministic() -> Callable[[], None]:
    cudnn: Any = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    # a benchmark would choose a kernel by its time
    cudnn.deterministic, cudnn.benchmark = True, False

    def undo() -> None:
        cudnn.deterministic, cudnn.benchmark = before

    return undo


def _make_full_float32() -> Callable[[], None]:
    cudnn: Any = torch.backends.cudnn
    places = [cudnn, cudnn.conv, cudnn.rnn]
    before = []
    for place in places:  # the later ones follow the first, where nobody set them
        if place.fp32_precision != "ieee":
            before.append((place, place.fp32_precision))
            place.fp32_precision = "ieee"

    def undo() -> None:
        for place, precision in reversed(before):
            place.fp32_precision = precision

    return undo


_deterministic = Shared(_make_deterministic)
_full_float32 = Shared(_make_full_float32)


@contextmanager
def exact(device: torch.device, *, is_own: bool) -> Iterator[None]:
    """Inside, convolutions on a CUDA device give the same each time, in all of float32.

    They would else add in any order, and round float32 to the 10 bits of TF32. Networks of
    the user's are left to round: while they do not, torch has errors for code that looks
    at the setting by its older name.
    """
    if device.type != "cuda":
        yield
        return
    with _deterministic(), _full_float32() if is_own else nullcontext():
        yield
