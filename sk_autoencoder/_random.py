"""Streams of randomness, all from one seed and none from torch's global generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Generator
from torch.overrides import TorchFunctionMode

# streams of randomness drawn from one seed
INITIALISATION, VALIDATION_SPLIT, VALIDATION_NOISE, ORDER, TRANSFORM, START = range(6)
NOISE_LEVELS = 6


def make_generator(
    seed: int, *keys: int, device: torch.device | str = "cpu"
) -> Generator:
    """Generator for one stream of the seed's randomness, `keys` naming the stream."""
    return reseed(Generator(device), seed, *keys)


def reseed(generator: Generator, seed: int, *keys: int) -> Generator:
    """Set a generator to the beginning of a stream."""
    state = np.random.SeedSequence(seed, spawn_key=keys).generate_state(1, np.uint64)
    return generator.manual_seed(int(state[0]))


def draw_seed(random_state: Any) -> int:
    """Return the seed that a parameter `random_state` stands for."""
    if random_state is None:
        # not scikit-learn's global generator, which would move
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


class Draws(TorchFunctionMode):
    """Inside, torch draws from `generator` and leaves its global one alone.

    What layers make their weights in is float32, whatever torch's default type is.

    With no generator, what would be filled with random numbers stays as it is, which
    does for networks that draw nothing else: what is drawn until it fits would never
    end. The mode holds for the current thread only.
    """

    IN_PLACE = {
        *("uniform_", "normal_", "bernoulli_", "exponential_", "random_"),
        *("log_normal_", "cauchy_", "geometric_", "kaiming_uniform_"),
    }
    NEW = {
        *("rand", "randn", "randint", "rand_like", "randn_like", "randint_like"),
        *("randperm", "normal", "bernoulli", "multinomial"),
    }

    IN_DEFAULT_TYPE = {"empty", "zeros", "ones", "rand", "randn"}

    def __init__(self, generator: Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        is_free = kwargs.get("dtype") is None and kwargs.get("out") is None
        if name in self.IN_DEFAULT_TYPE and is_free:
            kwargs["dtype"] = torch.float32
        if kwargs.get("generator") is not None:
            pass  # of its own
        elif name in self.IN_PLACE:
            if self.generator is None:
                return args[0] if args else kwargs["tensor"]
            kwargs["generator"] = self.generator
        elif name in self.NEW:
            kwargs["generator"] = self.generator or Generator()
        return func(*args, **kwargs)
