"""Risks of noisy images, beside the errors that the clean ones tell."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sk_autoencoder._batches import Feed
from sk_autoencoder._judge import _predicted, _risks
from sk_autoencoder._samples import Samples

LEVEL = 0.3


class Smoother(nn.Module):
    """So much of each value, the rest of its neighbours' mean."""

    def __init__(self, share):
        super().__init__()
        self.register_buffer("share", torch.tensor(share))

    def forward(self, x):
        window = (1, 3) if x.shape[2] == 1 else (3, 3)
        padding = window[0] // 2, 1
        mean = F.avg_pool2d(x, window, 1, padding, count_include_pad=False)
        return torch.lerp(mean, x, self.share), x.flatten(1)


def net_of(share):
    return SimpleNamespace(
        module_=Smoother(share),
        feed=Feed(seed=1),
        batch_size=100,
        value_factor=0.5,
        sparsity=0.0,
    )


@pytest.fixture(params=[(1, 12, 12), (2, 9, 12), (1, 1, 48)])
def clean(request):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1500, *request.param, generator=generator)
    return Smoother(0.0)(images)[0]


def noise_like(clean):
    return LEVEL * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_risk_is_the_error_and_what_noise_has(clean, share):
    noise = noise_like(clean)
    net = net_of(share)
    # what the best of all predictors would tell of hidden values
    risks = _risks(net, Samples(clean + noise), predicted=clean)
    restored, _ = net.module_(clean + noise)
    errors, of_noise = (
        0.5 * each.square().flatten(1).sum(1) for each in (restored - clean, noise)
    )
    assert risks.shape == errors.shape
    assert abs((risks - of_noise - errors).mean()) < 0.03 * of_noise.mean()


def test_prediction_does_not_see_the_value(clean):
    noisy = clean + noise_like(clean)
    changed = noisy.clone()
    changed[7, 0, 0, 5] += 100
    before, after = (
        _predicted(net_of(0.3), Samples(images), [Smoother(0.3).state_dict()])
        for images in (noisy, changed)
    )
    assert before[7, 0, 0, 5].abs() < 3
    torch.testing.assert_close(after[7, 0, 0, 5], before[7, 0, 0, 5])
    assert (after != before).any()  # it is seen by its neighbours
