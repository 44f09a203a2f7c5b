import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder, _linear
from sk_autoencoder._linear import speed_up_linear


@pytest.fixture
def products(monkeypatch):
    """Numbers of rows that oneDNN was asked for, as on a processor that MKL is slow on."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no such product")
    asked = []
    product = torch.ops.mkldnn._linear_pointwise

    def counted(x, *others):
        asked.append(len(x))
        return product(x, *others)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    monkeypatch.setattr(_linear, "_is_slow_in_mkl", lambda: True)
    return asked


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("n", [1, 31, 32, 64, 100, 130])
def test_product_is_torch_s_own(products, n, biased):
    layers = nn.Sequential(nn.Linear(40, 70, biased), nn.ReLU(), nn.Linear(70, 5))
    fast = copy.deepcopy(layers)
    speed_up_linear(fast)
    x = torch.randn(40, 2 * n, generator=torch.Generator().manual_seed(n)).t()[::2]
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), layers(x), rtol=1e-4, atol=1e-5)
    # what it compiles for a number of rows stays in memory: there are to be few; and
    # of thin layers it is no faster
    assert products == ([-(-n // 64) * 64] if n >= 32 else [])


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("n", [20, 32, 50, 129])
def test_gradients_are_torch_s_own(products, n, biased):
    layers = nn.Sequential(
        nn.Linear(40, 70, biased), nn.ReLU(), nn.Linear(70, 30, biased)
    )
    x = torch.randn(40, n, generator=torch.Generator().manual_seed(n)).t()
    x.requires_grad_()

    def gradients():
        # of a sum the gradient is one number, expanded
        return torch.autograd.grad(layers(x).sum(), [x, *layers.parameters()])

    expected = gradients()
    speed_up_linear(layers)
    for found, wanted in zip(gradients(), expected):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    # in either layer: forward, to what is below, to the weight
    assert len(products) == (6 if n >= 32 else 0)


@pytest.mark.parametrize("cls", [ConvAutoencoderTransformer, DenoisingAutoencoder])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_training_in_float32(products, monkeypatch, cls, precision, architecture):
    X = np.random.default_rng(0).random((70, 64)).astype(np.float32)
    ae = cls(
        64,
        architecture=architecture,
        precision=precision,
        max_epochs=2,
        batch_size=35,
        device="cpu",
        random_state=0,
        warm_start=True,  # trains on all rows
    )
    fast, again = (clone(ae).fit(X) for _ in range(2))
    is_fast = precision == "float32"
    assert (35 in products) == bool(products) == is_fast
    monkeypatch.setattr(_linear, "_is_slow_in_mkl", lambda: False)
    products.clear()
    slow = ae.fit(X)
    assert not products
    # of some weights the gradient is rounding alone, and a step as large as any
    np.testing.assert_allclose(
        fast.loss_curve_, slow.loss_curve_, rtol=1e-3 if is_fast else 0
    )
    for name, weights in fast.weights_.items():
        np.testing.assert_array_equal(again.weights_[name], weights)


def test_copies_of_networks_in_training_are_torch_s_alone(products):
    X = np.random.default_rng(0).random((70, 64)).astype(np.float32)
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, net, **kwargs):
            kept.append(net.module_)
            kept.append(copy.deepcopy(net.module_))
            kept.append(pickle.loads(pickle.dumps(net.module_)))

    options = {"precision": "float32", "max_epochs": 1, "device": "cpu"}
    ConvAutoencoderTransformer(20, **options, callbacks=[Keep()]).fit(X)
    kinds = [{type(layer) for layer in module.modules()} for module in kept]
    assert [_linear._OneDnnLinear in each for each in kinds] == [True, False, False]
    assert products
    products.clear()
    images = torch.zeros(70, 1, 8, 8, dtype=torch.float64)
    for module in kept:
        with torch.no_grad():
            module.double()(images)
    assert not products


@pytest.mark.parametrize("cls", [ConvAutoencoderTransformer, DenoisingAutoencoder])
def test_codes_are_those_of_the_slow_product(products, monkeypatch, cls):
    X = np.random.default_rng(0).random((70, 64)).astype(np.float32)
    ae = cls(20, precision="bfloat16", max_epochs=1, device="cpu", random_state=0)
    ae.fit(X)
    assert not products
    Z = ae.transform(X)
    images = ae.inverse_transform(Z)
    assert set(products) == {128}
    products.clear()
    ae.transform(X.astype(np.float64))
    ae.transform(X[:1])
    assert not products
    kinds = {type(layer) for layer in ae.module_.modules()}
    assert nn.Linear in kinds and _linear._OneDnnLinear not in kinds

    monkeypatch.setattr(_linear, "_is_slow_in_mkl", lambda: False)
    slow = copy.deepcopy(ae)
    np.testing.assert_allclose(slow.transform(X), Z, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(slow.inverse_transform(Z), images, rtol=1e-4, atol=1e-4)
    assert not products


def test_a_search_asks_for_few_numbers_of_rows(products):
    X = np.random.default_rng(0).random((70, 64)).astype(np.float32)
    ae = ConvAutoencoderTransformer(20, max_epochs=1, device="cpu", random_state=0)
    ae.set_params(precision="bfloat16").fit(X)
    ae.set_params(transform_max_iter=2).transform(X)
    assert set(products) == {128}


def test_weights_that_are_views(products):
    X = np.random.default_rng(0).random((70, 64)).astype(np.float32)
    ae = ConvAutoencoderTransformer(20, max_epochs=1, device="cpu", random_state=0)
    ae.fit(X)
    Z = ae.transform(X)
    ae.weights_ = {
        name: np.repeat(array, 2, axis=0)[::2] if array.ndim else array
        for name, array in ae.weights_.items()
    }
    products.clear()
    np.testing.assert_array_equal(ae.transform(X), Z)
    assert products


@pytest.mark.parametrize(
    "name, avx512, is_slow",
    [
        ("AMD EPYC", True, True),
        ("AMD EPYC", False, False),
        ("Intel(R) Xeon(R)", True, False),
        (None, None, False),
    ],
)
def test_where_mkl_is_slow(monkeypatch, name, avx512, is_slow):
    found = {} if name is None else {"cpu_name": name, "avx512_f": avx512}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    _linear._is_slow_in_mkl.cache_clear()
    try:
        known = hasattr(torch.ops.mkldnn, "_linear_pointwise")
        assert _linear._is_slow_in_mkl() is (is_slow and known)
    finally:
        _linear._is_slow_in_mkl.cache_clear()
