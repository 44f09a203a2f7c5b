"""Corruptions: their law, their units, their generator."""

import numpy as np
import pytest
import torch

from sk_autoencoder._hide import hide
from sk_autoencoder._image import ImageLayout
from sk_autoencoder._noise import (
    IN_UNITS_OF_X,
    NOISES,
    make_corruption,
    read_level,
)

UNIT = (0.0, 1.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def layout_of(shape, value_range=UNIT):
    return ImageLayout(shape, shape, value_range)


def corrupt(x, noise, level, value_range=UNIT, at="batch", generator=None):
    """Images (n, C, H, W), scaled to [0, 1], after corruption."""
    layout = layout_of((*x.shape[2:], x.shape[1]), value_range)
    if not callable(noise):
        level = read_level(noise, level, layout.image_shape, seeded(1))
    return make_corruption(noise, level, layout, at=at)(x, generator or seeded())


def corrupted(noise, level, value, value_range=UNIT):
    """Many values alike, in the units of the data, after corruption."""
    low, high = value_range
    x = torch.full((200, 1, 30, 30), (value - low) / (high - low))
    return low + (high - low) * corrupt(x, noise, level, value_range, at="layer")


@pytest.mark.parametrize("level", [0.2, (0.1, 0.3)])
@pytest.mark.parametrize("noise", NOISES)
def test_same_generator_same_noise_and_fresh_noise_after(noise, level):
    x = torch.full((4, 1, 8, 8), 0.5)
    generator = seeded()
    first, second = (corrupt(x, noise, level, generator=generator) for _ in range(2))
    assert torch.equal(first, corrupt(x, noise, level))
    assert not torch.equal(first, second)
    assert torch.equal(x, torch.full((4, 1, 8, 8), 0.5))


@pytest.mark.parametrize("noise", NOISES)
def test_corrupted_values_stay_in_the_range_unless_told_otherwise(noise):
    x = torch.rand(4, 3, 8, 8)
    noisy = corrupt(x, noise, 0.9)
    assert noisy.min() >= 0 and noisy.max() <= 1
    free = corrupt(x, noise, 0.9, at="layer")
    assert torch.equal(free.clamp(0, 1), noisy)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("level", [0, (0, 0)])
def test_no_level_no_noise(noise, level):
    level = read_level(noise, level, (8, 8), seeded())
    assert make_corruption(noise, level, layout_of((8, 8))) is None


@pytest.mark.parametrize("value_range", [UNIT, (0.0, 255.0), (-3.0, 5.0)])
def test_levels_are_in_the_units_of_the_data(value_range):
    low, high = value_range
    value, level = low + 0.7 * (high - low), 0.1 * (high - low)
    gaussian = corrupted("gaussian", level, value, value_range)
    assert gaussian.mean() == pytest.approx(value, abs=0.01 * level)
    assert gaussian.std() == pytest.approx(level, rel=0.01)
    speckle = corrupted("speckle", 0.1, value, value_range)
    assert speckle.std() == pytest.approx(0.1 * abs(value), rel=0.01)
    poisson = corrupted("poisson", level, value, value_range)
    assert poisson.mean() == pytest.approx(value, rel=0.01)
    assert poisson.std() == pytest.approx(level * (value / high) ** 0.5, rel=0.01)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("unit", [1e-17, 1e37])
def test_units_do_not_matter(noise, unit):
    x = torch.rand(4, 1, 8, 8)
    scale = unit if noise in IN_UNITS_OF_X else 1
    expected = corrupt(x, noise, 0.3, (-1.0, 3.0))
    level, value_range = 0.3 * scale, (-1.0 * unit, 3.0 * unit)
    torch.testing.assert_close(corrupt(x, noise, level, value_range), expected)


@pytest.mark.parametrize("noise", ["gaussian", "heteroscedastic"])
def test_data_far_from_zero_keep_their_digits(noise):
    x = torch.rand(4, 1, 8, 8)
    near, far = (corrupt(x, noise, 0.1, (low, low + 1)) for low in (1e4, 1e8))
    assert near.dtype == far.dtype == torch.float32
    torch.testing.assert_close(far, near, rtol=0, atol=1e-6)


@pytest.mark.parametrize("low", [0.0, 1e5, 1e8])
def test_many_counts_have_their_variance(low):
    values = torch.full((200, 1, 30, 30), 0.5)
    noisy = corrupt(values, "poisson", 0.2, (low, low + 1), at="layer")
    expected = 0.2 * ((low + 0.5) / (low + 1)) ** 0.5
    assert noisy.mean() == pytest.approx(0.5, abs=0.01)
    assert noisy.std() == pytest.approx(expected, rel=0.01)


def test_a_function_is_given_single_precision_however_far():
    kernel = torch.ones(1, 1, 3, 3) / 9

    def blur(batch, generator):
        return torch.nn.functional.conv2d(batch, kernel, padding=1)

    x = torch.rand(4, 1, 8, 8)
    assert corrupt(x, blur, None, (1e4, 1e4 + 1)).shape == x.shape


def test_probabilities():
    masked = corrupted("masking", 0.3, 2.0, (-1.0, 4.0))
    assert (masked.abs() < 1e-6).float().mean() == pytest.approx(0.3, abs=0.01)
    dropped = corrupted("dropout", 0.25, 1.5, (0.0, 4.0))
    assert dropped.mean() == pytest.approx(1.5, rel=0.01)
    assert dropped.max() == pytest.approx(2.0)
    peppered = corrupted("salt_and_pepper", 0.4, 2.0, (-1.0, 4.0))
    for extreme in (-1, 4):
        share = ((peppered - extreme).abs() < 1e-5).float().mean()
        assert share == pytest.approx(0.2, abs=0.01)


def test_there_are_no_counts_below_zero():
    counts = corrupted("poisson", 1.0, -2.0, (-3.0, 5.0))
    assert torch.all((counts >= 0) & (counts < 1e-5))


def test_levels_at_a_layer_are_none_below_zero():
    # which interpolation between levels gives
    layout = ImageLayout((8, 8), (8, 8), UNIT, (20, 20))
    level = np.where(np.arange(64) % 2, 0.0, 5.0)
    x = torch.full((500, 1, 20, 20), 0.5)
    noisy = make_corruption("heteroscedastic", level, layout, at="layer")(x, seeded())
    shrunk = layout.shrink(layout.arrange(level)[None])[0]
    assert (shrunk < -0.1).any()
    assert torch.equal(noisy.std(0) < 1e-6, shrunk <= 0)


def test_each_sample_draws_its_own_level_of_a_pair():
    spread = corrupted("gaussian", (0.1, 0.3), 0.5).std((1, 2, 3))
    assert spread.min() == pytest.approx(0.1, abs=0.01)
    assert spread.max() == pytest.approx(0.3, abs=0.015)
    assert spread.median() == pytest.approx(0.125, abs=0.01)


def test_each_component_has_its_level():
    levels = np.linspace(0, 0.4, 900)
    spread = corrupted("heteroscedastic", levels, 0.5).std(0).ravel()
    expected = torch.tensor(levels, dtype=torch.float32)
    torch.testing.assert_close(spread, expected, rtol=0.25, atol=1e-6)


def test_levels_of_components_are_drawn():
    drawn = read_level("heteroscedastic", 0.5, (100, 100), seeded())
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    low, high = read_level("heteroscedastic", (0.5, 1.5), (100, 100), seeded())
    np.testing.assert_array_equal(low, drawn)
    np.testing.assert_allclose(high, 3 * low)


def test_a_callable_sees_the_units_of_the_data():
    def brighter(batch, generator):
        assert batch.max() == pytest.approx(200)
        return batch + 10

    noisy = corrupted(brighter, None, 200.0, (0.0, 255.0))
    torch.testing.assert_close(noisy, torch.full_like(noisy, 210.0))


@pytest.mark.parametrize(
    ("noise", "level", "expected"),
    [
        ("gaussian", 2, 2.0),
        ("gaussian", (1, 2), (1.0, 2.0)),
        ("gaussian", [1, 2], (1.0, 2.0)),
        ("heteroscedastic", [1, 2, 0], [1.0, 2.0, 0.0]),
    ],
)
def test_levels_are_read(noise, level, expected):
    read = read_level(noise, level, (1, 3), seeded())
    assert type(read) is type(expected) or isinstance(read, np.ndarray)
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    "shape",
    [
        (6, 1, 9, 12),
        (6, 3, 2, 2),
        (6, 1, 3, 9),
        (400, 1, 1, 50),
        (9, 1, 1, 3),
        (1, 1, 1, 9),
    ],
)
def test_hidden_values_cannot_be_seen(shape):
    x = torch.rand(shape)
    hidden, mask = hide(x, seeded())
    assert mask.flatten(1).any(1).all() and mask.float().mean() < 0.4
    assert torch.equal(hidden[~mask], x[~mask])
    for i in range(0, len(x), 7):  # whatever stood there leaves no trace
        other = x.clone()
        other[i] = torch.where(mask[i], torch.rand(shape[1:]), x[i])
        assert_close = torch.testing.assert_close
        assert_close(hide(other, seeded())[0][i], hidden[i])


def test_what_hides_a_value():
    image = torch.arange(81.0).view(1, 1, 9, 9) ** 2
    hidden, mask = hide(image, seeded())
    for row, column in (mask[0, 0, 1:-1, 1:-1].nonzero() + 1).tolist():
        around = image[0, 0, row - 1 : row + 2, column - 1 : column + 2]
        weights = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]])
        expected = (around * weights).sum() / weights.sum()
        torch.testing.assert_close(hidden[0, 0, row, column], expected)
    lines = torch.rand((3, 1, 1, 20), generator=seeded())
    hidden, mask = hide(lines, seeded())
    for i, *_, column in mask.nonzero().tolist():
        others = [lines[k, 0, 0, column] for k in range(3) if k != i]
        torch.testing.assert_close(hidden[i, 0, 0, column], sum(others) / 2)


@pytest.mark.parametrize("level", [(0.1, "a"), (None, 1), ["a", 1]])
def test_levels_that_are_no_numbers_are_named(level):
    with pytest.raises(ValueError, match=r"noise_level=.*expected a pair of numbers"):
        read_level("gaussian", level, (8, 8), seeded())


def test_scalar_that_is_no_number_is_named():
    assert read_level("gaussian", torch.tensor(0.5), (8, 8), seeded()) == 0.5
    with pytest.raises(ValueError, match=r"noise_level=array\('a'.*expected a number"):
        read_level("gaussian", np.array("a"), (8, 8), seeded())


def test_levels_of_the_components_have_the_shape_of_an_image():
    levels = np.arange(36.0)
    for shape in ((36,), (3, 4, 3)):
        read = read_level("heteroscedastic", levels.reshape(shape), (3, 4, 3), seeded())
        np.testing.assert_array_equal(read, levels)
    with pytest.raises(
        ValueError, match=r"of shape \(4, 3, 3\) with.*shape of an image, \(3, 4, 3\)"
    ):
        read_level("heteroscedastic", levels.reshape(4, 3, 3), (3, 4, 3), seeded())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_function_of_data_far_from_zero_is_given_single_precision(dtype):
    seen = []

    def twice(batch, generator):
        seen.append(batch.dtype)
        return batch.mul_(2)

    x = torch.rand(4, 1, 8, 8, dtype=dtype)
    far = corrupt(x, lambda batch, _: batch + 0, None, (1e8, 1e8 + 1))
    torch.testing.assert_close(far, x)
    near = corrupt(x, twice, None, (0.0, 2.0))
    torch.testing.assert_close(near, (2 * x).clamp(max=1))
    assert seen == [torch.float32]


def test_counts_of_nothing_are_named():
    with pytest.raises(ValueError, match=r"value_range=\(-2, 0\) is positive"):
        corrupted("poisson", 0.1, -1.0, (-2.0, 0.0))
