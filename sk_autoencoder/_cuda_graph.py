"""Steps of training on a CUDA device, recorded once and replayed as CUDA graphs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from skorch.callbacks import Callback, LRScheduler, ProgressBar
from torch import Generator, Tensor

from ._batches import Batches

# from a batch, or what one is made from
Step = Callable[[tuple[Tensor, ...]], dict[str, Any]]

# that run as they are before one of their size is recorded, in which the libraries take
# the memory and choose the kernels that they stay with
STEPS_BEFORE = 3
# of a training, with fewer of which recording takes longer than it saves
FEWEST_STEPS = 20

DEVICE = "cuda"

# to record, and to give back what was recorded
_one_at_a_time = Lock()
# of each device, by its number, that no training uses
_free_streams: dict[int, list[torch.cuda.Stream]] = defaultdict(list)


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
    rates and what the batches are made from are read anew each time. Where the
    optimiser's other options change, or between epochs anything else that a graph holds as
    it was, steps are recorded anew. If the memory does not do for it they stay as they are.

    Parameters
    ----------
    net : AutoencoderNet
        On a CUDA device, its optimiser one of torch's that is `fused`, or derived from it.
    """

    def __init__(self, net: Any) -> None:
        self.net = net
        self.has_memory = True
        self.held: list[Any] | None = None
        self.recordings: dict[tuple[torch.Size, ...], _Recording] = {}
        self.forget()

    def take(self, batches: Batches, step: Step) -> tuple[Iterable[Any], Step]:
        """Return what an epoch goes through, and the step that takes one of it.

        It goes through positions of samples where making the batches can be recorded as
        well, and else through the batches.
        """
        if len(batches) * self.net.max_epochs < FEWEST_STEPS:
            return batches, step
        held = self._held()
        if held != self.held:
            self.forget()
            self.held = held
        from_rows = batches.can_be_recorded

        def whole_step(given: tuple[Tensor, ...]) -> dict[str, Any]:
            return step(batches.make(*given) if from_rows else given)

        return (
            batches.rows() if from_rows else batches,
            lambda given: self._take_step(given, whole_step, batches.generator),
        )

    def _take_step(
        self, given: tuple[Tensor, ...], step: Step, generator: Generator
    ) -> dict[str, Any]:
        if self.options != self._options():
            self.forget()
        shapes = tuple(x.shape for x in given)
        if shapes not in self.recordings and self.has_memory:
            self.seen[shapes] += 1
            if self.seen[shapes] > STEPS_BEFORE:
                self._record(shapes, given, step, generator)
        if shapes not in self.recordings:
            return step(given)
        recording = self.recordings[shapes]
        torch._foreach_copy_(recording.given, given)
        for rate, group in zip(self.rates, self.net.optimizer_.param_groups):
            rate.fill_(group["lr"])
        recording.graph.replay()
        return recording.result

    def _record(
        self,
        shapes: tuple[torch.Size, ...],
        given: tuple[Tensor, ...],
        step: Step,
        generator: Generator,
    ) -> None:
        kept = tuple(x.clone() for x in given)
        groups = self.net.optimizer_.param_groups
        before = [group.copy() for group in groups]
        for group, rate in zip(groups, self.rates):
            group.update(lr=rate, capturable=True)
        try:
            graph, result = capture(lambda: step(kept), generator, self.pool)
        except RuntimeError as error:
            if not _is_of_memory(error):
                raise
            self.has_memory = False
        finally:
            for group, options in zip(groups, before):
                group.update(options)
        if not self.has_memory:  # by now that of the failed attempt is free
            self.forget()
            with _one_at_a_time:
                torch.cuda.empty_cache()
            return
        # the rest would keep all that leads to it
        result = {name: result[name] for name in ("error", "code_mean")}
        self.recordings[shapes] = _Recording(graph, kept, result)
        self.held = self._held()

    def forget(self) -> None:
        """Begin anew, without what was recorded."""
        with _one_at_a_time:
            self.recordings.clear()
        self.seen: Counter = Counter()
        self.pool = torch.cuda.graph_pool_handle()
        self.options = self._options()
        # as precise as Python's where torch's fused kernels do not want less
        self.rates = [
            torch.zeros(
                (),
                device=self.net.device,
                dtype=torch.float32 if group["fused"] else torch.float64,
            )
            for group in self.net.optimizer_.param_groups
        ]

    def _options(self) -> list[dict[str, Any]]:
        return [
            {name: group[name] for name in group if name not in ("params", "lr")}
            for group in self.net.optimizer_.param_groups
        ]

    def _held(self) -> list[Any]:
        """What graphs hold as it was, but for the optimiser's options."""
        net = self.net
        moments = [
            moment.data_ptr()
            for state in net.optimizer_.state.values()
            for moment in state.values()
        ]
        weights = [(x.data_ptr(), x.requires_grad) for x in net.module_.parameters()]
        numbers = net.sparsity, net.value_factor, net.value_count
        return [net.optimizer_, net.criterion_, numbers, weights, moments]


def capture(
    function: Callable[[], dict[str, Any]], generator: Generator, pool: Any
) -> tuple[torch.cuda.CUDAGraph, dict[str, Any]]:
    """Record what a function does on the current stream, drawing from `generator`."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    recording = torch.cuda.graph(
        graph,
        pool=pool,
        stream=torch.cuda.current_stream(),
        capture_error_mode="thread_local",  # other threads may do anything
    )
    with _one_at_a_time:
        try:
            with recording:
                result = function()
        except BaseException:
            graph.reset()
            raise
    return graph, result


def _is_of_memory(error: BaseException | None) -> bool:
    """Whether there was no memory left; the end of a recording may have failed for it."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__context__
    return error is not None


@contextmanager
def recorder_for(net: Any) -> Iterator[Recorder | None]:
    """Give a recorder for the steps of a net, None if they are to stay as they are."""
    if not _can_be_recorded(net):
        yield None
        return
    with _own_stream(net.device):
        recorder = Recorder(net)
        try:
            yield recorder
        finally:  # now, and not when an error that leads to it is forgotten
            recorder.forget()


def _can_be_recorded(net: Any) -> bool:
    """Whether its steps run on a CUDA device, and do nothing but compute there.

    Networks of the user's may do what no graph holds, as may callbacks with single batches,
    and the search for anomalies looks at values.
    """
    looked_at = any(_looks_at_batches(callback) for _, callback in net.callbacks_)
    return (
        net.device.type == DEVICE
        and net.module_.is_own
        and not torch.is_anomaly_enabled()
        and not looked_at
    )


def _looks_at_batches(callback: Callback) -> bool:
    if type(callback) in (LRScheduler, ProgressBar):  # at their number only
        return False
    hooks = "on_batch_begin", "on_batch_end", "on_grad_computed"
    return any(
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in hooks
    )


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """Inside, work goes to a stream that can be recorded, which the usual one cannot.

    No other training uses it at the same time. Later ones do, since libraries keep memory
    for every stream that they saw.
    """
    number = torch.cuda.current_device() if device.index is None else device.index
    free = _free_streams[number]
    try:
        stream = free.pop()
    except IndexError:
        stream = torch.cuda.Stream(number)
    outside = torch.cuda.current_stream(number)
    stream.wait_stream(outside)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        outside.wait_stream(stream)
    free.append(stream)  # but not after an error, in whatever state it may be
