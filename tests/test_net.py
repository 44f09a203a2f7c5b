"""Batches, objective and schedule."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder
from sk_autoencoder._batches import (
    Batches,
    Feed,
    default_batch_size,
    default_epochs,
)
from sk_autoencoder._low_precision import LowPrecision
from sk_autoencoder._modules import build
from sk_autoencoder._net import make_net
from sk_autoencoder._random import make_generator
from sk_autoencoder._samples import Samples


def batches(images, training=True, **options):
    return Batches(Samples(images), 4, Feed(**options), training=training)


@pytest.fixture
def numbered():
    return torch.arange(10.0).view(10, 1, 1, 1)


def test_an_epoch_is_every_image_once_in_a_new_order(numbered):
    training = batches(numbered)
    epochs = [torch.cat([target for _, target in training]) for _ in range(2)]
    assert len(training) == 3
    for epoch in epochs:
        assert sorted(epoch.ravel().tolist()) == list(range(10))
    assert not torch.equal(*epochs)


@pytest.mark.parametrize(
    "n, epochs, of_many_levels, batch_size",
    [
        (2, 10, 10, 32),
        (30, 90, 90, 32),
        (150, 336, 400, 32),
        (300, 200, 300, 32),
        (1_200, 70, 106, 64),
        (4_800, 25, 37, 128),
        (100_000, 10, 15, 128),
    ],
)
def test_default_epochs_and_batch_sizes(n, epochs, of_many_levels, batch_size):
    assert default_epochs(n) == epochs
    assert default_epochs(n, many_levels=True) == of_many_levels
    assert default_batch_size(n) == batch_size


def test_an_epoch_depends_on_seed_and_number_alone(numbered):
    def noisy(x, generator):
        return x + torch.randn(x.shape, generator=generator)

    def inputs(**changes):
        return torch.cat([x for x, _ in batches(numbered, corrupt=noisy, **changes)])

    training = batches(numbered, corrupt=noisy)
    list(training)
    second = torch.cat([x for x, _ in training])
    assert torch.equal(inputs(first_epoch=1), second)
    assert not torch.equal(inputs(first_epoch=2), second)
    assert not torch.equal(inputs(first_epoch=1, seed=1), second)


def test_validation_is_in_order_with_the_same_noise_each_time(numbered):
    def noisy(x, generator):
        return x + torch.randn(x.shape, generator=generator)

    def boom(x, generator):
        raise AssertionError("validation images are not augmented")

    validation = batches(numbered, training=False, corrupt=noisy, augment=boom)
    first, second = (list(validation) for _ in range(2))
    for (x, target), (x_again, _) in zip(first, second):
        assert torch.equal(x, x_again) and not torch.equal(x, target)
    assert torch.equal(torch.cat([target for _, target in first]), numbered)


def test_target_is_augmented_but_clean(numbered):
    training = batches(
        numbered,
        augment=lambda x, generator: x + 100,
        corrupt=lambda x, generator: -x,
        shrink=lambda x: 2 * x,
    )
    for x, target in training:
        assert torch.equal(x, -target) and target.min() >= 200


def test_streams_of_randomness_differ():
    draws = {
        torch.rand(1, generator=make_generator(seed, *keys)).item()
        for seed in (0, 1)
        for keys in ((0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1))
    }
    assert len(draws) == 12


class Shift(nn.Module):
    """Code: the image; output: the code plus a bias."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        z = x.flatten(1)
        return x + self.bias, z


def net_for(images, module=None, **changes):
    options = {
        "loss": "mse",
        "lr": 0.1,
        "lr_schedule": "constant",
        "weight_decay": 0.0,
        "batch_size": 4,
        "max_epochs": 1,
        "n_samples": len(images),
        "validation": None,
        "n_iter_no_change": 3,
        "tol": 0.0,
        "callbacks": (),
        "verbose": 0,
        "device": torch.device("cpu"),
        "feed": Feed(),
        "value_count": images[0].numel(),
    }
    return make_net(module or Shift(), **options | changes)


def test_objective_is_the_formula():
    x, target = torch.rand(5, 1, 3, 3), torch.rand(5, 1, 3, 3)
    step = net_for(x, sparsity=0.3)._step((x, target))
    half_squares = 0.5 * ((x - target) ** 2).sum((1, 2, 3))
    penalty = 0.3 * x.abs().sum((1, 2, 3))
    torch.testing.assert_close(step["loss"], (half_squares + penalty).mean())
    torch.testing.assert_close(step["error"], ((x - target) ** 2).mean())
    torch.testing.assert_close(step["code_mean"], x.mean())

    step = net_for(x, loss="bce")._step((x, target))
    entropy = -(target * x.log() + (1 - target) * (1 - x).log()).sum((1, 2, 3))
    torch.testing.assert_close(step["loss"], entropy.mean())
    torch.testing.assert_close(step["error"], entropy.mean() / 9)


def test_history_weighs_a_short_last_batch_by_its_size(numbered):
    net = net_for(numbered, lr=0.0, feed=Feed(corrupt=lambda x, generator: x + x))
    net.partial_fit(Samples(numbered))
    assert net.history[-1, "train_loss"] == pytest.approx((numbered**2).mean().item())
    assert net.history[-1, "code_mean"] == pytest.approx(2 * 4.5)


class Scale(nn.Module):
    """Code: the image; output: a weight times the code."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.weight * x, x.flatten(1)


def test_moments_of_a_weight_that_rests_do_not_underflow(numbered):
    batch_numbers = iter(range(10_000))
    moments = []

    class Watch(Callback):
        def on_batch_end(self, net, **kwargs):
            (state,) = net.optimizer_.state.values()
            moments.extend([state["exp_avg"].item(), state["exp_avg_sq"].item()])

    net = net_for(
        numbered,
        Scale(),
        max_epochs=400,
        # only the first batch has a gradient
        feed=Feed(corrupt=lambda x, generator: x * (next(batch_numbers) == 0)),
        callbacks=[("w", Watch())],
    )
    net.partial_fit(Samples(numbered))
    seen = np.abs(moments)
    assert len(seen) == 2 * 3 * 400
    assert seen[0] > 0 and seen[-2] == 0
    assert not np.any((seen > 0) & (seen < np.finfo(np.float32).tiny))


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine"])
def test_learning_rates_of_a_schedule(schedule, numbered):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    net = net_for(
        numbered, lr_schedule=schedule, max_epochs=10, callbacks=[("w", Watch())]
    )
    net.partial_fit(Samples(numbered))
    assert len(rates) == 30
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(0.1, rel=1e-2)
    if schedule == "constant":
        assert set(rates) == {0.1}
    else:
        assert rates[-1] < 0.01
        assert (np.diff(rates[top:]) < 0).all()
        assert (np.diff(rates[: top + 1]) > 0).all()
        assert top == (0 if schedule == "cosine" else 3)


def test_schedule_reaches_all_weights(X):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, **kwargs):
            rates.append([group["lr"] for group in net.optimizer_.param_groups])

    ConvAutoencoderTransformer(3, max_epochs=2, callbacks=[("w", Watch())]).fit(X)
    assert {len(set(found)) for found in rates} == {1}
    assert len({found[0] for found in rates}) == len(rates)


@pytest.mark.parametrize("n_samples", [3, 4, 11])
def test_schedule_ends_with_the_last_batch(n_samples):
    # of three samples, the last batch of an odd number
    images = torch.rand(n_samples, 1, 2, 2)
    net = net_for(images, lr_schedule="cosine", batch_size=2, max_epochs=2)
    net.partial_fit(Samples(images))
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("n_steps", range(2, 25))
def test_one_cycle_of_any_length_falls_at_last(n_steps):
    images = torch.rand(n_steps, 1, 2, 2)
    net = net_for(images, lr_schedule="one_cycle", batch_size=1)
    net.partial_fit(Samples(images))
    assert 0 < net.optimizer_.param_groups[0]["lr"] < 0.01


def test_weight_decay_is_decoupled(X):
    # without a gradient to follow, Adam leaves a weight where it is; decay does not
    options = {"n_components": 3, "max_epochs": 3, "random_state": 0}
    options["warm_start"] = True  # nobody judges whether it helped
    free = ConvAutoencoderTransformer(**options).fit(X)
    decayed = ConvAutoencoderTransformer(**options, weight_decay=10.0).fit(X)
    norm = {
        name: sum((w**2).sum() for w in ae.weights_.values())
        for name, ae in (("free", free), ("decayed", decayed))
    }
    assert norm["decayed"] < 0.99 * norm["free"]


def test_denoising_validates_on_noisy_images(X):
    options = {"n_components": 5, "max_epochs": 1, "early_stopping": True}
    quiet = DenoisingAutoencoder(**options, noise_level=0.0, random_state=0).fit(X)
    noisy = DenoisingAutoencoder(**options, noise_level=0.5, random_state=0).fit(X)
    assert quiet.validation_curve_ != noisy.validation_curve_


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_gradients_in_low_precision_are_those_of_the_weights(architecture):
    module = build(
        architecture,
        image_shape=(1, 8, 8),
        n_components=5,
        channels=None,
        strides=None,
        code_activation="identity",
        output_activation="identity",
        generator=make_generator(0),
    )
    x = torch.rand(20, 1, 8, 8, generator=make_generator(1))
    for weight in module.parameters():  # layers at zero would hide those before them
        if not weight.any() and weight.ndim > 1:
            noise = torch.randn(weight.shape, generator=make_generator(2))
            weight.data.copy_(0.02 * noise)
    low = LowPrecision(module, torch.bfloat16)
    for _ in range(2):  # the second time over the first one's memory
        module.zero_grad()
        low.read()
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            output, _ = low(x)
        (output.float() - x).square().mean().backward()
        low.give_back_gradients()
    found = {name: weight.grad.clone() for name, weight in module.named_parameters()}
    module.zero_grad()
    (module(x)[0] - x).square().mean().backward()
    for name, weight in module.named_parameters():
        assert weight.dtype == found[name].dtype == torch.float32
        difference = (found[name] - weight.grad).norm()
        assert difference < 0.05 * weight.grad.norm(), name


def test_weights_that_are_idle_or_frozen_in_low_precision():
    module = nn.ModuleDict({name: nn.Linear(3, 3) for name in "abcd"})
    module["c"].requires_grad_(False)
    module.forward = lambda x: module["c"](module["b"](module["a"](x)))
    low = LowPrecision(module, torch.bfloat16)
    low.read()
    x = torch.ones(2, 3)
    low(x.bfloat16()).sum().backward()
    low.give_back_gradients()
    found = module["a"].weight.grad.clone()
    assert module["c"].weight.grad is None and module["d"].weight.grad is None
    module.zero_grad()
    module(x).sum().backward()
    torch.testing.assert_close(found, module["a"].weight.grad, rtol=0.05, atol=0.05)
