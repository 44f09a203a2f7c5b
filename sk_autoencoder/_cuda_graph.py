"""Steps of training on a CUDA device, recorded once and replayed as CUDA graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from skorch.callbacks import Callback, LRScheduler, ProgressBar
from torch import Tensor
from torch.optim import Optimizer

from ._batches import Batches

# from a batch, or what one is made from
Step = Callable[[tuple[Tensor, ...]], dict[str, Any]]

# that run as they are before a batch of their shape is recorded, in which the libraries
# take the memory and choose the kernels that they stay with
STEPS_BEFORE = 3

# in the whole process, of which torch allows one at a time
_recording = Lock()


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    given: tuple[Tensor, ...]
    result: dict[str, Any]


class Recorder:
    """Records steps of training, one for each number of samples that comes again.

    Python takes longer to launch the many small kernels of a step, one by one, than a GPU
    takes to run them; a graph launches all of them at once. What a step returns is
    overwritten by the next one, and of Python's code in it nothing runs again: the learning
    rates and what the batches are made from are read anew, and where the optimiser's other
    options have changed, steps are recorded anew. Steps that have no memory of their own
    left stay as they are.

    Parameters
    ----------
    optimizer : Optimizer
        One of torch's that is `fused`, or derived from it, on a CUDA device.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.options = self._options()
        device = optimizer.param_groups[0]["params"][0].device
        # as precise as Python's where torch's fused kernels do not want less
        self.rates = [
            torch.zeros(
                (),
                device=device,
                dtype=torch.float32 if group["fused"] else torch.float64,
            )
            for group in optimizer.param_groups
        ]
        self.pool = torch.cuda.graph_pool_handle()
        self.seen: Counter = Counter()
        self.recordings: dict[tuple[torch.Size, ...], _Recording] = {}

    def take(self, batches: Batches, step: Step) -> tuple[Iterable[Any], Step]:
        """Return what to go through for an epoch of batches, and a step for each of it."""
        self.generator = batches.generator
        if batches.can_be_recorded:
            return batches.rows(), lambda rows: self._take_step(
                rows, lambda rows: step(batches.make(*rows))
            )
        return batches, lambda batch: self._take_step(batch, step)

    def _take_step(self, given: tuple[Tensor, ...], step: Step) -> dict[str, Any]:
        if self.options != self._options():
            self.options = self._options()
            self.recordings.clear()
            self.seen.clear()
        shapes = tuple(x.shape for x in given)
        if shapes not in self.recordings:
            self.seen[shapes] += 1
            if self.seen[shapes] != STEPS_BEFORE + 1:
                return step(given)
            try:
                self.recordings[shapes] = self._record(given, step)
            except torch.OutOfMemoryError:
                return step(given)
        recording = self.recordings[shapes]
        torch._foreach_copy_(recording.given, given)
        for rate, group in zip(self.rates, self.optimizer.param_groups):
            rate.fill_(group["lr"])
        recording.graph.replay()
        return recording.result

    def _record(self, given: tuple[Tensor, ...], step: Step) -> _Recording:
        kept = tuple(x.clone() for x in given)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        groups = self.optimizer.param_groups
        before = [group.copy() for group in groups]
        for group, rate in zip(groups, self.rates):
            group.update(lr=rate, capturable=True)
        try:
            with (
                _recording,
                torch.cuda.graph(
                    graph,
                    pool=self.pool,
                    stream=torch.cuda.current_stream(),
                    capture_error_mode="thread_local",
                ),
            ):
                result = step(kept)
        finally:
            for group, options in zip(groups, before):
                group.update(options)
        return _Recording(graph, kept, result)

    def _options(self) -> list[dict[str, Any]]:
        return [
            {name: group[name] for name in group if name not in ("params", "lr")}
            for group in self.optimizer.param_groups
        ]


@contextmanager
def recorder_for(net: Any) -> Iterator[Recorder | None]:
    """Give a recorder for the steps of a net, None if they are to stay as they are.

    That is on other devices, for a network of the user's, which may do what no graph
    holds, and with callbacks that look at batches.
    """
    if net.device.type != "cuda":
        yield None
        return
    looked_at = any(_looks_at_batches(callback) for _, callback in net.callbacks_)
    recorder = None
    if net.module_.is_own and not looked_at:
        recorder = Recorder(net.optimizer_)
    outside, stream = (
        torch.cuda.current_stream(net.device),
        torch.cuda.Stream(net.device),
    )
    stream.wait_stream(outside)
    try:
        with torch.cuda.stream(stream):  # the usual one cannot be recorded
            yield recorder
    finally:
        outside.wait_stream(stream)


def _looks_at_batches(callback: Callback) -> bool:
    if type(callback) in (LRScheduler, ProgressBar):  # at their number only
        return False
    hooks = "on_batch_begin", "on_batch_end", "on_grad_computed"
    return any(
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in hooks
    )
