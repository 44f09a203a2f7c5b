"""Recorded steps of training do what steps one by one do.

Without a CUDA device a tape of operations on a CPU stands in for CUDA graphs.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochScoring, Freezer, Unfreezer
from torch.utils._python_dispatch import TorchDispatchMode

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder, _cuda_graph

HAS_CUDA = torch.cuda.is_available()
DEVICE = "cuda" if HAS_CUDA else "cpu"

TASKS = {
    "transformer": (ConvAutoencoderTransformer, {}),
    "plain": (ConvAutoencoderTransformer, {"architecture": "plain"}),
    "table": (ConvAutoencoderTransformer, {"image_shape": (1, 64)}),
    "resized": (ConvAutoencoderTransformer, {"resize": (6, 6)}),
    "cross-entropy": (
        ConvAutoencoderTransformer,
        {"loss": "bce", "output_activation": "sigmoid", "sparsity": 0.1},
    ),
    "early stopping": (
        ConvAutoencoderTransformer,
        {"early_stopping": True, "validation_fraction": 0.2, "max_epochs": 8},
    ),
    "blind": (DenoisingAutoencoder, {"noise_level": (0.05, 0.4)}),
    "self-supervised": (DenoisingAutoencoder, {"self_supervised": True}),
    "self-supervised table": (
        DenoisingAutoencoder,
        {"self_supervised": True, "image_shape": (1, 64)},
    ),
    "at a layer": (
        DenoisingAutoencoder,
        {"noise": "salt_and_pepper", "noise_at": "layer"},
    ),
    **{
        noise: (DenoisingAutoencoder, {"noise": noise})
        for noise in ("dropout", "heteroscedastic", "masking", "poisson", "speckle")
    },
}

# operations that a CUDA device would have to wait for
WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero"}


class Tape(TorchDispatchMode):
    """Runs what it saw once more, in the same memory."""

    def __init__(self):
        super().__init__()
        self.operations, self.own, self.written = [], set(), {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        by_mask = name == "index" and any(
            x is not None and x.dtype == torch.bool for x in args[1]
        )
        assert name not in WAITING and not by_mask, f"a GPU would wait for {name}"
        for argument, value in zip(func._schema.arguments, args):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for x in _tensors(value):
                    if (at := x.untyped_storage().data_ptr()) not in self.own:
                        self.written.setdefault(at, (x, x.detach().clone()))
        result = func(*args, **kwargs)
        aliases = [each.alias_info for each in func._schema.returns]
        if aliases and not any(aliases):  # a new tensor
            self.own |= {x.untyped_storage().data_ptr() for x in _tensors(result)}
            self.operations.append((func, args, kwargs, result))
        elif not aliases or any(each is not None and each.is_write for each in aliases):
            self.operations.append((func, args, kwargs, None))
        return result

    def undo(self):
        """Give what was written from outside its values from before."""
        with torch.no_grad():
            for x, before in self.written.values():
                x.copy_(before)

    def replay(self):
        with torch.no_grad():
            for func, args, kwargs, result in self.operations:
                again = func(*args, **kwargs)
                for old, new in zip(_tensors(result), _tensors(again)):
                    old.detach().copy_(new)


def _tensors(value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return [x for x in values if isinstance(x, torch.Tensor)]


def capture_on_tape(function, generator, pool):
    state, tape = generator.get_state(), Tape()
    try:
        with tape:
            result = function()
    finally:
        tape.undo()
        generator.set_state(state)
    return tape, result


class LooksAtBatches(Callback):
    def on_batch_end(self, net, **kwargs):
        pass


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    """The shapes of what steps were recorded for."""
    if not HAS_CUDA:
        monkeypatch.setattr(_cuda_graph, "DEVICE", "cpu")
        monkeypatch.setattr(_cuda_graph, "capture", capture_on_tape)
        monkeypatch.setattr(_cuda_graph, "_own_stream", lambda device: nullcontext())
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    shapes = []
    record = _cuda_graph.Recorder._record

    def noted(self, given, *others):
        shapes.append(given)
        record(self, given, *others)

    monkeypatch.setattr(_cuda_graph.Recorder, "_record", noted)
    return shapes


def fit(cls, X, target=None, **parameters):
    # no way back to the start, and a rate that is exact in single precision
    options = {"warm_start": True, "lr": 2**-10, "lr_schedule": "constant"}
    options |= {"n_components": 5, "batch_size": 8, "max_epochs": 6, "random_state": 0}
    ae = cls(**options | {"device": DEVICE, "precision": "float32"} | parameters)
    return ae.fit(X) if target is None else ae.fit(X, target=target)


def one_by_one(cls, X, target=None, callbacks=(), **parameters):
    callbacks = [*callbacks, LooksAtBatches()]
    return fit(cls, X, target, callbacks=callbacks, **parameters)


def assert_same(a, b):
    for name, weight in a.weights_.items():
        np.testing.assert_array_equal(weight, b.weights_[name])
    np.testing.assert_array_equal(a.loss_curve_, b.loss_curve_)
    np.testing.assert_array_equal(a.code_mean_curve_, b.code_mean_curve_)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("task", TASKS)
def test_recorded_steps_do_the_same(X, recorded, task, precision):
    cls, parameters = TASKS[task]
    parameters = {**parameters, "precision": precision}
    expected = one_by_one(cls, X, **parameters)
    assert not recorded
    ae = fit(cls, X, **parameters)
    # from the positions of the samples on, for each number of them once
    assert recorded and len(recorded) == len(set(recorded))
    assert all([len(shape) for shape in shapes] == [1] for shapes in recorded)
    assert_same(ae, expected)
    assert_same(fit(cls, X, **parameters), ae)


def test_rates_of_a_schedule_are_read_anew(X, recorded):
    cls, options = ConvAutoencoderTransformer, {"lr_schedule": "one_cycle"}
    expected, ae = one_by_one(cls, X, **options), fit(cls, X, **options)
    assert recorded
    # the rates of torch's fused kernels are of single precision
    np.testing.assert_allclose(ae.loss_curve_, expected.loss_curve_, rtol=1e-4)
    constant = fit(cls, X).loss_curve_
    assert np.abs(np.divide(constant, ae.loss_curve_) - 1).max() > 0.01


def test_pairs_are_recorded_without_their_choice(X, recorded):
    noisy = X + 0.1 * np.random.default_rng(0).standard_normal(X.shape)
    expected = one_by_one(DenoisingAutoencoder, noisy, X)
    assert_same(fit(DenoisingAutoencoder, noisy, X), expected)
    assert recorded and all(len(shapes) == 2 for shapes in recorded)


def test_what_users_wrote_runs_for_each_batch(X, recorded):
    calls = []

    def noise(batch, generator):
        calls.append(len(calls))
        drawn = torch.randn(batch.shape, generator=generator, device=batch.device)
        return batch + 0.01 * len(calls) * drawn

    expected = one_by_one(DenoisingAutoencoder, X, noise=noise)
    n = len(calls)
    calls.clear()
    ae = fit(DenoisingAutoencoder, X, noise=noise)
    assert len(calls) == n and recorded
    assert_same(ae, expected)


class Changes(Callback):
    """Does something to the net after the fifth epoch."""

    def __init__(self, change):
        self.change = change

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 5:
            self.change(net)


def of_all_groups(name, factor):
    def change(net):
        for group in net.optimizer_.param_groups:
            group[name] *= factor

    return Changes(change)


@pytest.mark.parametrize(
    "callbacks",
    [
        [of_all_groups("weight_decay", 3)],
        [of_all_groups("lr", 0.5)],
        [Changes(lambda net: setattr(net, "sparsity", 0.5))],
        [Changes(lambda net: net.set_params(value_factor=0.1))],
        [Changes(lambda net: setattr(net, "criterion_", torch.nn.L1Loss()))],
        [Changes(lambda net: net.initialize_optimizer())],
        [Freezer("network.more*", at=6)],
        [Freezer("network.more*", at=1), Unfreezer("network.more*", at=6)],
    ],
    ids=[
        *("options", "rates", "objective", "set_params", "criterion", "optimiser"),
        *("freezer", "unfreezer"),
    ],
)
def test_changes_between_epochs_are_seen(X, recorded, callbacks):
    options = {"max_epochs": 10}
    expected, ae, unchanged = (
        train(ConvAutoencoderTransformer, X, callbacks=given, **options)
        for train, given in ((one_by_one, callbacks), (fit, callbacks), (fit, []))
    )
    assert recorded
    assert_same(ae, expected)
    with pytest.raises(AssertionError):
        assert_same(ae, unchanged)


class ShortOfMemory(TorchDispatchMode):
    """Has none left in the middle of a backward pass."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "backward" in func._schema.name:
            self.passes = getattr(self, "passes", 0) + 1
            if self.passes == 4:
                raise torch.OutOfMemoryError
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("at_its_end", [False, True])
def test_what_has_no_memory_left_runs_as_it_is(
    X, recorded, monkeypatch, precision, at_its_end
):
    options = {"precision": precision}
    expected = one_by_one(ConvAutoencoderTransformer, X, **options)
    capture = _cuda_graph.capture

    def short_of_memory(function, generator, pool):
        def short():
            with ShortOfMemory():
                return function()

        try:
            return capture(short, generator, pool)
        except torch.OutOfMemoryError:
            if at_its_end:  # as torch has it where a recording cannot be ended
                raise RuntimeError("operation failed due to a previous error")  # noqa: B904
            raise

    monkeypatch.setattr(_cuda_graph, "capture", short_of_memory)
    assert_same(fit(ConvAutoencoderTransformer, X, **options), expected)
    assert len(recorded) == 1


def test_other_errors_of_a_recording_are_told(X, monkeypatch):
    def capture(*args):
        raise RuntimeError("of another kind")

    monkeypatch.setattr(_cuda_graph, "capture", capture)
    with pytest.raises(RuntimeError, match="of another kind"):
        fit(ConvAutoencoderTransformer, X)


def test_an_optimiser_that_changes_before_anything_is_recorded(X, recorded):
    class Anew(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                net.initialize_optimizer()

    options = {"batch_size": 30, "max_epochs": 20}
    expected = one_by_one(ConvAutoencoderTransformer, X, callbacks=[Anew()], **options)
    ae = fit(ConvAutoencoderTransformer, X, callbacks=[Anew()], **options)
    assert recorded
    assert_same(ae, expected)


def test_what_is_not_recorded(X, recorded):
    scoring = EpochScoring(lambda net, X, y=None: 0.0, name="own", on_train=True)
    fit(ConvAutoencoderTransformer, X, callbacks=[scoring])
    fit(ConvAutoencoderTransformer, X, max_epochs=4)  # too short
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        fit(ConvAutoencoderTransformer, X)
    assert not recorded


@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_state_is_as_before(make, X):
    stream, state = torch.cuda.current_stream(), torch.cuda.get_rng_state()
    make(device="cuda").fit(X).score(X)
    assert torch.cuda.current_stream() == stream
    assert torch.equal(torch.cuda.get_rng_state(), state)


@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
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
