"""The estimator behind both: parameters, transform, inverse_transform, score."""

from __future__ import annotations

from numbers import Integral, Real
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils._param_validation import (  # declarative, as inside scikit-learn
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import (
    _check_sample_weight,  # what scikit-learn gives to estimators outside it too
    check_array,
    check_is_fitted,
    validate_data,
)

from ._callbacks import SCHEDULES
from ._checks import FLOATS, NUMBERS
from ._device import usual_modes
from ._image import ImageLayout, as_rows
from ._inference import Inference, load
from ._modules import ACTIVATIONS
from ._net import LOSSES
from ._training import TrainingMixin

# networks that ran last, since building one takes longer than encoding a row; beside
# the estimators, whose state is parameters, arrays and plain values
_ready: WeakKeyDictionary = WeakKeyDictionary()

# what transform_max_iter may be, where it is a parameter
NUMBER_OF_STEPS = [Interval(Integral, 0, None, closed="left")]


class BaseAutoencoder(
    TrainingMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """All that the autoencoders share; a final class spells out its `__init__`."""

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        # those that are read when they are used have errors that say more
        "architecture": "no_validation",
        "channels": "no_validation",
        "strides": "no_validation",
        "code_activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions({"identity", "sigmoid"})],
        "loss": [StrOptions(set(LOSSES))],
        "sparsity": [Interval(Real, 0, None, closed="left")],
        "image_shape": "no_validation",
        "resize": "no_validation",
        "value_range": "no_validation",
        "augment": [Interval(Real, 0, None, closed="left"), callable, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [StrOptions(set(SCHEDULES))],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "precision": [StrOptions({"float32", "bfloat16", "auto"})],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
    }

    transform_max_iter = 0  # where it is no parameter

    def transform(self, X):
        """Encode X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Rows of pixels, or images.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Codes, float32 for float32 input and float64 otherwise.
        """
        check_is_fitted(self)
        rows, _ = self._validate(X)
        return self._inference(rows.dtype).encode(rows)

    def inverse_transform(self, X):
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes, as `transform` gives them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Reconstructions in the layout and the units that `fit` saw.
        """
        check_is_fitted(self)
        codes = X.numpy(force=True) if isinstance(X, torch.Tensor) else X
        codes = check_array(codes, dtype=FLOATS, input_name="X", estimator=self)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} features, but {type(self).__name__} decodes "
                f"codes of n_components={self._n_features_out}. Pass what transform "
                "returns."
            )
        return self._inference(codes.dtype).decode(codes)

    def score(self, X, y=None, sample_weight=None):
        """Return minus the mean squared error of the reconstructions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Rows of pixels, or images.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in the mean; None for equal ones.

        Returns
        -------
        score : float
            Mean over samples and features, in squared units of X; 0 is the best.
        """
        return weighted_mean(self.score_samples(X), sample_weight)

    def score_samples(self, X):
        """Return minus the mean squared error of each sample's reconstruction.

        Low scores mark samples unlike the training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Rows of pixels, or images.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Mean over the features of each sample, in squared units of X; 0 is the best.
        """
        check_is_fitted(self)
        rows, _ = self._validate(X)
        return -self._inference(rows.dtype).errors(rows)

    @property
    def module_(self):
        """The trained torch Module on the CPU, in float32: encode, decode."""
        check_is_fitted(self)
        return load(self._network, self.weights_)

    @property
    def net_(self):
        """A skorch net around `module_`, whose learning rate stays; without `callbacks`."""
        module, cpu = self.module_, torch.device("cpu")
        changes = {"lr_schedule": "constant", "callbacks": ()}
        try:
            self._validate_params()
            with usual_modes():
                return self._make_net(module, cpu, n_samples=1, **changes)
        except ValueError as error:
            # so that displays of an estimator, which look at all it has, pass it over
            raise AttributeError(f"net_ cannot be made: {error}") from error

    @property
    def _n_features_out(self):
        return self._network["n_components"]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "weights_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _validate(self, X, *, reset=False):
        """Return rows (n, n_features) and the shape of one sample as X has it."""
        rows, shape = as_rows(X, None if reset else self.image_shape_)
        if reset or not self._is_plainly_valid(rows):
            rows = validate_data(self, rows, reset=reset, dtype=NUMBERS)
        return rows, shape or rows.shape[1:]

    def _is_plainly_valid(self, rows):
        """Whether `validate_data`, as slow as encoding a row, would find nothing.

        But for values that are not finite, which `Inference` finds on its way.
        """
        return (
            type(rows) is np.ndarray
            and rows.dtype in FLOATS
            and rows.flags.carray
            and rows.shape[1:] == (self.n_features_in_,)
            and len(rows) > 0
            and not hasattr(self, "feature_names_in_")
        )

    def _inference(self, dtype):
        dtype = np.float32 if dtype == np.float32 else np.float64
        n_steps = self.transform_max_iter
        key = self.device, dtype, n_steps
        known, weights, inference = _ready.get(self, (None, None, None))
        if known != key or weights is not self.weights_:
            validate_parameter_constraints(
                {"transform_max_iter": NUMBER_OF_STEPS},
                {"transform_max_iter": n_steps},
                caller_name=type(self).__name__,
            )
            model = vars(self).copy()  # all of one training, whoever fits meanwhile
            inference = Inference(
                model["_network"],
                model["weights_"],
                ImageLayout(**model["_layout"]),
                self.device,
                dtype,
                clip=model["_clips"],
                n_steps=n_steps,
            )
            _ready[self] = key, model["weights_"], inference
        return inference


def weighted_mean(scores, weights):
    """Mean of the scores (n,) of samples; weights are (n,) or None for equal ones."""
    if weights is not None:
        weights = _check_sample_weight(weights, scores)
    return float(np.average(scores, weights=weights))
