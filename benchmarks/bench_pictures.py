"""Denoising whole pictures tile by tile: how large may a tile be, and how good is BM3D?

Squares from anywhere in the left three quarters of five grey pictures that scikit-image
ships train a denoiser; their right-hand quarters are cut into such squares, denoised and
put together again. BM3D (the `bm3d` package) sees each quarter as a whole, and knows the
level of the noise. Mean PSNR over the pictures, in dB; one seed, defaults.

    python benchmarks/bench_pictures.py [--sides 16 64] [--levels 0.1 0.2]
"""

import argparse
import time

import _report
import numpy as np
import skimage.data
from bm3d import bm3d

from sk_autoencoder import DenoisingAutoencoder
from sk_autoencoder.metrics import psnr

PICTURES = "camera", "coins", "moon", "page", "grass"
HOW_MANY = {16: 10_000, 64: 400}


def quarters(side):
    """Left three quarters of each picture, and the rest at a multiple of the side."""
    for name in PICTURES:
        picture = getattr(skimage.data, name)() / 255
        cut = 3 * picture.shape[1] // 4
        rest = picture[:, cut:]
        height, width = (n // side * side for n in rest.shape)
        yield picture[:, :cut], rest[:height, :width]


def squares(pictures, side, n, rng):
    for k in range(n):
        picture = pictures[k % len(pictures)]
        top, left = (rng.integers(size - side + 1) for size in picture.shape)
        yield picture[top : top + side, left : left + side]


def by_tiles(denoise, picture, side):
    rows, columns = (n // side for n in picture.shape)
    tiles = picture.reshape(rows, side, columns, side).swapaxes(1, 2)
    denoised = denoise(tiles.reshape(-1, side, side))
    return denoised.reshape(rows, columns, side, side).swapaxes(1, 2)


def compare(side, level):
    rng = np.random.default_rng(0)
    known, held = zip(*quarters(side))
    train = np.array(list(squares(known, side, HOW_MANY[side], rng)), dtype=np.float32)
    start = time.perf_counter()
    ae = DenoisingAutoencoder(noise_level=level, random_state=0).fit(train)
    figures = {"fit_seconds": round(time.perf_counter() - start, 1)}
    methods = {
        "noisy": lambda noisy: noisy,
        "BM3D": lambda noisy: bm3d(noisy, level),
        "DenoisingAutoencoder": lambda noisy: by_tiles(ae.denoise, noisy, side),
    }
    for clean in held:
        noisy = (clean + rng.normal(0, level, clean.shape)).clip(0, 1)
        for name, denoise in methods.items():
            restored = denoise(noisy).reshape(1, -1)
            score = psnr(clean.reshape(1, -1), restored, data_range=1)
            figures.setdefault(name, []).append(score)
    return figures


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--sides", nargs="+", type=int, default=[16, 64], choices=HOW_MANY)
parser.add_argument("--levels", nargs="+", type=float, default=[0.1, 0.2])
args = parser.parse_args()

# what other runs of this script measured is kept
results = _report.read("pictures", {})
for side in args.sides:
    for level in args.levels:
        figures = results[f"{side} x {side}, {level}"] = compare(side, level)
        _report.write("pictures", {"pictures": PICTURES, "results": results})
        means = (f"{name} {np.mean(figures[name]):.2f}" for name in list(figures)[1:])
        print(f"{side:3} x {side}, noise {level}: {', '.join(means)}", flush=True)
behind = [
    title
    for title, figures in results.items()
    if title.startswith("16 x")
    and np.mean(figures["DenoisingAutoencoder"]) < np.mean(figures["BM3D"])
]
assert not behind, f"BM3D is ahead of small tiles: {'; '.join(behind)}"
