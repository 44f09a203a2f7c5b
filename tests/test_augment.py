"""Random transforms of the training images."""

import pytest
import torch

from sk_autoencoder._augment import make_augmentation, random_affine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def disc(height, width, n=40):
    rows = torch.linspace(-1, 1, height).view(-1, 1)
    columns = torch.linspace(-1, 1, width)
    image = torch.exp(-4 * (rows**2 + columns**2))
    return image.expand(n, 1, height, width)


@pytest.mark.parametrize("size", [(16, 16), (24, 12), (9, 31)])
def test_each_image_moves_a_little_and_its_own_way(size):
    x = disc(*size)
    moved = random_affine(x, seeded(), strength=1.0)
    assert moved.shape == x.shape
    change = (moved - x).abs().mean((1, 2, 3))
    assert (change > 0).all() and (change < 0.1).all()
    assert len(change.unique()) == len(x)


def test_strength_is_how_far():
    x = disc(16, 16)
    changes = [
        (random_affine(x, seeded(), strength=s) - x).abs().mean() for s in (0.5, 1, 2)
    ]
    assert changes[0] < changes[1] < changes[2]
    assert torch.equal(random_affine(x, seeded(), strength=0), x)


def test_generator_decides():
    x = disc(16, 16)
    a, b, c = (random_affine(x, seeded(seed), strength=1.0) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("size", [(1, 30), (30, 1), (1, 1)])
def test_lines_stay(size):
    x = torch.rand(5, 2, *size)
    assert torch.equal(random_affine(x, seeded(), strength=1.0), x)


@pytest.mark.parametrize("size", [(2, 400), (4, 160), (160, 4)])
def test_no_end_of_a_long_image_leaves_it(size):
    rows, columns = (torch.linspace(0, 1, side) for side in size)
    across = rows[:, None] if size[0] < size[1] else columns
    x = across.expand(50, 1, *size)
    assert (random_affine(x, seeded(), strength=1.0) - x).abs().max() < 0.25


def test_rotation_is_a_rotation_on_images_that_are_not_square():
    # a disc that is round in pixels stays round: only its place changes
    rows = torch.arange(48.0).view(-1, 1) - 23.5
    columns = torch.arange(24.0) - 11.5
    x = torch.exp(-(rows**2 + columns**2) / 20).expand(30, 1, 48, 24)
    moved = random_affine(x, seeded(), strength=3.0)
    moved = moved - moved.amin((2, 3), keepdim=True)
    mass = moved.sum((2, 3), keepdim=True)
    spread = []
    for axis in (rows, columns):
        center = (moved * axis).sum((2, 3), keepdim=True) / mass
        spread.append((moved * (axis - center) ** 2).sum((1, 2, 3)) / mass.ravel())
    torch.testing.assert_close(spread[0], spread[1], rtol=0.05, atol=0)


def test_parameter():
    assert make_augmentation(None, 10) is None

    def mine(batch, generator):
        return batch.add_(1)

    x = torch.zeros(2, 1, 3, 3)
    assert make_augmentation(mine, 10)(x, seeded()).eq(1).all()
    assert x.eq(0).all()


@pytest.mark.parametrize("n_samples", [1, 200, 800, 200_000])
def test_few_samples_are_transformed_more_often(n_samples):
    x = disc(16, 16, n=4000)
    moved = make_augmentation(1.0, n_samples)(x, seeded())
    share = (moved != x).any((1, 2, 3)).float().mean().item()
    expected = min(0.8, max(0.4, (200 / n_samples) ** 0.5))
    assert share == pytest.approx(expected, abs=0.02)
    untouched = make_augmentation(0.0, n_samples)(x, seeded())
    assert torch.equal(untouched, x)


@pytest.mark.parametrize("n_samples, share", [(100, 0.5), (4000, 0.5), (100_000, 0.1)])
def test_flips_take_a_share_of_all_images(n_samples, share):
    x = torch.arange(16.0).view(1, 1, 4, 4).expand(4000, 1, 4, 4)
    flips = "vertical", "horizontal"
    flipped = make_augmentation(1.0, n_samples, flips)(x, seeded())
    for axis in (2, 3):
        first = flipped.select(axis, 0).mean((1, 2))
        backwards = (first > flipped.select(axis, 3).mean((1, 2))).float().mean()
        assert backwards.item() == pytest.approx(share, abs=0.03)
