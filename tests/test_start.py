"""The residual architecture starts at PCA and does not end behind it."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder, _pca
from sk_autoencoder._judge import number_to_hold_out
from sk_autoencoder._modules import build
from sk_autoencoder._start import start_at_pca


def started(images, n_components, code_activation="identity"):
    module = build(
        "residual",
        image_shape=tuple(images.shape[1:]),
        n_components=n_components,
        channels=None,
        strides=None,
        code_activation=code_activation,
        output_activation="identity",
        generator=torch.Generator().manual_seed(0),
    )
    start_at_pca(module.network, images, seed=0)
    return module.double()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (1, 1, 12), (1, 80, 70)])
@pytest.mark.parametrize("n_components", [1, 5, 60])
def test_start_is_pca(shape, n_components):
    images = torch.rand(40, *shape, generator=torch.Generator().manual_seed(0)).double()
    rows = images.flatten(1).numpy()
    pca = PCA(min(n_components, *rows.shape), svd_solver="full").fit(rows)
    module = started(images, n_components)
    with torch.no_grad():
        z = module.encode(images)
        restored = module.decode(z).flatten(1).numpy()
    expected = pca.inverse_transform(pca.transform(rows))
    if max(rows.shape) <= 500:
        np.testing.assert_allclose(restored, expected, atol=1e-5)
    # of more, scikit-learn's PCA finds the components by random projections
    error = np.mean((restored - rows) ** 2)
    assert error == pytest.approx(np.mean((expected - rows) ** 2), rel=0.02, abs=1e-9)
    if n_components <= min(rows.shape):
        assert z.square().mean().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (40, 40), (1, 5), (5, 1)])
@pytest.mark.parametrize("rank", [None, 3])
def test_pca_of_a_gpu_is_pca(monkeypatch, shape, rank, exact):
    if not exact:
        monkeypatch.setattr(_pca, "LARGEST_EXACT_SIDE", 0)
    rng = np.random.default_rng(0)
    rows = rng.random(shape) * np.geomspace(1, 0.01, shape[1])
    if rank is not None:
        rows = rows[:, :rank] @ rng.random((len(rows.T[:rank]), shape[1]))
    n = min(8, *shape)
    found = _pca._pca_of_torch(torch.from_numpy(rows), n, seed=0)
    assert [x.shape for x in found] == [shape[1:], (n, shape[1]), (n,)]
    with np.errstate(invalid="ignore"):
        pca = PCA(n, svd_solver="full").fit(rows)
    np.testing.assert_allclose(found.mean, pca.mean_)
    gram = found.components @ found.components.T
    np.testing.assert_allclose(gram, np.eye(n), atol=1e-12)
    least = 1e-12 if exact else 1e-3
    variances = np.nan_to_num(pca.explained_variance_)
    np.testing.assert_allclose(found.variances, variances, atol=least, rtol=least)
    centred = rows - rows.mean(0)
    left, expected = (
        np.square(centred - centred @ x.T @ x).sum()
        for x in (found.components, pca.components_)
    )
    assert left == pytest.approx(expected, rel=least, abs=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_start_is_near_pca_behind_an_activation(activation):
    images = torch.rand(
        40, 1, 8, 8, generator=torch.Generator().manual_seed(0)
    ).double()
    with torch.no_grad():
        linear = started(images, 10)(images)[0]
        bounded = started(images, 10, activation)(images)[0]
    assert (bounded - linear).square().mean() < 1e-3 * linear.var()


@pytest.mark.parametrize("n_components", [8, 32])
def test_bounded_output_starts_near_pca_and_does_not_end_behind(n_components):
    X = load_digits().data[:400]
    train, test = X[:200], X[200:]
    pca = PCA(n_components).fit(train)
    baseline = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    options = {"output_activation": "sigmoid", "augment": None, "random_state": 0}
    start, trained = (
        ConvAutoencoderTransformer(n_components, **options, **training).fit(train)
        for training in ({"lr": 1e-9, "max_epochs": 1}, {"max_epochs": 10})
    )
    assert -start.score(test) < 1.05 * baseline
    assert -trained.score(test) < 0.9 * baseline
    restored = trained.inverse_transform(10 * trained.transform(test))
    assert restored.min() >= 0 and restored.max() <= 16


def test_one_epoch_is_already_better_than_pca():
    X = load_digits().data
    train, test = X[:1200], X[1200:]
    pca = PCA(16).fit(train)
    baseline = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    ae = ConvAutoencoderTransformer(16, max_epochs=6, random_state=0).fit(train)
    assert -ae.score(test) < 0.9 * baseline
    assert ae.trained_share_ > 0


@pytest.mark.parametrize("shape", [(8, 8), (1, 20)])
def test_white_noise_stays_at_pca(shape):
    rng = np.random.default_rng(0)
    train, test = (rng.random((200, int(np.prod(shape)))) for _ in range(2))
    pca = PCA(4).fit(train)
    baseline = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    ae = ConvAutoencoderTransformer(
        4, image_shape=shape, augment=None, max_epochs=40, random_state=0
    ).fit(train)
    assert -ae.score(test) < 1.02 * baseline
    assert ae.trained_share_ < 1


def test_what_transformed_copies_spoil_stays_at_pca():
    images = load_digits().images[:300].copy()
    images[:, 0, 5] = 1e6 + np.random.default_rng(0).random(300)
    framed = np.pad(load_digits().images[:300], ((0, 0), (1, 1), (1, 1)))
    framed[:, [0, -1]] = framed[:, :, [0, -1]] = 64
    for data in (images, framed):
        train, test = data[:200].reshape(200, -1), data[200:].reshape(100, -1)
        pca = PCA(8).fit(train)
        baseline = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
        ae = ConvAutoencoderTransformer(8, max_epochs=15, random_state=0).fit(train)
        assert -ae.score(test) < 1.01 * baseline


def test_transformed_copies_stay_in_where_they_help():
    rng = np.random.default_rng(0)
    train, test = gaussian_filter(rng.normal(size=(2, 100, 16, 16)), (0, 0, 2, 2))
    pca = PCA(16).fit(train.reshape(100, -1))
    rows = test.reshape(100, -1)
    baseline = np.mean((pca.inverse_transform(pca.transform(rows)) - rows) ** 2)
    # no training to keep, where a GPU rounds otherwise
    options = {"lr": 1e-9, "max_epochs": 1, "device": "cpu", "random_state": 0}
    for augment, most in ((1.0, 0.97), (None, 1.001)):
        ae = ConvAutoencoderTransformer(16, augment=augment, **options).fit(train)
        assert ae.trained_share_ == 0
        assert most - 0.1 < -ae.score(test) / baseline < most


def test_share_is_told_where_samples_are_held_out(capsys):
    X = np.random.default_rng(0).random((40, 9))
    options = {"max_epochs": 1, "random_state": 0}
    ae = ConvAutoencoderTransformer(4, **options, verbose=1).fit(X)
    assert f"keep {ae.trained_share_:.0%} of the training" in capsys.readouterr().out
    for parameters in ({"warm_start": True}, {"architecture": "plain"}):
        ae = ConvAutoencoderTransformer(4, **options, **parameters).fit(X)
        assert ae.trained_share_ is None


def test_few_samples_are_held_out():
    for n, expected in (
        (19, 0),
        (20, 2),
        (100, 10),
        (150, 10),
        (1000, 50),
        (10**5, 256),
    ):
        assert number_to_hold_out(n) == expected


@pytest.mark.parametrize("parameters", [{}, {"self_supervised": True}])
def test_denoiser_starts_ahead_of_every_pca(parameters):
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(600, 5)) @ rng.normal(size=(5, 30))
    noisy = clean + rng.normal(0, 1.5, clean.shape)
    train = noisy[:400] if parameters else clean[:400]
    options = {"noise_level": 1.5, "noise_at": "layer", "lr": 1e-9, "max_epochs": 1}
    ae = DenoisingAutoencoder(30, **options, random_state=0, **parameters).fit(train)

    def error(model):
        restored = model.inverse_transform(model.transform(noisy[400:]))
        return np.mean((restored - clean[400:]) ** 2)

    assert error(ae) < 0.97 * min(error(PCA(k).fit(train)) for k in range(1, 30))


def test_filter_allows_for_noise_that_darkens():
    X = load_digits().data
    options = {"lr": 1e-9, "max_epochs": 1, "random_state": 0}
    ae = DenoisingAutoencoder(32, noise="masking", noise_level=0.5, **options)
    hidden = np.random.default_rng(0).random((500, 64)) < 0.5
    denoised = ae.fit(X[:1200]).denoise(np.where(hidden, 0, X[1200:1700]))
    bias = np.mean(denoised - X[1200:1700])
    assert abs(bias) < 0.05 * X.mean()


def table(seed):
    """Rows of few directions, which say nothing of neighbours: noisy ones, clean ones."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(600, 6)) @ rng.normal(size=(6, 100))
    return clean + rng.normal(0, 1.5, clean.shape), clean


@pytest.mark.parametrize("seed", [0, 1])
def test_augmentation_that_spoils_does_not_spoil_the_filter(seed):
    noisy, clean = table(seed)
    options = {"noise_level": 1.5, "max_epochs": 5, "random_state": 0}
    plain, augmented = (
        np.mean((denoiser.fit(clean[:300]).denoise(noisy[300:]) - clean[300:]) ** 2)
        for denoiser in (
            DenoisingAutoencoder(32, augment=None, **options),
            DenoisingAutoencoder(32, **options),
        )
    )
    assert augmented < 1.01 * plain


def test_training_on_noisy_rows_is_not_kept_where_it_spoils():
    noisy, clean = table(0)
    errors = {}
    for name, options in (
        ("start", {"lr": 1e-9, "max_epochs": 1}),
        ("trained", {"max_epochs": 20}),
        ("all", {"max_epochs": 20, "warm_start": True}),  # holds no samples out
    ):
        ae = DenoisingAutoencoder(
            32, self_supervised=True, random_state=0, **options
        ).fit(noisy[:150])
        errors[name] = np.mean((ae.denoise(noisy[300:]) - clean[300:]) ** 2)
    assert errors["all"] > 1.1 * errors["start"]
    assert errors["trained"] < 1.02 * errors["start"]


def test_training_on_noisy_rows_is_kept_where_it_helps():
    rng = np.random.default_rng(0)
    clean = load_digits().data / 16
    noisy = clean + rng.uniform(0, 0.5, 64) * rng.normal(size=clean.shape)
    start, trained = (
        DenoisingAutoencoder(32, self_supervised=True, random_state=0, **options).fit(
            noisy[:1200]
        )
        for options in ({"lr": 1e-9, "max_epochs": 1}, {"max_epochs": 20})
    )
    assert trained.trained_share_ > 0
    before, after = (
        np.mean((ae.denoise(noisy[1200:]) - clean[1200:]) ** 2)
        for ae in (start, trained)
    )
    assert after < 0.8 * before
