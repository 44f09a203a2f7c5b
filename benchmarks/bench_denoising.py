"""Mean PSNR of held-out images, denoised by defaults and by classical methods.

A quarter of each set is held out; noise is clipped to [0, 1], levels are of images scaled
to [0, 1]. Every classical method takes the setting that does best on the noisy held-out
images themselves, knowing the clean ones: an upper bound of what a user could choose.
The Wiener filter works in the basis of the training images' PCA, with the true level.

    python benchmarks/bench_denoising.py [--data faces32 ...] [--seeds 3]
"""

import argparse
import time
import warnings

import _report
import numpy as np
from _images import SHAPES, load
from scipy.ndimage import median_filter
from skimage.restoration import (
    denoise_nl_means,
    denoise_tv_chambolle,
    denoise_wavelet,
)
from sklearn.decomposition import PCA, KernelPCA

from sk_autoencoder import DenoisingAutoencoder
from sk_autoencoder.metrics import make_denoising_scorer, psnr, ssim

OURS = "DenoisingAutoencoder"
NOISES = {
    "gaussian 0.1": ("gaussian", 0.1),
    "gaussian 0.2": ("gaussian", 0.2),
    "gaussian 0.4": ("gaussian", 0.4),
    "heteroscedastic 0.2": ("heteroscedastic", 0.2),
    "masking 0.3": ("masking", 0.3),
    "salt and pepper 0.2": ("salt_and_pepper", 0.2),
}


def each(function, **options):
    """A method for single images as one for rows."""

    def denoise(noisy, shape):
        axis = -1 if len(shape) == 3 else None
        images = [row.reshape(shape) for row in noisy]
        return np.array([function(i, axis, **options).ravel() for i in images])

    return denoise


def nl_means(image, axis, h):
    return denoise_nl_means(image, 5, 6, h=h, channel_axis=axis)


def total_variation(image, axis, weight):
    return denoise_tv_chambolle(image, weight=weight, channel_axis=axis)


def wavelet(image, axis, sigma):
    return denoise_wavelet(image, sigma=sigma, channel_axis=axis, rescale_sigma=True)


def median(image, axis, size):
    return median_filter(image, (size, size, 1)[: image.ndim])


def bm3d(image, axis, sigma):
    from bm3d import bm3d, bm3d_rgb

    return (bm3d if axis is None else bm3d_rgb)(image, sigma)


def projection(model):
    def denoise(noisy, shape):
        return model.inverse_transform(model.transform(noisy))

    return denoise


def wiener(X, level):
    """Shrink each component by s / (s + level²), s its variance in the training images."""
    pca = PCA(min(X.shape)).fit(X)
    gain = pca.explained_variance_ / (pca.explained_variance_ + level**2)

    def denoise(noisy, shape):
        return pca.inverse_transform(pca.transform(noisy) * gain)

    return denoise


def classical(X, has_bm3d):
    """Name: methods, one for each setting, as functions of noisy rows and a shape."""
    few = min(X.shape)
    methods = {
        "PCA, best k": [
            projection(PCA(k).fit(X))
            for k in (5, 10, 20, 30, 45, 60, 90, 130, 180)
            if k < few
        ],
        "Wiener in PCA basis": [
            wiener(X, level) for level in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
        ],
        "KernelPCA": [
            projection(
                KernelPCA(
                    k,
                    kernel="rbf",
                    gamma=gamma / X.var(0).sum(),
                    alpha=0.01,
                    fit_inverse_transform=True,
                ).fit(X[:1500])
            )
            for k in (10, 30, 90)
            for gamma in (0.03, 0.1)
            if k < few
        ],
        "NL-means": [each(nl_means, h=h) for h in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)],
        "total variation": [
            each(total_variation, weight=w) for w in (0.03, 0.06, 0.1, 0.15, 0.2, 0.3)
        ],
        "wavelets": [each(wavelet, sigma=s) for s in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)],
        "median": [each(median, size=size) for size in (3, 5)],
    }
    if has_bm3d:
        methods["BM3D"] = [each(bm3d, sigma=s) for s in (0.1, 0.2, 0.3, 0.4)]
    return methods


def measure(denoise, clean, noisy, shape):
    start = time.perf_counter()
    denoised = denoise(noisy, shape)
    seconds = (time.perf_counter() - start) / len(noisy)
    figures = {"psnr": psnr(clean, denoised, data_range=1), "seconds": seconds}
    return figures | {"ssim": ssim(clean, denoised, data_range=1, image_shape=shape)}


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", nargs="+", default=list(SHAPES), choices=SHAPES)
parser.add_argument("--noise", nargs="+", default=list(NOISES), choices=NOISES)
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--out", default="denoising")
args = parser.parse_args()
warnings.simplefilter("ignore")
try:
    import bm3d as _found  # noqa: F401

    HAS_BM3D = True
except ImportError:
    HAS_BM3D = False
    print("BM3D is left out: pip install bm3d")

# what other runs of this script measured on other data or noise is kept
results = _report.read(args.out, {})
behind = []
for data in args.data:
    shape = SHAPES[data]
    for name in args.noise:
        noise, level = NOISES[name]
        runs: dict[str, list] = {}
        for seed in range(args.seeds):
            X, clean, *_ = load(data, seed)
            top = X.max() if data == "digits" else 1
            X, clean = X / top, clean[:100] / top
            scorer = make_denoising_scorer(
                noise=noise, noise_level=level, random_state=seed
            )
            noisy = scorer.corrupt(clean)
            for method, settings in classical(X, HAS_BM3D).items():
                found = [measure(d, clean, noisy, shape) for d in settings]
                best = max(found, key=lambda figures: figures["psnr"])
                runs.setdefault(method, []).append(best)
            ae = DenoisingAutoencoder(
                noise=noise, noise_level=level, image_shape=shape, random_state=seed
            )
            start = time.perf_counter()
            ae.fit(X)
            fit_seconds = time.perf_counter() - start
            ours = measure(lambda rows, _, ae=ae: ae.denoise(rows), clean, noisy, shape)
            runs.setdefault(OURS, []).append(ours | {"fit_seconds": fit_seconds})
            before = {"psnr": psnr(clean, noisy, data_range=1)}
            runs.setdefault("noisy", []).append(before)
        means = {m: np.mean([run["psnr"] for run in r]) for m, r in runs.items()}
        classical_best = max(v for m, v in means.items() if m not in (OURS, "noisy"))
        print(f"{data}, {name}", flush=True)
        for method in sorted(means, key=means.get):
            print(f"    {method:22}{means[method]:7.2f} dB", flush=True)
        if means[OURS] < classical_best:
            behind.append(f"{data}, {name}")
        results[f"{data}, {name}"] = runs
        _report.write(args.out, {"results": results})
assert not behind, f"a classical method is ahead: {'; '.join(behind)}"
