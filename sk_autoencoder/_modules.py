"""The networks: ``encode(x) -> z`` and ``decode(z) -> x``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ._plain import Plain
from ._random import Draws
from ._residual import Residual

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


class SoftClip(nn.Module):
    """Into [0, 1], and the identity but for a margin on both sides.

    .. math:: x \\mapsto c + m \\, u / (1 + |u|), \\qquad
        c = \\mathrm{clip}(x, m, 1 - m), \\quad u = (x - c) / m

    A sigmoid would move all values, and few of a linear network's need it.
    """

    margin = 0.02

    def forward(self, x: Tensor) -> Tensor:
        inside = x.clamp(self.margin, 1 - self.margin)
        beyond = F.softsign((x - inside) / self.margin)
        return (inside + self.margin * beyond).clamp(0, 1)  # for rounding


class Autoencoder(nn.Module):
    """An architecture between the activations of its code and its output.

    .. math:: z = a(e(x)), \\qquad \\hat x = b(d(z))

    Around a network that starts as a linear one (`starts_linear`) the activation of the
    code works where it is nearly a line, and a sigmoid for the output is a `SoftClip`, so
    that they hardly change its start.

    Parameters
    ----------
    network : Module
        Gives e by `encode`, (n, C, H, W) to (n, K), and d by `decode`, its reverse.
    code_activation, output_activation : str
        Keys of `ACTIVATIONS`: a and b.

    Attributes
    ----------
    is_own : bool
        Whether the network is one of `ARCHITECTURES`; what others do is not known.
    """

    def __init__(
        self, network: nn.Module, code_activation: str, output_activation: str
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.code_activation = ACTIVATIONS[code_activation]()
        self.output_activation = ACTIVATIONS[output_activation]()
        self.is_own = type(network) in ARCHITECTURES.values()
        self.starts_linear = getattr(network, "starts_linear", False)
        self.float32_only = getattr(network, "float32_only", False)
        self.zone = LINEAR_ZONES[code_activation if self.starts_linear else "identity"]
        if self.starts_linear and output_activation == "sigmoid":
            self.output_activation = SoftClip()

    def preactivation(self, x: Tensor) -> Tensor:
        scale, offset, _, _ = self.zone
        return scale * self.network.encode(x) + offset

    def encode(self, x: Tensor) -> Tensor:
        return self.code_activation(self.preactivation(x))

    def decode(self, z: Tensor) -> Tensor:
        _, _, slope, offset = self.zone
        return self.output_activation(self.network.decode((z - offset) / slope))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x)
        return self.decode(z), z


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
    cleaner: bool = False,
    many_levels: bool = False,
    generator: Generator | None = None,
) -> Autoencoder:
    """Build an autoencoder, its weights drawn from `generator`.

    `cleaner` and `many_levels` are for the architecture that knows them. Without a
    generator the weights are anything, to be loaded over.
    """
    cls: Any = architecture
    if isinstance(architecture, str):
        cls = ARCHITECTURES.get(architecture, architecture)
    got = repr(architecture)
    if not isinstance(cls, (type, str)):
        got = f"an object of {type(cls).__name__}"
    expected = (
        f"architecture={got}: expected one of {sorted(ARCHITECTURES)} or "
        "a subclass of torch.nn.Module with methods encode and decode, built as "
        "architecture(image_shape=(C, H, W), n_components=K)."
    )
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(expected)
    given: dict[str, Any] = {"image_shape": image_shape, "n_components": n_components}
    options = {"channels": channels, "strides": strides}
    given |= {name: value for name, value in options.items() if value is not None}
    if cleaner and issubclass(cls, Residual):
        given |= {"cleaner": True, "many_levels": many_levels}
    try:
        inspect.signature(cls).bind(**given)
    except TypeError as error:
        raise ValueError(f"{expected} {error}.") from error
    if generator is None and cls is architecture:
        generator = Generator()  # who knows how a network of the user's draws
    with Draws(generator):
        network = cls(**given)
    if not (hasattr(network, "encode") and hasattr(network, "decode")):
        raise ValueError(expected)
    # whatever torch's default type is
    return Autoencoder(network, code_activation, output_activation).float()


def check_shapes(
    module: Autoencoder, x: Tensor, n_components: int, generator: Generator
) -> None:
    """Try images x (n, C, H, W): a user's network may give other shapes, or be untrainable.

    What it draws at its first use is drawn from `generator`.
    """
    module.eval()  # in training one image may be too few, and would leave its traces
    network, given = module.network, x
    for method, expected in (("encode", (len(x), n_components)), ("decode", x.shape)):
        with torch.no_grad(), Draws(generator):
            given = getattr(network, method)(given)
        is_tensor = isinstance(given, Tensor)
        if not is_tensor or given.shape != expected:
            got = f"shape {tuple(given.shape)}" if is_tensor else type(given).__name__
            raise ValueError(
                f"architecture={type(network).__name__}: {method} gave {got} for "
                f"{len(x)} images of shape {tuple(x.shape[1:])}, expected "
                f"{tuple(expected)}."
            )
    if next(module.parameters(), None) is None:
        raise ValueError(
            f"architecture={type(network).__name__} has no weights to train. Keep its "
            "layers, or torch.nn.Parameters, as attributes."
        )
