"""Warnings that point at the line of the user's."""

from __future__ import annotations

import sys
import warnings

INSIDE = "sk_autoencoder", "sklearn", "joblib", "contextlib"


def warn(message: str) -> None:
    """Warn where the code of others called this package, whatever lies between.

    In the worker processes of a search there is no such place, and any will do.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
