"""Memory that the process keeps between batches."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# parameters of glibc's mallopt(3), and what they are by default at most
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK, MOST_TO_KEEP = 2**25, 2**26


def keep_freed_memory(most: int = MOST_TO_KEEP) -> None:
    """Have the process keep up to so many bytes that it freed, from now on.

    The C library gives large blocks back to the system as soon as they are free, and to
    get them anew takes up to a sixth of a training step. Blocks of up to 32 MB then come
    from the heap, at whose end so much may stay free, and what is free between blocks in
    use. Where the library is not glibc this does nothing.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        mallopt(M_TRIM_THRESHOLD, most)
