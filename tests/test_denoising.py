"""The denoiser denoises."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder


@pytest.fixture(scope="module")
def noisy_digits():
    X = load_digits().data
    rng = np.random.default_rng(0)
    train, clean = X[:1200], X[1200:1400]
    return train, clean, clean + rng.normal(0, 6, clean.shape)


def test_denoise_takes_away_more_than_half_of_the_noise(noisy_digits):
    train, clean, noisy = noisy_digits
    options = {
        "n_components": 64,
        "max_epochs": 12,
        "random_state": 0,
    }
    before = np.mean((noisy - clean) ** 2)
    after = {
        name: np.mean((ae.inverse_transform(ae.transform(noisy)) - clean) ** 2)
        for name, ae in (
            ("plain", ConvAutoencoderTransformer(**options).fit(train)),
            ("denoising", DenoisingAutoencoder(**options, noise_level=6).fit(train)),
        )
    }
    assert after["denoising"] < 0.4 * before
    assert after["denoising"] < 0.8 * after["plain"]


def test_denoise_is_transform_and_back(X):
    ae = DenoisingAutoencoder(5, max_epochs=1, random_state=0).fit(X)
    np.testing.assert_array_equal(ae.denoise(X), ae.inverse_transform(ae.transform(X)))


def test_without_noise_it_is_the_other_estimator(X):
    options = {"n_components": 5, "max_epochs": 2, "random_state": 0}
    a = ConvAutoencoderTransformer(**options).fit(X)
    b = DenoisingAutoencoder(**options, noise_level=0.0).fit(X)
    np.testing.assert_array_equal(a.transform(X), b.transform(X))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": "pink"}, "'noise' parameter of DenoisingAutoencoder must be"),
        ({"noise_level": -0.1}, "'noise_level' parameter of DenoisingAutoencoder"),
        ({"noise_at": "end"}, "'noise_at' parameter of DenoisingAutoencoder must be"),
    ],
)
def test_bad_noise_is_named(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**parameters).fit(X)
