"""What skorch runs between batches and epochs, and whether that was a Ctrl-C."""

from __future__ import annotations

import copy
import dis
import math
import signal
from collections.abc import Sequence
from typing import Any

from skorch.callbacks import Callback, EarlyStopping, LRScheduler, ProgressBar
from skorch.utils import noop
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

SCHEDULES = ("constant", "one_cycle", "cosine")


def make_callbacks(
    *,
    lr: float,
    lr_schedule: str,
    n_steps: int,
    patience: int | None,
    threshold: float,
    verbose: int,
    others: Sequence[Any],
) -> list[Any]:
    """Callbacks for a training of `n_steps` batches, those of the user last.

    `patience` None trains all epochs; otherwise the training ends once the validation
    loss has not fallen by `threshold` of itself for so many, with the best weights.
    """
    own = _schedule(lr_schedule, lr, n_steps)
    added = [_own_copy(callback) for callback in others]
    if own and any(issubclass(_read(each)[2], LRScheduler) for each in added):
        raise ValueError(
            f"callbacks holds a LRScheduler, but lr_schedule={lr_schedule!r} sets the "
            "learning rate of every batch. Set lr_schedule='constant'."
        )
    if verbose >= 2:
        own.append(ProgressBar())
    if verbose:
        own.append(EpochLines())
    if patience is not None:
        sink = print if verbose else noop
        # EarlyStopping's own best would be the last that was better by the threshold
        own.append(BestWeights())
        own.append(EarlyStopping(patience=patience, threshold=threshold, sink=sink))
    return own + added


def _schedule(name: str, lr: float, n_steps: int) -> list[Callback]:
    """Callbacks that set the learning rate after each of `n_steps` batches.

    "one_cycle" rises to `lr` over the first 10 % of the steps and falls towards zero
    along a cosine; "cosine" falls from the start; "constant" stays.
    """
    options: dict[str, Any]
    if name == "one_cycle":
        options = {
            "policy": OneCycleLR,
            "max_lr": lr,
            "total_steps": n_steps + 1,
            # one step at least, which torch would divide by zero for
            "pct_start": max(0.1, 2 / (n_steps + 1)),
            "cycle_momentum": False,
        }
    elif name == "cosine":
        options = {"policy": CosineAnnealingLR, "T_max": n_steps}
    else:
        return []
    return [LRScheduler(event_name=None, step_every="batch", **options)]


class BestWeights(Callback):
    """End with the weights of the epoch of the least validation loss.

    A training that goes on competes with where it started.
    """

    def on_train_begin(self, net: Any, X: Any, **kwargs: Any) -> None:
        self.least_ = math.inf if net.feed.first_epoch == 0 else net.validation_loss(X)
        self._keep(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        loss = net.history[-1]["valid_loss"]
        if loss < self.least_:
            self.least_ = loss
            self._keep(net)

    def _keep(self, net: Any) -> None:
        weights = net.module_.state_dict()
        self.weights_ = {name: weight.clone() for name, weight in weights.items()}

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        net.module_.load_state_dict(self.weights_)


class EpochLines(Callback):
    """Print the loss per value and per sample and the mean of the code, each epoch."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        epoch = net.history[-1]
        done = net.feed.first_epoch + len(net.history)
        per_sample = epoch["train_loss"] * net.value_count * net.value_factor
        line = (
            f"Epoch {done}/{net.feed.first_epoch + net.max_epochs}: "
            f"loss {epoch['train_loss']:.6f} ({per_sample:.4f} per sample), "
            f"code mean {epoch['code_mean']:.3f}"
        )
        if "valid_loss" in epoch:
            line += f", validation loss {epoch['valid_loss']:.6f}"
        print(line)


def is_ctrl_c(error: KeyboardInterrupt) -> bool:
    """Whether it came at any time, and not from a raise statement of a callback."""
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    if entry is None:
        return True
    code = entry.tb_frame.f_code
    if code is getattr(signal.getsignal(signal.SIGINT), "__code__", None):
        return True
    return code.co_code[entry.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def _read(callback: Any) -> tuple[Any, Any, type]:
    """Name or None, the callback or its class, and its class, as skorch takes them."""
    is_pair = isinstance(callback, tuple) and len(callback) == 2
    name, named = callback if is_pair else (None, callback)
    return name, named, named if isinstance(named, type) else type(named)


def _own_copy(callback: Any) -> Any:
    """A shallow copy, so that what the user passed keeps no training state."""
    name, named, cls = _read(callback)
    if not issubclass(cls, Callback):
        raise ValueError(
            f"callbacks holds {callback!r}: expected skorch callbacks, or pairs of a name "
            "and one of them."
        )
    named = copy.copy(named)
    return named if name is None else (name, named)
