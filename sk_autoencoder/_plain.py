"""The stack of convolutions and transposed convolutions: the article's network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Plain(nn.Module):
    """Convolutions, a dense code, transposed convolutions: the article's stack.

    The encoder's 3 x 3 convolutions give `channels` feature maps with `strides`; a
    dense layer makes the code of them. The decoder lays the code out on the grid of
    the last feature map and applies one transposed convolution per stride, in the
    same order, with the channels reversed and the image's own at the end.

    "Same" padding: a stride s turns a side H into ceil(H / s), and back exactly. On
    even sides torch pads before the first pixel where TensorFlow pads after the last,
    the mirror image of the same layer.

    Parameters
    ----------
    image_shape : tuple of int
        (C, H, W).
    n_components : int
        Length K of the code.
    channels, strides : sequence of int
        Of the encoder's convolutions.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_components: int,
        channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        channels = (16, 32, 64, 128) if channels is None else tuple(channels)
        strides = (2, 1, 1, 1) if strides is None else tuple(strides)
        if len(channels) != len(strides) or not channels:
            raise ValueError(
                f"channels={channels} and strides={strides} need one entry for each "
                "convolution: give both the same length, at least 1."
            )
        if min(channels) < 1 or min(strides) < 1 or max(strides) > 3:
            raise ValueError(
                f"channels={channels} and strides={strides}: expected positive channels "
                "and strides of 1, 2 or 3 (a 3 x 3 kernel would skip pixels beyond)."
            )
        depth, height, width = image_shape

        encoder: list[nn.Module] = []
        for c_in, c_out, stride in zip((depth, *channels), channels, strides):
            encoder += [nn.Conv2d(c_in, c_out, 3, stride, padding=1), nn.ReLU(True)]
        self.encoder = nn.Sequential(*encoder)

        sizes = _decoder_sizes((height, width), strides)
        rows, columns = sizes[0]
        # oneDNN leaves parts of the bfloat16 gradient of a stride that ends at a single
        # pixel unset on some processors
        self.float32_only = max(strides) > 1 and min(rows, columns) == 1
        self.to_code = nn.Linear(channels[-1] * rows * columns, n_components)

        maps = math.ceil(n_components / (rows * columns))
        self.grid = (maps, rows, columns)
        fits = maps * rows * columns == n_components
        self.from_code = (
            nn.Identity() if fits else nn.Linear(n_components, maps * rows * columns)
        )

        decoder: list[nn.Module] = []
        widths = (maps, *channels[:0:-1], depth)
        for i, stride in enumerate(strides):
            (h, w), (h_out, w_out) = sizes[i], sizes[i + 1]
            extra = h_out - (h - 1) * stride - 1, w_out - (w - 1) * stride - 1
            decoder += [
                _TransposedConv(widths[i], widths[i + 1], 3, stride, 1, extra),
                # in place on the view that a matrix product gives is slower
                nn.ReLU(stride == 1),
            ]
        self.decoder = nn.Sequential(*decoder[:-1])

        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def encode(self, x: Tensor) -> Tensor:
        return self.to_code(self.encoder(x).flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.from_code(z).unflatten(1, self.grid))


class _TransposedConv(nn.ConvTranspose2d):
    """A transposed convolution of 3 x 3, as a matrix product where that is faster.

    With a stride s each pixel makes a block of s x s pixels of the output, together with
    its neighbours below and to the right. Where the input has few channels, the CPU
    computes that, and its gradient above all, several times faster than the
    convolution.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        s = self.stride[0]
        if s == 1 or self.in_channels > 16 or x.device.type != "cpu":
            return super().forward(x, output_size)
        n, depth, height, width = x.shape
        # the kernel's row (or column) for each row of a block and either neighbour;
        # 3 stands for none
        taps = torch.tensor(
            [[k if 0 <= k < 3 else 3 for k in (a + 1, a + 1 - s)] for a in range(s)],
            device=x.device,
        )
        kernel = F.pad(self.weight, (0, 1, 0, 1))[:, :, taps[:, :, None, None], taps]
        # (depth, out, row, below, column, right) to matrices, one for each row
        rows = kernel.permute(2, 3, 5, 0, 4, 1).reshape(s, 4 * depth, -1)
        padded = F.pad(x, (0, 1, 0, 1)).permute(0, 2, 3, 1)
        top, bottom = padded[:, :-1], padded[:, 1:]
        pixels = torch.cat(
            [top[:, :, :-1], top[:, :, 1:], bottom[:, :, :-1], bottom[:, :, 1:]], 3
        ).flatten(0, 2)
        assert self.bias is not None
        bias = self.bias.repeat(s)
        blocks = torch.stack(
            [torch.addmm(bias, pixels, row).view(n, height, -1) for row in rows], 2
        ).view(n, height * s, width * s, -1)
        out = [
            (side - 1) * s + 1 + extra
            for side, extra in zip((height, width), self.output_padding)
        ]
        return blocks[:, : out[0], : out[1]].permute(0, 3, 1, 2)


def _decoder_sizes(
    size: tuple[int, int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Sizes from the code's grid to the image, so that each is ceil(next / stride)."""
    sizes = [size]
    for stride in reversed(strides):
        height, width = sizes[0]
        sizes.insert(0, (math.ceil(height / stride), math.ceil(width / stride)))
    return sizes
