"""Settings of the process, for threads that want them at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class Shared:
    """A setting of the process: the first thread to come makes it, the last undoes it.

    `make` returns what undoes it. `users` is the number of threads inside.
    """

    def __init__(self, make: Callable[[], Callable[[], None]]) -> None:
        self.make = make
        self.lock = Lock()
        self.users = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            if self.users == 0:
                self.undo = self.make()
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    self.undo()
