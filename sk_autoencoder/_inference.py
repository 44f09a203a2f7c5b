"""Trained weights at work: rows -> codes -> samples, in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._device import resolve_device
from ._image import ImageLayout
from ._modules import Autoencoder, build

# of one chunk: large enough to be fast, small enough to stay in memory
CHUNK_PIXELS = 2**19


def load(
    network: dict[str, Any], weights: dict[str, np.ndarray], *, share: bool = False
) -> Autoencoder:
    """Build the network that `weights` belong to; with `share` over their memory."""
    module = build(**network)
    # a memory map may be read-only, which torch warns of
    state = {
        name: torch.from_numpy(np.require(array, requirements="W"))
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
    """

    def __init__(
        self,
        network: dict[str, Any],
        weights: dict[str, np.ndarray],
        layout: ImageLayout,
        device: str | torch.device,
        dtype: np.dtype,
        clip: bool,
    ) -> None:
        try:
            self.device = resolve_device(device)
        except ValueError:
            self.device = torch.device("cpu")
        if self.device.type == "mps" and dtype == np.float64:
            self.device = torch.device("cpu")  # MPS has no float64
        self.layout = layout
        self.dtype = dtype
        self.clip = clip
        precision = torch.float64 if dtype == np.float64 else torch.float32
        self.module = load(network, weights, share=True).to(self.device, precision)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Codes (n, K) of rows (n, n_features)."""

        def encode(rows: np.ndarray) -> np.ndarray:
            images = self.layout.to_images(rows, self.dtype).to(self.device)
            # of one channel the strides may be those of channels_last: slower here
            images = images.flatten().view(images.shape)
            if self.clip:
                images = images.clamp_(0, 1)
            return self.module.encode(self.layout.shrink(images)).cpu().numpy()

        return self._in_chunks(encode, rows)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Samples in the layout of the data of codes (n, K)."""

        def decode(codes: np.ndarray) -> np.ndarray:
            images = self.module.decode(torch.tensor(codes, device=self.device))
            images = self.layout.grow(images)
            return self.layout.to_samples(images.clamp_(0, 1) if self.clip else images)

        return self._in_chunks(decode, codes)

    def _in_chunks(
        self, function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray
    ) -> np.ndarray:
        _, height, width = self.layout.network_shape
        size = max(1, CHUNK_PIXELS // (height * width))
        with torch.inference_mode():
            # sklearn.utils.gen_batches would take a tenth of the time of one row
            starts = range(0, len(rows), size)
            return np.concatenate([function(rows[i : i + size]) for i in starts])
