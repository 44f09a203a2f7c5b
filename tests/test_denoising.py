"""The denoiser denoises."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder


@pytest.fixture(scope="module")
def noisy_digits():
    X = load_digits().data
    rng = np.random.default_rng(0)
    train, clean = X[:600], X[1200:1400]
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
    # the residual architecture has a cleaner for a denoiser alone
    options = {"architecture": "plain", "max_epochs": 2, "random_state": 0}
    a = ConvAutoencoderTransformer(5, **options).fit(X)
    b = DenoisingAutoencoder(5, **options, noise_level=0.0).fit(X)
    np.testing.assert_array_equal(a.transform(X), b.transform(X))


NOISES = {
    "heteroscedastic": {"noise": "heteroscedastic"},
    "pair": {"noise": "heteroscedastic", "noise_level": (0.1, 0.3)},
    "array": {"noise": "heteroscedastic", "noise_level": np.linspace(0, 0.4, 64)},
    "dropout": {"noise": "dropout"},
    "masking": {"noise": "masking", "noise_level": (0.0, 0.5)},
    "salt_and_pepper": {"noise": "salt_and_pepper"},
    "poisson": {"noise": "poisson"},
    "speckle": {"noise": "speckle"},
    "callable": {"noise": lambda batch, generator: batch + 0.1},
    "self_supervised": {"self_supervised": True},
}


@pytest.mark.parametrize("noise_at", ["batch", "layer"])
@pytest.mark.parametrize("architecture", ["residual", "plain"])
@pytest.mark.parametrize("name", NOISES)
def test_every_noise_trains_its_own_model_from_one_seed(
    X, name, architecture, noise_at
):
    options = {"n_components": 5, "max_epochs": 3, "random_state": 0, "lr": 1e-2}
    options |= {"architecture": architecture, "noise_at": noise_at}
    first, second = (
        DenoisingAutoencoder(**options, **NOISES[name]).fit(X[:18]) for _ in range(2)
    )
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    gaussian = DenoisingAutoencoder(**options).fit(X[:18])
    assert not np.array_equal(first.transform(X), gaussian.transform(X))


def test_levels_of_the_features_are_drawn_from_the_seed(X):
    options = {"n_components": 5, "max_epochs": 1, "noise": "heteroscedastic"}
    levels = [
        DenoisingAutoencoder(**options, random_state=seed).fit(X).noise_level_
        for seed in (0, 0, 1)
    ]
    assert levels[0].shape == (64,)
    assert levels[0].min() >= 0 and levels[0].max() <= 0.4
    np.testing.assert_array_equal(levels[0], levels[1])
    assert not np.array_equal(levels[0], levels[2])


def test_training_with_a_layer_of_noise_is_judged_by_what_it_learns():
    X = load_digits().data[:300]
    options = {"noise": "dropout", "noise_level": 0.3, "noise_at": "layer"}
    ae = DenoisingAutoencoder(64, **options, max_epochs=12, random_state=0).fit(X)
    assert ae.trained_share_ > 0


def test_layer_of_noise_acts_in_training_only():
    X = load_digits().data[:200]
    options = {"n_components": 32, "max_epochs": 1, "random_state": 0, "augment": None}
    options |= {"noise_level": 3, "early_stopping": True, "lr": 1e-9}
    at_layer, in_batch = (
        DenoisingAutoencoder(**options, noise_at=place).fit(X)
        for place in ("layer", "batch")
    )
    assert at_layer.validation_curve_[0] < 0.7 * in_batch.validation_curve_[0]
    assert at_layer.loss_curve_[0] > 0.8 * in_batch.loss_curve_[0]


def test_pairs_teach_a_corruption_that_nobody_named():
    images = load_digits().data[:600]
    shaded = images * np.linspace(0.2, 1, 64)
    options = {"n_components": 32, "max_epochs": 20, "random_state": 0}
    ae = DenoisingAutoencoder(**options).fit(shaded[:500], target=images[:500])
    before = np.mean((shaded[500:] - images[500:]) ** 2)
    after = np.mean((ae.denoise(shaded[500:]) - images[500:]) ** 2)
    assert after < 0.5 * before


def test_targets_are_met_in_parts_too(X):
    options = {"n_components": 5, "random_state": 0, "lr_schedule": "constant"}
    parts = DenoisingAutoencoder(**options)
    for _ in range(2):
        parts.partial_fit(X, target=X / 2)
    whole = DenoisingAutoencoder(**options, max_epochs=2, warm_start=True)
    whole.fit(X, target=X / 2)
    np.testing.assert_array_equal(parts.transform(X), whole.transform(X))
    alone = DenoisingAutoencoder(**options).partial_fit(X)
    assert not np.array_equal(parts.transform(X), alone.transform(X))


@pytest.mark.parametrize("levels", [(0.2, (0.1, 0.3)), ((0.1, 0.3), 0.2)])
def test_training_goes_on_with_other_levels(X, levels):
    options = {"n_components": 5, "max_epochs": 2, "random_state": 0}
    ae = DenoisingAutoencoder(**options, warm_start=True, noise_level=levels[0])
    shapes = {name: w.shape for name, w in ae.fit(X).weights_.items()}
    ae.set_params(noise_level=levels[1]).fit(X)
    assert {name: w.shape for name, w in ae.weights_.items()} == shapes
    assert ae.n_iter_ == 4


def test_pairs_of_equal_images_are_clean_training(X):
    options = {"n_components": 5, "max_epochs": 2, "random_state": 0}
    pairs = DenoisingAutoencoder(**options).fit(X, target=X)
    clean = DenoisingAutoencoder(**options, noise_level=0).fit(X)
    np.testing.assert_array_equal(pairs.transform(X), clean.transform(X))


def test_pairs_through_a_pipeline(X):
    with config_context(enable_metadata_routing=True):
        ae = DenoisingAutoencoder(5, max_epochs=1, random_state=0)
        pipeline = make_pipeline(ae.set_fit_request(target=True))
        routed = pipeline.fit(X, target=X / 2).transform(X)
    direct = DenoisingAutoencoder(5, max_epochs=1, random_state=0)
    np.testing.assert_array_equal(routed, direct.fit(X, target=X / 2).transform(X))


def shaded_digits():
    images = load_digits().data[:300]
    return images * np.linspace(0.2, 1, 64), images


def test_score_of_pairs_is_that_of_the_targets():
    shaded, images = shaded_digits()
    ae = DenoisingAutoencoder(32, max_epochs=2, random_state=0)
    ae.fit(shaded[:200], target=images[:200])
    error = np.mean((ae.denoise(shaded[200:]) - images[200:]) ** 2)
    scored = ae.score(shaded[200:], target=images[200:])
    assert scored == pytest.approx(-error)
    in_two = [
        rows.reshape(100, 8, 8).astype(np.float32)
        for rows in (shaded[200:], images[200:])
    ]
    assert ae.score(in_two[0], target=in_two[1]) == pytest.approx(scored, rel=1e-4)
    with pytest.warns(UserWarning, match=r"fit was given a target.*target=X if X is"):
        restored = ae.score(images[200:])
    assert restored == pytest.approx(ae.score(images[200:], target=images[200:]))
    with pytest.raises(ValueError, match="target has 99 samples of 64 values, but X"):
        ae.score(shaded[200:], target=images[201:])
    with pytest.raises(
        ValueError, match=r"target has shape \(100,\), but X has 100 sam"
    ):
        ae.score(shaded[200:], target=np.arange(100))


def test_a_search_over_pairs_finds_what_restores_best():
    shaded, images = shaded_digits()
    with config_context(enable_metadata_routing=True):
        ae = DenoisingAutoencoder(32, architecture="plain", random_state=0)
        ae.set_fit_request(target=True).set_score_request(target=True)
        search = GridSearchCV(ae, {"max_epochs": [3, 30]}, cv=2)
        search.fit(shaded[:150], target=images[:150])
    assert search.best_params_ == {"max_epochs": 30}


def test_pairs_are_scored_through_a_pipeline():
    shaded, images = shaded_digits()
    with config_context(enable_metadata_routing=True):
        ae = DenoisingAutoencoder(32, architecture="plain", random_state=0)
        ae.set_fit_request(target=True)
        ae.set_score_request(target=True, sample_weight=True)
        pipeline = make_pipeline(ae)
        search = GridSearchCV(
            pipeline, {"denoisingautoencoder__max_epochs": [3, 30]}, cv=2
        )
        search.fit(shaded[:150], target=images[:150])
    assert search.best_params_ == {"denoisingautoencoder__max_epochs": 30}


def test_samples_of_pairs_have_weights_in_the_score():
    shaded, images = shaded_digits()
    ae = DenoisingAutoencoder(8, max_epochs=1).fit(shaded[:50], target=images[:50])
    each = [ae.score(shaded[i : i + 1], target=images[i : i + 1]) for i in range(4)]
    weights = [0.0, 1.0, 2.0, 3.0]
    score = ae.score(shaded[:4], target=images[:4], sample_weight=weights)
    assert score == pytest.approx(np.average(each, weights=weights))


def test_columns_of_a_target_are_those_of_the_samples(X):
    names = [f"pixel {i}" for i in range(64)]
    noisy, clean = pd.DataFrame(X / 2, columns=names), pd.DataFrame(X, columns=names)
    ae = DenoisingAutoencoder(5, max_epochs=1).fit(noisy, target=clean)
    for call in (ae.fit, ae.score):
        with pytest.raises(ValueError, match="target has the column 'pixel 63' where"):
            call(noisy, target=clean[names[::-1]])
    other_names = clean.rename(columns=lambda name: f"clean {name}")
    assert ae.score(noisy, target=X) == ae.score(noisy, None, other_names)
    with pytest.raises(ValueError, match="Expected unique column names"):
        ae.score(noisy, target=clean[[*names, names[0]]])


def test_a_display_survives_another_noise(X):
    ae = DenoisingAutoencoder(5, max_epochs=1, noise="heteroscedastic").fit(X)
    assert "noise_level_" in ae.set_params(noise="gaussian")._repr_html_()
    ae = DenoisingAutoencoder(5, max_epochs=1).fit(X - 2)  # of which nothing is counted
    assert "noise_level_" in ae.set_params(noise="poisson")._repr_html_()


def test_images_of_a_target_are_named_so(X):
    ae = DenoisingAutoencoder(5, max_epochs=1)
    with pytest.raises(
        ValueError, match=r"target holds images of shape \(4, 16\), but"
    ):
        ae.fit(X.reshape(-1, 8, 8), target=X.reshape(-1, 4, 16))


@pytest.mark.parametrize("target", [np.zeros((29, 64)), np.zeros((30, 63))])
def test_pairs_that_do_not_fit_are_named(X, target):
    with pytest.raises(ValueError, match=r"target has .* samples of .* values, but X"):
        DenoisingAutoencoder(5, max_epochs=1).fit(X, target=target)


def test_noisy_images_alone_are_enough_to_do_better_than_pca():
    X = load_digits().data[:500]
    rng = np.random.default_rng(0)
    noisy = X + rng.normal(0, 4, X.shape)

    def error(restored):
        return np.mean((restored - X) ** 2)

    options = {"self_supervised": True, "max_epochs": 15, "random_state": 0}
    ours = error(DenoisingAutoencoder(24, **options).fit(noisy).denoise(noisy))
    pca = min(
        error(model.inverse_transform(model.transform(noisy)))
        for model in (PCA(k).fit(noisy) for k in (5, 10, 15, 20, 30))
    )
    assert ours < 0.95 * pca
    assert ours < 0.5 * error(noisy)


def test_a_long_code_of_few_noisy_images_does_not_keep_their_noise(noisy_digits):
    _, clean, noisy = noisy_digits
    few = noisy[:100]

    def error(model):
        restored = model.inverse_transform(model.transform(noisy[100:]))
        return np.mean((restored - clean[100:]) ** 2)

    options = {"self_supervised": True, "max_epochs": 3, "random_state": 0}
    ours = error(DenoisingAutoencoder(64, **options).fit(few))
    assert ours < min(error(PCA(k).fit(few)) for k in (2, 5, 10, 15, 20, 30, 45, 64))


@pytest.mark.parametrize(
    ("noise", "got"),
    [
        (lambda batch, generator: batch[:1], r"\(1, 1, 8, 8\)"),
        (lambda batch, generator: None, "NoneType"),
    ],
)
def test_noise_has_to_return_a_batch(noise, got):
    X = load_digits().data[:40]
    with pytest.raises(ValueError, match=f"noise returned {got}.*shape of the batch"):
        DenoisingAutoencoder(8, noise=noise, max_epochs=1).fit(X)


def test_noise_may_return_doubles():
    X = load_digits().data[:40]
    DenoisingAutoencoder(8, noise=lambda b, g: b.double(), max_epochs=1).fit(X)


def test_self_supervision_and_targets_exclude_each_other():
    X = load_digits().data[:40]
    with pytest.raises(ValueError, match=r"self_supervised=True.*leave target out"):
        DenoisingAutoencoder(8, self_supervised=True).fit(X, target=X)


def test_what_is_encoded_is_clipped_as_in_training_and_only_then():
    X = load_digits().data[:100]
    beyond = X + np.random.default_rng(0).normal(0, 6, X.shape)
    clipped = beyond.clip(X.min(), X.max())
    options = {"n_components": 8, "max_epochs": 2, "random_state": 0}
    noise = {"noise_level": 1.0}
    same = DenoisingAutoencoder(**options, **noise).fit(X)
    np.testing.assert_array_equal(same.transform(beyond), same.transform(clipped))
    others = (
        DenoisingAutoencoder(**options, **noise, noise_at="layer").fit(X),
        DenoisingAutoencoder(**options).fit(beyond.clip(-3, 19), target=X),
        ConvAutoencoderTransformer(**options).fit(X),
    )
    for ae in others:
        assert not np.allclose(ae.transform(beyond), ae.transform(clipped))


def test_what_is_decoded_is_within_the_range_of_the_clean_images():
    X = load_digits().data[:200]
    options = {"n_components": 8, "max_epochs": 5, "noise_level": 4, "random_state": 0}
    noisy = X + np.random.default_rng(0).normal(0, 4, X.shape)
    ae = DenoisingAutoencoder(**options).fit(X)
    denoised = ae.denoise(noisy)
    assert X.min() <= denoised.min() and denoised.max() <= X.max()
    free = DenoisingAutoencoder(**options, noise_at="layer").fit(X).denoise(noisy)
    assert free.min() < X.min()


def test_values_beyond_the_range_are_denoised_too(noisy_digits):
    train, clean, _ = noisy_digits
    ae = DenoisingAutoencoder(16, noise_level=4, max_epochs=5, random_state=0).fit(
        train
    )
    wild = clean + np.random.default_rng(0).normal(0, 12, clean.shape)
    denoised = ae.denoise(wild)
    assert np.isfinite(denoised).all()
    assert np.mean((denoised - clean) ** 2) < 0.5 * np.mean((wild - clean) ** 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": "pink"}, "'noise' parameter of DenoisingAutoencoder must be"),
        ({"noise_level": -0.1}, "'noise_level' parameter of DenoisingAutoencoder"),
        (
            {"noise_level": (0.1, -0.2)},
            r"noise_level=\(0.1, -0.2\) with noise='gaussian'",
        ),
        (
            {"noise_level": (0.3, 0.2)},
            r"noise_level=\(0.3, 0.2\): expected \(low, high\)",
        ),
        ({"noise_level": [0.1] * 64}, "expected a number, or a pair"),
        ({"noise": "dropout", "noise_level": 1.0}, "expected levels from 0 to 0.99"),
        ({"noise": "masking", "noise_level": 1.1}, "expected levels from 0 to 1"),
        ({"noise": "salt_and_pepper", "noise_level": (0.1, 2)}, "from 0 to 1"),
        (
            {"noise": "heteroscedastic", "noise_level": [0.1] * 63},
            "one level for each of the 64 features",
        ),
        ({"noise_at": "end"}, "'noise_at' parameter of DenoisingAutoencoder must be"),
    ],
)
def test_bad_noise_is_named(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**parameters).fit(X)


@pytest.mark.parametrize("noise", ["gaussian", "heteroscedastic", "poisson"])
def test_noise_in_other_units_than_the_data_is_noticed(noise, X):
    ae = DenoisingAutoencoder(5, max_epochs=1, noise=noise, random_state=0)
    bytes_ = np.round(255 * X / X.max()).astype(np.uint8)
    with pytest.warns(
        UserWarning, match=r"units of X.* from 0 to 255.*; 51 is a fifth"
    ):
        ae.fit(bytes_)
    ae.fit(bytes_, target=bytes_)  # warns of nothing, as noise_level is not used
    assert ae.noise_level_ is None
    ae.set_params(noise_level=51).fit(bytes_)


def test_negative_counts_are_noticed(X):
    ae = DenoisingAutoencoder(5, max_epochs=1, noise="poisson", random_state=0)
    with pytest.warns(UserWarning, match=r"poisson.*below 0 for 0, but X.* from -0\.5"):
        ae.fit((X - X.min()) / np.ptp(X) - 0.5)


def test_a_part_of_each_value_in_units_of_the_data_is_noticed(X):
    ae = DenoisingAutoencoder(5, max_epochs=1, noise="speckle", noise_level=51)
    with pytest.warns(UserWarning, match=r"noise_level=51.* is a part of each value"):
        ae.fit(X)
    ae.set_params(noise_level=2).fit(X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_clean_samples_passed_as_y_are_noticed(method, X):
    def fit(X, y):
        getattr(DenoisingAutoencoder(2, max_epochs=1, random_state=0), method)(X, y)

    noisy = X + np.random.default_rng(0).normal(0, 0.2, X.shape)
    with pytest.warns(UserWarning, match=r"y looks like a clean version.*as target"):
        fit(noisy, X)
    with pytest.warns(UserWarning, match=r"y looks like a clean version.*as target"):
        fit(pd.DataFrame(noisy), pd.DataFrame(X))
    # as autoencoders are often called, and something else to predict
    fit(X, X.copy())
    fit(X, np.random.default_rng(0).random(X.shape))
    fit(X[:, :1], X[:, 1:2])
    fit(*(torch.tensor(each, requires_grad=True) for each in (X, X)))


@pytest.mark.parametrize(
    "level", [np.float32(0.25), np.array(0.25), torch.tensor(0.25)]
)
def test_a_level_may_be_a_number_of_any_library(X, level):
    ae = DenoisingAutoencoder(4, noise_level=level, max_epochs=1).fit(X / X.max())
    assert ae.noise_level_ == 0.25 and type(ae.noise_level_) is float


def test_noisy_images_are_not_moved(X):
    # which would mix the noise of their pixels
    options = {"self_supervised": True, "max_epochs": 2, "random_state": 0}
    fits = [DenoisingAutoencoder(5, augment=a, **options).fit(X) for a in (2.0, None)]
    np.testing.assert_array_equal(*(ae.transform(X) for ae in fits))


def test_noisy_rows_of_a_few_features_are_enough():
    X = load_diabetes().data
    ae = DenoisingAutoencoder(4, self_supervised=True, max_epochs=2, random_state=0)
    assert np.isfinite(ae.fit(X).score(X))


def test_range_covers_the_targets(X):
    options = {"output_activation": "sigmoid", "max_epochs": 1, "random_state": 0}
    ae = DenoisingAutoencoder(5, **options).fit(0.3 * X, target=X)
    assert ae.value_range_ == (0.3 * X.min(), X.max())


def test_values_that_are_clipped_are_noticed(X):
    ae = DenoisingAutoencoder(5, max_epochs=1, random_state=0)
    with pytest.warns(UserWarning, match=r"X holds values .* cut off at value_range="):
        ae.partial_fit(X).partial_fit(2 * X)
    ae.set_params(noise_at="layer").fit(X).partial_fit(2 * X)


def test_noise_of_many_levels_is_learnt_for_longer():
    X = load_digits().data[:400, 20:30]

    class Stop(Callback):
        def on_train_begin(self, net, **kwargs):
            epochs.append(net.max_epochs)
            net.max_epochs = 1

    epochs = []
    for level in (4.0, (2.0, 6.0)):
        DenoisingAutoencoder(4, noise_level=level, callbacks=[Stop()]).fit(X)
    assert epochs[1] == pytest.approx(1.5 * epochs[0], abs=1)


def test_noise_of_your_own_is_finite(X):
    ae = DenoisingAutoencoder(5, noise=lambda batch, generator: batch * torch.nan)
    with pytest.raises(ValueError, match="noise returned values that are not finite"):
        ae.fit(X)


def test_infinite_noise_is_cut_off_like_any(X):
    def spoil(batch, generator):
        return torch.where(batch < 0.1, torch.inf, batch)

    ae = DenoisingAutoencoder(5, noise=spoil, max_epochs=1, random_state=0)
    assert np.isfinite(ae.fit(X).score(X))
    with pytest.raises(ValueError, match="noise returned values that are not finite"):
        ae.set_params(noise_at="layer").fit(X)


def test_a_wrong_number_of_levels_is_told_shortly(X):
    ae = DenoisingAutoencoder(5, noise="heteroscedastic", noise_level=[0.1] * 63)
    with pytest.raises(ValueError, match=r"noise_level of shape \(63,\).* 64 features"):
        ae.fit(X)
