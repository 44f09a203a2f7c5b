"""Where a network runs, and in which precision it trains."""

from __future__ import annotations

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


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type that training casts to; None stays in float32."""
    if precision == "bfloat16" or (precision == "auto" and _fast_bfloat16(device)):
        return torch.bfloat16
    return None


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # older versions of torch do not tell what the CPU has
    ask = getattr(torch.cpu, "get_capabilities", None)
    if device.type != "cpu" or ask is None:
        return False
    capabilities = ask()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
