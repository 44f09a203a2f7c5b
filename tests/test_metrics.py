"""Scores of restored images, and which denoiser they prefer."""

import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.svm import SVC

from sk_autoencoder import DenoisingAutoencoder
from sk_autoencoder.metrics import (
    estimate_noise_level,
    make_denoising_scorer,
    psnr,
    ssim,
)


@pytest.fixture(scope="module")
def smooth():
    rows, columns = np.mgrid[:24, :20] / 10
    phases = np.random.default_rng(0).uniform(0, 6, (12, 1, 1))
    return (1 + np.sin(rows + phases) * np.cos(columns)) / 2


def test_psnr_is_the_mean_of_decibels():
    true = np.array([[0.0, 1.0], [0.0, 1.0]])
    pred = true + np.array([[0.1], [0.01]])
    assert psnr(true, pred) == pytest.approx((20 + 40) / 2)
    assert psnr(true, pred, data_range=10) == pytest.approx(50)
    assert psnr(true, true) == np.inf


def test_scores_fall_with_noise_and_know_layouts(smooth):
    rng = np.random.default_rng(0)
    noisy = [smooth + rng.normal(0, level, smooth.shape) for level in (0.01, 0.1, 0.3)]
    for metric in (psnr, ssim):
        scores = [metric(smooth, images, data_range=1) for images in noisy]
        assert scores == sorted(scores, reverse=True)
    flat = [images.reshape(12, -1) for images in (smooth, noisy[1])]
    assert psnr(*flat) == psnr(smooth, noisy[1])
    assert ssim(*flat, image_shape=(24, 20)) == ssim(smooth, noisy[1])


def test_ssim_is_that_of_the_paper_and_takes_colour(smooth):
    metrics = pytest.importorskip("skimage.metrics")
    noisy = smooth + np.random.default_rng(0).normal(0, 0.1, smooth.shape)
    expected = metrics.structural_similarity(
        smooth[0],
        noisy[0],
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(smooth[:1], noisy[:1], data_range=1) == pytest.approx(expected)
    small = [images[0, :10, :9] for images in (smooth, noisy)]
    expected = metrics.structural_similarity(
        *small, data_range=1, win_size=7, use_sample_covariance=False
    )
    small = [image[None] for image in small]
    assert ssim(*small, data_range=1) == pytest.approx(expected)
    colour = [np.stack([images] * 3, axis=-1) for images in (smooth, noisy)]
    assert ssim(*colour) == pytest.approx(ssim(smooth, noisy))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: psnr(np.zeros((2, 4)), np.zeros((2, 4))),
            "no other value than 0, .* Pass data_range",
        ),
        (
            lambda: psnr(np.eye(3), np.eye(3)[:, :2]),
            "X_true has 3 features, but X_pred",
        ),
        (
            lambda: psnr(np.ones((2, 8, 8)), np.ones((2, 4, 16))),
            r"images of shape \(8, 8\), but X_pred of \(4, 16\)",
        ),
        (lambda: psnr(np.eye(3), np.eye(2)), "inconsistent numbers of samples"),
        (lambda: ssim(np.eye(3), np.eye(3)), "too small for ssim"),
        (
            lambda: make_denoising_scorer(metric="nice"),
            "metric='nice': expected one of",
        ),
        (
            lambda: make_denoising_scorer(metric=["psnr"]),
            r"metric=\['psnr'\]: expected",
        ),
        (lambda: make_denoising_scorer(data_range=-1), "data_range=-1: expected"),
        (lambda: make_denoising_scorer(noise="pink"), "noise='pink': expected one of"),
        (
            lambda: make_denoising_scorer(noise_level=-1),
            "noise_level=-1.*finite levels, 0 at least",
        ),
        (lambda: psnr(np.eye(3), np.eye(3), data_range=(0, 1)), r"data_range=\(0, 1\)"),
        (lambda: make_denoising_scorer().corrupt(np.ones(4)), "Expected 2D array"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "function",
    [
        ssim,
        lambda a, b: estimate_noise_level(a),
        lambda a, b: make_denoising_scorer(metric="ssim"),
    ],
)
def test_missing_library_is_named_with_the_extra(function, smooth, monkeypatch):
    for name in ("skimage.metrics", "skimage.restoration"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'sk-autoencoder\[metrics\]'"):
        function(smooth, smooth)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_noise_level_is_estimated(smooth, level):
    noisy = smooth + np.random.default_rng(0).normal(0, level, smooth.shape)
    assert estimate_noise_level(noisy) == pytest.approx(level, rel=0.1)
    noisy[0] = 0  # a blank image tells nothing, and a few others little
    noisy[1:3] *= 50
    assert estimate_noise_level(noisy * 255) == pytest.approx(255 * level, rel=0.1)


def test_noise_of_narrow_images_is_estimated():
    flat = np.random.default_rng(0).normal(5, 0.3, (50, 64, 4))
    assert estimate_noise_level(flat) == pytest.approx(0.3, rel=0.15)


def test_threads_that_estimate_noise_leave_the_warnings_alone():
    before = list(warnings.filters)
    noise = np.random.default_rng(0).normal(size=(3, 32, 32))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: estimate_noise_level(noise), range(200)))
    assert warnings.filters == before


def test_scorer_gives_every_candidate_the_same_noise():
    X = load_digits().data[:100]
    seen = []

    def look(rows):
        seen.append(rows)
        return rows

    watch = FunctionTransformer(look, inverse_func=lambda rows: rows).fit(X)
    for noise_level in (2.0, (1.0, 3.0)):
        scorer = make_denoising_scorer(noise_level=noise_level, metric="mse")
        first, second = scorer(watch, X), pickle.loads(pickle.dumps(scorer))(watch, X)
        assert first == second < -1
        np.testing.assert_array_equal(seen[-1], seen[-2])
        assert not np.array_equal(seen[-1], X)
    other = make_denoising_scorer(noise_level=2.0, metric="mse", random_state=1)
    assert other(watch, X) != make_denoising_scorer(noise_level=2.0, metric="mse")(
        watch, X
    )


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_scorer_takes_the_range_of_the_data(metric):
    X = load_digits().data[:200]
    pca = PCA(10).fit(X)
    scores = [
        make_denoising_scorer(noise_level=2, metric=metric, data_range=span)(pca, X)
        for span in (None, X.max(), 2 * X.max())
    ]
    assert scores[0] == scores[1] < scores[2]


@pytest.mark.parametrize("metric", ["psnr", "ssim", "mse"])
@pytest.mark.parametrize("noise", ["gaussian", "heteroscedastic", "masking"])
def test_scorer_scores_pipelines_and_pca(noise, metric):
    X = load_digits().data[:200]
    level = 0.3 if noise == "masking" else 4.0
    scorer = make_denoising_scorer(noise=noise, noise_level=level, metric=metric)
    good = scorer(make_pipeline(PCA(20, random_state=0)).fit(X), X)
    bad = scorer(PCA(1, random_state=0).fit(X), X)
    assert good > bad


def test_no_training_noise_does_not_win_under_the_scorer():
    X = load_digits().data[:400]
    search = GridSearchCV(
        DenoisingAutoencoder(48, max_epochs=10, random_state=0),
        {"noise_level": [0.0, 5.0]},
        scoring=make_denoising_scorer(noise_level=5.0),
        cv=2,
        error_score="raise",
    ).fit(X)
    assert search.best_params_ == {"noise_level": 5.0}


def test_the_noise_of_lines_of_pixels_is_not_made_up():
    with pytest.raises(ValueError, match=r"1 x 7 pixels.*Pass image_shape"):
        estimate_noise_level(np.random.default_rng(0).normal(size=(20, 7)))


def test_scorer_gives_a_noise_of_your_own_images():
    images = load_digits().images[:20]

    def lines(batch, generator):
        assert batch.shape == (20, 1, 8, 8)
        batch[:, :, ::2] = 0
        return batch

    scorer = make_denoising_scorer(noise=lines)
    for X in (images, images.reshape(20, 64), images.astype(np.float32)):
        noisy = scorer.corrupt(X)
        assert noisy.dtype == X.dtype
        noisy = noisy.reshape(images.shape)
        assert not noisy[:, ::2].any()
        np.testing.assert_allclose(noisy[:, 1::2], images[:, 1::2], atol=1e-5)


def test_scorer_takes_a_noise_of_your_own_that_fit_takes():
    def blur(batch, generator):
        return torch.nn.functional.avg_pool2d(batch, 3, 1, 1)

    X = load_digits().data[:50]
    blurred = make_denoising_scorer(noise=blur).corrupt(X)
    by_hand = torch.nn.functional.avg_pool2d(
        torch.tensor(X.reshape(-1, 1, 8, 8)), 3, 1, 1
    )
    np.testing.assert_allclose(blurred, by_hand.reshape(X.shape), atol=1e-5)
    with pytest.raises(TypeError, match="dense data is required"):
        make_denoising_scorer().corrupt(csr_matrix(X))


def test_scorer_does_not_round():
    X = load_digits().data[:50].astype(np.uint8)
    scorer = make_denoising_scorer(noise="masking", noise_level=0.1)
    np.testing.assert_allclose(scorer.corrupt(X), scorer.corrupt(X.astype(float)))


def test_scorer_without_a_seed_has_one_noise_for_all():
    X = load_digits().data[:5]
    scorer = make_denoising_scorer(noise_level=2, random_state=None)
    np.testing.assert_array_equal(scorer.corrupt(X), scorer.corrupt(X))
    other = make_denoising_scorer(noise_level=2, random_state=None)
    assert not np.array_equal(scorer.corrupt(X), other.corrupt(X))


def test_scorer_keeps_the_names_of_a_frame():
    X = load_digits(as_frame=True).data[:40]
    scorer = make_denoising_scorer(noise_level=2.0, metric="mse")
    for frame in (X, polars.from_pandas(X)):
        assert scorer(PCA(4).fit(frame), frame) < 0  # a warning of names is an error


def test_scorer_notices_a_level_in_other_units():
    X = load_digits().data[:50] * 16
    with pytest.warns(UserWarning, match=r"noise_level=0.2 is in the units of X.*256"):
        make_denoising_scorer()(PCA(8).fit(X), X)
    make_denoising_scorer(noise_level=51)(PCA(8).fit(X), X)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_scorer_notices_noisy_rows(in_pipeline):
    X = load_digits().data[:30] / 16
    noisy = X + np.random.default_rng(0).normal(0, 0.2, X.shape)
    ae = DenoisingAutoencoder(4, max_epochs=1, random_state=0)
    for how, fitted in {
        "a target": ae.fit(noisy, target=X),
        "self_supervised=True": clone(ae).set_params(self_supervised=True).fit(noisy),
    }.items():
        estimator = fitted
        if in_pipeline:
            estimator = make_pipeline("passthrough", make_pipeline(fitted))
        with pytest.warns(UserWarning, match=f"fitted with {how}, but a denoising sco"):
            make_denoising_scorer()(estimator, noisy)
    make_denoising_scorer()(clone(ae).fit(X), X)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_scores_know_no_units(smooth, metric):
    noisy = smooth + np.random.default_rng(0).normal(0, 0.1, smooth.shape)
    expected = pytest.approx(metric(smooth, noisy))
    for unit in (1e-200, 1e200):
        assert metric(unit * smooth, unit * noisy) == expected


def test_ssim_takes_the_shape_of_either():
    images = np.random.default_rng(0).random((5, 4, 16)).cumsum(2) / 8
    noisy = images + np.random.default_rng(1).normal(0, 0.1, images.shape)
    expected = ssim(images, noisy)
    assert ssim(images.reshape(5, -1), noisy) == expected
    assert ssim(images, noisy.reshape(5, -1)) == expected


@pytest.mark.parametrize(
    "estimator, name",
    [
        (make_pipeline(PCA(2), SVC()), "SVC"),
        (make_pipeline(Normalizer(), PCA(2)), "Normalizer"),
        (make_pipeline(Normalizer(), "passthrough"), "Normalizer"),
        (SVC(), "SVC"),
    ],
)
def test_scorer_needs_a_way_back(estimator, name):
    with pytest.raises(TypeError, match=f"inverse_transform, which {name} has not"):
        make_denoising_scorer()(estimator, np.eye(9))
