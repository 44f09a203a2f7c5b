"""How far a training from a linear start is kept, as held-out samples judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from ._hide import hide
from ._net import AutoencoderNet, train
from ._random import VALIDATION_NOISE, make_generator
from ._samples import Samples
from ._start import start_linear

# of the way from the start to the trained weights
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)

# of hiding values of a noisy image
TURNS = 8


def train_as_far_as_it_helps(
    net: AutoencoderNet, images: Samples, training: Samples, held: Samples
) -> float:
    """Train the network of `net`, and go back towards its start as far as `held` gains.

    Held-out images tell whether the training has learnt more than the images that it
    saw, and more than PCA without transformed copies knows. If it has not, the network
    starts at PCA anew, of all images, and of copies as well where `held` gains from
    those. Returns the share of the way that is kept, in [0, 1].
    """
    start = _copy_of_state(net)
    train(net, training)
    trained = _copy_of_state(net)
    net.autocast_dtype = None
    judge: Callable[[AutoencoderNet, Samples], Tensor] = _errors
    if net.feed.self_supervised:
        predicted = _predicted(net, held, (start, trained))
        judge = partial(_risks, predicted=predicted)
    errors = {}
    for share in SHARES:
        _load_between(net, start, trained, share)
        errors[share] = judge(net, held)
    plain = errors[0.0]
    if net.feed.augment is not None:
        start_linear(net, training)
        plain = judge(net, held)
    copies_help = errors[0.0].mean() < plain.mean()
    linear = errors[0.0] if copies_help else plain
    best = min(SHARES, key=lambda share: errors[share].mean())
    gain = linear - errors[best]
    if gain.mean() <= gain.std() / math.sqrt(len(gain)):
        best = 0.0
    _load_between(net, start, trained, best)
    if best == 0:
        start_linear(net, images, net.feed.augment if copies_help else None)
    if net.verbose:
        print(f"Held-out samples keep {best:.0%} of the training")
    return best


def number_to_hold_out(n_samples: int) -> int:
    """Samples that decide: 5 %, at most 256; of few up to 10, a tenth; of under 20 none."""
    if n_samples < 20:
        return 0
    return math.ceil(min(max(0.05 * n_samples, min(0.1 * n_samples, 10)), 256))


def _errors(net: AutoencoderNet, images: Samples) -> Tensor:
    """The objective for each image, in the order of `images`."""
    errors = []
    criterion = net.criterion(reduction="none")
    batches = net.get_iterator(images, training=False)
    # also at a layer, where else training alone has it
    batches.corrupt = net.feed.corrupt
    for batch in batches:
        output, z = net.validation_step(batch)["y_pred"]
        error = net.value_factor * criterion(output, batch[1])
        errors.append(error.flatten(1).sum(1) + net.sparsity * z.abs().sum(1))
    return torch.cat(errors)


@torch.no_grad()
def _risks(net: AutoencoderNet, images: Samples, predicted: Tensor) -> Tensor:
    r"""The objective for each noisy image, roughly as if the clean one were known.

    It is that of squared errors, of a training by cross-entropy, too. The error of hidden
    values would not do: restoring an image, the network sees them. With noise that is
    independent between values, and has no mean, the expected error is

    .. math:: \lVert f(y) - y \rVert^2 + 2 \sum_i \mathrm{Cov}(f_i(y), y_i)

    but for a constant [1]_. The covariance is that of what a value itself makes of its
    restored one: the mean of :math:`(f_i(y) - f_i(y')) (y_i - p_i)`, where y' has
    :math:`p_i`, which others predict, in place of :math:`y_i`.

    References
    ----------
    .. [1] B. Efron, "The estimation of prediction error: covariance penalties and
       cross-validation", Journal of the American Statistical Association 99 (2004).
    """
    noisy = _all_of(net, images)
    output, z = _applied(net, noisy)
    risks = (output - noisy).square()
    for _, mask in _hidden_in_turns(net, noisy):
        without, _ = _applied(net, torch.where(mask, predicted, noisy))
        part = mask.flatten(1).float().mean(1).view(-1, 1, 1, 1)
        covariance = mask * (output - without) * (noisy - predicted) / part
        risks += 2 * covariance / TURNS
    return net.value_factor * risks.flatten(1).sum(1) + net.sparsity * z.abs().sum(1)


@torch.no_grad()
def _predicted(
    net: AutoencoderNet, images: Samples, states: Sequence[dict[str, Tensor]]
) -> Tensor:
    """What networks with these states make of values that are hidden from them."""
    noisy = _all_of(net, images)
    total, times = torch.zeros_like(noisy), torch.zeros_like(noisy)
    for state in states:
        net.module_.load_state_dict(state)
        for hidden, mask in _hidden_in_turns(net, noisy):
            total += mask * _applied(net, hidden)[0]
            times += mask
    return total / times.clamp(min=1)


def _hidden_in_turns(
    net: AutoencoderNet, noisy: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images some of whose values are hidden, and where: the same ones each time."""
    generator = make_generator(net.feed.seed, VALIDATION_NOISE, device=noisy.device)
    for _ in range(TURNS):
        yield hide(noisy, generator)


def _all_of(net: AutoencoderNet, images: Samples) -> Tensor:
    return net.feed.shrink(images.clean[:])


def _applied(net: AutoencoderNet, images: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstructions and codes."""
    module = net.module_.eval()
    results = [module(batch) for batch in images.split(net.batch_size)]
    outputs, codes = (torch.cat(each) for each in zip(*results))
    return outputs, codes


def _copy_of_state(net: AutoencoderNet) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.module_.state_dict().items()}


def _load_between(
    net: AutoencoderNet,
    start: dict[str, Tensor],
    trained: dict[str, Tensor],
    share: float,
) -> None:
    state = {name: torch.lerp(start[name], trained[name], share) for name in trained}
    net.module_.load_state_dict(state if share < 1 else trained)
