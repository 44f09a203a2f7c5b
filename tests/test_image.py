"""Rows to images and back: nothing is lost, moved or rescaled on the way."""

import numpy as np
import pytest
import torch

from sk_autoencoder._image import ImageLayout, infer_image_shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 4), (3, 5, 3), (8, 8, 1)])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-3.0, 5.5), (2.0, 2.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(shape, value_range, dtype):
    samples = np.random.default_rng(0).normal(size=(6, *shape)).astype(dtype)
    layout = ImageLayout(shape, shape, value_range)
    images = layout.to_images(samples.reshape(6, -1), dtype)
    assert images.shape == (6, *layout.network_shape)
    assert layout.to_samples(images).dtype == dtype
    tolerance = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(layout.to_samples(images), samples, atol=tolerance)
    np.testing.assert_array_equal(layout.grow(layout.shrink(images)), images)


def test_channels_move_to_the_front():
    samples = np.arange(24.0).reshape(1, 2, 4, 3)
    layout = ImageLayout((2, 4, 3), (24,), (0.0, 1.0))
    images = layout.to_images(samples.reshape(1, 24), np.float64)
    np.testing.assert_array_equal(images[0, 1], samples[0, :, :, 1])
    assert layout.to_samples(images).shape == (1, 24)


def test_value_range_becomes_zero_to_one():
    layout = ImageLayout((1, 3), (3,), (-2.0, 6.0))
    images = layout.to_images(np.array([[-2.0, 2.0, 6.0]]), np.float32)
    np.testing.assert_allclose(images.ravel(), [0, 0.5, 1])


def test_large_offset_keeps_its_digits():
    rows = 1e9 + np.random.default_rng(0).random((4, 9))
    layout = ImageLayout((3, 3), (9,), (rows.min(), rows.max()))
    images = layout.to_images(rows, np.float32)
    assert images.min() == 0 and images.max() == 1 and len(images.unique()) == 36


@pytest.mark.parametrize("read_only", [False, True])
def test_images_are_copies_of_read_only_rows_or_on_demand(read_only):
    rows = np.random.default_rng(0).random((4, 9))
    rows.flags.writeable = not read_only
    layout = ImageLayout((3, 3), (9,), (0.0, 1.0))
    images = layout.to_images(rows, np.float64, copy=None if read_only else True)
    images.zero_()
    assert rows.all()


def test_halving_keeps_every_second_pixel():
    layout = ImageLayout((64, 64), (64, 64), (0.0, 1.0), resize=(32, 32))
    images = torch.rand(2, 1, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(layout.shrink(images), images[:, :, ::2, ::2])
    # and growing keeps the pixels it was given
    grown = layout.grow(layout.shrink(images))
    assert grown.shape == images.shape
    torch.testing.assert_close(grown[:, :, ::2, ::2], images[:, :, ::2, ::2])


@pytest.mark.parametrize("size", [(5, 9), (13, 3), (7, 7), (1, 1), (20, 30)])
def test_resizing_keeps_constants_and_lines_inside(size):
    layout = ImageLayout((10, 12), (10, 12), (0.0, 1.0), resize=size)
    ones = torch.ones(1, 1, 10, 12, dtype=torch.float64)
    torch.testing.assert_close(layout.shrink(ones), ones.new_ones(1, 1, *size))
    line = torch.arange(12.0, dtype=torch.float64).expand(1, 1, 10, 12)
    position = np.arange(size[1]) * 12 / size[1]
    inside = (position >= 1) & (position <= 9)
    # cubic convolution with a = -0.75 follows a line up to 0.75 * max t (1-t) (1-2t)
    np.testing.assert_allclose(
        layout.shrink(line)[0, 0, 0, inside], position[inside], atol=0.05
    )


def test_half_way_weights_are_those_of_cubic_convolution():
    layout = ImageLayout((1, 8), (8,), (0.0, 1.0), resize=(1, 16))
    impulse = torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    impulse[..., 4] = 1
    np.testing.assert_allclose(
        layout.shrink(impulse)[0, 0, 0, 4:13],
        [0, -0.09375, 0, 0.59375, 1, 0.59375, 0, -0.09375, 0],
    )


@pytest.mark.parametrize(
    ("sample_shape", "image_shape", "expected"),
    [
        ((1,), None, (1, 1)),
        ((4,), None, (2, 2)),
        ((3,), None, (1, 3)),
        ((4096,), None, (64, 64)),
        ((12,), (3, 4), (3, 4)),
        ((12,), [2, 2, 3], (2, 2, 3)),
        ((5, 7), None, (5, 7)),
        ((5, 7, 3), None, (5, 7, 3)),
        ((5, 7, 1), (5, 7), (5, 7)),
    ],
)
def test_inferred_shapes(sample_shape, image_shape, expected):
    assert infer_image_shape(sample_shape, image_shape) == expected


def test_resampling_in_inference_mode_and_then_with_gradients():
    layout = ImageLayout((5, 7), (5, 7), (0.0, 1.0), resize=(3, 4))
    images = torch.rand(2, 1, 5, 7)
    with torch.inference_mode():
        layout.shrink(images)
    layout.shrink(images.requires_grad_()).sum().backward()
    assert images.grad is not None
