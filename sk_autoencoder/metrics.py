"""Scores of restored images, and a scorer for denoisers."""

from __future__ import annotations

import math
import warnings
from importlib import import_module
from threading import Lock

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length

from ._device import usual_modes
from ._image import ImageLayout, as_rows, infer_image_shape, with_channels
from ._noise import NOISES, make_corruption, read_level, warn_of_units
from ._random import draw_seed
from ._warnings import warn

__all__ = ["estimate_noise_level", "make_denoising_scorer", "psnr", "ssim"]

_filters = Lock()


def psnr(X_true, X_pred, *, data_range=None):
    r"""Mean peak signal-to-noise ratio of images, in dB.

    .. math:: \frac 1 n \sum_i 10 \log_{10} \frac{R^2}{\mathrm{MSE}_i}

    The mean is one of decibels over the images, not the ratio of a mean error.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
            (n_samples, H, W, C)
        Clean images; of a single one ``X_true[None]``.
    X_pred : array-like of the same number of samples and features
        Restored images.
    data_range : float or None, default=None
        R, the greatest value that a pixel can have minus the least. None takes it from
        the values in `X_true`.

    Returns
    -------
    score : float
        In dB; the greater the better, infinite for equal images.

    Examples
    --------
    >>> from sk_autoencoder.metrics import psnr
    >>> round(psnr([[0.0, 1.0]], [[0.1, 0.9]]), 2)
    20.0
    """
    true, pred, _ = _same_rows(X_true, X_pred)
    errors = np.mean(((true - pred) / _range_of(true, data_range)) ** 2, axis=1)
    with np.errstate(divide="ignore"):
        return float(np.mean(-10 * np.log10(errors)))


def ssim(X_true, X_pred, *, data_range=None, image_shape=None):
    r"""Mean structural similarity of images [1]_.

    scikit-image's, with the settings of the paper: Gaussian windows of standard
    deviation 1.5 (11 x 11 pixels), K1 = 0.01, K2 = 0.03, covariances without Bessel's
    correction; the mean over pixels, channels and images. Images with a side of under 11
    pixels get a uniform window of the greatest odd side that fits, 7 at most.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
            (n_samples, H, W, C)
        Clean images; of a single one ``X_true[None]``.
    X_pred : array-like of the same number of samples and features
        Restored images.
    data_range : float or None, default=None
        The greatest value that a pixel can have minus the least. None takes it from the
        values in `X_true`.
    image_shape : tuple of int or None, default=None
        (H, W) or (H, W, C) of rows; None as for the estimators.

    Returns
    -------
    score : float
        At most 1, which equal images have.

    Raises
    ------
    ImportError
        If scikit-image is not installed.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image quality
       assessment: from error visibility to structural similarity", IEEE TIP (2004).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_autoencoder.metrics import ssim
    >>> X = load_digits().data[:10]
    >>> ssim(X, X)
    1.0
    """
    structural_similarity = _scikit_image("ssim", "metrics").structural_similarity
    true, pred, sample_shape = _same_rows(X_true, X_pred)
    shape = with_channels(infer_image_shape(sample_shape, image_shape))
    side = min(shape[:2])
    if side >= 11:
        window = {"gaussian_weights": True, "sigma": 1.5}
    elif side >= 3:
        window = {"win_size": min(7, side - 1 + side % 2)}
    else:
        raise ValueError(
            f"Images of shape {shape} are too small for ssim, which needs 3 x 3 pixels. "
            "Pass image_shape if the rows hold images of another shape, or use psnr."
        )
    span = _range_of(true, data_range)
    scores = [
        structural_similarity(
            a.reshape(shape) / span,
            b.reshape(shape) / span,
            data_range=1.0,
            channel_axis=2,
            use_sample_covariance=False,
            **window,
        )
        for a, b in zip(true, pred)
    ]
    return float(np.mean(scores))


def estimate_noise_level(X, *, image_shape=None):
    """Estimate the standard deviation of Gaussian noise in images of unknown noise.

    scikit-image's `estimate_sigma`: the median absolute deviation of the finest wavelet
    coefficients [1]_, averaged over the channels; here the median over the images. Fine
    texture counts as noise, so that images of few pixels are overestimated. Of flat
    ones it finds less than all of the noise: 0.9 of it for sides of 8 pixels, and for
    odd sides 0.6 at 5, 0.7 at 9, 0.8 at 15 and 0.9 at 31.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
            (n_samples, H, W, C)
        Noisy images; of a single one ``X[None]``.
    image_shape : tuple of int or None, default=None
        (H, W) or (H, W, C) of rows; None as for the estimators.

    Returns
    -------
    level : float
        In the units of X, as `DenoisingAutoencoder` takes it.

    Raises
    ------
    ImportError
        If scikit-image or PyWavelets is not installed.
    ValueError
        If the images are less than 4 pixels high or wide.

    References
    ----------
    .. [1] D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet
       shrinkage", Biometrika 81 (1994).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_autoencoder.metrics import estimate_noise_level
    >>> flat = np.random.default_rng(0).normal(5, 0.3, (20, 32, 32))
    >>> round(estimate_noise_level(flat), 1)
    0.3
    """
    estimate_sigma = _scikit_image("estimate_noise_level", "restoration").estimate_sigma
    rows, sample_shape = as_rows(X, None)
    rows = check_array(rows, dtype=np.float64, input_name="X")
    shape = with_channels(
        infer_image_shape(sample_shape or rows.shape[1:], image_shape)
    )
    if min(shape[:2]) < 4:
        raise ValueError(
            f"X holds images of {shape[0]} x {shape[1]} pixels, but noise is told from "
            "structure in images of 4 x 4 pixels at least. Pass image_shape=(H, W) or "
            "(H, W, C) where the rows of X are larger images, and one image as X[None]."
        )
    # Python's filters of warnings are those of all threads
    with _filters, np.errstate(invalid="ignore"), warnings.catch_warnings():
        # of a blank image or channel, whose noise is cut off, nothing can be told
        warnings.simplefilter("ignore", RuntimeWarning)
        # and a narrow image is none of channels
        warnings.simplefilter("ignore", UserWarning)
        levels = [
            np.nanmean(estimate_sigma(row.reshape(shape), channel_axis=2))
            for row in rows
        ]
        return float(np.nan_to_num(np.nanmedian(levels)))


def make_denoising_scorer(
    *,
    noise="gaussian",
    noise_level=0.2,
    metric="psnr",
    data_range=None,
    image_shape=None,
    random_state=0,
):
    """Make a scorer for denoisers, as GridSearchCV takes it.

    It corrupts the rows that it is given, which have to be clean, denoises them with the
    estimator, and scores the result against the clean ones. The noise depends on
    `random_state` and the rows alone: all candidates of a search get the same. It is
    clipped to the range of the rows. A search over pairs of noisy and clean samples has
    `DenoisingAutoencoder.score` with its `target` instead. Of an estimator that was
    fitted on noisy samples it warns, since those of a search are noisy, too: filter the
    warning where the rows are clean.

    The estimator may be a `DenoisingAutoencoder`, a Pipeline that ends in one, or
    anything else with `transform` and `inverse_transform`, as PCA.

    Parameters
    ----------
    noise : str or callable, default="gaussian"
        As of :class:`DenoisingAutoencoder`.
    noise_level : float, tuple or array-like, default=0.2
        As of :class:`DenoisingAutoencoder`, in the units of X.
    metric : {"psnr", "ssim", "mse"}, default="psnr"
        "psnr" in dB, "ssim", or minus the mean squared error in squared units of X.
    data_range : float or None, default=None
        Of :func:`psnr` and :func:`ssim`. None takes it from the rows that are scored.
    image_shape : tuple of int or None, default=None
        Of rows, for "ssim" and for a `noise` of your own; None as for the estimators.
    random_state : int, RandomState instance or None, default=0
        Seed of the noise, the same for all that is scored.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` returns a float; the greater the better.

    See Also
    --------
    DenoisingAutoencoder : Its own `score` restores clean samples, at which a model for
        no noise is the best.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sk_autoencoder.metrics import make_denoising_scorer
    >>> X = load_digits().data
    >>> scorer = make_denoising_scorer(noise_level=4)
    >>> search = GridSearchCV(PCA(), {"n_components": [2, 20, 64]}, scoring=scorer)
    >>> search.fit(X).best_params_
    {'n_components': 20}
    """
    if metric not in list(_METRICS):
        raise ValueError(f"metric={metric!r}: expected one of {sorted(_METRICS)}.")
    if not callable(noise):
        if noise not in NOISES:
            raise ValueError(
                f"noise={noise!r}: expected one of {sorted(NOISES)} or a callable."
            )
        read_level(noise, noise_level, np.shape(noise_level), torch.Generator())
    if data_range is not None:
        _range_of(None, data_range)
    if metric == "ssim":  # now, and not after all fits of a search
        _scikit_image("metric='ssim'", "metrics")
    return _DenoisingScorer(
        noise, noise_level, metric, data_range, image_shape, random_state
    )


def _minus_mse(X_true, X_pred, *, data_range=None):
    true, pred, _ = _same_rows(X_true, X_pred)
    return -float(np.mean((true - pred) ** 2))


_METRICS = {"psnr": psnr, "ssim": ssim, "mse": _minus_mse}


class _DenoisingScorer:
    def __init__(
        self, noise, noise_level, metric, data_range, image_shape, random_state
    ):
        self.noise = noise
        self.noise_level = noise_level
        self.metric = metric
        self.data_range = data_range
        self.image_shape = image_shape
        self.random_state = random_state
        self.seed = draw_seed(random_state)  # one for all candidates

    def __repr__(self):
        parameters = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if name != "seed"
        )
        return f"make_denoising_scorer({parameters})"

    def __call__(self, estimator, X, y=None):
        if not hasattr(estimator, "inverse_transform"):
            steps = (step for _, step in getattr(estimator, "steps", ()))
            without = (
                step
                for step in steps
                if step not in (None, "passthrough")
                and not hasattr(step, "inverse_transform")
            )
            raise TypeError(
                "A denoising scorer is for estimators with transform and "
                "inverse_transform, which "
                f"{type(next(without, estimator)).__name__} has not."
            )
        _warn_of_noisy_rows(estimator)
        denoised = estimator.inverse_transform(estimator.transform(self.corrupt(X)))
        options = {"data_range": self.data_range}
        if self.metric == "ssim":
            options["image_shape"] = self.image_shape
        return _METRICS[self.metric](X, denoised, **options)

    @usual_modes()
    def corrupt(self, X):
        """Return noisy copies of X, in its shape; of integers in float64."""
        rows, sample_shape = as_rows(X, None)
        rows = check_array(rows, input_name="X")
        layout = ImageLayout.learn(
            [rows],
            sample_shape or rows.shape[1:],
            image_shape=self.image_shape,
            value_range=None,
            resize=None,
        )
        generator = torch.Generator().manual_seed(self.seed)
        level = None
        if not callable(self.noise):
            level = read_level(
                self.noise, self.noise_level, layout.image_shape, generator
            )
            warn_of_units(self.noise, level, layout)
        corruption = make_corruption(self.noise, level, layout)
        if corruption is None:
            return X
        noisy = corruption(layout.to_images(rows, np.float64, copy=True), generator)
        noisy = layout.to_samples(noisy)
        if rows.dtype == np.float32:
            noisy = noisy.astype(np.float32)
        # names of columns, which estimators look for
        if hasattr(X, "iloc"):
            return type(X)(noisy, columns=X.columns, index=X.index)
        if hasattr(X, "columns"):
            return type(X)(noisy, schema=X.columns)
        return noisy


def _warn_of_noisy_rows(estimator):
    last = estimator
    while isinstance(last, Pipeline):
        last = last[-1]
    for name, how in (
        ("_paired", "a target"),
        ("_self_supervised", "self_supervised=True"),
    ):
        if getattr(last, name, False):
            warn(
                f"{type(last).__name__} was fitted with {how}, but a denoising scorer adds "
                "noise to X and compares with X, which has to be clean. If X is noisy, "
                "as in a search over these fits, score pairs of noisy and clean samples: "
                "DenoisingAutoencoder.score(X, target=clean)."
            )


def _same_rows(X_true, X_pred):
    """Return both as rows, and the shape of a sample of the one that holds images."""
    rows, shapes = [], []
    for name, X in (("X_true", X_true), ("X_pred", X_pred)):
        flat, shape = as_rows(X, None)
        rows.append(check_array(flat, dtype=np.float64, input_name=name))
        if shape is not None:
            shapes.append(shape)
    check_consistent_length(*rows)
    if rows[0].shape != rows[1].shape:
        raise ValueError(
            f"X_true has {rows[0].shape[1]} features, but X_pred has "
            f"{rows[1].shape[1]}. Pass images of the same shape."
        )
    if len({with_channels(shape) for shape in shapes}) > 1:
        raise ValueError(
            f"X_true holds images of shape {np.shape(X_true)[1:]}, but X_pred of "
            f"{np.shape(X_pred)[1:]}. Pass images of the same shape."
        )
    return *rows, shapes[0] if shapes else rows[0].shape[1:]


def _range_of(true, data_range):
    if data_range is None and np.ptp(true) == 0:
        raise ValueError(
            f"X_true holds no other value than {true.flat[0]:g}, which tells no range. "
            "Pass data_range, the greatest value that a pixel can have minus the least."
        )
    try:
        span = float(np.ptp(true) if data_range is None else data_range)
    except (TypeError, ValueError):
        span = math.nan
    if not 0 < span < math.inf:
        raise ValueError(
            f"data_range={data_range!r}: expected the greatest value that a pixel can "
            "have minus the least, which is positive."
        )
    return span


def _scikit_image(name, module):
    try:
        if module == "restoration":
            import pywt  # noqa: F401, which scikit-image imports late
        return import_module(f"skimage.{module}")
    except ImportError as error:
        raise ImportError(
            f"{name} needs scikit-image and PyWavelets: pip install "
            "'sk-autoencoder[metrics]'."
        ) from error
