"""The training behind fit and partial_fit: from data to weights."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import asdict

import torch

from ._augment import make_augmentation
from ._batches import Feed, default_batch_size, default_epochs
from ._checks import check_objective, check_range, check_unchanged, validate_target
from ._cudnn import exact
from ._device import autocast_dtype, resolve_device, usual_modes
from ._flips import find_flips
from ._image import (
    ImageLayout,
    infer_image_shape,
    read_integers,
    warn_of_rows_channels_first,
)
from ._judge import number_to_hold_out, train_as_far_as_it_helps
from ._memory import give_back_freed_memory
from ._modules import build, check_shapes
from ._net import make_net, train
from ._optimizer import state_of, to_numpy
from ._random import INITIALISATION, VALIDATION_SPLIT, draw_seed, make_generator
from ._samples import Samples, place
from ._start import start_linear


class TrainingMixin:
    """What the estimators train by; they override what differs between them."""

    _cleaner = False
    _many_levels = False

    def _learn_corruption(self, layout, paired):
        """Learn what `_task` needs, and return whether inputs are clipped in training.

        With `paired` data the inputs are given, and nothing is to corrupt them.
        """
        return False

    def _task(self, layout):
        """Return how inputs are made of clean images, as parameters of `Feed`."""
        return {}

    def _train(self, X, target=None, *, resume, incremental=False):
        """Train X to target; with `resume` go on where there is something to go on from."""
        # an error leaves no traces, and callbacks and threads use the last model meanwhile
        before, trained = vars(self).copy(), copy(self)
        resume = resume and self.__sklearn_is_fitted__()
        device = resolve_device(self.device)
        is_own = isinstance(self.architecture, str)
        try:
            with usual_modes(), exact(device, is_own=is_own):
                trained._train_in_place(X, target, device, resume, incremental)
        finally:
            if not incremental:  # the next call is likely to want it again
                give_back_freed_memory()
        after = vars(trained)
        changed = {
            name: value
            for name, value in after.items()
            if name not in before or before[name] is not value
        }
        vars(self).update(changed)  # at once, for other threads
        for name in before.keys() - after.keys():
            vars(self).pop(name, None)
        return self

    def _train_in_place(self, X, target, device, resume, incremental):
        given, layout = self._read(X, target, resume)
        if resume:
            check_unchanged(self, layout, self._network_parameters(layout))
        images = Samples(*place(given, layout, device))
        module = self.module_ if resume else self._new_module(images, layout)
        if not (resume and incremental) or target is not None:
            self.flips_ = self._find_flips(images)
        goes_on = incremental or self.warm_start
        linear = module.starts_linear and not resume
        # samples that are to tell how far the training is kept
        n_judges = number_to_hold_out(len(images)) if linear and not goes_on else 0
        training, held = images, None
        if not incremental:
            training, held = self._hold_out(images, n_judges)
        net = self._make_net(
            module,
            device,
            n_samples=len(training),
            validation=held if self.early_stopping else None,
            incremental=incremental,
        )
        if linear:
            start_linear(net, training, net.feed.augment)
        self.trained_share_ = None
        if n_judges > 0 and len(held) > 1:
            self.trained_share_ = train_as_far_as_it_helps(net, images, training, held)
        else:
            train(net, training, self._optimizer_state)
        self._optimizer_state = state_of(net.optimizer_) if goes_on else None
        self._record(net)

    def _read(self, X, target, resume):
        """Return the rows to put in, then those to come out if others, and their layout."""
        rows, sample_shape = self._validate(X, reset=not resume)
        if not resume:
            self._reset(sample_shape)
        given = [rows]
        if target is not None:
            given.append(validate_target(self, target, len(rows)))
        if not resume:
            self._learn_layout(given, sample_shape)
        layout = ImageLayout(**self._layout)
        # what the network sees from now on is to be like what it saw in training
        self._clips = self._learn_corruption(layout, paired=target is not None)
        check_objective(self)
        if resume or self.value_range is not None:
            name = "X" if target is None else "target"
            check_range(self, name, given[-1], layout, clips=self._clips)
        return given, layout

    def _new_module(self, images, layout):
        self._network = self._network_parameters(layout)
        generator = make_generator(self._seed, INITIALISATION)
        module = build(**self._network, generator=generator)
        first = layout.shrink(images.inputs[:1]).cpu().clone()
        check_shapes(module, first, self.n_components, generator)
        return module

    def _record(self, net):
        """Keep what the training has come to."""
        self.weights_ = to_numpy(net.module_.state_dict())
        self.n_iter_ += len(net.history)
        losses, code_means, validation_losses = (
            [epoch[name] for epoch in net.history if name in epoch]
            for name in ("train_loss", "code_mean", "valid_loss")
        )
        self.loss_curve_ = self.loss_curve_ + losses
        self.code_mean_curve_ = self.code_mean_curve_ + code_means
        if net.train_split is not None:
            self.validation_curve_ = (self.validation_curve_ or []) + validation_losses
        self.device_ = str(net.device)

    def _reset(self, sample_shape):
        """Forget what was trained before."""
        self.image_shape_ = infer_image_shape(sample_shape, self.image_shape)
        if len(sample_shape) == 1:
            warn_of_rows_channels_first(self.image_shape_)
        self._seed = draw_seed(self.random_state)
        self._optimizer_state = None
        self.n_iter_ = 0
        self.loss_curve_ = []
        self.code_mean_curve_ = []
        self.validation_curve_ = None

    def _learn_layout(self, given, sample_shape):
        layout = ImageLayout.learn(
            given,
            sample_shape,
            image_shape=self.image_shape_,
            value_range=self.value_range,
            resize=self.resize,
        )
        self._layout = asdict(layout)
        self.value_range_ = layout.value_range

    def _network_parameters(self, layout):
        return {
            "architecture": self.architecture,
            "image_shape": layout.network_shape,
            "n_components": int(self.n_components),
            "channels": _integers("channels", self.channels),
            "strides": _integers("strides", self.strides),
            "code_activation": self.code_activation,
            "output_activation": self.output_activation,
            "cleaner": self._cleaner,
            "many_levels": self._many_levels,
        }

    def _hold_out(self, images, n_judges):
        """Return images to train on, and others that tell when or how far, or None."""
        n, n_held = len(images), n_judges
        if self.early_stopping:
            n_held = math.ceil(self.validation_fraction * n)
        if n_held == 0:
            return images, None
        if n_held == n:
            raise ValueError(
                "early_stopping=True with validation_fraction="
                f"{self.validation_fraction} leaves none of {n} samples to train on. "
                "Pass more samples, a smaller validation_fraction or "
                "early_stopping=False."
            )
        generator = make_generator(self._seed, VALIDATION_SPLIT)
        order = torch.randperm(n, generator=generator)
        held, training = order[:n_held], order[n_held:]
        return images.subset(training), images.subset(held)

    def _find_flips(self, images):
        # what is wrong with the inputs of pairs may have a direction
        if not self.augment or callable(self.augment) or images.targets is not None:
            return ()
        return find_flips(images, self._seed)

    def _augmentation(self, n_samples):
        return make_augmentation(self.augment, n_samples, self.flips_)

    def _make_net(
        self,
        module,
        device,
        *,
        n_samples,
        validation=None,
        incremental=False,
        **changes,
    ):
        layout = ImageLayout(**self._layout)
        by_default = default_epochs(n_samples, many_levels=self._many_levels)
        options = {
            "loss": self.loss,
            "lr": self.lr,
            "lr_schedule": "constant" if incremental else self.lr_schedule,
            "weight_decay": self.weight_decay,
            "batch_size": int(self.batch_size or default_batch_size(n_samples)),
            "max_epochs": 1 if incremental else int(self.max_epochs or by_default),
            "n_samples": n_samples,
            "validation": validation,
            "n_iter_no_change": self.n_iter_no_change,
            "tol": self.tol,
            "callbacks": self.callbacks or (),
            "verbose": int(self.verbose),
            "device": device,
            "value_count": math.prod(layout.network_shape),
            "sparsity": self.sparsity,
            "autocast_dtype": None
            if module.float32_only and device.type == "cpu"
            else autocast_dtype(self.precision, device),
            "feed": Feed(
                seed=self._seed,
                first_epoch=self.n_iter_,
                augment=self._augmentation(n_samples),
                shrink=layout.shrink,
                **self._task(layout),
            ),
        }
        return make_net(module, **options | changes)


def _integers(name, values):
    return None if values is None else read_integers(name, values)
