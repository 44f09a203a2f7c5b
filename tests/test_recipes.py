"""The article's recipe, on its own data."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import fetch_olivetti_faces

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder
from sk_autoencoder.recipes import OLIVETTI, OLIVETTI_DENOISING


@pytest.fixture(scope="module")
def faces():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its retries to download
            return fetch_olivetti_faces(shuffle=True, random_state=1000).data
    except OSError as error:
        pytest.skip(f"the faces are neither on disk nor to be had: {error}")


def test_recipes_are_parameters():
    for cls, recipe in (
        (ConvAutoencoderTransformer, OLIVETTI),
        (DenoisingAutoencoder, OLIVETTI_DENOISING),
    ):
        parameters = cls(**recipe).get_params()
        assert {name: parameters[name] for name in recipe} == recipe


def test_first_epochs_follow_the_article(faces):
    ae = ConvAutoencoderTransformer(
        **OLIVETTI | {"max_epochs": 3}, random_state=1000
    ).fit(faces)
    loss = np.array(ae.loss_curve_) * 512 * 350 / 400
    # the article prints 11.933, 10.294 and 9.918
    np.testing.assert_allclose(loss, [11.9, 10.3, 9.9], rtol=0.05)
    assert 0.3 < ae.code_mean_curve_[0] < 0.7
    assert ae.image_shape_ == (64, 64)
    assert ae.transform(faces[:2]).shape == (2, 256)
    assert ae.inverse_transform(ae.transform(faces[:2])).shape == (2, 4096)


def test_denoising_recipe_trains(faces):
    ae = DenoisingAutoencoder(
        **OLIVETTI_DENOISING | {"max_epochs": 2}, random_state=1000
    ).fit(faces)
    assert ae.loss_curve_[1] < ae.loss_curve_[0]
    assert ae.denoise(faces[:2]).shape == (2, 4096)
