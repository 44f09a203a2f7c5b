"""Corruptions: their law, their units, their generator."""

import pytest
import torch

from sk_autoencoder._noise import NOISES, make_corruption


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("noise", NOISES)
def test_same_generator_same_noise_and_fresh_noise_after(noise):
    corrupt = make_corruption(noise, 0.2, 1.0)
    x = torch.full((4, 1, 8, 8), 0.5)
    generator = seeded()
    first, second = corrupt(x, generator), corrupt(x, generator)
    assert torch.equal(first, corrupt(x, seeded()))
    assert not torch.equal(first, second)
    assert torch.equal(x, torch.full((4, 1, 8, 8), 0.5))


@pytest.mark.parametrize("noise", NOISES)
def test_corrupted_values_stay_in_the_range(noise):
    noisy = make_corruption(noise, 2.0, 1.0)(torch.rand(4, 3, 8, 8), seeded())
    assert noisy.min() >= 0 and noisy.max() <= 1


@pytest.mark.parametrize("noise", NOISES)
def test_no_level_no_noise(noise):
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(make_corruption(noise, 0.0, 1.0)(x, seeded()), x)


def test_gaussian_level_is_a_standard_deviation_in_the_units_of_the_data():
    x = torch.full((100, 1, 20, 20), 0.5)
    for level, span in ((0.1, 1.0), (25.5, 255.0)):
        noise = make_corruption("gaussian", level, span)(x, seeded()) - x
        assert noise.std() == pytest.approx(0.1, rel=0.02)
        assert noise.mean() == pytest.approx(0, abs=2e-3)
