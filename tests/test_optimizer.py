"""The optimiser: Muon for kernels, AdamW for the rest."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder._optimizer import (
    LightAdamW,
    MuonAdamW,
    load_state,
    polar,
    state_of,
)
from sk_autoencoder._random import make_generator

OPTIONS = {"lr": 0.01, "weight_decay": 0.5, "betas": (0.9, 0.99)}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=make_generator(seed))


@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 7, 5), (1, 6, 6), (2, 1, 9)])
def test_polar_evens_out_singular_values(shape):
    matrices = draw(*shape)
    U, _, Vt = torch.linalg.svd(matrices, full_matrices=False)
    found = U.mT @ polar(matrices) @ Vt.mT
    values = found.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.65 and values.max() < 1.25
    torch.testing.assert_close(found, torch.diag_embed(values), atol=1e-4, rtol=0)


@pytest.mark.parametrize("rank, decades", [(48, 6), (3, 0)])
def test_polar_survives_low_precision(rank, decades):
    left, right = (torch.linalg.qr(draw(n, rank))[0] for n in (48, 432))
    values = torch.logspace(0, -decades, rank)
    matrix = left * values @ right.mT
    with torch.autocast("cpu", torch.bfloat16):
        found = polar(matrix[None])
    assert torch.linalg.matrix_norm(found.float(), 2) < 1.5


def test_adamw_is_that_of_torch():
    results = []
    for cls in (torch.optim.AdamW, LightAdamW):
        weight = draw(3, 4).requires_grad_()
        optimizer = cls([weight], **OPTIONS)
        for _ in range(3):
            optimizer.zero_grad()
            weight.pow(4).sum().backward()
            optimizer.step()
        other = cls([weight], **OPTIONS)
        other.load_state_dict(optimizer.state_dict())
        results.append((weight, *other.state[weight].values()))
    for expected, found in zip(*results):
        assert torch.equal(expected, found)


def test_hooks_run_once_a_step(X):
    steps = []
    hook = register_optimizer_step_post_hook(lambda *args: steps.append(1))
    # the optimiser of the first is the class that the second one's derives from
    for architecture in ("plain", "residual"):
        steps.clear()
        ConvAutoencoderTransformer(
            3, architecture=architecture, max_epochs=1, batch_size=10, warm_start=True
        ).fit(X)
        assert len(steps) == 3
    hook.remove()


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_training_does_not_import_the_compiler(architecture):
    program = f"""
import sys, numpy as np
from sk_autoencoder import DenoisingAutoencoder
ae = DenoisingAutoencoder(2, architecture={architecture!r}, max_epochs=1, device="cpu")
X = np.random.default_rng(0).random((30, 64))
ae.set_params(warm_start=True).fit(X).fit(X).partial_fit(X).denoise(X)
print(*(name for name in sys.modules if name.startswith("torch._dynamo")))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []


def test_polar_of_nothing_is_nothing():
    assert not polar(torch.zeros(2, 3, 4)).any()


def weights():
    """Kernels of two shapes, an idle one among them, and weights that are none."""
    shapes = (4, 3, 3, 3), (4, 3, 3, 3), (20, 1, 3, 3), (4, 3, 3, 3), (5, 6), (7,)
    found = [draw(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    found[0].data = found[0].data.to(memory_format=torch.channels_last)
    return found


def take_steps(optimizer, found, steps):
    for i in steps:
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (i + 1)
        for position, weight in enumerate(found):
            if position != 3:
                weight.grad = draw(*weight.shape, seed=100 * i + position)
        optimizer.step()


def test_steps_are_those_of_torch():
    ours, theirs = weights(), weights()
    take_steps(MuonAdamW(ours, **OPTIONS), ours, range(3))
    take_steps(torch.optim.AdamW(theirs[4:], **OPTIONS), theirs, range(3))
    for mine, other in zip(ours[4:], theirs[4:]):
        torch.testing.assert_close(mine, other)
    for i in range(4):
        start = weights()[i].detach().flatten(1)
        matrix = start.clone().requires_grad_()
        muon = torch.optim.Muon(
            [matrix], lr=0.01, weight_decay=0.5, adjust_lr_fn="match_rms_adamw"
        )
        for step in range(3):
            muon.param_groups[0]["lr"] = 0.01 * (step + 1)
            if i != 3:
                matrix.grad = draw(*ours[i].shape, seed=100 * step + i).flatten(1)
            muon.step()
        moved = (matrix - start).norm()
        # torch's own iterates in bfloat16
        assert (matrix - ours[i].flatten(1)).norm() <= 0.02 * moved
        assert (moved > 0) == (i != 3)


def test_closure_is_called_once_with_gradients():
    (weight,) = found = [draw(2, 2, 3, 3).requires_grad_()]
    bias = torch.zeros(1, requires_grad=True)
    optimizer = MuonAdamW([*found, bias], **OPTIONS)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum() + bias.square().sum()
        loss.backward()
        calls.append(loss.item())
        return loss

    losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses == calls and sorted(losses, reverse=True) == losses


def test_state_goes_through_arrays():
    whole, halved = weights(), weights()
    take_steps(MuonAdamW(whole, **OPTIONS), whole, range(4))
    first = MuonAdamW(halved, **OPTIONS)
    take_steps(first, halved, range(2))
    saved = state_of(first)
    assert all(
        isinstance(x, np.ndarray) for each in saved.values() for x in each.values()
    )
    second = MuonAdamW(halved, **OPTIONS)
    load_state(second, saved)
    take_steps(second, halved, range(2, 4))
    for mine, other in zip(whole, halved):
        assert torch.equal(mine, other)


@pytest.mark.parametrize(
    "architecture, expected", [("residual", MuonAdamW), ("plain", LightAdamW)]
)
def test_muon_is_for_the_default_network_alone(architecture, expected, X):
    ae = ConvAutoencoderTransformer(3, architecture=architecture, max_epochs=1).fit(X)
    assert type(ae.net_.optimizer_) is expected
