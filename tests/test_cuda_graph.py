"""Training on a CUDA device: recorded steps do what steps one by one do."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder
from sk_autoencoder._cuda_graph import Recorder
from sk_autoencoder._net import AutoencoderNet

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)

TASKS = {
    "transformer": (ConvAutoencoderTransformer, {}),
    "plain": (ConvAutoencoderTransformer, {"architecture": "plain"}),
    "resized": (ConvAutoencoderTransformer, {"resize": (6, 6)}),
    "cross-entropy": (
        ConvAutoencoderTransformer,
        {"loss": "bce", "output_activation": "sigmoid", "sparsity": 0.1},
    ),
    "early stopping": (
        ConvAutoencoderTransformer,
        {"early_stopping": True, "validation_fraction": 0.2},
    ),
    "blind": (DenoisingAutoencoder, {"noise_level": (0.05, 0.4)}),
    "self-supervised": (DenoisingAutoencoder, {"self_supervised": True}),
    "at a layer": (
        DenoisingAutoencoder,
        {"noise": "salt_and_pepper", "noise_at": "layer"},
    ),
    **{
        noise: (DenoisingAutoencoder, {"noise": noise})
        for noise in ("dropout", "heteroscedastic", "masking", "poisson", "speckle")
    },
}


class LooksAtBatches(Callback):
    def on_batch_end(self, net, **kwargs):
        pass


@pytest.fixture
def recorded(monkeypatch):
    """The shapes that steps were recorded for."""
    shapes = []
    record = Recorder._record

    def counted(self, given, step):
        recording = record(self, given, step)
        shapes.append([tuple(x.shape) for x in given])
        return recording

    monkeypatch.setattr(Recorder, "_record", counted)
    return shapes


def fit(cls, X, target=None, **parameters):
    options = {"n_components": 5, "batch_size": 8, "max_epochs": 4, "random_state": 0}
    ae = cls(**options | {"device": "cuda", "precision": "float32"} | parameters)
    return ae.fit(X) if target is None else ae.fit(X, target=target)


def assert_same(a, b):
    for name, weight in a.weights_.items():
        np.testing.assert_allclose(weight, b.weights_[name], rtol=0, atol=1e-4)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(a.code_mean_curve_, b.code_mean_curve_, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("task", TASKS)
def test_recorded_steps_do_the_same(X, recorded, task, precision):
    cls, parameters = TASKS[task]
    parameters = {**parameters, "precision": precision}
    one_by_one = fit(cls, X, callbacks=[LooksAtBatches()], **parameters)
    assert not recorded
    ae = fit(cls, X, **parameters)
    # from the positions of the samples on, for each number of them once
    assert recorded and len(recorded) == len({tuple(shapes) for shapes in recorded})
    assert all([len(shape) for shape in shapes] == [1] for shapes in recorded)
    assert_same(ae, one_by_one)
    again = fit(cls, X, **parameters)
    for name, weight in ae.weights_.items():
        np.testing.assert_array_equal(weight, again.weights_[name])


def test_pairs_are_recorded_without_their_choice(X, recorded):
    noisy = X + 0.1 * np.random.default_rng(0).standard_normal(X.shape)
    one_by_one = fit(DenoisingAutoencoder, noisy, X, callbacks=[LooksAtBatches()])
    assert not recorded
    assert_same(fit(DenoisingAutoencoder, noisy, X), one_by_one)
    assert recorded and all(len(shapes) == 2 for shapes in recorded)


def test_what_users_wrote_runs_for_each_batch(X, recorded):
    calls = []

    def noise(batch, generator):
        calls.append(len(calls))
        return batch + 0.01 * len(calls) * torch.randn(
            batch.shape, generator=generator, device=batch.device
        )

    def run(**options):
        calls.clear()
        ae = fit(DenoisingAutoencoder, X, noise=noise, warm_start=True, **options)
        return ae, len(calls)

    one_by_one, n = run(callbacks=[LooksAtBatches()])
    ae, n_recorded = run()
    assert n == n_recorded and recorded
    assert_same(ae, one_by_one)


def test_options_of_the_optimiser_may_change(X, recorded):
    class Changes(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 4:
                for group in net.optimizer_.param_groups:
                    group["weight_decay"] *= 3
                    group["lr"] *= 0.5

    options = {"lr_schedule": "constant", "max_epochs": 10}
    one_by_one, ae, unchanged = (
        fit(ConvAutoencoderTransformer, X, callbacks=callbacks, **options)
        for callbacks in ([Changes(), LooksAtBatches()], [Changes()], [])
    )
    assert len(recorded) == 6  # of two sizes, where they change twice
    assert_same(ae, one_by_one)
    with pytest.raises(AssertionError):
        assert_same(ae, unchanged)


def test_what_has_no_memory_left_runs_as_it_is(X, recorded, monkeypatch):
    one_by_one = fit(ConvAutoencoderTransformer, X, callbacks=[LooksAtBatches()])
    step = AutoencoderNet._step

    def fails(self, *args):
        if torch.cuda.is_current_stream_capturing():
            raise torch.OutOfMemoryError
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderNet, "_step", fails)
        assert_same(fit(ConvAutoencoderTransformer, X), one_by_one)
        assert not recorded
    assert_same(fit(ConvAutoencoderTransformer, X), one_by_one)
    assert recorded


def test_settings_are_as_before(make, X):
    def settings():
        cudnn = torch.backends.cudnn
        return cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark

    before, stream = settings(), torch.cuda.current_stream()
    state = torch.cuda.get_rng_state()
    make(device="cuda").fit(X).score(X)
    assert settings() == before and torch.cuda.current_stream() == stream
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_codes_are_those_of_a_cpu(make, X):
    ae = make(device="cuda").fit(X)
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        ae.set_params(device="cuda")
        Z = ae.transform(X.astype(dtype))
        np.testing.assert_array_equal(ae.transform(X.astype(dtype)), Z)
        ae.set_params(device="cpu")
        scale = abs(Z).max()
        np.testing.assert_allclose(
            ae.transform(X.astype(dtype)), Z, rtol=0, atol=tolerance * scale
        )
