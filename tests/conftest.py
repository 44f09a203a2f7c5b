import os

# of each of the processes that share the tests; before torch reads it
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder

# one entry for each estimator and architecture: what holds, holds for all of them
ESTIMATORS = {
    "conv-residual": (ConvAutoencoderTransformer, {"architecture": "residual"}),
    "conv-plain": (ConvAutoencoderTransformer, {"architecture": "plain"}),
    "denoising-residual": (DenoisingAutoencoder, {"architecture": "residual"}),
    "denoising-plain": (DenoisingAutoencoder, {"architecture": "plain"}),
}
SMALL = {"n_components": 5, "max_epochs": 2, "batch_size": 8, "random_state": 0}


@pytest.fixture(params=ESTIMATORS)
def make(request):
    """Build a small estimator of each kind: ``make(**parameters)``."""
    cls, fixed = ESTIMATORS[request.param]
    return lambda **parameters: cls(**SMALL | fixed | parameters)


@pytest.fixture(scope="session")
def images():
    """30 smooth images of 8 x 8, values within [0, 1]."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (30, 1, 1))
    frequency = rng.uniform(0.5, 1.5, (30, 2, 1, 1))
    rows, columns = np.mgrid[:8, :8]
    waves = np.sin(frequency[:, 0] * rows + frequency[:, 1] * columns + phase)
    return (waves + 1) / 2


@pytest.fixture(scope="session")
def X(images):  # noqa: N802
    return images.reshape(30, 64)
