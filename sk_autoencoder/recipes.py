"""Parameter sets, to be passed on: ``ConvAutoencoderTransformer(**OLIVETTI)``.

`OLIVETTI` is a deep convolutional autoencoder for the Olivetti faces, from a tutorial
after "Hands-On Unsupervised Learning with Python" (G. Bonaccorso, 2019): the images
shrink from 64 x 64 to 32 x 32 and go through a sigmoid code of 256. `OLIVETTI_DENOISING`
is its denoising sibling for :class:`~sk_autoencoder.DenoisingAutoencoder`.
"""

from typing import Any

OLIVETTI: dict[str, Any] = {
    "n_components": 256,
    "architecture": "plain",
    "channels": (16, 32, 64, 128),
    "strides": (2, 1, 1, 1),
    "code_activation": "sigmoid",
    "output_activation": "sigmoid",
    "loss": "mse",
    "sparsity": 0.0,
    "image_shape": (64, 64),
    "resize": (32, 32),
    "value_range": (0.0, 1.0),
    "augment": None,
    "max_epochs": 600,
    "batch_size": 50,
    "lr": 1e-3,
    "lr_schedule": "constant",
    "weight_decay": 0.0,
    # in bfloat16 the code stays the same for all faces even longer
    "precision": "float32",
}

OLIVETTI_DENOISING: dict[str, Any] = {
    **OLIVETTI,
    "noise": "gaussian",
    "noise_level": 0.2,
    "noise_at": "batch",
}
