"""Which flips leave images looking like the others."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from sk_autoencoder import DenoisingAutoencoder
from sk_autoencoder._flips import _thumbnails, find_flips
from sk_autoencoder._samples import Samples


def pieces(n, *, lit=0.0, noise=0.0):
    """16 x 16 pieces of smooth noise, perhaps brighter to the right."""
    g = torch.Generator().manual_seed(0)
    waves = torch.randn((n, 1, 6, 6), generator=g)
    x = F.interpolate(waves, (48, 48), mode="bicubic")[..., 16:32, 16:32]
    x = x + lit * torch.linspace(-1, 1, 16) * torch.rand((n, 1, 1, 1), generator=g)
    return x + noise * torch.randn(x.shape, generator=g)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("n", [200, 1000])
def test_flips_that_the_data_do_not_mind(n, noise):
    assert find_flips(Samples(pieces(n, noise=noise)), 0) == ("vertical", "horizontal")
    lit = pieces(n, lit=3.0, noise=noise)
    assert find_flips(Samples(lit), 0) == ("vertical",)
    assert find_flips(Samples(lit.transpose(2, 3)), 0) == ("horizontal",)


@pytest.mark.parametrize(
    "x",
    [
        pieces(99),
        pieces(120).flatten(2).unsqueeze(2),
        torch.from_numpy(load_digits().images[:, None]),
    ],
    ids=["few", "lines", "digits"],
)
def test_no_flips(x):
    assert find_flips(Samples(x), 0) == ()


def test_estimators(make):
    ae = make(max_epochs=1)
    x = pieces(300)[:, 0].double().numpy() / 10
    assert ae.fit(x).flips_ == ("vertical", "horizontal")
    x += np.linspace(-1, 1, 16) * np.random.default_rng(0).random((300, 1, 1))
    assert ae.fit(x).flips_ == ("vertical",)
    for augment in (None, 0.0, lambda batch, generator: batch):
        assert make(max_epochs=1, augment=augment).fit(x).flips_ == ()


def test_correlations_within_the_components_count():
    # two ramps whose signs go together: a flip of one of them alone parts them
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 1, 1))
    ramp = np.linspace(-1, 1, 16)
    x = a * ramp + (0.8 * a + 0.6 * b) * ramp[:, None]
    assert find_flips(Samples(torch.from_numpy(x[:, None])), 0) == ()


def test_large_images_are_looked_at_in_parts(monkeypatch):
    x = pieces(120)
    monkeypatch.setattr("sk_autoencoder._flips.VALUES_AT_A_TIME", 1000)
    assert torch.equal(_thumbnails(x), x)
    wide = x.repeat_interleave(3, 3)
    torch.testing.assert_close(_thumbnails(wide), x)


def test_constant_images(make):
    make(max_epochs=1).fit(np.ones((120, 4, 4)))


def test_first_call_of_partial_fit_decides_and_each_fit(make):
    x = pieces(300)[:, 0].double().numpy() / 10
    ae = make(max_epochs=1, warm_start=True).partial_fit(x)
    assert ae.flips_ == ("vertical", "horizontal")
    assert ae.partial_fit(x[:5]).flips_ == ("vertical", "horizontal")
    assert ae.fit(x[:50]).flips_ == ()
    assert ae.fit(x).flips_ == ("vertical", "horizontal")


def test_no_flips_where_noise_may_have_a_direction():
    x = pieces(300)[:, 0].double().numpy()
    assert DenoisingAutoencoder(5, max_epochs=1).fit(x, target=x).flips_ == ()
    ae = DenoisingAutoencoder(5, max_epochs=1).partial_fit(x)
    assert ae.flips_ and not ae.partial_fit(x, target=x).flips_
    alone = DenoisingAutoencoder(5, max_epochs=1, self_supervised=True)
    assert alone.fit(x).flips_ == ()
