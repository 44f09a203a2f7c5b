"""Memory that the process keeps between batches."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# parameters of glibc's mallopt(3), and what the first of them may be at most
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_MMAP_MAX = -3, -1, -4
LARGEST_BLOCK, MOST_TO_KEEP = 2**25, 2**26
DEFAULT_MMAP_MAX = 65536


def keep_freed_memory() -> None:
    """Have the process keep some of the memory that it freed, from now on.

    The C library gives large blocks back to the system as soon as they are free, and to
    get them anew takes its time. Blocks of up to 32 MB then come from the heap, at whose
    end up to 64 MB may stay free, and what is free between blocks in use. Where the
    library is not glibc this does nothing.
    """
    _call("mallopt", M_MMAP_THRESHOLD, LARGEST_BLOCK)
    _call("mallopt", M_TRIM_THRESHOLD, MOST_TO_KEEP)


@contextmanager
def all_freed_memory_kept() -> Iterator[None]:
    """Inside, the process keeps all memory that it frees, blocks of any size.

    To get that anew for every training step would take up to a third of the time.
    """
    keep_freed_memory()
    _call("mallopt", M_TRIM_THRESHOLD, 2**31 - 1)
    _call("mallopt", M_MMAP_MAX, 0)
    try:
        yield
    finally:
        _call("mallopt", M_MMAP_MAX, DEFAULT_MMAP_MAX)
        keep_freed_memory()


def give_back_freed_memory() -> None:
    """Give the system what is free now, which takes some milliseconds."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: Any) -> None:
    with suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), name)(*arguments)
