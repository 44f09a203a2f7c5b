import pytest
import torch
import torch.nn.functional as F

from sk_autoencoder import _linear
from sk_autoencoder._linear import FEWEST_FOR_ONEDNN, Linear, linear

MANY = 64, 256, 80  # rows and values, enough for oneDNN


@pytest.fixture(autouse=True)
def slow_in_mkl(monkeypatch):
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no such product")
    monkeypatch.setattr(_linear, "_is_slow_in_mkl", lambda: True)


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def with_gradients(function, *given):
    given = [None if x is None else x.clone().requires_grad_() for x in given]
    y = function(*given)
    (y * draw(*y.shape)).sum().backward()
    return [y.detach(), *(x.grad for x in given if x is not None)]


@pytest.fixture
def used(monkeypatch):
    """The number of products that oneDNN was asked for."""
    calls = []
    product = _linear._onednn
    monkeypatch.setattr(_linear, "_onednn", lambda *a: calls.append(a) or product(*a))
    return calls


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("n, n_in, n_out", [MANY, (3, 40, 20), (1, 2000, 600)])
def test_product_and_gradients_are_torch_s_own(used, n, n_in, n_out, biased):
    given = draw(n, n_in), draw(n_out, n_in), draw(n_out) if biased else None
    ours, torchs = with_gradients(linear, *given), with_gradients(F.linear, *given)
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * n_in**0.5)
    # forwards, and for the gradients of x and W
    assert len(used) == (3 if n * n_in * n_out >= FEWEST_FOR_ONEDNN else 0)


def test_any_layout(used):
    n, n_in, n_out = MANY
    x, weight = draw(n_in, 2 * n).t()[::2], draw(n_out, n_in)
    torch.testing.assert_close(linear(x, weight), x @ weight.t(), rtol=1e-4, atol=1e-3)
    weight.requires_grad_()
    linear(x, weight).sum().backward()  # whose gradient is one value, repeated
    expected = x.sum(0).expand(n_out, -1)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-3)
    assert len(used) == 3


def test_frozen_weights_get_no_gradient(used):
    n, n_in, n_out = MANY
    layer = Linear(n_in, n_out).requires_grad_(False)
    x = draw(n, n_in).requires_grad_()
    layer(x).sum().backward()
    expected = layer.weight.sum(0).expand(n, -1)
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)
    assert layer.weight.grad is None and len(used) == 2


@pytest.mark.parametrize("of", ["double", "autocast"])
def test_other_precisions_are_for_torch(used, of):
    n, n_in, n_out = MANY
    x, weight = draw(n, n_in), draw(n_out, n_in)
    if of == "double":
        x, weight = x.double(), weight.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=of == "autocast"):
        torch.testing.assert_close(linear(x, weight), F.linear(x, weight))
    assert not used
