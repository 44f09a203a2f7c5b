"""What data and parameters must be for each other, and for an earlier training."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_array

from ._image import ImageLayout, as_rows
from ._warnings import warn

FLOATS = (np.float64, np.float32)
# kept as they are: a copy in float64 may not fit into memory
NUMBERS = (
    *(*FLOATS, np.float16, np.bool_),
    *(np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.int8, np.int16, np.int32, np.int64),
)


def validate_target(estimator, target, n_samples):
    """Return targets as rows (n, n_features), which are as many as those of X."""
    rows, _ = as_rows(target, estimator.image_shape_, "target")
    expected = n_samples, estimator.n_features_in_
    way_out = (
        f"but X has {expected[0]} samples of {expected[1]} values. Pass the clean version "
        "of each sample of X, in the same order."
    )
    shape = getattr(rows, "shape", None)
    if shape is not None and len(shape) < 2:
        raise ValueError(f"target has shape {tuple(shape)}, {way_out}")
    _check_names_of_target(estimator, rows)
    rows = check_array(rows, dtype=NUMBERS, input_name="target", estimator=estimator)
    if rows.shape != expected:
        raise ValueError(
            f"target has {rows.shape[0]} samples of {rows.shape[1]} values, {way_out}"
        )
    return rows


def _check_names_of_target(estimator, target):
    names = list(getattr(target, "columns", ()))
    expected = list(getattr(estimator, "feature_names_in_", ()))
    if set(names) != set(expected):
        return  # they may have names of their own
    for name, other in zip(names, expected):
        if name != other:
            raise ValueError(
                f"target has the column {name!r} where X has {other!r}. Pass the "
                "columns in the order of X."
            )


def check_unchanged(estimator, layout, network):
    """See whether a training can be continued: the same layout, the same `network`."""
    before, parameters = estimator._network, estimator.get_params()
    changed = [
        f"{name} ({before[name]!r} to {network[name]!r})"
        for name in network
        # the noise may change, and the network stays as it is
        if name in parameters and network[name] != before[name]
    ]
    asked = ImageLayout.learn(
        [],
        layout.sample_shape,
        image_shape=_or(estimator.image_shape, layout.image_shape),
        value_range=_or(estimator.value_range, (0, 1)),
        resize=estimator.resize,
    )
    for name, same in (
        ("image_shape", asked.data_shape == layout.data_shape),
        (
            "value_range",
            estimator.value_range is None or asked.value_range == layout.value_range,
        ),
        ("resize", asked.resize == layout.resize),
    ):
        if not same:
            learnt, now = getattr(layout, name), getattr(asked, name)
            changed.append(f"{name} ({learnt!r} to {now!r})")
    if changed:
        raise ValueError(
            f"{', '.join(changed)} changed since the training that is to be "
            "continued. Set it back, or fit anew with warm_start=False."
        )


def check_objective(estimator):
    """See whether the loss suits what comes out."""
    if estimator.loss == "bce" and estimator.output_activation != "sigmoid":
        raise ValueError(
            "loss='bce' needs outputs between 0 and 1, but output_activation="
            f"{estimator.output_activation!r}. Set output_activation='sigmoid'."
        )


def check_range(estimator, name, rows, layout, *, clips):
    """See whether values leave the range, where that is of consequence."""
    is_cut = estimator.output_activation == "sigmoid" or clips
    slack = 0 if is_cut else 2 * layout.span
    low, high = layout.value_range
    least, greatest = float(rows.min()), float(rows.max())
    if low - slack <= least and greatest <= high + slack:
        return
    there = f"{name} holds values from {least:g} to {greatest:g}"
    span = f"value_range=({low:g}, {high:g})"
    way_out = "Pass the range of the data as value_range, or None to learn it in fit."
    if estimator.value_range is None:
        way_out = "Pass data in the units of the first fit, or fit anew."
    if estimator.loss == "bce":
        raise ValueError(
            f"loss='bce' needs values within {span}, but {there}. {way_out}"
        )
    verb = "are cut off at" if is_cut else "lie far outside of"
    warn(f"{there}, which {verb} {span}. {way_out}")


def _or(value, learnt):
    return learnt if value is None else value
