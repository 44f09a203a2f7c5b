"""The start at PCA of a network that is linear at first, and the way back to it."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from torch import Tensor

from ._net import AutoencoderNet
from ._residual import Residual
from ._samples import Samples

# of the way from the start to the trained weights
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)


def start_at_pca(
    network: Residual, images: Tensor, seed: int, *, noisy: bool = False
) -> None:
    """Set the linear path of `network` to the PCA of images (n, C, h, w).

    Codes then have a mean square of 1 over samples and components. Components beyond
    the rank of the images are random directions that the output does not use yet. Of
    noisy images, each component gives back the share that is no noise.
    """
    rows = images.flatten(1).cpu().numpy().astype(np.float64)
    known = min(network.to_code.out_features, *rows.shape)
    with np.errstate(invalid="ignore"):  # of constant images, no variance is explained
        pca = PCA(known, random_state=seed).fit(rows)
    scale = math.sqrt(np.nan_to_num(pca.explained_variance_).mean()) or 1.0
    components = torch.from_numpy(pca.components_)
    with torch.no_grad():
        network.mean.copy_(torch.from_numpy(pca.mean_).view_as(network.mean))
        network.to_code.weight[:known] = (components / scale).to(network.mean)
        network.from_code.weight.zero_()
        network.from_code.weight[:, :known] = (components.T * scale).to(network.mean)
        if noisy:
            # the code's correction makes g (2 - g) of a gain g
            gains = torch.from_numpy(1 - np.sqrt(1 - _gains(rows, known, seed)))
            network.from_code.weight[:, :known] *= gains.to(network.mean)


def _gains(rows: np.ndarray, n_components: int, seed: int) -> np.ndarray:
    """Wiener's gain 1 - s² / v of each principal component of noisy rows.

    v is the variance along the component of rows that it was not fitted on (of those
    that it was fitted on it would count their noise as signal), and s² the mean variance
    along the directions that no component has, or, if there are none, along the last.
    """
    n, n_features = rows.shape
    if n < 10:
        return np.ones(n_components)
    variances, rest = np.zeros(n_components), 0.0
    folds = KFold(5, shuffle=True, random_state=seed)
    for fit, held in folds.split(rows):
        known = min(n_components, len(fit))
        pca = PCA(known, random_state=seed).fit(rows[fit])
        found = np.square(pca.transform(rows[held])).mean(0)
        total = np.square(rows[held] - pca.mean_).sum(1).mean()
        variances += np.pad(found, (0, n_components - known), mode="edge") / 5
        rest += (total - found.sum()) / max(1, n_features - known) / 5
    noise = rest if n_features > n_components else variances[-1]
    return np.clip(1 - noise / np.maximum(variances, 1e-12), 0, 1)


def keep_what_helps(
    net: AutoencoderNet, start: dict[str, Tensor], held: Samples
) -> float:
    """Go back from the trained weights towards `start` as far as `held` gains from it.

    Held-out images tell whether the training has learnt more than the images that it
    saw. Returns the share of the way that is kept, in [0, 1].
    """
    trained = {
        name: tensor.clone() for name, tensor in net.module_.state_dict().items()
    }
    net.autocast_dtype = None
    errors = {}
    for share in SHARES:
        _load_between(net, start, trained, share)
        errors[share] = _errors(net, held)
    best = min(SHARES, key=lambda share: errors[share].mean())
    gain = errors[0.0] - errors[best]
    if gain.mean() <= gain.std() / math.sqrt(len(gain)):
        best = 0.0
    _load_between(net, start, trained, best)
    return best


def number_to_hold_out(n_samples: int) -> int:
    """Samples that decide: 5 %, at most 256; of few up to 10, a tenth; of under 20 none."""
    if n_samples < 20:
        return 0
    return math.ceil(min(max(0.05 * n_samples, min(0.1 * n_samples, 10)), 256))


def _errors(net: AutoencoderNet, images: Samples) -> Tensor:
    """The objective for each image, in the order of `images`."""
    errors = []
    criterion = net.criterion(reduction="none")
    for batch in net.get_iterator(images, training=False):
        _, target, *mask = batch
        output, z = net.validation_step(batch)["y_pred"]
        error = net.value_factor * criterion(output, target)
        if mask:
            error = error * mask[0]
        errors.append(error.flatten(1).sum(1) + net.sparsity * z.abs().sum(1))
    return torch.cat(errors)


def _load_between(
    net: AutoencoderNet,
    start: dict[str, Tensor],
    trained: dict[str, Tensor],
    share: float,
) -> None:
    state = {name: torch.lerp(start[name], trained[name], share) for name in trained}
    net.module_.load_state_dict(state if share < 1 else trained)
