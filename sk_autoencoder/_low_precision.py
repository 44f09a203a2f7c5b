"""Training with copies of the weights in a lower precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LowPrecision:
    """A module that computes with copies of its weights in a lower precision.

    Autocast casts a weight each time that it is used, and its gradient back as often,
    into new memory. Here each is cast once per step, into memory that stays. The
    weights themselves, which the optimiser moves, are as precise as ever.

    Parameters
    ----------
    module : Module
        Its linear and convolutional layers are those whose weights are copied. None of
        them shares a weight with another.
    dtype : dtype
        Of the copies; the inputs of these layers are for autocast to cast.
    """

    LAYERS = nn.Linear, nn.Conv2d, nn.ConvTranspose2d

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module = module
        self.places: list[tuple[dict[str, Any], str]] = [
            (layer._parameters, name)
            for layer in module.modules()
            if isinstance(layer, self.LAYERS)
            for name, _ in layer.named_parameters(recurse=False)
        ]
        self.weights: list[Tensor] = [kept[name] for kept, name in self.places]
        self.copies = [
            torch.empty_like(weight, dtype=dtype).requires_grad_()
            for weight in self.weights
        ]
        self.gradients = [torch.empty_like(weight) for weight in self.weights]

    def __call__(self, x: Tensor) -> Any:
        # torch.func.functional_call would take a fiftieth of a step
        self._put(self.copies)
        try:
            return self.module(x)
        finally:
            self._put(self.weights)

    def _put(self, tensors: list[Tensor]) -> None:
        for (parameters, name), tensor in zip(self.places, tensors):
            parameters[name] = tensor

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
