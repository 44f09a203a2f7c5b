"""The networks: ``encode(x) -> z`` and ``decode(z) -> x``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.overrides import TorchFunctionMode

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


# where an activation is nearly a line: scale and offset of its argument, slope and
# offset of its value there
LINEAR_ZONES: dict[str, tuple[float, float, float, float]] = {
    "identity": (1.0, 0.0, 1.0, 0.0),
    "sigmoid": (0.1, 0.0, 0.025, 0.5),
    "tanh": (0.1, 0.0, 0.1, 0.0),
    "relu": (1.0, 4.0, 1.0, 4.0),
}


class Autoencoder(nn.Module):
    """An architecture between the activations of its code and its output.

    .. math:: z = a(e(x)), \\qquad \\hat x = b(d(z))

    Around a network that starts as a linear one (`starts_linear`) the activations work
    where they are nearly lines, so that they leave its start as it is.

    Parameters
    ----------
    network : Module
        Gives e by `encode`, (n, C, H, W) to (n, K), and d by `decode`, its reverse.
    code_activation, output_activation : str
        Keys of `ACTIVATIONS`: a and b.
    """

    def __init__(
        self, network: nn.Module, code_activation: str, output_activation: str
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.code_activation = ACTIVATIONS[code_activation]()
        self.output_activation = ACTIVATIONS[output_activation]()
        self.starts_linear = getattr(network, "starts_linear", False)
        self.zone = LINEAR_ZONES[code_activation if self.starts_linear else "identity"]
        self.centred = self.starts_linear and output_activation == "sigmoid"

    def encode(self, x: Tensor) -> Tensor:
        scale, offset, _, _ = self.zone
        return self.code_activation(scale * self.network.encode(x) + offset)

    def decode(self, z: Tensor) -> Tensor:
        _, _, slope, offset = self.zone
        x = self.network.decode((z - offset) / slope)
        return self.output_activation(4 * (x - 0.5) if self.centred else x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x)
        return self.decode(z), z


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
            encoder += [nn.Conv2d(c_in, c_out, 3, stride, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder)

        sizes = _decoder_sizes((height, width), strides)
        rows, columns = sizes[0]
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
                nn.ConvTranspose2d(widths[i], widths[i + 1], 3, stride, 1, extra),
                nn.ReLU(),
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


class Residual(nn.Module):
    """PCA, and what a nonlinear network adds to it.

    .. math::

        z = E (x - \\mu) + f(x - \\mu), \\qquad
        y = D z + g(z), \\qquad
        \\hat x = \\mu + y + r(y)

    f and g are perceptrons of two hidden layers, r is a stack of convolutions that
    refines the image y; the last layer of each starts at zero. With E and D at the
    principal components of the data, training starts at PCA and goes down from there.

    Parameters
    ----------
    image_shape : tuple of int
        (C, H, W).
    n_components : int
        Length K of the code.
    channels : sequence of int
        Feature maps of the refiner's blocks.
    strides : sequence of one int
        The refiner works on blocks of stride x stride pixels. By default a power of two
        that leaves a grid of at most 24 x 24.
    """

    starts_linear = True
    hidden = 512
    thumbnail = 4608

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_components: int,
        channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        depth, height, width = image_shape
        size = math.prod(image_shape)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(image_shape))
        self.to_code = nn.Linear(size, n_components, bias=False)
        self.from_code = nn.Linear(n_components, size, bias=False)

        # beyond this many values the perceptrons see and add thumbnails
        self.pool = 1
        while depth * -(-height // self.pool) * -(-width // self.pool) > self.thumbnail:
            self.pool *= 2
        self.small = depth, -(-height // self.pool), -(-width // self.pool)
        self.more_code = _perceptron(math.prod(self.small), self.hidden, n_components)
        self.more_image = _perceptron(n_components, self.hidden, math.prod(self.small))

        fold = 2 ** max(0, math.ceil(math.log2(max(height, width) / 24)))
        strides = (fold,) if strides is None else tuple(strides)
        if len(strides) != 1 or strides[0] < 1:
            raise ValueError(
                f"strides={strides}: architecture='residual' has one, the side of the "
                "blocks of pixels that its refiner works on."
            )
        self.fold = strides[0]
        if channels is None:
            channels = (32 if self.fold <= 2 else 64,) * 3
        if not channels or min(channels) < 1:
            raise ValueError(
                f"channels={tuple(channels)}: expected a positive number of feature maps "
                "for each block of the refiner."
            )
        # the order of the pixels in a line may mean nothing
        is_line = min(height, width) == 1
        self.refiner = None if is_line else _refiner(depth * self.fold**2, channels)

    def encode(self, x: Tensor) -> Tensor:
        x = x - self.mean
        small = F.avg_pool2d(x, self.pool, ceil_mode=True) if self.pool > 1 else x
        return self.to_code(x.flatten(1)) + self.more_code(small.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        _, height, width = self.image_shape
        y = self.from_code(z).unflatten(1, self.image_shape)
        more = self.more_image(z).unflatten(1, self.small)
        if self.pool > 1:
            more = F.interpolate(more, scale_factor=float(self.pool))
        y = y + more[..., :height, :width]
        if self.refiner is not None:
            padded = F.pad(y, (0, -width % self.fold, 0, -height % self.fold))
            refined = self.refiner(F.pixel_unshuffle(padded, self.fold))
            y = y + F.pixel_shuffle(refined, self.fold)[..., :height, :width]
        return y + self.mean


class _Block(nn.Module):
    """x + c(relu(c(relu(x)))), the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = _zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


def _refiner(depth: int, channels: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in zip((depth, *channels), channels):
        if before != width or not layers:
            layers.append(nn.Conv2d(before, width, 3, padding=1))
        layers.append(_Block(width))
    last = _zero(nn.Conv2d(channels[-1], depth, 3, padding=1))
    return nn.Sequential(*layers, nn.ReLU(), last)


def _perceptron(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        _zero(nn.Linear(hidden, n_out)),
    )


def _zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _decoder_sizes(
    size: tuple[int, int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Sizes from the code's grid to the image, so that each is ceil(next / stride)."""
    sizes = [size]
    for stride in reversed(strides):
        height, width = sizes[0]
        sizes.insert(0, (math.ceil(height / stride), math.ceil(width / stride)))
    return sizes


ARCHITECTURES: dict[str, type[nn.Module]] = {"residual": Residual, "plain": Plain}


def build(
    architecture: str | type[nn.Module],
    *,
    image_shape: tuple[int, int, int],
    n_components: int,
    channels: Sequence[int] | None,
    strides: Sequence[int] | None,
    code_activation: str,
    output_activation: str,
    generator: Generator | None = None,
) -> Autoencoder:
    """Build an autoencoder, its weights drawn from `generator`.

    Without a generator the weights are left as they come, to be loaded over.
    """
    cls = (
        architecture if isinstance(architecture, type) else ARCHITECTURES[architecture]
    )
    if not issubclass(cls, nn.Module) or not (
        hasattr(cls, "encode") and hasattr(cls, "decode")
    ):
        raise ValueError(
            f"architecture={architecture!r}: expected one of {sorted(ARCHITECTURES)} or "
            "a subclass of torch.nn.Module with methods encode and decode, built as "
            "architecture(image_shape=(C, H, W), n_components=K)."
        )
    options = {"channels": channels, "strides": strides}
    given = {name: value for name, value in options.items() if value is not None}
    with _Draws(generator):
        network = cls(image_shape=image_shape, n_components=n_components, **given)
    return Autoencoder(network, code_activation, output_activation)


def check_shapes(module: Autoencoder, x: Tensor, n_components: int) -> None:
    """Try images x (n, C, H, W): a network of the user's own may give other shapes."""
    expected = {"encode": (len(x), n_components), "decode": tuple(x.shape)}
    with torch.inference_mode():
        z = module.encode(x)
        got = {"encode": tuple(z.shape)}
        if got["encode"] == expected["encode"]:
            got["decode"] = tuple(module.decode(z).shape)
    for method, shape in got.items():
        if shape != expected[method]:
            raise ValueError(
                f"architecture={type(module.network).__name__}: {method} gave shape "
                f"{shape} for {len(x)} images of shape {tuple(x.shape[1:])}, expected "
                f"{expected[method]}."
            )


class _Draws(TorchFunctionMode):
    """Inside, torch draws from `generator` and leaves its global one alone.

    With no generator, what would be filled with random numbers stays as it is. The
    mode holds for the current thread only.
    """

    IN_PLACE = {
        *("uniform_", "normal_", "trunc_normal_", "bernoulli_", "exponential_"),
        *("random_", "log_normal_", "cauchy_", "geometric_"),
        *("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
    }
    NEW = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"}

    def __init__(self, generator: Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in self.IN_PLACE:
            if self.generator is None:
                return args[0] if args else kwargs["tensor"]
            kwargs["generator"] = self.generator
        elif name in self.NEW and self.generator is not None:
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)
