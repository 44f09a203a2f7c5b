import platform

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sk_autoencoder import ConvAutoencoderTransformer

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library"
)
PAGE = resource.getpagesize()


def faults():
    """Pages that the process got from the system so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def pages_of_new_memory(megabytes):
    before = faults()
    for _ in range(3):
        torch.zeros(megabytes * 2**20 // 4)
    return (faults() - before) / 3


class Faults(Callback):
    def __init__(self):
        self.found = []

    def on_epoch_begin(self, net, **kwargs):
        self.before = faults()

    def on_epoch_end(self, net, **kwargs):
        self.found.append(faults() - self.before)

    def __copy__(self):
        return self


@pytest.mark.parametrize("fails", [False, True])
def test_memory_is_kept_in_training_and_then_given_back(fails):
    counts = Faults()
    ae = ConvAutoencoderTransformer(
        8,
        architecture="plain",
        channels=(48,),
        strides=(1,),
        max_epochs=4,
        batch_size=64,
        lr=1e30 if fails else 1e-3,
        precision="float32",
        device="cpu",
        callbacks=[counts],
    )
    X = np.random.default_rng(0).random((64, 64, 64), dtype=np.float32)
    assert pages_of_new_memory(100) >= 100 * 2**20 / PAGE
    if fails:
        with pytest.raises(ValueError, match="Lower lr"):
            ae.fit(X)
    else:
        ae.fit(X)
        # one tensor of its one step has 48 MB
        assert min(counts.found[1:]) < 24 * 2**20 / PAGE
    assert pages_of_new_memory(100) >= 100 * 2**20 / PAGE
