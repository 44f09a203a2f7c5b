"""Trainings of the same network, each as one would write it: seconds per epoch.

Every function takes a `Task` and gives the seconds of each of its epochs. The
images are square and have one channel.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn

from sk_autoencoder import ConvAutoencoderTransformer, recipes
from sk_autoencoder._optimizer import optimizer_for

# the article's network, without what a task gives
ARTICLE = {
    name: value
    for name, value in recipes.OLIVETTI.items()
    if name not in ("max_epochs", "batch_size", "precision")
}


@dataclass
class Task:
    """Rows to train on, and the parameters of the estimator that names the network."""

    X: np.ndarray
    parameters: dict[str, Any]
    batch_size: int
    epochs: int
    device: str = "cpu"
    estimator: ConvAutoencoderTransformer = field(init=False)

    def __post_init__(self):
        self.X = self.X.astype(np.float32)
        self.estimator = ConvAutoencoderTransformer(
            **self.parameters,
            batch_size=self.batch_size,
            device=self.device,
            random_state=0,
            warm_start=True,  # holds no samples out: the same steps for all
        )

    def network(self, *, own_layers=False):
        """The network, hardly trained, and the images that it works on, on the device.

        Without `own_layers` it is made of torch's alone.
        """
        ae = clone(self.estimator).set_params(max_epochs=1)
        ae.fit(self.X[: 2 * self.batch_size])
        size, side = ae.image_shape_[0], (ae.resize or ae.image_shape_)[0]
        images = torch.from_numpy(self.X).view(len(self.X), 1, size, size)
        step = size // side  # as the recipe's resampling does
        images = images[..., ::step, ::step].contiguous()
        module = ae.module_
        for layer in module.modules():
            if isinstance(layer, nn.ConvTranspose2d) and not own_layers:
                layer.__class__ = nn.ConvTranspose2d
        return module.to(self.device), images.to(self.device)

    def wait(self):
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


class Clock(Callback):
    """Seconds of each epoch."""

    def __init__(self):
        self.seconds = []

    def on_epoch_begin(self, net, **kwargs):
        self.start = time.perf_counter()

    def on_epoch_end(self, net, **kwargs):
        self.seconds.append(time.perf_counter() - self.start)

    def __copy__(self):  # the estimator trains with copies of its callbacks
        return self


class BatchClock(Clock):
    """A callback that looks at batches, so that no step is recorded on a GPU."""

    def on_batch_end(self, net, **kwargs):
        pass


def ours(task, *, clock=Clock, **parameters):
    clock = clock()
    ae = clone(task.estimator).set_params(max_epochs=task.epochs, callbacks=[clock])
    ae.set_params(**parameters).fit(task.X)
    return clock.seconds


def bare(task, *, precision="float32", tuned=False, compiled=False):
    """A loop over shuffled slices of one tensor: no schedule, no augmentation.

    Not tuned: contiguous memory and torch's Adam as it comes. Tuned: what the
    estimator trains with: its layers, channels last, its optimiser, the given precision.
    Compiled: by torch.compile with CUDA graphs, in the first epoch, with fused Adam.
    """
    module, images = task.network(own_layers=tuned)
    values = images[0].numel()
    if compiled:  # which cannot lay out kernels of one channel as channels last
        module = module.to(memory_format=torch.contiguous_format)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    elif tuned:
        module = module.to(memory_format=torch.channels_last)
        optimizer_class, betas = optimizer_for(module)
        optimizer = optimizer_class(
            module.parameters(), lr=1e-3, betas=betas, fused=True
        )
    else:
        module = module.to(memory_format=torch.contiguous_format)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    module.train()
    if compiled:
        module = torch.compile(module, mode="reduce-overhead")
    seconds = []
    for _ in range(task.epochs):
        task.wait()
        start = time.perf_counter()
        total = torch.zeros((), device=task.device)
        for rows in torch.randperm(len(images)).to(task.device).split(task.batch_size):
            x = images[rows]
            optimizer.zero_grad()
            with torch.autocast(
                x.device.type, torch.bfloat16, enabled=precision == "bfloat16"
            ):
                output, _ = module(x)
            loss = 0.5 * values * F.mse_loss(output.float(), x)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()
        seconds.append(time.perf_counter() - start)
    return seconds


class _Reconstruction(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)[0]


def skorch(task):
    """skorch as its documentation sets a regression up."""
    from skorch import NeuralNetRegressor

    module, images = task.network()
    clock = Clock()
    net = NeuralNetRegressor(
        _Reconstruction(module),
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=task.batch_size,
        max_epochs=task.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        device=task.device,
        callbacks=[clock],
        verbose=0,
    )
    X = images.cpu().numpy()
    net.fit(X, X)
    return clock.seconds


def lightning(task):
    """PyTorch Lightning as its documentation sets a training up."""
    import logging

    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Lit(lightning.LightningModule):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def training_step(self, batch, index):
            output, _ = self.module(batch[0])
            return F.mse_loss(output, batch[0])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    class Watch(lightning.Callback):
        seconds: list = []

        def on_train_epoch_start(self, *args):
            self.start = time.perf_counter()

        def on_train_epoch_end(self, *args):
            task.wait()
            self.seconds.append(time.perf_counter() - self.start)

    module, images = task.network()
    loader = DataLoader(
        TensorDataset(images.cpu()), batch_size=task.batch_size, shuffle=True
    )
    watch = Watch()
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        accelerator="gpu" if task.device.startswith("cuda") else "cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    trainer.fit(Lit(module), loader)
    return watch.seconds


def operations(task):
    """Floating-point operations of an epoch, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    module, images = task.network()
    x = images[: task.batch_size]
    with FlopCounterMode(display=False) as counter:
        output, _ = module(x)
        F.mse_loss(output, x).backward()
    return counter.get_total_flops() / len(x) * len(images)


def peak(dtype, device="cpu", side=4096, repeats=5):
    """Operations per second of a large matrix product, the best of some."""
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best
