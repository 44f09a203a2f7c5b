"""Convolutional autoencoders at home in scikit-learn."""

from ._conv import ConvAutoencoderTransformer
from ._denoising import DenoisingAutoencoder

__all__ = ["ConvAutoencoderTransformer", "DenoisingAutoencoder"]
__version__ = "0.1.0"
