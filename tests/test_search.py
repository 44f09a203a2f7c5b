"""Codes that `transform_max_iter` improves."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder._modules import Autoencoder
from sk_autoencoder._search import search


class Sphere(nn.Module):
    """An encoder that is wrong, and changes its input; a decoder that is curved."""

    def __init__(self, image_shape, n_components):
        super().__init__()
        self.shape = image_shape
        values = int(np.prod(image_shape))
        self.to_code = nn.Linear(values, n_components)
        self.from_code = nn.Linear(n_components, values)

    def encode(self, x):
        return self.to_code(x.sub_(0.5).flatten(1))

    def decode(self, z):
        return torch.sin(self.from_code(z)).unflatten(1, self.shape)


class End(Callback):
    def on_train_begin(self, net, **kwargs):
        raise KeyboardInterrupt


ACTIVATIONS = {
    "identity": None,
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "relu": (0, np.inf),
}


@pytest.fixture(params=["residual", "plain", Sphere])
def fitted(request, X):
    """Fit on 20 of the images, for which 10 are left."""

    def fit(**parameters):
        options = {"n_components": 6, "max_epochs": 5, "batch_size": 8}
        options |= {"architecture": request.param, "random_state": 0}
        return ConvAutoencoderTransformer(**options, **parameters).fit(X[:20])

    return fit


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_code_is_better_or_as_it_was(fitted, X, activation, dtype):
    X = X.astype(dtype)
    ae = fitted(code_activation=activation)
    Z, before = ae.transform(X), ae.score_samples(X)
    for n_steps in (1, 4):
        ae.set_params(transform_max_iter=n_steps)
        better, after = ae.transform(X), ae.score_samples(X)
        assert better.dtype == dtype and better.shape == Z.shape
        # of float64, too, the search is in float32
        assert (after >= before - 1e-6 * np.abs(before).max()).all()
        restored = ae.inverse_transform(better)
        np.testing.assert_allclose(
            -((restored - X) ** 2).mean(1), after, rtol=1e-4, atol=1e-8
        )
        if ACTIVATIONS[activation] is not None:
            low, high = ACTIVATIONS[activation]
            assert low <= better.min() and better.max() <= high
        before = after
    if ae.architecture != "residual":  # which is at PCA, of so few images
        assert not np.allclose(better, Z, atol=1e-3)
    ae.set_params(transform_max_iter=0)
    np.testing.assert_array_equal(ae.transform(X), Z)


def test_a_step_gains_a_tenth():
    X = load_digits().data
    ae = ConvAutoencoderTransformer(16, max_epochs=10, random_state=0).fit(X[:900])
    assert ae.trained_share_ > 0
    of_encoder = ae.score(X[900:])
    of_one_step, of_three = (
        ae.set_params(transform_max_iter=n).score(X[900:]) for n in (1, 3)
    )
    assert -of_one_step < 0.9 * -of_encoder
    assert -of_three < -of_one_step


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_one_step_ends_a_parabola(scale):
    class Line(nn.Module):
        direction = scale * torch.tensor([1.0, 2.0, -1.0])

        def encode(self, x):
            return torch.zeros(len(x), 1)

        def decode(self, z):
            return (z * self.direction).view(-1, 1, 1, 3)

    x = torch.randn(20, 1, 1, 3, generator=torch.Generator().manual_seed(0))
    x[0] = 7 * Line.direction / scale  # which leaves no error
    module = Autoencoder(Line(), "identity", "identity")
    found = search(module, x, 1)[:, 0]
    best = x.flatten(1) @ Line.direction / Line.direction.square().sum()
    torch.testing.assert_close(scale * found, scale * best, rtol=1e-3, atol=1e-3)


class Caching(Sphere):
    """Keeps a tensor of its first call; at zero its gradient is no number."""

    grid = None

    def encode(self, x):
        return super().encode(x).relu()

    def decode(self, z):
        if self.grid is None:
            self.grid = torch.linspace(1, 2, z.shape[1])
        return super().decode(self.grid * z / (z.square().sum(1, True).sqrt() + 1e-3))


def test_networks_that_keep_tensors_and_have_no_gradient_somewhere(X):
    options = {"architecture": Caching, "max_epochs": 1, "random_state": 0}
    options["callbacks"] = [End()]  # as it was initialised
    ae = ConvAutoencoderTransformer(2, **options).fit(X)
    Z = ae.transform(X)
    at_zero = (Z == 0).all(1)
    assert 0 < at_zero.sum() < len(X)
    better = ae.set_params(transform_max_iter=2).transform(X)
    np.testing.assert_array_equal(better[at_zero], 0)
    assert (better != Z).any()


def test_order_modes_and_copies_make_no_difference(fitted, X):
    ae = fitted(transform_max_iter=3)
    Z = ae.transform(X)
    assert ae.module_.training is False
    with torch.no_grad():
        np.testing.assert_array_equal(ae.transform(X), Z)
    with torch.inference_mode():
        np.testing.assert_array_equal(ae.transform(X), Z)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ae)).transform(X), Z)
    one_by_one = np.concatenate([ae.transform(row[None]) for row in X])
    np.testing.assert_allclose(one_by_one, Z, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(ae.transform(X[::-1])[::-1], Z, rtol=1e-3, atol=1e-3)


def test_training_knows_nothing_of_it(fitted):
    plain, improved = fitted(), fitted(transform_max_iter=2)
    for name, weights in plain.weights_.items():
        np.testing.assert_array_equal(improved.weights_[name], weights)


def test_images_that_are_constant(fitted):
    images = np.zeros((2, 64))
    codes = fitted(transform_max_iter=3).transform(images)
    assert np.isfinite(codes).all()


def test_search_over_it(X):
    ae = ConvAutoencoderTransformer(4, max_epochs=5, random_state=0)
    grid = GridSearchCV(ae, {"transform_max_iter": [0, 2]}, cv=2).fit(X)
    assert grid.best_params_ == {"transform_max_iter": 2}


def test_a_decoder_without_gradients(X):
    class Numb(Sphere):
        def decode(self, z):
            return super().decode(z.detach())

    ae = ConvAutoencoderTransformer(
        4, architecture=Numb, max_epochs=1, transform_max_iter=2
    )
    message = "transform_max_iter=2 .* architecture=Numb .* Set transform_max_iter=0"
    with pytest.raises(ValueError, match=message):
        ae.fit(X).transform(X)
    assert ae.set_params(transform_max_iter=0).transform(X).shape == (30, 4)


@pytest.mark.parametrize("n_steps", [-1, 2.5, None, "3"])
def test_it_counts_steps(X, n_steps):
    message = "The 'transform_max_iter' parameter .* must be an int in the range"
    with pytest.raises(ValueError, match=message):
        ConvAutoencoderTransformer(transform_max_iter=n_steps).fit(X)
    ae = ConvAutoencoderTransformer(2, max_epochs=1).fit(X)
    with pytest.raises(ValueError, match=message):
        ae.set_params(transform_max_iter=n_steps).transform(X)
