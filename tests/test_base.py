"""What the estimators share: layouts, precision, state, randomness, failures."""

import copy
import functools
import itertools
import pickle
import random
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from io import BytesIO

import cloudpickle
import joblib
import numpy as np
import pytest
import skops.io
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder.metrics import make_denoising_scorer


def assert_same_weights(a, b):
    assert a.weights_.keys() == b.weights_.keys()
    for name in a.weights_:
        np.testing.assert_array_equal(a.weights_[name], b.weights_[name])


@pytest.mark.parametrize(
    "shape", [(1,), (3,), (64,), (8, 8), (7, 5), (1, 9), (6, 4, 3), (9, 7, 2)]
)
def test_codes_and_reconstructions_have_the_shapes_of_the_input(make, shape):
    X = np.random.default_rng(0).random((12, *shape))
    ae = make().fit(X)
    Z = ae.transform(X)
    assert Z.shape == (12, 5)
    assert ae.inverse_transform(Z).shape == X.shape
    assert ae.score_samples(X).shape == (12,)
    assert ae.n_features_in_ == np.prod(shape)
    assert np.isfinite(Z).all()


@pytest.mark.parametrize(
    ("n_features", "image_shape", "expected"),
    [
        (64, None, (8, 8)),
        (12, None, (1, 12)),
        (12, (3, 4), (3, 4)),
        (12, [2, 2, 3], (2, 2, 3)),
    ],
)
def test_image_shape_of_rows(make, n_features, image_shape, expected):
    X = np.random.default_rng(0).random((9, n_features))
    ae = make(image_shape=image_shape).fit(X)
    assert ae.image_shape_ == expected


def test_rows_and_images_of_the_same_pixels_are_the_same_data(make, images, X):
    by_rows, by_images = make().fit(X), make().fit(images)
    assert_same_weights(by_rows, by_images)
    np.testing.assert_array_equal(by_rows.transform(images), by_rows.transform(X))
    Z = by_rows.transform(X)
    np.testing.assert_array_equal(
        by_images.inverse_transform(Z), by_rows.inverse_transform(Z).reshape(-1, 8, 8)
    )


def test_units_of_the_data_do_not_matter(make, X):
    ae, scaled = make().fit(X), make()
    if "noise_level" in ae.get_params():
        scaled.set_params(noise_level=100 * ae.noise_level)
    scaled.fit(100 * X - 7)
    np.testing.assert_allclose(
        scaled.transform(100 * X - 7), ae.transform(X), rtol=1e-4, atol=1e-5
    )
    assert scaled.score(100 * X - 7) == pytest.approx(1e4 * ae.score(X), rel=1e-4)


def test_resize_works_inside_and_leaves_the_outside(make, X):
    ae = make(resize=(4, 6)).fit(X)
    assert ae.module_.decode(torch.zeros(2, 5)).shape == (2, 1, 4, 6)
    assert ae.inverse_transform(ae.transform(X)).shape == X.shape


def test_constant_data(make):
    X = np.full((10, 16), 3.5)
    ae = make(max_epochs=20, warm_start=True).fit(X)
    for _ in range(2):
        assert np.isfinite(ae.inverse_transform(ae.transform(X))).all()
        ae.fit(X)


def test_code_longer_than_rows_and_features(make, X):
    assert make(n_components=100).fit(X[:7]).transform(X).shape == (30, 100)


def test_float32_stays_and_float64_is_computed_in_float64(make, X):
    ae = make().fit(X)
    Z, Z32 = ae.transform(X), ae.transform(X.astype(np.float32))
    assert (Z.dtype, Z32.dtype) == (np.float64, np.float32)
    assert ae.inverse_transform(Z).dtype == np.float64
    assert ae.inverse_transform(Z32).dtype == np.float32
    np.testing.assert_allclose(Z32, Z, atol=1e-5)
    # beyond float32: a sample's code does not depend on its neighbours
    one_by_one = np.concatenate([ae.transform(X[[i]]) for i in range(len(X))])
    np.testing.assert_allclose(one_by_one, Z, rtol=0, atol=1e-13)


def test_chunks_do_not_show(make, X, monkeypatch):
    ae = make(device="cpu").fit(X)
    Z = ae.transform(X)
    restored = ae.inverse_transform(Z)
    for most in (1, 7 * 9 * 2048):
        monkeypatch.setattr("sk_autoencoder._inference.CHUNK_VALUES", most)
        ae = copy.deepcopy(ae)  # which knows of no size yet
        assert (ae._inference(X.dtype).rows_at_a_time == 1) == (most == 1)
        np.testing.assert_allclose(ae.transform(X), Z, rtol=0, atol=1e-13)
        np.testing.assert_allclose(
            ae.inverse_transform(Z), restored, rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("method", ["transform", "score_samples", "score"])
@pytest.mark.filterwarnings("ignore:X lies far outside")
def test_what_is_not_finite_is_found_in_every_chunk(
    make, X, monkeypatch, dtype, method
):
    monkeypatch.setattr("sk_autoencoder._inference.CHUNK_VALUES", 1)
    X = X.astype(dtype)
    ae = make(max_epochs=1).fit(X)
    for value, name in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
        spoilt = X.copy()
        spoilt[-1, 3] = value
        with pytest.raises(ValueError, match=f"Input X contains {name}"):
            getattr(ae, method)(spoilt)
    huge = np.full_like(X, np.finfo(dtype).max / 2)  # whose sum is infinite
    assert len(ae.transform(huge)) == len(X)


class Wide(nn.Module):
    """64 maps of the image at full size, of no layer that is called as a module."""

    def __init__(self, image_shape, n_components):
        super().__init__()
        self.shape = image_shape
        size = int(np.prod(image_shape))
        self.kernel = nn.Parameter(torch.ones(64, image_shape[0], 1, 1) / 64)
        self.code = nn.Linear(size, n_components)
        self.image = nn.Linear(n_components, size)

    def encode(self, x):
        maps = nn.functional.conv2d(x.double(), weight=self.kernel.double())
        return self.code(maps.mean(1).flatten(1).float())

    def decode(self, z):
        return self.image(z).unflatten(1, self.shape)


@pytest.mark.parametrize("dtype, n", [(np.float32, 9 * 10), (np.float64, 10)])
@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_chunks_are_of_what_convolutions_unfold(X, architecture, dtype, n, monkeypatch):
    # a convolution of 32 maps at 8 x 8 pixels, or a transposed one to as many
    channels = {"residual": (32,), "plain": (32, 32)}[architecture]
    ae = ConvAutoencoderTransformer(
        5,
        architecture=architecture,
        channels=channels,
        strides=None if architecture == "residual" else (1, 1),
        max_epochs=1,
        device="cpu",
    ).fit(X)
    monkeypatch.setattr("sk_autoencoder._inference.CHUNK_VALUES", 10 * 9 * 32 * 64)
    assert ae._inference(np.dtype(dtype)).codes_at_a_time == n


def test_chunks_are_of_what_the_widest_layer_holds(make, X, monkeypatch):
    ae = make(architecture=Wide, device="cpu").fit(X)
    monkeypatch.setattr("sk_autoencoder._inference.CHUNK_VALUES", 10 * 64 * 64)
    ae = copy.deepcopy(ae)
    assert ae._inference(X.dtype).rows_at_a_time == 10
    assert ae._inference(X.dtype).codes_at_a_time == 640
    # images that are shrunk first are larger than what the network sees
    ae = make(architecture=Wide, resize=(2, 2), device="cpu").fit(X)
    assert ae._inference(X.dtype).rows_at_a_time == 160
    assert ae._inference(X.dtype).codes_at_a_time == 640


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_training_precision_leaves_float32_weights(make, X, precision):
    ae = make(precision=precision).fit(X)
    assert {array.dtype for array in ae.weights_.values()} == {np.dtype("float32")}


def test_training_lowers_the_loss_of_every_objective(make, X):
    for options in (
        {},
        {"loss": "bce", "output_activation": "sigmoid"},
        {"output_activation": "sigmoid", "code_activation": "sigmoid"},
        {"code_activation": "tanh", "lr_schedule": "cosine"},
        {"code_activation": "relu", "lr_schedule": "constant"},
    ):
        ae = make(max_epochs=20, lr=3e-3, **options).fit(X)
        assert ae.loss_curve_[-1] < 0.95 * ae.loss_curve_[0], options


def test_score_is_minus_the_mean_squared_error(make, X):
    ae = make().fit(X)
    errors = (ae.inverse_transform(ae.transform(X)) - X) ** 2
    assert ae.score(X) == pytest.approx(-errors.mean())
    np.testing.assert_allclose(ae.score_samples(X), -errors.mean(1))


def test_code_activations_keep_their_range(make, X):
    assert (make(code_activation="relu").fit(X).transform(X) >= 0).all()
    Z = make(code_activation="sigmoid").fit(X).transform(X)
    assert (Z > 0).all() and (Z < 1).all()
    Z = make(code_activation="tanh").fit(X).transform(X)
    assert (np.abs(Z) < 1).all()


def test_sigmoid_output_keeps_the_value_range(make, X):
    ae = make(output_activation="sigmoid").fit(X * 10 - 3)
    restored = ae.inverse_transform(100 * np.ones((2, 5)))
    assert restored.min() >= -3 - 1e-6 and restored.max() <= 7 + 1e-6


def test_sparsity_shrinks_the_code(make, X):
    dense = make(max_epochs=40).fit(X).transform(X)
    sparse = make(max_epochs=40, sparsity=3.0).fit(X).transform(X)
    assert np.abs(sparse).mean() < 0.6 * np.abs(dense).mean()


def test_curves_have_one_value_an_epoch(make, X):
    ae = make(max_epochs=3).fit(X)
    assert ae.n_iter_ == len(ae.loss_curve_) == len(ae.code_mean_curve_) == 3
    assert ae.validation_curve_ is None
    assert all(type(value) is float for value in ae.loss_curve_)


def test_early_stopping_keeps_the_best_weights(make, X):
    options = {"early_stopping": True, "validation_fraction": 0.3, "lr": 0.02}
    ae = make(max_epochs=60, n_iter_no_change=3, lr_schedule="constant", **options)
    ae.fit(X)
    best = int(np.argmin(ae.validation_curve_))
    assert ae.n_iter_ == len(ae.validation_curve_) < 60
    assert ae.n_iter_ - 1 - best <= 3
    short = make(max_epochs=best + 1, n_iter_no_change=99, lr_schedule="constant")
    assert_same_weights(short.set_params(**options).fit(X), ae)


def test_early_stopping_keeps_the_best_weights_whatever_is_too_little(make, X):
    options = {"early_stopping": True, "validation_fraction": 0.3, "tol": 0.99}
    options |= {"lr_schedule": "constant", "n_iter_no_change": 99}
    ae = make(max_epochs=12, **options).fit(X)
    best = int(np.argmin(ae.validation_curve_))
    assert best > 0
    assert_same_weights(make(max_epochs=best + 1, **options).fit(X), ae)


def test_early_stopping_goes_on_from_the_best_weights(make, X):
    options = {"early_stopping": True, "validation_fraction": 0.3, "warm_start": True}
    ae = make(max_epochs=20, **options).fit(X)
    before, curve = ae.weights_, ae.validation_curve_
    ae.set_params(lr=0.2, lr_schedule="constant", max_epochs=1).fit(X)
    assert ae.validation_curve_[-1] > min(curve)
    assert ae.weights_.keys() == before.keys()
    for name, weights in before.items():
        np.testing.assert_array_equal(ae.weights_[name], weights)


def test_warm_start_and_partial_fit_continue_to_the_letter(make, X):
    whole = make(max_epochs=4, lr_schedule="constant", warm_start=True).fit(X)
    warm = make(max_epochs=2, lr_schedule="constant", warm_start=True)
    warm.fit(X)
    warm = pickle.loads(pickle.dumps(warm)).fit(X)
    assert_same_weights(warm, whole)
    partial = make()
    for _ in range(4):
        partial.partial_fit(X)
    assert_same_weights(partial, whole)
    assert whole.loss_curve_ == warm.loss_curve_ == partial.loss_curve_
    assert warm.n_iter_ == partial.n_iter_ == 4


def test_without_warm_start_fit_forgets(make, X):
    ae = make().fit(X)
    assert_same_weights(ae.fit(X), make().fit(X))
    assert ae.n_iter_ == 2


def plain(value):
    if isinstance(value, dict):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str, np.ndarray)


def test_state_is_plain(make, X):
    for ae in (make().fit(X), make().partial_fit(X), make(warm_start=True).fit(X)):
        assert all(plain(value) for value in vars(ae).values())
        assert not any("torch" in str(type(v)) for v in vars(ae).values())


def round_trips(ae):
    buffer = BytesIO()
    joblib.dump(ae, buffer)
    buffer.seek(0)
    dumped = skops.io.dumps(ae)
    untrusted = skops.io.get_untrusted_types(data=dumped)
    assert all(name.startswith("sk_autoencoder.") for name in untrusted)
    return {
        "pickle": pickle.loads(pickle.dumps(ae)),
        "joblib": joblib.load(buffer),
        "cloudpickle": pickle.loads(cloudpickle.dumps(ae)),
        "deepcopy": copy.deepcopy(ae),
        "skops": skops.io.loads(dumped, trusted=untrusted),
    }


def test_copies_are_the_same_bit_for_bit(make, X):
    ae = make().fit(X)
    Z = ae.transform(X)
    for way, loaded in round_trips(ae).items():
        np.testing.assert_array_equal(loaded.transform(X), Z, err_msg=way)
        np.testing.assert_array_equal(
            loaded.inverse_transform(Z), ae.inverse_transform(Z), err_msg=way
        )
        assert_same_weights(loaded.partial_fit(X), copy.deepcopy(ae).partial_fit(X))


def test_pickle_is_as_small_as_the_weights(make, X):
    ae = make(early_stopping=True, callbacks=[Recorder([])]).fit(X)
    size = sum(array.nbytes for array in ae.weights_.values())
    data = pickle.dumps(ae.set_params(callbacks=None))
    assert len(data) <= 1.2 * size + 20_000
    assert b"torch" not in data and b"skorch" not in data


def test_read_only_weights_of_a_memory_map(make, X, tmp_path):
    ae = make().fit(X)
    joblib.dump(ae, tmp_path / "ae.joblib")
    mapped = joblib.load(tmp_path / "ae.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.transform(X), ae.transform(X))
    mapped.fit(X)


def test_module_and_net_are_copies(make, X):
    ae = make().fit(X)
    Z = ae.transform(X)
    for module in (ae.module_, ae.net_.module_):
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
    np.testing.assert_array_equal(ae.transform(X), Z)


def test_nets_can_be_pickled(make, X):
    scaled = X.astype(np.float32).reshape(-1, 1, 8, 8)
    net = make().fit(X).net_
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(scaled), net.predict(scaled))
    for each in (net, again):
        each.partial_fit(scaled)
    np.testing.assert_array_equal(again.predict(scaled), net.predict(scaled))


def test_tensors_are_arrays(make, images, X):
    ae = make().fit(torch.tensor(X))
    assert_same_weights(ae, make().fit(X))
    for dtype in (np.float32, np.float64):
        for given in (X.astype(dtype), images.astype(dtype)):
            Z = ae.transform(torch.tensor(given))
            assert Z.dtype == dtype
            np.testing.assert_array_equal(Z, ae.transform(given))
        restored = ae.inverse_transform(torch.tensor(Z, requires_grad=True))
        assert restored.dtype == dtype
        np.testing.assert_array_equal(restored, ae.inverse_transform(Z))


def test_changing_parameters_after_fit_leaves_the_model(make, X):
    ae = make().fit(X)
    Z = ae.transform(X)
    ae.set_params(n_components=9, resize=(4, 4), code_activation="sigmoid")
    np.testing.assert_array_equal(ae.transform(X), Z)


def test_a_fitted_estimator_shows_itself_whatever_its_parameters(make, X, monkeypatch):
    ae = make(callbacks=[Recorder([])]).fit(X)
    monkeypatch.setattr(Recorder, "initialize", None)
    assert "n_components" in ae._repr_html_()
    ae.set_params(loss="mae")
    assert "n_components" in ae._repr_html_()
    with pytest.raises(AttributeError, match=r"net_ cannot be made.*'loss' parameter"):
        ae.net_  # noqa: B018


def test_model_of_a_missing_device_runs_on_the_cpu(make, X):
    ae = make(device="cpu").fit(X)
    Z = ae.transform(X)
    ae.set_params(device="cuda:99")  # as if fitted on a machine with a hundred GPUs
    np.testing.assert_array_equal(ae.transform(X), Z)


def global_states():
    return (
        repr(np.random.get_state()),  # noqa: NPY002
        random.getstate(),
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("random_state", [None, 0])
def test_global_generators_are_neither_moved_nor_read(make, X, random_state):
    before = global_states()
    ae = make(random_state=random_state, early_stopping=True, augment=1.0).fit(X)
    ae.partial_fit(X).score(X)
    assert global_states() == before
    with pytest.raises(ValueError, match="lr"):
        make(lr=1e30, random_state=random_state, max_epochs=50).fit(X)
    assert global_states() == before


def test_one_seed_one_model(make, X):
    torch.manual_seed(1)
    a = make(augment=1.0).fit(X)
    torch.manual_seed(2)
    b = make(augment=1.0).fit(X)
    assert_same_weights(a, b)
    c = make(augment=1.0, random_state=1).fit(X)
    assert any((a.weights_[k] != c.weights_[k]).any() for k in a.weights_)


def test_no_seed_is_fresh_each_time(make, X):
    np.random.seed(0)  # noqa: NPY002
    a = make(random_state=None).fit(X)
    np.random.seed(0)  # noqa: NPY002
    b = make(random_state=None).fit(X)
    assert any((a.weights_[k] != b.weights_[k]).any() for k in a.weights_)


def test_threads_give_the_same_weights(make, X):
    expected = make(max_epochs=3).fit(X)
    before = global_states()
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(lambda _: make(max_epochs=3).fit(X), range(4)))
    assert global_states() == before
    for ae in fitted:
        assert_same_weights(ae, expected)


class Recorder(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, net, **kwargs):
        self.last_net_ = net
        self.epochs.append(net.history[-1, "train_loss"])


def test_callbacks_are_called_and_keep_nothing(make, X):
    recorder = Recorder([])
    ae = make(callbacks=[recorder]).fit(X)
    assert recorder.epochs == ae.loss_curve_
    assert not hasattr(recorder, "last_net_")
    named = make(callbacks=[("mine", Recorder([]))]).fit(X)
    assert_same_weights(named, ae)


def test_early_stopping_callback_of_skorch_ends_the_training(make, X):
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=0.9, sink=len)
    assert make(max_epochs=30, callbacks=[stop]).fit(X).n_iter_ == 3


def test_verbose_prints_a_line_an_epoch(make, X, capfd):
    ae = make(verbose=1).fit(X)
    out = capfd.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("Epoch")]
    loss = ae.loss_curve_[0]
    assert len(lines) == 2
    assert lines[0] == (
        f"Epoch 1/2: loss {loss:.6f} ({loss * 64 / 2:.4f} per sample), "
        f"code mean {ae.code_mean_curve_[0]:.3f}"
    )
    make(verbose=2).fit(X)
    assert "/4 [" in capfd.readouterr().err
    make().fit(X)
    assert capfd.readouterr() == ("", "")


def bad(X, **changes):
    X = X.copy()
    for index, value in changes.items():
        X[0, int(index[1:])] = value
    return X


def nothing(X):
    return X


class Weightless(nn.Module):
    def __init__(self, image_shape, n_components):
        super().__init__()
        self.image_shape, self.n_components = image_shape, n_components

    def encode(self, x):
        return x.flatten(1)[:, : self.n_components]

    def decode(self, z):
        return z.mean(1).view(-1, 1, 1, 1).expand(-1, *self.image_shape).clone()


class Detached(Weightless):
    def __init__(self, image_shape, n_components):
        super().__init__(image_shape, n_components)
        self.factor = nn.Parameter(torch.ones(()))

    def decode(self, z):
        return super().decode(z * self.factor).detach()


FAILURES = {
    "nan": ({}, lambda X: bad(X, _3=np.nan), "Input X contains NaN"),
    "infinity": ({}, lambda X: bad(X, _3=np.inf), "Input X contains infinity"),
    "empty": ({}, lambda X: X[:0], "Found array with 0 sample"),
    "empty images": ({}, lambda X: X[:0].reshape(0, 8, 8), "Found array with 0 sample"),
    "1-D": ({}, lambda X: X[0], "Expected 2D array, got 1D array"),
    "5-D": ({}, lambda X: X.reshape(-1, 2, 4, 4, 2), "X has 5 dimensions"),
    "shape of rows": (
        {"image_shape": (7, 9)},
        nothing,
        r"image_shape=\(7, 9\) holds 63 values, but X has 64 features",
    ),
    "shape of images": (
        {"image_shape": (4, 16)},
        lambda X: X.reshape(-1, 8, 8),
        r"image_shape=\(4, 16\) does not fit the images in X.*\(8, 8\)",
    ),
    "no shape": ({"image_shape": (64,)}, nothing, r"expected \(height, width\)"),
    "resize": ({"resize": (0, 4)}, nothing, "expected a positive"),
    "resize pair": ({"resize": (4, 4, 1)}, nothing, "resize=.*a positive .height, w"),
    "cut shape": (
        {"image_shape": (8.7, 8)},
        nothing,
        r"image_shape=\(8.7, 8\): expected a tuple of whole numbers",
    ),
    "nested shape": ({"image_shape": [[8, 8]]}, nothing, "image_shape=.*whole numbers"),
    "cut size": ({"resize": (4.9, 4)}, nothing, r"resize=\(4.9, 4\).*whole numbers"),
    "value range": ({"value_range": (1, 0)}, nothing, "low below high"),
    "infinite range": ({"value_range": (0, np.inf)}, nothing, "expected finite"),
    "named range": (
        {"value_range": (0, "a")},
        nothing,
        "value_range=.*pair of numbers",
    ),
    "too far apart": (
        {},
        lambda X: bad(X, _3=1.7e308, _4=-1.7e308),
        r"X holds values from -1.7e\+308 to 1.7e\+308.*Divide X by a constant",
    ),
    "maps": ({"channels": (8.9,)}, nothing, r"channels=\(8.9,\): expected a tuple"),
    "named thrice": (
        {"callbacks": [("a", None, 1)]},
        nothing,
        r"callbacks holds \('a', None, 1\): expected skorch",
    ),
    "two schedules": (
        {"callbacks": [("lr", LRScheduler("StepLR", step_size=1))]},
        nothing,
        "LRScheduler, but lr_schedule='one_cycle' sets.*Set lr_schedule='constant'",
    ),
    "augment of one argument": (
        {"augment": lambda batch: batch},
        nothing,
        r"augment=.*is called as augment\(batch, generator\), but too many",
    ),
    "no weights": (
        {"architecture": Weightless},
        nothing,
        "architecture=Weightless has no weights to train",
    ),
    "no gradient": (
        {"architecture": Detached},
        nothing,
        "architecture=Detached cannot be trained: what decode gives depends on no weight",
    ),
    "callback": ({"callbacks": [3]}, nothing, "callbacks holds 3: expected skorch"),
    "bce range": (
        {"loss": "bce", "output_activation": "sigmoid", "value_range": (0, 1)},
        lambda X: 2 * X,
        r"loss='bce' needs values within value_range=\(0, 1\), but X holds.*to 2",
    ),
    "bce output": ({"loss": "bce"}, nothing, "Set output_activation='sigmoid'"),
    "architecture": (
        {"architecture": "nope"},
        nothing,
        r"architecture='nope': expected one of \['plain', 'residual'\] or a subclass",
    ),
    "architecture of no kind": (
        {"architecture": 5},
        nothing,
        "architecture=an object of int: expected one of",
    ),
    "one side": ({"image_shape": 8}, nothing, "image_shape=8: expected a tuple"),
    "one size": ({"resize": 4.5}, nothing, "resize=4.5: expected a tuple"),
    "one number of maps": ({"channels": 8}, nothing, "channels=8: expected a tuple"),
    "one end of a range": ({"value_range": 5}, nothing, "=5: expected a pair of num"),
    "other class": (
        {"architecture": nn.Linear},
        nothing,
        "expected one of.*image_shape",
    ),
    "architecture class": ({"architecture": dict}, nothing, "subclass of torch.nn.Mod"),
    "loss": ({"loss": "mae"}, nothing, "'loss' parameter of"),
    "schedule": ({"lr_schedule": "steps"}, nothing, "'lr_schedule' parameter of"),
    "precision": ({"precision": "float16"}, nothing, "'precision' parameter of"),
    "n_components": ({"n_components": 0}, nothing, r"range \[1, inf\). Got 0"),
    "channels": (
        {"architecture": "plain", "channels": (4, 8)},
        nothing,
        "give both the same length",
    ),
    "strides": (
        {"architecture": "plain", "strides": (4, 1, 1, 1)},
        nothing,
        "strides of 1, 2 or 3",
    ),
    "refiner": (
        {"architecture": "residual", "channels": ()},
        nothing,
        "a positive number of feature maps for each block",
    ),
    "folds": (
        {"architecture": "residual", "strides": (2, 2)},
        nothing,
        "architecture='residual' has one",
    ),
    "large folds": (
        {"architecture": "residual", "strides": (9,)},
        nothing,
        "the side of the blocks of the 8 x 8 pixels that",
    ),
    "text for a range": (
        {"value_range": "01"},
        nothing,
        "value_range='01': expected a pair of numbers",
    ),
    "no device": ({"device": "tpu9"}, nothing, "device='tpu9' is no device"),
    "other device": ({"device": "meta"}, nothing, "device='meta' is not supported"),
    "missing device": (
        {"device": "cuda:99"},
        nothing,
        r"device='cuda:99' is not there: torch sees \d+ CUDA devices. Pass device='cpu'",
    ),
    "learning rate": (
        {"lr": 1e30, "max_epochs": 50},
        nothing,
        r"The loss became (nan|inf) in epoch \d+ of 50 with lr=1e\+30. Lower lr",
    ),
    "callback without validation": (
        {"callbacks": [EarlyStopping()]},
        nothing,
        "callbacks: EarlyStopping looks at the loss of validation.*early_stopping=True",
    ),
    "validation": (
        {"early_stopping": True},
        lambda X: X[:1],
        "validation_fraction=0.1 leaves none of 1 samples",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_bad_input_is_named_and_leaves_the_estimator_alone(make, X, case):
    parameters, spoil, message = FAILURES[case]
    unfitted = make(**parameters)
    with pytest.raises(ValueError, match=message):
        unfitted.fit(spoil(X))
    assert vars(unfitted) == unfitted.get_params()

    fitted = make(device="cpu").fit(X)
    Z = fitted.transform(X)
    with pytest.raises(ValueError, match=message):
        fitted.set_params(**parameters).fit(spoil(X))
    np.testing.assert_array_equal(fitted.transform(X), Z)


def test_functions_may_be_wrapped(make, X):
    def seeded(function):
        @functools.wraps(function)
        def call(batch, generator):
            return function(batch)

        return call

    make(augment=seeded(lambda batch: batch.flip(-1)), max_epochs=1).fit(X)


def interrupt_after(n):
    """An augmentation whose n-th batch comes with a Ctrl-C."""
    calls = itertools.count()

    def augment(batch, generator):
        if next(calls) == n:
            raise KeyboardInterrupt
        return batch

    return augment


@pytest.mark.filterwarnings("ignore:noise_level=0.2 is in the units")
@pytest.mark.parametrize("fails", [False, True])
def test_callbacks_meet_the_last_model(make, X, fails):
    found = []

    class Look(Callback):
        def on_epoch_end(self, net, **kwargs):
            found.append(ae.transform(X))
            ae.note = "of the callback"
            ae.set_params(tol=0.5)
            if fails:
                raise RuntimeError("of the callback")

    ae = make(max_epochs=1).fit(X)
    Z = ae.transform(X)
    before = dict(vars(ae))
    ae.set_params(callbacks=[Look()])
    wider = 255 * X
    with pytest.raises(RuntimeError, match="of the cal") if fails else nullcontext():
        ae.fit(wider)
    np.testing.assert_array_equal(found[0], Z)
    if fails:
        others = {"callbacks": None, "tol": 0.5, "note": "of the callback"}
        assert vars(ae) | others == before | others
        np.testing.assert_array_equal(ae.transform(X), Z)
    else:
        assert ae.value_range_ == (wider.min(), wider.max())
    assert ae.note == "of the callback" and ae.tol == 0.5


@pytest.mark.parametrize("n", [0, 6])
def test_ctrl_c_leaves_the_estimator_as_it_was(make, X, n):
    unfitted = make(max_epochs=5, augment=interrupt_after(n))
    with pytest.raises(KeyboardInterrupt):
        unfitted.fit(X)
    assert not any(name.endswith("_") for name in vars(unfitted))

    for warm_start in (False, True):
        fitted = make(max_epochs=1, warm_start=warm_start).fit(X)
        Z = fitted.transform(X)
        fitted.set_params(max_epochs=5, augment=interrupt_after(n))
        with pytest.raises(KeyboardInterrupt):
            fitted.fit(X)
        np.testing.assert_array_equal(fitted.transform(X), Z)
        assert fitted.n_iter_ == 1


class StopIn(Callback):
    """Ends the training as callbacks of skorch do."""

    def __init__(self, method, epoch):
        setattr(self, method, self.stop)
        self.epoch = epoch

    def stop(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize(
    "method, finished",
    [("on_epoch_begin", 0), ("on_batch_end", 0), ("on_epoch_end", 1)],
)
def test_a_callback_may_end_the_training(
    make, X, method, finished, epoch, early_stopping
):
    stop = StopIn(method, epoch)
    ae = make(max_epochs=9, callbacks=[stop], early_stopping=early_stopping).fit(X)
    assert ae.n_iter_ == len(ae.loss_curve_) == epoch - 1 + finished
    assert np.isfinite(ae.score(X))


@pytest.mark.parametrize("method, n_iter", [("on_train_begin", 0), ("on_train_end", 2)])
def test_a_callback_may_end_what_has_not_begun_or_is_over(make, X, method, n_iter):
    stop = StopIn(method, n_iter)
    assert make(max_epochs=2, callbacks=[stop]).fit(X).n_iter_ == n_iter


@pytest.fixture
def heard():
    """Ctrl-C as Python hears it, also where the shell has told it not to."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_from_the_keyboard(make, X):
    class Press(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 1:
                threading.Timer(0, _interrupt_main).start()

    ae = make(max_epochs=100_000, callbacks=[Press()])
    with pytest.raises(KeyboardInterrupt):
        ae.fit(X)
    assert vars(ae) == ae.get_params()


@pytest.mark.usefixtures("heard")
def test_ctrl_c_within_a_callback(make, X):
    class Press(Callback):
        def on_epoch_end(self, net, **kwargs):
            signal.raise_signal(signal.SIGINT)

    def handle(number, frame):
        raise KeyboardInterrupt

    for handler in (signal.default_int_handler, handle):
        signal.signal(signal.SIGINT, handler)
        with pytest.raises(KeyboardInterrupt):
            make(callbacks=[Press()]).fit(X)


def test_a_callback_that_ends_the_training_leaves_the_others_their_turn(make, X):
    class Log(Callback):
        events = []

        def notify(self, name, **kwargs):
            self.events.append(name)

        def on_train_begin(self, net, **kwargs):
            self.notify("begin")

        def on_train_end(self, net, **kwargs):
            self.notify("end")

    stops = [StopIn("on_train_begin", 0), StopIn("on_train_end", 0)]
    make(callbacks=[*stops, Log()]).fit(X)
    assert Log.events == ["begin", "end"]


def _interrupt_main():
    import _thread

    _thread.interrupt_main()


def test_codes_in_any_order_of_memory(make, X):
    ae = make().fit(X)
    Z = ae.transform(X)
    for codes in (Z[::-1], np.asfortranarray(Z), Z[:, ::-1], Z[:1][::-1]):
        np.testing.assert_array_equal(
            ae.inverse_transform(codes), ae.inverse_transform(codes.copy())
        )


def test_early_stopping_does_not_judge_where_nothing_would(make, X):
    options = {"early_stopping": True, "validation_fraction": 0.2}
    assert make(**options).fit(X[:19]).trained_share_ is None
    assert make(**options, warm_start=True).fit(X).trained_share_ is None


def test_codes_and_images_that_do_not_fit_the_model(make, X):
    ae = make().fit(X)
    with pytest.raises(ValueError, match=r"X has 4 features, but .* n_components=5"):
        ae.inverse_transform(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"X has 63 features, but .* is expecting 64"):
        ae.transform(X[:, 1:])
    with pytest.raises(
        ValueError, match=r"images of shape \(4, 16\), but fit saw .*\(8, 8\)"
    ):
        ae.transform(X.reshape(-1, 4, 16))


def test_warm_start_names_what_changed(make, X):
    ae = make(warm_start=True).fit(X)
    with pytest.raises(
        ValueError, match=r"n_components \(5 to \d+\).* changed since the training"
    ):
        ae.set_params(n_components=7).fit(X)
    assert ae.transform(X).shape == (30, 5)


class Dense(nn.Module):
    def __init__(self, image_shape, n_components):
        super().__init__()
        self.image_shape = image_shape
        size = int(np.prod(image_shape))
        self.down, self.up = (
            nn.Linear(size, n_components),
            nn.Linear(n_components, size),
        )
        self.offset = nn.Parameter(torch.randn(n_components))
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def encode(self, x):
        return self.down(x.flatten(1)) * self.scale + self.offset

    def decode(self, z):
        return self.up(z).unflatten(1, self.image_shape)


class DrawsUntilItFits(Dense):
    """As torch's truncated normal distribution does."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for _ in range(1000):
            nn.init.normal_(self.offset)
            if self.offset.abs().max() < 1:
                return
        raise AssertionError


class Assigned(nn.Module):
    """With modules in place of methods, and weights drawn like others."""

    def __init__(self, image_shape, n_components):
        super().__init__()
        size = int(np.prod(image_shape))
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(size, n_components))
        self.decode = nn.Sequential(
            nn.Linear(n_components, size), nn.Unflatten(1, image_shape)
        )
        for draw in (torch.rand_like, torch.randn_like):
            self.decode[0].bias.data += draw(self.decode[0].bias)


class AtFirstUse(nn.Module):
    """With weights and a constant that the first images make."""

    def __init__(self, image_shape, n_components):
        super().__init__()
        self.image_shape = image_shape
        self.down = nn.LazyLinear(n_components)
        self.up = nn.Linear(n_components, int(np.prod(image_shape)))
        self.grid = None

    def encode(self, x):
        if self.grid is None:
            self.grid = torch.linspace(0.5, 1, x.shape[3])
        return self.down((x * self.grid.to(x)).flatten(1))

    def decode(self, z):
        return self.up(z).unflatten(1, self.image_shape)


class Pair(Dense):
    def encode(self, x):
        return super().encode(x), x


class WrongShape(Dense):
    def decode(self, z):
        return self.up(z)


class InPlace(Dense):
    def encode(self, x):
        return super().encode(x.mul_(0.5))


class Unforeseen(Dense):
    """With weights of five dimensions, in use outside of layers, in single precision."""

    def __init__(self, image_shape, n_components):
        super().__init__(image_shape, n_components)
        self.volume = nn.Conv3d(1, 1, 3, padding=1)
        self.register_buffer("seen", torch.zeros(1, 1, 1, 1, 1))

    def encode(self, x):
        with torch.no_grad():
            self.seen += 1
        x = self.volume(x.float()[:, :, None])[:, :, 0]
        norm = torch.linalg.matrix_norm(self.down.weight, 2)
        return super().encode(x @ torch.eye(x.shape[3]).to(x)) / norm


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_network_that_does_what_ours_do_not(make, X, precision):
    ae = make(architecture=Unforeseen, precision=precision, max_epochs=2).fit(X)
    for dtype in (np.float32, np.float64):
        rows, before = X.astype(dtype), pickle.dumps(ae)
        codes = ae.transform(rows)
        assert codes.dtype == ae.inverse_transform(codes).dtype == dtype
        assert np.isfinite(ae.score(rows))
        assert pickle.dumps(ae) == before


def test_network_that_changes_its_input_in_place(make, X):
    class OutOfPlace(Dense):
        def encode(self, x):
            return super().encode(x * 0.5)

    same, ae = (make(architecture=c).fit(X) for c in (OutOfPlace, InPlace))
    np.testing.assert_array_equal(ae.transform(X), same.transform(X))
    assert ae.score(X) == same.score(X)


@pytest.mark.parametrize("architecture", ["residual", "plain", InPlace])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_stay_as_they_are(make, X, architecture, dtype):
    X = X.astype(dtype)
    before = X.copy()
    # no scaling, for which the values would be copied anyway
    ae = make(architecture=architecture, value_range=(0, 1), max_epochs=1).fit(X)
    codes = ae.transform(X)
    ae.score(X)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(ae.transform(X), codes)
    # values beyond the range are cut off by a denoiser: in a copy
    beyond = 3 * X
    ae.transform(beyond)
    np.testing.assert_array_equal(beyond, 3 * before)


def test_network_of_ones_own(make, X):
    before = global_states()
    ae = make(architecture=Dense, max_epochs=30).fit(X)
    assert global_states() == before
    assert ae.loss_curve_[-1] < ae.loss_curve_[0]
    assert_same_weights(ae, make(architecture=Dense, max_epochs=30).fit(X))
    with torch.no_grad():
        codes = ae.module_.encode(torch.tensor(X).float().view(-1, 1, 8, 8))
    low, high = ae.value_range_
    by_hand = ae.transform(X * (high - low) + low).astype(np.float32)
    np.testing.assert_allclose(codes, by_hand, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"decode gave shape \(1, 64\).*expected \(1, 1, 8, 8\)"
    ):
        make(architecture=WrongShape).fit(X)
    with pytest.raises(ValueError, match=r"Pair: encode gave tuple for 1 images"):
        make(architecture=Pair).fit(X)


@pytest.mark.parametrize("architecture", [DrawsUntilItFits, Assigned, AtFirstUse])
def test_networks_may_draw_and_be_written_otherwise(make, X, architecture):
    before = global_states()
    ae = make(architecture=architecture).fit(X)
    assert ae.transform(X).shape == (30, 5)
    assert global_states() == before
    assert_same_weights(ae, make(architecture=architecture).fit(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_new_weights_are_used_at_once(make, X, dtype):
    X = X.astype(dtype)
    ae = make(lr=1e-2).fit(X)
    state, first = set(vars(ae)), ae.transform(X)
    assert set(vars(ae)) == state
    other = make(lr=1e-2, random_state=1).fit(X)
    ae.weights_ = other.weights_
    np.testing.assert_array_equal(ae.transform(X), other.transform(X))
    np.testing.assert_array_equal(ae.fit(X).transform(X), first)


def test_net_holds_samples_out_as_skorch_does(make, X, images):
    net = make().fit(X).net_
    images = images.reshape(len(images), 1, *images.shape[1:]).astype(np.float32)
    for given in (images, torch.from_numpy(images)):
        net.set_params(train_split=ValidSplit(5)).partial_fit(given)
        assert np.isfinite(net.history[-1, "valid_loss"])
        assert net.history[-1, "valid_batch_count"] == 1


def test_net_takes_arrays(make, X, images):
    ae = make(max_epochs=3).fit(X)
    scaled = (images[:, None] - X.min()) / np.ptp(X)
    net = ae.net_
    restored = ae.inverse_transform(ae.transform(X)).reshape(images.shape)
    of_net = np.ptp(X) * net.predict(scaled)[:, 0] + X.min()
    limits = restored.min(), restored.max()  # a denoiser clips
    np.testing.assert_allclose(np.clip(of_net, *limits), restored, atol=1e-4)
    scaled = scaled.astype(np.float32)
    net.partial_fit(scaled)
    assert len(net.history) == 3
    net.partial_fit(scaled, np.ones_like(scaled))
    assert net.history[-1, "train_loss"] != net.history[2, "train_loss"]


def test_callbacks_of_skorch_find_the_best_epoch(make, X):
    options = {"early_stopping": True, "max_epochs": 4, "n_iter_no_change": 9}
    best = []

    class Note(Callback):
        def on_epoch_end(self, net, **kwargs):
            best.append(net.history[-1, "valid_loss_best"])

    checkpoint = Checkpoint(
        monitor="valid_loss_best", f_params=BytesIO(), f_history=None
    )
    checkpoint.f_optimizer = checkpoint.f_criterion = None
    ae = make(callbacks=[checkpoint, Note()], lr=1e-12, **options).fit(X)
    curve = ae.validation_curve_
    assert best == [loss < min([np.inf, *curve[:i]]) for i, loss in enumerate(curve)]
    assert not all(best)
    assert checkpoint.f_params.getvalue()


def test_checkpoints_may_hold_all_of_the_net(make, X, tmp_path):
    checkpoint = Checkpoint(monitor=None, f_pickle="net.pkl", dirname=tmp_path)
    for name in ("f_params", "f_optimizer", "f_criterion", "f_history"):
        setattr(checkpoint, name, None)
    ae = make(callbacks=[checkpoint], max_epochs=1).fit(X)
    net = pickle.loads((tmp_path / "net.pkl").read_bytes())
    assert net.module_.state_dict().keys() == ae.weights_.keys()


def test_weights_that_end_infinite_are_no_model(make, X):
    with pytest.raises(ValueError, match=r"weights became .* Lower lr"):
        make(lr=3e38, max_epochs=1, batch_size=100, lr_schedule="constant").fit(X)


def test_what_the_layout_comes_from_may_not_change_in_a_warm_start(make, X):
    ae = make(warm_start=True, max_epochs=1).fit(X)
    for changed in (
        {"resize": (4, 4)},
        {"value_range": (0, 100)},
        {"image_shape": (4, 16)},
    ):
        with pytest.raises(
            ValueError, match=rf"{next(iter(changed))} \(.* to .*\) changed since"
        ):
            copy.deepcopy(ae).set_params(**changed).fit(X)
    learnt = {"value_range": ae.value_range_, "image_shape": [8, 8]}
    assert ae.set_params(**learnt).fit(X).n_iter_ == 2


def test_values_that_a_sigmoid_cannot_give_are_noticed(make, X):
    cut = {"output_activation": "sigmoid", "value_range": (0, 0.5), "max_epochs": 1}
    with pytest.warns(
        UserWarning, match=r"X holds values .* are cut off at value_range=\(0, 0.5\)"
    ):
        make(**cut).fit(X)
    make(**cut | {"value_range": (0, 1)}).fit(X)


def test_sigmoid_keeps_to_the_range_at_another_size(make, X):
    ae = make(output_activation="sigmoid", resize=(6, 6)).fit(X)
    restored = ae.inverse_transform(5 * ae.transform(X))
    assert restored.min() >= X.min() and restored.max() <= X.max()


def test_cross_entropy_at_another_size(make, X):
    options = {"loss": "bce", "output_activation": "sigmoid", "resize": (6, 6)}
    assert np.isfinite(make(**options).fit(X).score(X))


def test_own_augmentation_may_work_in_place(make, X):
    def cut(x, generator):
        x[:, :, 2:6, 2:6] = 0
        return x

    kept = X.copy()
    options = {"warm_start": True}  # which takes no way back to a start without it
    in_place = make(augment=cut, **options).fit(X)
    copied = make(augment=lambda x, g: cut(x.clone(), g), **options).fit(X)
    assert_same_weights(in_place, copied)
    np.testing.assert_array_equal(X, kept)


@pytest.mark.parametrize("result", [None, torch.zeros(2, 2)])
def test_augmentation_that_gives_no_batch_is_named(make, X, result):
    with pytest.raises(ValueError, match=r"augment returned .* for a batch of shape"):
        make(augment=lambda x, generator: result).fit(X)


def test_values_far_outside_of_the_range_are_noticed(make, X):
    ae = make().partial_fit(np.zeros_like(X))
    with pytest.warns(UserWarning, match=r"X holds values .* value_range=\(0, 0\)\. "):
        ae.partial_fit(9 * X)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_channels_first_are_noticed(make, depth):
    X = np.random.default_rng(0).random((12, depth, 8, 8))
    with pytest.warns(UserWarning, match=rf"{depth} x 8 pixels of 8 chan.*moveaxis"):
        make(max_epochs=1).fit(X)
    ae = make(max_epochs=1, image_shape=(depth, 8, 8)).fit(X)
    rows = X.reshape(12, -1)
    with pytest.warns(
        UserWarning, match=rf"image_shape=\({depth}, 8, 8\) is.*transpose"
    ):
        ae.fit(rows)
    ae.transform(rows)  # warns of nothing, as do lines with channels
    make(max_epochs=1, image_shape=(1, 2 * depth, 32)).fit(rows)


def test_start_is_of_rows_from_all_over_the_data(make, monkeypatch):
    if make().architecture != "residual":
        return
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 20))
    X[45:] *= np.linspace(0.1, 2, 20)
    monkeypatch.setattr("sk_autoencoder._start.MOST_ROWS_OF_PCA", 40)
    monkeypatch.setattr("sk_autoencoder._start.MOST_ROWS_OF_FILTER", 40)
    options = {"max_epochs": 1, "lr": 1e-9, "warm_start": True, "augment": None}
    ordered = make(**options).fit(X)
    shuffled = make(**options).fit(X[rng.permutation(90)])
    assert ordered.score(X) == pytest.approx(shuffled.score(X), rel=0.05)


class WithBatchNorm(nn.Module):
    def __init__(self, image_shape, n_components):
        super().__init__()
        size = int(np.prod(image_shape))
        self.shape = image_shape
        self.scale = nn.Parameter(torch.randn(1))  # torch's global generator, if let
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(size, n_components), nn.BatchNorm1d(n_components)
        )
        self.decoder = nn.Linear(n_components, size)

    def encode(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z).unflatten(1, self.shape)


def test_own_network_with_batch_norm(make, X):
    ae = make(architecture=WithBatchNorm, batch_size=len(X) - 1, max_epochs=3).fit(X)
    assert ae.weights_["network.encoder.2.num_batches_tracked"] == 6
    make(architecture=WithBatchNorm, batch_size=2, max_epochs=1).fit(X[:5])
    before = torch.get_rng_state()
    copy.deepcopy(ae).transform(X)
    assert torch.equal(torch.get_rng_state(), before)


def test_default_type_of_torch_does_not_matter(make, X):
    expected = make().fit(X)
    torch.set_default_dtype(torch.float64)
    try:
        ae = make().fit(X)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {array.dtype for array in ae.weights_.values()} == {np.dtype("float32")}
    assert_same_weights(ae, expected)


@pytest.mark.parametrize(
    "mode",
    [
        torch.inference_mode,
        torch.no_grad,
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu", torch.bfloat16),
    ],
    ids=["inference", "no gradients", "device", "autocast"],
)
@pytest.mark.parametrize("n", [3, 40])
def test_modes_of_torch_do_not_matter(make, X, mode, n):
    some = np.resize(X, (n, 64)).astype(np.float32)
    expected = make().fit(X)
    with mode():
        ae = make().fit(X)
        Z = ae.transform(some)
        restored = ae.inverse_transform(Z)
        module = ae.module_
        assert ae.net_ is not None
    assert_same_weights(ae, expected)
    np.testing.assert_array_equal(Z, expected.transform(some))
    np.testing.assert_array_equal(restored, expected.inverse_transform(Z))
    sum(weight.sum() for weight in module.parameters()).backward()


def test_score_takes_weights_of_samples(make, X):
    ae = make().fit(X)
    weights = np.arange(len(X))
    expected = np.average(ae.score_samples(X), weights=weights)
    assert ae.score(X, sample_weight=weights) == pytest.approx(expected)
    with pytest.raises(ValueError, match="sample_weight"):
        ae.score(X, sample_weight=weights[1:])


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_errors_in_any_unit_of_single_precision(make, X, unit):
    X = X.astype(np.float32)
    ae, other = make(), make()
    expected = other.fit(X).score(X) * unit**2
    if "noise_level" in ae.get_params():
        ae.set_params(noise_level=0.2 * unit)
    scaled = X * np.float32(unit)
    assert ae.fit(scaled).score(scaled) == pytest.approx(expected, rel=0.01)


def test_values_too_far_apart_for_single_precision(make, X):
    X = X.astype(np.float32)
    X[0, 0], X[1, 0] = -3e38, 3e38
    with pytest.raises(ValueError, match=r"too far apart .* Divide X by a constant"):
        make().fit(X)


def test_what_augment_returns_is_finite(make, X):
    with pytest.raises(ValueError, match="augment returned values that are not finite"):
        make(augment=lambda batch, generator: batch / 0).fit(X)


def test_a_module_instead_of_its_class_is_named(make, X):
    module = torch.nn.Linear(2, 2)
    with pytest.raises(
        ValueError, match=r"an object of Linear: .* a subclass of torch"
    ):
        make(architecture=module).fit(X)


def test_warnings_point_at_the_line_that_called(make, X):
    def fit():
        make(value_range=(0, 0.5), output_activation="sigmoid").fit(X)
        make(image_shape=None).fit(np.ones((2, 3, 8, 8)))
        GridSearchCV(make(), {"value_range": [(0, 0.01)]}, cv=2).fit(X)
        make_denoising_scorer()(PCA(2).fit(X), 16 * X)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    first = fit.__code__.co_firstlineno + 1
    found = {(each.filename, each.lineno) for each in caught}
    assert found == {(__file__, first + i) for i in range(4)}


@pytest.mark.parametrize(
    "shape, image_shape", [((6, 5), None), ((6, 5), (6, 5, 1)), ((6, 5, 3), None)]
)
def test_one_image_is_no_samples(make, shape, image_shape):
    images = np.random.default_rng(0).random((12, *shape))
    ae = make(image_shape=image_shape).fit(images)
    for call in (ae.transform, ae.score):
        with pytest.raises(
            ValueError, match=r"X is one image of shape.*Pass np.asarray\(X\)\[None\]"
        ):
            call(images[0])
    assert ae.transform(images[:1]).shape == (1, ae.n_components)


def test_data_in_other_units_are_noticed(make, X):
    ae = make().fit(X)
    for other in (100 * X + 1, X - 100 * np.ptp(X)):
        with pytest.warns(
            UserWarning, match="X lies far outside of value_range=.* of the train"
        ):
            ae.transform(other)
    ae.partial_fit(X)
    with pytest.warns(UserWarning, match="Pass data in the units of the first fit"):
        ae.partial_fit(100 * X + 1)
