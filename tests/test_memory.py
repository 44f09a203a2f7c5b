import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sk_autoencoder import ConvAutoencoderTransformer

resource = pytest.importorskip("resource")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
pytestmark = [
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library"),
    pytest.mark.skipif(
        HUGE_PAGES.exists() and "[always]" in HUGE_PAGES.read_text(),
        reason="counts small pages",
    ),
]
PAGE = resource.getpagesize()
MB = 2**20


def faults():
    """Pages that the process got from the system so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident():
    """Bytes that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def keeps_large_blocks():
    torch.zeros(400 * MB // 4)
    before = faults()
    torch.zeros(400 * MB // 4)
    return faults() - before < 400 * MB / PAGE


class Watch(Callback):
    def __init__(self):
        self.faults, self.most = [], 0

    def on_epoch_begin(self, net, **kwargs):
        self.before = faults()

    def on_epoch_end(self, net, **kwargs):
        self.faults.append(faults() - self.before)
        self.most = max(self.most, resident())

    def __copy__(self):
        return self


@pytest.mark.parametrize("fails", [False, True])
def test_memory_is_kept_in_training_and_then_given_back(fails):
    watch = Watch()
    ae = ConvAutoencoderTransformer(
        8,
        architecture="plain",
        channels=(48,),
        strides=(1,),
        max_epochs=10,  # the first few of which still get some
        batch_size=64,
        lr=1e30 if fails else 1e-3,
        precision="float32",
        device="cpu",
        callbacks=[watch],
    )
    X = np.random.default_rng(0).random((64, 64, 64), dtype=np.float32)
    if not fails:
        ae.fit(X[:2])  # torch and its threads have what they need
        watch.faults.clear()
    before = resident()
    assert not keeps_large_blocks()
    if fails:
        with pytest.raises(ValueError, match="Lower lr"):
            ae.fit(X)
    else:
        ae.fit(X)
        # one tensor of its one step has 48 MB
        assert min(watch.faults[1:]) < 24 * MB / PAGE
        assert watch.most > before + 150 * MB
        assert resident() < before + 50 * MB
    assert not keeps_large_blocks()
