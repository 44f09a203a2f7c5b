"""Training through skorch: batches, objective, what a step records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import Subset

from ._batches import Batches, Feed, batch_sizes
from ._callbacks import is_ctrl_c, make_callbacks
from ._cuda_graph import Recorder, recorder_for
from ._linear import speed_up_linear
from ._low_precision import LowPrecision
from ._memory import all_freed_memory_kept
from ._optimizer import (
    STEPS_TO_CLEAR,
    State,
    clear_moments,
    load_state,
    optimizer_for,
)
from ._samples import Samples


class _CrossEntropy(nn.BCELoss):
    """Of targets that interpolation may have taken out of [0, 1]."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(input, target.clamp(0, 1))


# loss: (criterion, its factor in the objective per sample and value)
LOSSES: dict[str, tuple[type[nn.Module], float]] = {
    "mse": (nn.MSELoss, 0.5),
    "bce": (_CrossEntropy, 1.0),
}


class AutoencoderNet(NeuralNet):
    """skorch's net for autoencoders. It minimises, averaged over a batch,

    .. math:: \\ell(x, d(e(\\tilde x))) + \\lambda \\lVert e(\\tilde x) \\rVert_1

    where :math:`\\tilde x` is the (corrupted) input and :math:`\\ell` is half the
    squared error or the binary cross-entropy, summed over the values of a sample. The
    history holds per epoch `train_loss` and `valid_loss`, the mean of the squared error
    or cross-entropy over samples and values, and `code_mean`.
    """

    def __init__(
        self,
        module: nn.Module,
        *args: Any,
        feed: Feed,
        value_count: int,
        value_factor: float = 0.5,
        sparsity: float = 0.0,
        autocast_dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        self.feed = feed
        self.value_count = value_count
        self.value_factor = value_factor
        self.sparsity = sparsity
        self.autocast_dtype = autocast_dtype
        self.n_steps = 0
        self.recorder_: Recorder | None = None
        super().__init__(module, *args, **kwargs)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return []

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"recorder_": None, "low": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.initialized_:
            self._copy_weights()

    def get_iterator(self, dataset: Any, training: bool = False) -> Batches:
        feed = self.feed
        if not isinstance(dataset, Samples):  # but images that skorch was given
            chosen: Any = slice(None)
            if isinstance(dataset, Subset):  # by skorch's ValidSplit
                dataset, chosen = dataset.dataset, dataset.indices
            images, targets = (
                None
                if x is None
                else torch.as_tensor(x[chosen], dtype=torch.float32).to(self.device)
                for x in (dataset.X, dataset.y)
            )
            dataset = Samples(images, targets)  # type: ignore[arg-type]
            if not training:  # and is to restore as they are
                feed = replace(feed, corrupt=None, self_supervised=False)
        return Batches(dataset, self.batch_size, feed, training=training)

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> AutoencoderNet:
        super().initialize_optimizer(*args, **kwargs)
        self._copy_weights()  # the module is on its device by now
        return self

    def _copy_weights(self) -> None:
        self.low = None
        if self.autocast_dtype is not None and self.module_.is_own:
            self.low = LowPrecision(self.module_, self.autocast_dtype)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        if not self.module_.training:  # walking through all layers takes its time
            self._set_training(True)
        if self.low is not None:
            self.low.read()
        step = self._step(batch, self.low)
        if not step["loss"].requires_grad:
            raise ValueError(
                f"architecture={type(self.module_.network).__name__} cannot be trained: "
                "what decode gives depends on no weight, or lets no gradient through."
            )
        step["loss"].backward()
        if self.low is not None:
            self.low.give_back_gradients()
        return step

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        self._set_training(False)
        with torch.no_grad():
            return self._step(batch)

    def validation_loss(self, X: Any) -> float:
        """Of the samples that a training on X does not see, as the network is now."""
        _, held = self.get_split_datasets(X)
        batches = self.get_iterator(held, training=False)
        errors = [len(x[0]) * self.validation_step(x)["error"] for x in batches]
        return float(sum(errors)) / len(held)

    def _step(
        self, batch: tuple[Tensor, ...], infer: Callable[[Tensor], Any] | None = None
    ) -> dict[str, Any]:
        x, target, *mask = batch
        with torch.autocast(
            x.device.type,
            self.autocast_dtype,
            enabled=self.autocast_dtype is not None,
            cache_enabled=False,  # all threads share it, and clear it for each other
        ):
            output, z = (infer or self.infer)(x)
        output, z = output.float(), z.float()
        if mask:  # to pick the values would make a GPU wait for their number
            errors = self.criterion(reduction="none")(output, target)
            error = (errors * mask[0]).sum() / mask[0].sum()
        else:
            error = self.criterion_(output, target)
        loss = self.value_factor * self.value_count * error
        if self.sparsity:
            loss = loss + self.sparsity * z.abs().sum(1).mean()
        return {
            "loss": loss,
            "y_pred": (output, z),
            "error": error.detach(),
            "code_mean": z.detach().mean(),
        }

    def run_single_epoch(
        self,
        iterator: Iterable[Any] | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **fit_params: Any,
    ) -> None:
        # skorch's own reads the loss of every batch, which makes a GPU wait for it
        if iterator is None:
            return
        if training and self.recorder_ is not None:
            assert isinstance(iterator, Batches)
            iterator, step_fn = self.recorder_.take(iterator, step_fn)
        n, error, code_mean, batch_count = 0, 0.0, 0.0, 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            size = len(batch[0])
            n += size
            batch_count += 1
            error = error + step["error"] * size
            code_mean = code_mean + step["code_mean"] * size
            self.history.record_batch(prefix + "_batch_size", size)
            self.notify("on_batch_end", batch=batch, training=training, **step)
        self.history.record(prefix + "_batch_count", batch_count)
        before = [epoch.get(prefix + "_loss", math.inf) for epoch in self.history[:-1]]
        best = min(before, default=math.inf)
        self.history.record(prefix + "_loss", float(error) / n)
        # as skorch's own callbacks want it
        self.history.record(prefix + "_loss_best", float(error) / n < best)
        if training:
            self.history.record("code_mean", float(code_mean) / n)

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        self.n_steps += training
        on_cpu = self.device.type == "cpu"
        if training and on_cpu and self.n_steps % STEPS_TO_CLEAR == 0:
            clear_moments(self.optimizer_)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        for name in ("train_loss", "valid_loss"):
            self._check_finite("loss", self.history[-1].get(name, 0.0))

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        # a training in small parts would never come to it
        clear_moments(self.optimizer_)
        # the last step comes after the last loss
        for weight in self.module_.parameters():
            self._check_finite("weights", float(weight.detach().sum()))

    def _check_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(
                f"The {name} became {value} in epoch {len(self.history)} of "
                f"{self.max_epochs} with lr={self.lr:g}. Lower lr, for instance to "
                f"{self.lr / 10:g}."
            )

    def notify(self, method_name: str, **kwargs: Any) -> None:
        getattr(self, method_name)(self, **kwargs)
        is_over = False
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as error:
                if is_ctrl_c(error):
                    raise
                is_over = True  # how callbacks of skorch ask for it
            except KeyError as error:
                if self.train_split is not None or "valid_loss" not in str(error):
                    raise
                raise ValueError(
                    f"callbacks: {type(callback).__name__} looks at the loss of "
                    "validation samples, but none are held out. Set "
                    "early_stopping=True, or monitor='train_loss' in the callback."
                ) from error
        if is_over:
            raise _EndOfTraining

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any
    ) -> AutoencoderNet:
        # skorch's own takes a Ctrl-C for the end of training
        with suppress(_EndOfTraining):
            self.notify("on_train_begin", X=X, y=y)
            self.fit_loop(X, y)
        last = "train_loss" if self.train_split is None else "valid_loss"
        if self.history and last not in self.history[-1]:
            del self.history[-1]  # an epoch that was not finished
        with suppress(_EndOfTraining):
            self.notify("on_train_end", X=X, y=y)
        return self


class _EndOfTraining(Exception):  # noqa: N818, not an error
    """The training has come to its end before the last epoch."""


def make_net(
    module: nn.Module,
    *,
    loss: str,
    lr: float,
    lr_schedule: str,
    weight_decay: float,
    batch_size: int,
    max_epochs: int,
    n_samples: int,
    validation: Samples | None,
    n_iter_no_change: int,
    tol: float,
    callbacks: Sequence[Any],
    verbose: int,
    device: torch.device,
    **options: Any,
) -> AutoencoderNet:
    """Return an initialised net for `module`, which it trains in place.

    Parameters
    ----------
    loss : str
        A key of `LOSSES`.
    n_samples : int
        Number of training images, which the schedule's length follows from.
    validation : Samples or None
        Images, as for :func:`train`, to stop the training early on, which then ends
        with the weights of the best epoch; None trains all epochs.
    callbacks : sequence of skorch callbacks
        Copies of them run after the net's own.
    **options
        Further parameters of `AutoencoderNet`.
    """
    criterion, value_factor = LOSSES[loss]
    optimizer, betas = optimizer_for(module)
    for weight in module.parameters():
        # the faster layout for convolutions; contiguous() leaves those of one map
        if weight.dim() == 4:
            weight.data = weight.data.to(memory_format=torch.channels_last)
    net = AutoencoderNet(
        module,
        criterion=criterion,
        value_factor=value_factor,
        optimizer=optimizer,
        optimizer__weight_decay=weight_decay,
        optimizer__betas=betas,
        optimizer__fused=device.type in ("cpu", "cuda")
        and all(weight.is_floating_point() for weight in module.parameters()),
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        train_split=None if validation is None else predefined_split(validation),
        callbacks=make_callbacks(
            lr=lr,
            lr_schedule=lr_schedule,
            n_steps=max_epochs * len(batch_sizes(n_samples, batch_size)),
            patience=None if validation is None else n_iter_no_change,
            threshold=tol,
            verbose=verbose,
            others=callbacks,
        ),
        verbose=verbose,
        device=device,
        **options,
    )
    return net.initialize()


def train(
    net: AutoencoderNet, images: Samples, optimizer_state: State | None = None
) -> None:
    """Train `net` on images (n, C, H, W), and targets if any, reproducibly.

    `optimizer_state`, as :func:`state_of` gives it, is where to go on.
    """
    if optimizer_state is not None:
        load_state(net.optimizer_, optimizer_state)
    is_float32 = net.device.type == "cpu" and net.autocast_dtype is None
    if is_float32 and net.module_.is_own:
        speed_up_linear(net.module_)
    try:
        with all_freed_memory_kept(), recorder_for(net) as net.recorder_:
            net.partial_fit(images)
    finally:
        net.recorder_ = None
