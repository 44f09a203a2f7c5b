"""Where a network runs, in which precision it trains, and the modes of torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch


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


@contextmanager
def usual_modes() -> Iterator[None]:
    """Inside, new tensors are on the CPU and have gradients, and nothing is cast.

    So torch comes; the caller's torch.set_default_device, torch.inference_mode or
    torch.autocast may say otherwise.
    """
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda", "mps"):
            stack.enter_context(without_autocast(kind))
        yield


def without_autocast(kind: str) -> AbstractContextManager[Any]:
    """A context in which tensors on such devices are not cast."""
    # to enter one takes a fiftieth of the time of a row
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


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
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16"))
