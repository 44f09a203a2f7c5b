"""The autoencoder that removes noise."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.base import (
    _fit_context,  # the decorator scikit-learn gives to estimators outside it too
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._base import BaseAutoencoder, weighted_mean
from ._checks import validate_target
from ._image import as_rows
from ._noise import NOISES, make_corruption, read_level, warn_of_units
from ._random import NOISE_LEVELS, make_generator
from ._warnings import warn


class DenoisingAutoencoder(BaseAutoencoder):
    r"""Autoencoder that is trained to restore images from noisy ones.

    Each batch of images is corrupted afresh and the network learns to give back the
    clean ones through a code of `n_components` numbers [1]_: `denoise` restores noisy
    images, `transform` gives codes that noise moves little.

    With encoder e and decoder d, training minimises the mean over the samples of

    .. math::

        \ell(x, d(e(\tilde x))) + \lambda \lVert e(\tilde x) \rVert_1,
        \qquad \tilde x = \mathrm{clip}(n(x))

    where :math:`\ell` is half the squared error or the binary cross-entropy, summed
    over the values of an image, n the noise and :math:`\lambda` is `sparsity`.

    The default network starts at a Wiener filter: each principal component of the
    training images is shrunk as regression of clean on noisy ones tells. Convolutions
    that see the noisy image and the filtered one add what the filter misses before the
    code is made; nothing but the code reaches the output.

    Parameters
    ----------
    n_components : int, default=256
        Length of the code. It may exceed the number of samples and of features.
    architecture : {"residual", "plain"} or Module subclass, default="residual"
        "residual" starts at PCA and adds what perceptrons and a stack of convolutions
        learn beyond it. It holds out a tenth of up to 100 samples, 10 of up to 200, and
        5 % of more, at most 256 (none of fewer than 20 or with `warm_start`); where
        they gain nothing, it stays PCA, of images and transformed copies if those help.
        "plain" is a stack of 3 x 3 convolutions, a dense code and a stack of transposed
        convolutions. A torch.nn.Module class of your own is built as
        ``architecture(image_shape=(C, H, W), n_components=K)``, with `channels` and
        `strides` where they are set, and has methods ``encode`` from (n, C, H, W) to
        (n, K) and ``decode`` back; values are scaled to [0, 1]. Its weights are drawn
        from `random_state`, and other random values that it keeps belong in persistent
        buffers; layers that draw during training (dropout) use torch's global
        generator.
    channels : sequence of int or None, default=None
        Feature maps: of the encoder's convolutions in "plain", None being
        (16, 32, 64, 128); of the blocks that refine the image in "residual", None being
        three of 32, or, beyond 48 pixels a side, of 48 (64 in a denoiser).
    strides : sequence of int or None, default=None
        Strides of the encoder's convolutions in "plain", 1 to 3 each, None being
        (2, 1, 1, 1). In "residual" a single one, the side of the blocks of pixels that
        are refined together, None being a power of two that leaves at most 24 x 24,
        if the image has room for it.
    code_activation : {"identity", "sigmoid", "tanh", "relu"}, default="identity"
        Applied to the code. In "residual" it starts where it is nearly a line, so that
        the network starts near PCA: "relu" after adding 4, "sigmoid" and "tanh" after
        dividing by 10.
    output_activation : {"identity", "sigmoid"}, default="identity"
        Applied to the output. "sigmoid" confines reconstructions to the value range; in
        "residual" only values near its ends, within 2 % or beyond, are moved for it.
    loss : {"mse", "bce"}, default="mse"
        Squared error or binary cross-entropy. "bce" takes values within the value range
        and needs ``output_activation="sigmoid"``.
    sparsity : float, default=0.0
        Weight of the L1 penalty on the code, non-negative.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of the images in rows of X, the
        channels last, also within a row. None takes it from X where X holds images; rows
        are square images where the number of features is a perfect square, else one line
        of pixels.
    resize : tuple of int or None, default=None
        (height, width) that the network works at, by bicubic interpolation at
        ``i * H / h`` without a low-pass filter. Outputs come back at the size of X.
    value_range : tuple of float or None, default=None
        (low, high) of the data, which the network sees as 0 and 1. None learns the
        smallest and the largest value in `fit`.
    augment : float, callable or None, default=1.0
        Random transforms of the training images: a strength for shifts, rotations,
        scales and contrasts (at 1, up to 5 % of a side, 5 degrees times the shorter
        side over the longer, 5 % and 10 %), which a random share of each batch
        undergoes: ``sqrt(200 / n_samples)`` of it, at least 0.4 and at most 0.8. Where
        flipped images look like the data, as those of pieces of larger pictures do,
        ``sqrt(1000 / n_samples)`` of them, at most half, are flipped, too (see
        `flips_`; never pairs). Or a callable ``(batch, generator) -> batch`` on tensors
        (n, C, H, W) in [0, 1], for whole batches, without flips;
        ``torch.rand(len(batch), generator=generator, device=batch.device)`` draws a
        number for each image. None uses the images as they are. A strength leaves lines
        of pixels alone.
    max_epochs : int or None, default=None
        Passes over the training data, at most. None takes as many as show about
        ``60_000 * (n_samples / 300) ** 0.25`` samples in all, but at most
        ``min(400, 3 * n_samples)`` and at least 10.
    batch_size : int or None, default=None
        Samples per step of the optimiser. None is a power of two near
        ``n_samples / 20``, from 32 to 128.
    lr : float, default=2e-3
        Learning rate of the optimiser, the highest one of a schedule. That is AdamW; in
        "residual" Muon (K. Jordan et al., 2024) trains the kernels of the convolutions.
    lr_schedule : {"constant", "one_cycle", "cosine"}, default="one_cycle"
        "one_cycle" rises to `lr` over 10 % of the training and falls along a cosine;
        "cosine" falls from the start. Schedulers among the `callbacks` want "constant".
    weight_decay : float, default=0.5
        Decoupled weight decay, as in AdamW.
    early_stopping : bool, default=False
        Hold out a part of the data and stop when its loss no longer falls; the weights
        of the best epoch are kept.
    validation_fraction : float, default=0.1
        Part of the data to hold out, in (0, 1). Used with `early_stopping` only.
    n_iter_no_change : int, default=10
        Epochs without a fall before stopping. Used with `early_stopping` only.
    tol : float, default=1e-4
        A loss has fallen when it is below the best by this fraction of it. Used with
        `early_stopping` only.
    precision : {"float32", "bfloat16", "auto"}, default="auto"
        Arithmetic of training. "auto" is bfloat16 where the processor computes in it,
        with weights kept in float32; on a CPU "plain" with a stride that ends at a
        single pixel trains in float32 whatever is set. Inference is in the precision of X.
        On a GPU the convolutions of both architectures do not round float32 to TF32.
    device : str or torch.device, default="auto"
        "auto", "cpu", "cuda", "cuda:1" or "mps"; "auto" is the best one there. After
        `fit` a device that is missing (a model moved to another machine) means the CPU.
    random_state : int, RandomState instance or None, default=None
        Drives initialisation, order of the samples, augmentation and noise. Pass an int
        for the same weights each time. The global generators are neither read nor
        moved, but by a network of your own that draws.
    warm_start : bool, default=False
        Continue from the weights and the optimiser's state of the last call of `fit`
        for `max_epochs` more. The state triples the size of the estimator.
    callbacks : list of skorch callbacks or None, default=None
        Called during training, `fit` works on shallow copies; one that raises
        KeyboardInterrupt ends the training, as in skorch. The history holds
        "train_loss", "code_mean" and, with `early_stopping`, "valid_loss". On a GPU,
        one with a method for batches or gradients makes training several times slower.
    verbose : int, default=0
        1 prints a line an epoch with the loss per value, the loss per sample and the
        mean of the code; 2 adds a progress bar.
    noise : str or callable, default="gaussian"
        Kind of corruption, fresh for every batch; :math:`x` are values in the units of X,
        :math:`\sigma` is `noise_level` and :math:`\varepsilon` standard normal.

        - "gaussian": :math:`x + \sigma \varepsilon`, one variance for all components.
        - "heteroscedastic": the same with a level for each component.
        - "dropout": each value is 0 with probability `noise_level`, the others are
          divided by 1 - `noise_level`.
        - "masking": each value is 0 with probability `noise_level`.
        - "salt_and_pepper": each value is the least or the greatest of the value range
          with probability `noise_level`, half of it each.
        - "poisson": counts of photons, x being their mean; `noise_level` is the standard
          deviation at the greatest value, and elsewhere falls with the root of x.
        - "speckle": :math:`x (1 + \sigma \varepsilon)`, `noise_level` is a part of x.

        A callable ``(batch, generator) -> batch`` gets and returns tensors (n, C, H, W)
        in the units of X and draws from the torch Generator; `noise_level` is not used.
        ``lambda batch, generator: batch + 4 * torch.randn(batch.shape,
        generator=generator, device=batch.device)`` is "gaussian" at 4.
    noise_level : float, (low, high) or array of n_features, default=0.2
        Strength of the noise: a standard deviation in the units of X, except where
        `noise` says otherwise. Of a pair each sample draws its own level, ``low + (high
        - low) * u**3`` with u uniform on [0, 1]: one model for noise of unknown
        strength, half of it below an eighth of the range. By default it is trained for up
        to half as many epochs again, and in "residual" sees the mean and the standard
        deviation of each channel, which tell of the level. For "heteroscedastic", an
        array holds the standard deviation of each feature (of two features, pass no
        tuple); a number or a pair is multiplied by factors that each fit draws for the
        features, uniformly from 0 to 2: for images with levels of their own, pass those.
    noise_at : {"batch", "layer"}, default="batch"
        "batch" corrupts the samples of each batch before they enter the network and
        clips them to the value range, as `transform` does from then on: noise that
        leaves the range would be new to the network. `inverse_transform` and `denoise`
        clip their output likewise, since clean images lie in the range. "layer" is a
        layer of noise in front of the encoder: it acts in training only, not on the
        samples that early stopping looks at, on images at the size that the network
        works at, and does not clip.
    self_supervised : bool, default=False
        Whether X holds noisy samples and there are no clean ones. The network then
        learns to predict a sixteenth of the pixels, hidden from it, from the others [2]_,
        and `noise` and `augment` (unless callable) are not used. It starts at PCA with
        each component shrunk by the share of noise in it, and of few samples learns
        little beyond. It works as far as the noise is independent between pixels and its
        mean is zero, which `resize` impairs; the errors against noisy samples stay high.
        Covariance penalties [3]_ decide what held-out samples keep of the training. They
        think too little of it where errors are rare and strong, as salt and pepper are:
        ``warm_start=True``, which holds none out, keeps all of it.

    Attributes
    ----------
    noise_level_ : float, ndarray of shape (n_features,), tuple of two or None
        Level of the noise in training; an array, or a tuple of two, where `noise` is
        "heteroscedastic"; None where `noise` is a callable or not used.
    weights_ : dict of str to ndarray
        Weights of the network in float32, by the names of torch's state dict. To change
        them, assign a new dict.
    image_shape_ : tuple of int
        (height, width) or (height, width, channels) of a sample.
    value_range_ : tuple of float
        (low, high) that the network sees as 0 and 1.
    n_iter_ : int
        Epochs trained.
    loss_curve_ : list of float
        Mean squared error or cross-entropy of each epoch's batches, per value, on
        images scaled to [0, 1] at the size the network works at.
    validation_curve_ : list of float or None
        The same on the held-out samples, of epochs with `early_stopping`; None without.
    code_mean_curve_ : list of float
        Mean of the code over each epoch.
    trained_share_ : float or None
        Part of the way from the linear start to the trained weights that the network of
        "residual" went, the held-out samples gaining most there: 1.0 is all of it, 0.0
        means that the start was better. None where none were held out.
    flips_ : tuple of {"vertical", "horizontal"}
        Flips that the augmentation makes use of: a support vector classifier, trained on
        half of up to 500 samples, finds the sample among itself and its flipped self in
        at most 60 % of the other half. Empty with fewer than 100 samples, for lines, and
        where `augment` is a callable, 0 or None. Of calls of `partial_fit` the first
        decides.
    device_ : str
        Where the last training ran.
    module_ : torch.nn.Module
        The trained network, built at each access: ``encode`` and ``decode`` on images
        (n, C, H, W) scaled to [0, 1], at the size that the network works at.
    net_ : skorch.NeuralNet
        A net around `module_`, built at each access. It takes images as `module_` does,
        and its learning rate is constant.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    ConvAutoencoderTransformer : The same network, trained without noise.

    Notes
    -----
    Training images lie on the device in float32. Where X is a memory map (images with
    the channels last), or they would take more than a quarter of the memory (on a GPU,
    half of what is free), each batch is read from X instead, to the same weights. The
    start at PCA then takes copies in float64 of up to 20,000 rows, of ``2**25`` values
    in all where that is above 1,000 rows.

    References
    ----------
    .. [1] P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, "Extracting and
       composing robust features with denoising autoencoders", ICML (2008).
    .. [2] J. Batson and L. Royer, "Noise2Self: blind denoising by self-supervision",
       ICML (2019).
    .. [3] B. Efron, "The estimation of prediction error: covariance penalties and
       cross-validation", Journal of the American Statistical Association 99 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sk_autoencoder import DenoisingAutoencoder
    >>> X, y = load_digits(return_X_y=True)
    >>> ae = DenoisingAutoencoder(32, noise_level=4, max_epochs=5, random_state=0)
    >>> noisy = X + np.random.default_rng(0).normal(0, 4, X.shape)
    >>> restored = ae.fit(X).denoise(noisy)
    >>> bool(np.mean((restored - X) ** 2) < 0.6 * np.mean((noisy - X) ** 2))
    True
    """

    _cleaner = True

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "noise": [StrOptions(set(NOISES)), callable],
        "noise_level": [Interval(Real, 0, None, closed="left"), "array-like"],
        "noise_at": [StrOptions({"batch", "layer"})],
        "self_supervised": ["boolean"],
    }

    def __init__(
        self,
        n_components=256,
        *,
        architecture="residual",
        channels=None,
        strides=None,
        code_activation="identity",
        output_activation="identity",
        loss="mse",
        sparsity=0.0,
        image_shape=None,
        resize=None,
        value_range=None,
        augment=1.0,
        max_epochs=None,
        batch_size=None,
        lr=2e-3,
        lr_schedule="one_cycle",
        weight_decay=0.5,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        precision="auto",
        device="auto",
        random_state=None,
        warm_start=False,
        callbacks=None,
        verbose=0,
        noise="gaussian",
        noise_level=0.2,
        noise_at="batch",
        self_supervised=False,
    ):
        self.n_components = n_components
        self.architecture = architecture
        self.channels = channels
        self.strides = strides
        self.code_activation = code_activation
        self.output_activation = output_activation
        self.loss = loss
        self.sparsity = sparsity
        self.image_shape = image_shape
        self.resize = resize
        self.value_range = value_range
        self.augment = augment
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.verbose = verbose
        self.noise = noise
        self.noise_level = noise_level
        self.noise_at = noise_at
        self.self_supervised = self_supervised

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, target=None):
        """Train the network to restore X, or target, from noisy samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Rows of pixels, or images.
        y : Ignored
            Not used, present for API consistency by convention.
        target : array-like of the shape of X or None, default=None
            Clean version of each sample, where X holds noisy ones. The network is then
            trained from X to `target`, `noise` is not used, and a value range is learnt
            from both: `target` is in the units of X, and the steps of a Pipeline before
            this one do not transform it. Augmentation moves what is wrong with X along,
            which is worth it of few samples; of many, ``augment=None`` does better where
            that keeps its place, as shading does.
            Pipelines and searches pass it on with metadata routing, to `score` too if
            `set_score_request` says so.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is not as described, if the device is not there, or if
            the loss does not stay finite. The estimator is then as it was before, as
            it is after a Ctrl-C.
        """
        self._check_target(X, y, target)
        return self._train(X, target, resume=self.warm_start)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, target=None):
        """Train for one more epoch, on the rows of X.

        The first call learns the shape and the value range of the data, unless `fit`
        did, and a network that starts at PCA starts there. The learning rate is constant
        and no samples are held out. Calls with the same X give what one `fit` of as many
        epochs gives with ``lr_schedule="constant"`` and ``warm_start=True``, the
        optimiser's state included.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Rows of pixels, or images.
        y : Ignored
            Not used, present for API consistency by convention.
        target : array-like of the shape of X or None, default=None
            Clean version of each sample, where X holds noisy ones. The network is then
            trained from X to `target`, `noise` is not used, and a value range is learnt
            from both: `target` is in the units of X, and the steps of a Pipeline before
            this one do not transform it. Augmentation moves what is wrong with X along,
            which is worth it of few samples; of many, ``augment=None`` does better where
            that keeps its place, as shading does.
            Pipelines and searches pass it on with metadata routing.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        self._check_target(X, y, target)
        return self._train(X, target, resume=True, incremental=True)

    def denoise(self, X):
        """Restore noisy samples: ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Noisy rows of pixels, or images.

        Returns
        -------
        X_denoised : ndarray of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Estimates of the clean samples, in the layout and the units that `fit` saw.
        """
        return self.inverse_transform(self.transform(X))

    def score(self, X, y=None, target=None, sample_weight=None):
        """Return minus the mean squared error of the restored samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or \
                (n_samples, H, W, C)
            Rows of pixels, or images.
        y : Ignored
            Not used, present for API consistency by convention.
        target : array-like of the shape of X or None, default=None
            Clean version of each sample, where X holds noisy ones; None for X itself.
            Searches pass it on with metadata routing.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in the mean; None for equal ones.

        Returns
        -------
        score : float
            Mean over samples and features, in squared units of X; 0 is the best.
        """
        check_is_fitted(self)
        if target is None:
            if self._paired:
                warn(
                    "fit was given a target, but score compares what it restores with X "
                    "itself. Pass target to score as well, target=X if X is clean; in a "
                    "search, enable metadata routing and set_score_request(target=True)."
                )
            return super().score(X, sample_weight=sample_weight)
        rows, _ = self._validate(X)
        targets = validate_target(self, target, len(rows))
        scores = -self._inference(rows.dtype).errors(rows, targets)
        return weighted_mean(scores, sample_weight)

    def _check_target(self, X, y, target):
        if self.self_supervised and target is not None:
            raise ValueError(
                "self_supervised=True is for data without clean samples, but target was "
                "given. Set self_supervised=False, or leave target out."
            )
        if target is None and _is_like(X, y):
            warn(
                "y looks like a clean version of X, and is ignored. Pass clean versions "
                "of the samples of X as target."
            )

    def _learn_corruption(self, layout, paired):
        self._paired, self._self_supervised = paired, self.self_supervised
        self.noise_level_ = None
        if paired or self.self_supervised:
            return False
        if not callable(self.noise):
            generator = make_generator(self._seed, NOISE_LEVELS)
            self.noise_level_ = read_level(
                self.noise, self.noise_level, self.image_shape_, generator
            )
            warn_of_units(self.noise, self.noise_level_, layout)
            if np.max(self.noise_level_) == 0:
                return False
        return self.noise_at == "batch"

    def _task(self, layout):
        corruption = None
        if not (self._paired or self.self_supervised):
            corruption = make_corruption(
                self.noise, self.noise_level_, layout, at=self.noise_at
            )
        return {
            "corrupt": corruption,
            "corrupt_at": self.noise_at,
            "self_supervised": self.self_supervised,
        }

    @property
    def _many_levels(self):
        return isinstance(self.noise_level_, tuple)

    def _find_flips(self, images):
        return () if self.self_supervised else super()._find_flips(images)

    def _augmentation(self, n_samples):
        if self.self_supervised and not callable(self.augment):
            return None  # moving an image mixes the noise of its pixels
        return super()._augmentation(n_samples)


def _is_like(X, y):
    """Whether y might be meant as a target: it is another array, and correlates with X."""
    shape = getattr(X, "shape", ())
    if y is X or getattr(y, "shape", None) != shape or len(shape) < 2 or shape[1] < 2:
        return False
    x, y = (np.ravel(as_rows(each[:100], None)[0]) for each in (X, y))
    if not (x.dtype.kind in "fiu" and y.dtype.kind in "fiu") or np.array_equal(x, y):
        return False
    x, y = (each - np.mean(each, dtype=np.float64) for each in (x, y))
    return x @ y > 0.3 * np.linalg.norm(x) * np.linalg.norm(y)
