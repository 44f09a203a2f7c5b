"""Devices and precisions: what is there is used, what is not is named."""

import subprocess
import sys
from functools import partial

import pytest
import torch

from sk_autoencoder._cudnn import exact
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


def precisions():
    cudnn = torch.backends.cudnn
    return [x.fp32_precision for x in (torch.backends, cudnn, cudnn.conv, cudnn.rnn)]


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("of_user", [None, "ieee", "tf32"])
def test_settings_of_cudnn_are_undone(monkeypatch, request, is_own, of_user):
    cuda, cudnn = torch.device("cuda"), torch.backends.cudnn
    if of_user is not None:
        setting = cudnn.conv, "fp32_precision"
        request.addfinalizer(partial(setattr, *setting, cudnn.conv.fp32_precision))
        setattr(*setting, of_user)
    monkeypatch.setattr(cudnn, "benchmark", True)
    before = precisions()
    with exact(torch.device("cpu"), is_own=is_own):
        assert precisions() == before and not cudnn.deterministic
    for _ in range(2):
        with exact(cuda, is_own=is_own):
            with exact(cuda, is_own=is_own):
                pass
            assert cudnn.deterministic and not cudnn.benchmark
            assert (precisions() == [before[0], *["ieee"] * 3]) == is_own
        with pytest.raises(KeyError), exact(cuda, is_own=is_own):
            raise KeyError
        assert precisions() == before
        assert cudnn.benchmark and not cudnn.deterministic


def test_settings_of_cudnn_follow_the_user_afterwards():
    run = """
import torch
from sk_autoencoder._cudnn import exact
with exact(torch.device("cuda"), is_own=True):
    pass
assert torch.backends.cudnn.allow_tf32
torch.backends.fp32_precision = "ieee"
assert torch.backends.cudnn.conv.fp32_precision == "ieee"
"""
    subprocess.run([sys.executable, "-c", run], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fitted_on_a_gpu_loads_without_one(make, X, monkeypatch):
    ae = make(device="cuda", precision="float32").fit(X)
    Z = ae.transform(X)
    assert ae.device_ == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert abs(ae.transform(X) - Z).max() < 1e-4
