"""Trained weights at work: rows -> codes -> samples, in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils import assert_all_finite
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ._cudnn import exact
from ._device import resolve_device, usual_modes, without_autocast
from ._image import ImageLayout
from ._linear import speed_up_linear
from ._memory import keep_freed_memory
from ._modules import Autoencoder, build
from ._search import search
from ._warnings import warn

# at the widest place of a network, for one chunk: with more of them it waits for the
# memory, with fewer for the weights
CHUNK_VALUES = 2**21
CHUNK_VALUES_OF_GPU = 2**25


@usual_modes()
def load(
    network: dict[str, Any], weights: dict[str, np.ndarray], *, share: bool = False
) -> Autoencoder:
    """Build the network that `weights` belong to; with `share` over their memory."""
    module = build(**network)
    # a memory map may be read-only, which torch warns of
    state = {
        name: torch.from_numpy(np.require(array, requirements=["C", "W"]))
        for name, array in weights.items()
    }
    module.load_state_dict(state, assign=share)
    return module.eval()


class Inference:
    """A trained network in the precision of the data that it is to be given.

    Parameters
    ----------
    network : dict
        Arguments of :func:`build`.
    weights : dict of str to ndarray
        Its state.
    layout : ImageLayout
        Of the data.
    device : str or torch.device
        Where to run. One that is missing, as that of a model moved to another machine,
        means the CPU.
    dtype : dtype
        float32 or float64.
    clip : bool
        Whether to clip what is encoded to the value range, as in training, and what
        is decoded, as the clean images were.
    n_steps : int
        Of the search for better codes than the encoder's.
    """

    @usual_modes()
    def __init__(
        self,
        network: dict[str, Any],
        weights: dict[str, np.ndarray],
        layout: ImageLayout,
        device: str | torch.device,
        dtype: np.dtype,
        clip: bool,
        n_steps: int = 0,
    ) -> None:
        try:
            self.device = resolve_device(device)
        except ValueError:
            self.device = torch.device("cpu")
        if self.device.type == "mps" and dtype == np.float64:
            self.device = torch.device("cpu")  # MPS has no float64
        keep_freed_memory()
        self.layout = layout
        self.dtype = dtype
        self.clip = clip
        self.n_steps = n_steps
        # a network of the user's may change its input and its buffers in place, and may
        # do with no other precision than that of its training
        self.is_own = is_own = isinstance(network["architecture"], str)
        self.copy = None if is_own else True
        # in float64 the convolutions of a search would take ten times as long
        is_double = is_own and dtype == np.float64 and n_steps == 0
        self.precision = torch.float64 if is_double else torch.float32
        module = load(network, weights, share=is_own)
        self.module = module.to(self.device, self.precision).requires_grad_(False)
        if is_own and self.device.type == "cpu" and not is_double:
            speed_up_linear(self.module)
        # a sigmoid's values lie in the range, and interpolation leaves it
        self.bounded = clip or network["output_activation"] == "sigmoid"
        one = torch.zeros(
            (1, *layout.network_shape), device=self.device, dtype=self.precision
        )
        most = CHUNK_VALUES if self.device.type == "cpu" else CHUNK_VALUES_OF_GPU
        given = math.prod(layout.image_shape)  # by `resize` perhaps more than `one`
        self.rows_at_a_time, self.codes_at_a_time = (
            max(1, most // max(given, width)) for width in _widths(self.module, one)
        )
        if n_steps > 0:  # which decode on the way
            self.rows_at_a_time = min(self.rows_at_a_time, self.codes_at_a_time)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Codes (n, K) of rows (n, n_features); raises where one is not finite."""

        def encode(rows: np.ndarray) -> np.ndarray:
            images = self.layout.to_images(rows, self.dtype, self.copy)
            # here they are in the cache; a mean may also be infinite by its sum
            mean = float(images.mean())
            if not math.isfinite(mean):
                assert_all_finite(rows, input_name="X")
            elif not -2 <= mean <= 3:  # of values that were from 0 to 1 in training
                low, high = self.layout.value_range
                warn(
                    f"X lies far outside of value_range=({low:g}, {high:g}) of the "
                    "training. If it is in other units, convert it to those of fit."
                )
            images = images.to(self.device, self.precision)
            # of one channel the strides may be those of channels_last: slower here
            images = images.flatten().view(images.shape)
            if self.clip:
                images = images.clamp(0, 1)
            images = self.layout.shrink(images)
            codes = (
                search(self.module, images, self.n_steps)
                if self.n_steps > 0
                else self.module.encode(images)
            )
            return codes.cpu().numpy().astype(self.dtype, copy=False)

        return self._in_chunks(encode, self.rows_at_a_time, rows)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Samples in the layout of the data of codes (n, K)."""

        def decode(codes: np.ndarray) -> np.ndarray:
            # of a copy, since torch takes no negative strides
            given = torch.from_numpy(codes.copy())
            images = self.module.decode(given.to(self.device, self.precision))
            images = self.layout.grow(images).to(given.dtype)
            if self.bounded:
                images = images.clamp_(0, 1)
            return self.layout.to_samples(images)

        return self._in_chunks(decode, self.codes_at_a_time, codes)

    def errors(self, rows: np.ndarray, targets: np.ndarray | None = None) -> np.ndarray:
        """Mean squared error (n,) of each row's reconstruction, as its target or itself."""

        def errors(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
            restored = self.decode(self.encode(rows)).reshape(rows.shape)
            # of values that are very small in single precision, squares would vanish
            return np.square(targets - restored, dtype=np.float64).mean(axis=1)

        targets = rows if targets is None else targets
        return self._in_chunks(errors, self.rows_at_a_time, rows, targets)

    def _in_chunks(
        self, function: Callable[..., np.ndarray], size: int, *arrays: np.ndarray
    ) -> np.ndarray:
        with (
            torch.inference_mode(self.n_steps == 0),  # in it nothing is differentiated
            torch.no_grad(),
            without_autocast(self.device.type),
            exact(self.device, is_own=self.is_own),
        ):
            # sklearn.utils.gen_batches would take a tenth of the time of one row
            starts = range(0, len(arrays[0]), size)
            return np.concatenate(
                [function(*(array[i : i + size] for array in arrays)) for i in starts]
            )


def _widths(module: Autoencoder, x: Tensor) -> tuple[int, int]:
    """The most values at once on the way of one image x to its code, and back."""
    # what a network of the user's keeps from its first call may not be of inference mode
    with torch.inference_mode(False), torch.no_grad():
        with _Widest() as to_code:
            z = module.encode(x)
        with _Widest() as to_image:
            module.decode(z)
    return max(to_code.values, x.numel()), max(to_image.values, x.numel())


class _Widest(TorchFunctionMode):
    """Inside, `values` is the number in the largest tensor that torch made so far.

    For a convolution in float64 on a CPU it makes one of the patches of all pixels.
    """

    UNFOLD = torch.conv2d, torch.conv_transpose2d

    values = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for each in result if isinstance(result, tuple) else (result,):
            if isinstance(each, Tensor):
                self.values = max(self.values, each.numel())
        if func in self.UNFOLD and result.dtype == torch.float64 and result.is_cpu:
            x = args[0] if args else kwargs["input"]
            kernels = args[1] if len(args) > 1 else kwargs["weight"]
            maps = result if func is torch.conv2d else x
            patches = maps.numel() // len(kernels) * kernels[0].numel()
            self.values = max(self.values, patches)
        return result
