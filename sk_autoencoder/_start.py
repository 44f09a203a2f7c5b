"""The start at PCA of a network that is linear at first."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.model_selection import KFold
from torch import Tensor

from ._augment import Augmentation
from ._net import AutoencoderNet
from ._pca import pca_of
from ._random import START, make_generator
from ._residual import Residual
from ._samples import Samples

# of the training data, to start at their PCA
MOST_ROWS_OF_PCA = 20_000
MOST_VALUES_OF_PCA = 2**25
MOST_AUGMENTED_ROWS = 2_000
MOST_ROWS_OF_FILTER = 2_000


def start_linear(
    net: AutoencoderNet, images: Samples, augment: Augmentation | None = None
) -> None:
    """Start the network of `net` at PCA, and a denoiser's at Wiener's filter.

    With `augment`, the PCA of a few images is that of transformed copies as well.
    """
    network, seed = net.module_.network, net.feed.seed
    n_values = images.clean[:1].numel()
    most = min(MOST_ROWS_OF_PCA, max(1_000, MOST_VALUES_OF_PCA // n_values))
    clean = images.some(most, seed).clean[:]
    if augment is not None:
        clean = _with_copies(clean, augment, seed)
    start_at_pca(network, net.feed.shrink(clean), seed)
    if network.filters:
        few = images.some(min(most, MOST_ROWS_OF_FILTER), seed)
        batches = net.get_iterator(few, training=True)
        batches.augment = augment
        pairs = [batch[:2] for batch in batches]
        inputs, targets = (torch.cat(each) for each in zip(*pairs))
        if net.feed.self_supervised:  # the inputs hide some of the noisy targets
            start_at_filter(network, targets, None, seed)
        else:
            start_at_filter(network, inputs, targets, seed)


def _with_copies(images: Tensor, augment: Augmentation, seed: int) -> Tensor:
    """Images and, where they are few, transformed copies of them."""
    generator = make_generator(seed, START, device=images.device)
    copies = min(3, MOST_AUGMENTED_ROWS // len(images))
    return torch.cat([images, *(augment(images, generator) for _ in range(copies))])


def start_at_pca(network: Residual, images: Tensor, seed: int) -> None:
    """Set the linear path of `network` to the PCA of images (n, C, h, w).

    Codes then have a mean square of 1 over samples and components. Components beyond
    the rank of the images are random directions that the output does not use yet.
    """
    rows = _rows(images)
    known = min(network.to_code.out_features, *rows.shape)
    pca = pca_of(rows, known, seed, images.device)
    scale = math.sqrt(np.nan_to_num(pca.variances).mean()) or 1.0
    components = torch.from_numpy(pca.components)
    with torch.no_grad():
        network.mean.copy_(torch.from_numpy(pca.mean).view_as(network.mean))
        network.to_code.weight[:known] = (components / scale).to(network.mean)
        network.from_code.weight.zero_()
        network.from_code.weight[:, :known] = (components.T * scale).to(network.mean)


def start_at_filter(
    network: Residual, noisy: Tensor, clean: Tensor | None, seed: int
) -> None:
    """Set the filter of a denoiser's network, which starts at PCA, to Wiener's.

    Each principal component keeps the share of its noisy value that regression on the
    clean one gives, or, without clean images, the share of its variance that is no
    noise.
    """
    rows = _rows(noisy)
    known = min(network.to_code.out_features, *rows.shape)
    targets = rows if clean is None else _rows(clean)
    gains = torch.ones_like(network.gain)
    gains[:known] = torch.from_numpy(
        _gains(rows, targets, known, seed, noisy.device, unknown_noise=clean is None)
    ).to(gains)
    with torch.no_grad():
        network.gain.copy_(gains)
        if clean is not None:
            means = [(x.mean(0) - network.mean).flatten() for x in (noisy, clean)]
            given, wanted = (network.to_code(mean) for mean in means)
            network.offset.copy_(wanted - gains * given)


def _gains(
    noisy: np.ndarray,
    clean: np.ndarray,
    n_components: int,
    seed: int,
    device: torch.device,
    *,
    unknown_noise: bool,
) -> np.ndarray:
    """Wiener's gain of each principal component of clean rows.

    It is taken from rows that the components were not fitted on, since their noise and
    their details would count as signal: the covariance of noisy and clean over the
    variance of noisy. With unknown noise both are the same rows, and the covariance is
    their variance less that along the directions that no component has, or, if there are
    none, along the last.
    """
    n, n_features = noisy.shape
    if n < 10:
        return np.ones(n_components)
    shared, variances, rest = np.zeros(n_components), np.zeros(n_components), 0.0
    for fit, held in KFold(5, shuffle=True, random_state=seed).split(noisy):
        known = min(n_components, len(fit))
        pca = pca_of(clean[fit], known, seed, device)
        given, wanted = (
            (rows[held] - pca.mean) @ pca.components.T for rows in (noisy, clean)
        )
        if not unknown_noise:
            given, wanted = given - given.mean(0), wanted - wanted.mean(0)
        beyond = (0, n_components - known)
        variances += np.pad(np.square(given).mean(0), beyond, mode="edge") / 5
        shared += np.pad((given * wanted).mean(0), beyond, mode="edge") / 5
        left = np.square(noisy[held] - pca.mean).sum(1) - np.square(given).sum(1)
        rest += left.mean() / max(1, n_features - known) / 5
    if unknown_noise:
        shared -= rest if n_features > n_components else variances[-1]
    return np.maximum(shared, 0) / np.maximum(variances, 1e-12)


def _rows(images: Tensor) -> np.ndarray:
    return images.flatten(1).cpu().numpy().astype(np.float64)
