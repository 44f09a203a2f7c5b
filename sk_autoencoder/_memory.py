"""Memory that the process keeps between batches."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress

from ._shared import Shared

# parameters of glibc's mallopt(3); by which variables users set them; what they are to be
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
LIMITS = (
    (TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_", 2**26),
    (MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_", 2**25),  # that is the most it can be
    (MMAP_MAX, "MALLOC_MMAP_MAX_", 65536),  # as without us
)


def keep_freed_memory() -> None:
    """Have the process keep some of the memory that it freed, from now on.

    The C library gives large blocks back to the system as soon as they are free, and to
    get them anew takes its time. Blocks of up to 32 MB then come from the heap, at whose
    end up to 64 MB may stay free, and what is free between blocks in use. What the user
    has set by glibc's MALLOC_ variables stays, and without glibc this does nothing.
    """
    with all_freed_memory_kept.lock:
        if all_freed_memory_kept.users == 0:
            _set_limits()


def _set_limits() -> None:
    for parameter, variable, value in LIMITS:
        with suppress(ValueError):
            value = int(os.environ.get(variable, value))
        _call("mallopt", parameter, value)


def _keep_all() -> Callable[[], None]:
    _set_limits()
    _call("mallopt", TRIM_THRESHOLD, 2**31 - 1)
    _call("mallopt", MMAP_MAX, 0)
    return _set_limits


# inside, the process keeps all that it frees, blocks of any size; to get that anew for
# every training step would take up to a third of the time
all_freed_memory_kept = Shared(_keep_all)


def give_back_freed_memory() -> None:
    """Give the system what is free, which takes some milliseconds, if nobody trains."""
    if all_freed_memory_kept.users == 0:
        _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    with suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), name)(*arguments)
