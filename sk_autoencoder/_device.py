"""Where a network runs, and in which precision it trains."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a parameter `device` stands for; raise if it is absent."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    way_out = "Pass device='cpu', or 'auto' for the best one that is there."
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is no device: expected 'auto', 'cpu', 'cuda', 'cuda:1', "
            f"'mps' or a torch.device. {way_out}"
        ) from error
    if resolved.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= there:
            raise ValueError(
                f"device={str(device)!r} is not there: torch sees {there} CUDA devices. "
                f"{way_out}"
            )
    elif resolved.type == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError(f"device='mps' is not there. {way_out}")
    elif resolved.type != "cpu":
        raise ValueError(
            f"device={str(device)!r} is not supported: expected a CPU, CUDA or MPS "
            f"device. {way_out}"
        )
    return resolved


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type that training casts to; None stays in float32."""
    if precision == "bfloat16" or (precision == "auto" and _fast_bfloat16(device)):
        return torch.bfloat16
    return None


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    found = cpu_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16"))


def cpu_capabilities() -> dict[str, Any]:
    """Return what torch knows of the CPU, nothing from its older versions."""
    ask = getattr(torch.cpu, "get_capabilities", dict)
    return ask()


# parameters of glibc's mallopt(3), and what they are by default at most
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK, MOST_TO_KEEP = 2**25, 2**26


def keep_freed_memory(most: int = MOST_TO_KEEP) -> None:
    """Have the process keep up to so many bytes that it freed, from now on.

    The C library gives large blocks back to the system as soon as they are free, and to
    get them anew takes up to a sixth of a training step. Blocks of up to 32 MB then come
    from the heap, at whose end so much may stay free, and what is free between blocks in
    use. Where the library is not glibc this does nothing.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        mallopt(M_TRIM_THRESHOLD, most)


class LowPrecision:
    """A module that computes with copies of its weights in a lower precision.

    Autocast casts a weight each time that it is used, and its gradient back as often,
    into new memory. Here each is cast once per step, into memory that stays. The
    weights themselves, which the optimiser moves, are as precise as ever.

    Parameters
    ----------
    module : Module
        Its linear and convolutional layers are those whose weights are copied.
    dtype : dtype
        Of the copies; the inputs of these layers are for autocast to cast.
    """

    LAYERS = nn.Linear, nn.Conv2d, nn.ConvTranspose2d

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module = module
        layers = list(module.modules())
        self.weights: list[Tensor] = list(
            dict.fromkeys(
                weight
                for layer in layers
                if isinstance(layer, self.LAYERS)
                for weight in layer.parameters(recurse=False)
            )
        )
        self.copies = [
            torch.empty_like(weight, dtype=dtype).requires_grad_()
            for weight in self.weights
        ]
        self.gradients = [torch.empty_like(weight) for weight in self.weights]
        copies = dict(zip(self.weights, self.copies))
        # wherever a layer keeps one of the weights
        self.places: list[tuple[dict[str, Any], str, Tensor, Tensor]] = [
            (layer._parameters, name, weight, copies[weight])
            for layer in layers
            for name, weight in layer._parameters.items()
            if weight in copies
        ]

    def __call__(self, x: Tensor) -> Any:
        # torch.func.functional_call would take a fiftieth of a step
        for parameters, name, _, copied in self.places:
            parameters[name] = copied
        try:
            return self.module(x)
        finally:
            for parameters, name, weight, _ in self.places:
                parameters[name] = weight

    @torch.no_grad()
    def read(self) -> None:
        """Copy the weights, and begin with no gradients."""
        for copied in self.copies:
            copied.grad = None
        torch._foreach_copy_(self.copies, self.weights)

    @torch.no_grad()
    def give_back_gradients(self) -> None:
        """Turn the gradients of the copies into those of the weights."""
        used = [
            (weight, gradient, copied.grad)
            for weight, gradient, copied in zip(
                self.weights, self.gradients, self.copies
            )
            if copied.grad is not None and weight.requires_grad
        ]
        torch._foreach_copy_([to for _, to, _ in used], [found for *_, found in used])
        for weight, gradient, _ in used:
            weight.grad = gradient
