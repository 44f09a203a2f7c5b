"""Mean PSNR of held-out images, denoised by defaults and by classical methods.

A quarter of each set is held out, of which 100 images are denoised; noise is clipped to
[0, 1], levels are of images scaled to [0, 1]. Every classical method takes the setting
that does best on the noisy held-out images themselves, knowing the clean ones: an upper
bound of what a user could choose. The Wiener filter works in the basis of the training
images' PCA. "blind" is one model for Gaussian noise of all levels from 0.05 to 0.4. The
article's recipe runs on the faces at 64 x 64, for its own noise, once.

"accuracy" is that of an SVC on codes of noisy images, trained on codes of noisy training
images: ours, and PCA's at the length that does best.

    python benchmarks/bench_denoising.py [--data faces32 ...] [--noise "masking 0.3" ...]
        [--seeds 0 1 2] [--ours]

`--ours` measures the estimator anew, and keeps what was measured of the other methods.
"""

import argparse
import time
import warnings

import _report
import numpy as np
from _accuracy import accuracy
from _images import AT_RANDOM, SHAPES, load
from scipy.ndimage import median_filter
from skimage.restoration import (
    denoise_nl_means,
    denoise_tv_chambolle,
    denoise_wavelet,
)
from sklearn.decomposition import PCA, KernelPCA

from sk_autoencoder import DenoisingAutoencoder, recipes
from sk_autoencoder.metrics import make_denoising_scorer, psnr, ssim

OURS, BLIND = "DenoisingAutoencoder", "DenoisingAutoencoder, blind"
ARTICLE = "the article's recipe"
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


def quality(clean, images, shape):
    return {
        "psnr": psnr(clean, images, data_range=1),
        "ssim": ssim(clean, images, data_range=1, image_shape=shape),
    }


def measure(denoise, clean, noisy, shape):
    start = time.perf_counter()
    denoised = denoise(noisy, shape)
    seconds = (time.perf_counter() - start) / len(noisy)
    return quality(clean, denoised, shape) | {"seconds": seconds}


def fitted(X, shape, seed, **parameters):
    """A denoiser trained on X, and the seconds that took."""
    parameters = {"image_shape": shape, **parameters}
    start = time.perf_counter()
    ae = DenoisingAutoencoder(**parameters, random_state=seed).fit(X)
    return ae, time.perf_counter() - start


def of(ae, fit_seconds, *pictures):
    measured = measure(lambda rows, _: ae.denoise(rows), *pictures)
    return measured | {"fit_seconds": round(fit_seconds, 1)}


def compare(data, noise, level, seed, X, clean, methods, blind, labels):
    """Name: figures of each method on clean images that noise was added to."""
    shape = SHAPES[data]
    if noise == "heteroscedastic":  # of variances that all who use them know
        level = level * np.random.default_rng(seed).uniform(0, 2, X.shape[1])
    scorer = make_denoising_scorer(noise=noise, noise_level=level, random_state=seed)
    pictures = clean, scorer.corrupt(clean), shape
    found = {"noisy": quality(*pictures)}
    for name, settings in methods.items():
        tried = [measure(denoise, *pictures) for denoise in settings]
        found[name] = max(tried, key=lambda figures: figures["psnr"])
    ae, seconds = fitted(X, shape, seed, noise=noise, noise_level=level)
    found[OURS] = of(ae, seconds, *pictures)
    if noise == "gaussian":
        found[BLIND] = of(*blind, *pictures)
    if methods and (data, noise, level, seed) == ("faces64", "gaussian", 0.2, 0):
        article = fitted(X, shape, seed, **recipes.OLIVETTI_DENOISING)
        found[ARTICLE] = of(*article, *pictures)
    if labels is not None:
        rows = scorer.corrupt(X), pictures[1]
        found[OURS]["accuracy"] = accuracy(*map(ae.transform, rows), *labels)
        if not methods:
            return found
        codes = [
            PCA(k, random_state=seed).fit(X)
            for k in (16, 32, 64, 128)
            if k < 0.9 * min(X.shape)
        ]
        found["PCA, best k"]["accuracy"] = max(
            accuracy(*map(pca.transform, rows), *labels) for pca in codes
        )
    return found


def show(title, runs):
    """Print the means over our seeds; return whether a classical method is ahead."""
    means = {}
    for name, found in runs.items():
        shared = [found[seed] for seed in runs[OURS] if seed in found]
        if shared:
            means[name] = {
                key: np.mean([run[key] for run in shared]) for key in shared[0]
            }
    print(f"{title}, seeds {', '.join(runs[OURS])}")
    for name, mean in sorted(means.items(), key=lambda item: item[1]["psnr"]):
        line = f"    {name:28}{mean['psnr']:7.2f} dB  ssim {mean['ssim']:.3f}"
        if "accuracy" in mean:
            line += f"  accuracy {mean['accuracy']:.3f}"
        if "fit_seconds" in mean:
            line += f"  fit {mean['fit_seconds']:.0f} s"
        print(line, flush=True)
    classical = set(means) - {OURS, BLIND, ARTICLE, "noisy"}
    return any(means[OURS]["psnr"] < means[name]["psnr"] for name in classical)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", nargs="+", default=AT_RANDOM, choices=SHAPES)
parser.add_argument("--noise", nargs="+", default=list(NOISES), choices=NOISES)
parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
parser.add_argument("--ours", action="store_true")
parser.add_argument("--out", default="denoising")
args = parser.parse_args()
warnings.simplefilter("ignore")
try:
    import bm3d as _found  # noqa: F401

    HAS_BM3D = True
except ImportError:
    HAS_BM3D = False
    print("BM3D is left out: pip install bm3d")

# what other runs of this script measured is kept
results = _report.read(args.out, {})
for data in args.data:
    for seed in args.seeds:
        X, clean, *labels = load(data, seed)
        top = X.max() if data == "digits" else 1
        X, clean = X / top, clean[:100] / top
        labels = None if labels[0] is None else (labels[0], labels[1][:100])
        # BM3D's package ends the process on the digits
        methods = (
            {} if args.ours else classical(X, HAS_BM3D and min(SHAPES[data][:2]) >= 16)
        )
        blind = None
        if any(NOISES[name][0] == "gaussian" for name in args.noise):
            blind = fitted(X, SHAPES[data], seed, noise_level=(0.05, 0.4))
        for name in args.noise:
            found = compare(data, *NOISES[name], seed, X, clean, methods, blind, labels)
            runs = results.setdefault(f"{data}, {name}", {})
            for method, figures in found.items():
                runs.setdefault(method, {})[str(seed)] = figures
            _report.write(args.out, {"results": results})
            show(f"{data}, {name}", runs)
print()
behind = [title for title, runs in results.items() if show(title, runs)]
assert not behind, f"a classical method is ahead: {'; '.join(behind)}"
