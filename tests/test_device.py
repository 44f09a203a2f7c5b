"""Devices and precisions: what is there is used, what is not is named."""

import pytest
import torch

from sk_autoencoder._device import autocast_dtype, resolve_device


def test_auto_is_the_best_there():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    if torch.backends.mps.is_available():
        expected = "mps"
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_cpu(device):
    assert resolve_device(device) == torch.device("cpu")


def test_auto_precision_asks_the_processor(monkeypatch):
    cpu = torch.device("cpu")
    for has, expected in (
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx2": True}, None),
    ):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda has=has: has, raising=False
        )
        assert autocast_dtype("auto", cpu) is expected
    assert autocast_dtype("float32", cpu) is None
    assert autocast_dtype("bfloat16", cpu) is torch.bfloat16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fitted_on_a_gpu_loads_without_one(make, X, monkeypatch):
    ae = make(device="cuda", precision="float32").fit(X)
    Z = ae.transform(X)
    assert ae.device_ == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert abs(ae.transform(X) - Z).max() < 1e-4
