"""Held-out reconstruction error and accuracy of codes: defaults against PCA.

Three random splits, a quarter (of the faces: stratified) held out. "ratio" is an error
over PCA's at the same length, averaged over the splits, with the largest deviation;
"accuracy" is an SVC's on standardised codes. "PCA, augmented" is fitted on the training
rows and ten transformed copies of them; "MLPRegressor" is scikit-learn's, trained to
give back its input through a layer of that length (relu, 256 units on either side, early
stopping). Colour patches come from scikit-learn's two sample images, cut into columns
of which every fifth is held out.

    python benchmarks/bench_vs_pca.py [--data digits faces32 ...] [--splits 3]
"""

import argparse
import pickle
import time
import warnings

import _report
import numpy as np
import torch
from sklearn.datasets import fetch_olivetti_faces, load_digits, load_sample_images
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder._augment import random_affine

LENGTHS = {
    "digits": (8, 16, 32),
    "faces32": (16, 64, 256),
    "patches": (16, 64),
    "faces64": (16, 64, 256),
}


def load(name, split):
    """Return X_train, X_test, y_train, y_test (labels or None), image_shape."""
    if name == "patches":
        return *patches(np.random.default_rng(split)), None, None, (16, 16, 3)
    if name == "digits":
        (X, y), shape = load_digits(return_X_y=True), (8, 8)
    else:
        X, y = fetch_olivetti_faces(return_X_y=True)
        shape = (64, 64)
        if name == "faces32":
            X, shape = X.reshape(-1, 32, 2, 32, 2).mean((2, 4)), (32, 32)
            X = X.reshape(len(X), -1)
    parts = train_test_split(X, y, stratify=y, test_size=0.25, random_state=split)
    return *parts, shape


def patches(rng, n_train=4000, n_test=1000):
    """Patches of 16 x 16 x 3: columns 80 apart are held out, 16 wide, none overlaps."""
    images = [image / 255 for image in load_sample_images().images]

    def cut(n, first, width):
        rows = []
        for k in range(n):
            image = images[k % 2]
            top = rng.integers(image.shape[0] - 15)
            left = 80 * rng.integers(image.shape[1] // 80) + first
            left += rng.integers(width - 15)
            rows.append(image[top : top + 16, left : left + 16].ravel())
        return np.array(rows, dtype=np.float32)

    return cut(n_train, 16, 64), cut(n_test, 0, 16)


def augmented(X, shape, split):
    """Rows of X and ten transformed copies of each."""
    height, width, channels = (*shape, 1)[:3]
    images = torch.tensor(X, dtype=torch.float32).reshape(-1, height, width, channels)
    images = images.permute(0, 3, 1, 2)
    generator = torch.Generator().manual_seed(split)
    copies = [random_affine(images, generator, strength=1.0) for _ in range(10)]
    rows = torch.cat([images, *copies]).permute(0, 2, 3, 1)
    return rows.reshape(len(rows), -1).numpy()


class MLP:
    """scikit-learn's MLPRegressor as an autoencoder; its code is the middle layer."""

    def __init__(self, n_components, split):
        self.model = MLPRegressor(
            hidden_layer_sizes=(256, n_components, 256),
            early_stopping=True,
            random_state=split,
        )

    def fit(self, X):
        self.low, self.span = X.min(), np.ptp(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(self._scale(X), self._scale(X))
        return self

    def _scale(self, X):
        return (X - self.low) / self.span

    def transform(self, X):
        hidden = self._scale(X)
        for weights, bias in list(zip(self.model.coefs_, self.model.intercepts_))[:2]:
            hidden = np.maximum(hidden @ weights + bias, 0)
        return hidden

    def inverse_transform(self, codes):
        layers = list(zip(self.model.coefs_, self.model.intercepts_))[2:]
        hidden = np.maximum(codes @ layers[0][0] + layers[0][1], 0)
        return (hidden @ layers[1][0] + layers[1][1]) * self.span + self.low


def contenders(length, X, shape, split):
    """Name, an unfitted reducer and the rows it is to be fitted on."""
    rows = augmented(X, shape, split)
    yield "PCA", PCA(min(length, *X.shape), random_state=split), X
    yield "PCA, augmented", PCA(min(length, *rows.shape), random_state=split), rows
    yield "MLPRegressor", MLP(length, split), X
    yield (
        "ConvAutoencoderTransformer",
        ConvAutoencoderTransformer(length, image_shape=shape, random_state=split),
        X,
    )


def measure(reducer, rows, X_train, X_test, y_train, y_test):
    start = time.perf_counter()
    reducer.fit(rows)
    fit_seconds = time.perf_counter() - start
    start = time.perf_counter()
    codes = reducer.transform(X_test)
    per_second = len(X_test) / (time.perf_counter() - start)
    error = float(np.mean((reducer.inverse_transform(codes) - X_test) ** 2))
    accuracy = None
    if y_train is not None:
        classifier = make_pipeline(StandardScaler(), SVC())
        classifier.fit(reducer.transform(X_train), y_train)
        accuracy = float(classifier.score(codes, y_test))
    return {
        "error": error,
        "accuracy": accuracy,
        "fit_seconds": round(fit_seconds, 2),
        "transform_rows_per_second": round(per_second),
        "bytes": len(pickle.dumps(reducer)),
    }


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", nargs="+", default=list(LENGTHS), choices=LENGTHS)
parser.add_argument("--splits", type=int, default=3)
parser.add_argument("--out", default="vs_pca")
args = parser.parse_args()

results, worst = [], 0.0
print(f"{'':34}{'ratio':>14} {'accuracy':>9} {'fit s':>7} {'rows/s':>8} {'MB':>6}")
for data in args.data:
    for length in LENGTHS[data]:
        runs = {}
        for split in range(args.splits):
            *parts, shape = load(data, split)
            for name, reducer, rows in contenders(length, parts[0], shape, split):
                runs.setdefault(name, []).append(measure(reducer, rows, *parts))
        baseline = np.array([run["error"] for run in runs["PCA"]])
        for name, measured in runs.items():
            ratios = np.array([run["error"] for run in measured]) / baseline
            mean = {
                key: None if value is None else np.mean([run[key] for run in measured])
                for key, value in measured[0].items()
            }
            deviation = np.abs(ratios - ratios.mean()).max()
            accuracy = "" if mean["accuracy"] is None else f"{mean['accuracy']:.3f}"
            print(
                f"{data:8}{length:4}  {name:26}{ratios.mean():7.3f} ±{deviation:.3f}"
                f" {accuracy:>9} {mean['fit_seconds']:7.1f}"
                f" {mean['transform_rows_per_second']:8.0f} {mean['bytes'] / 1e6:6.1f}",
                flush=True,
            )
            results.append(
                {"data": data, "length": length, "name": name} | {"runs": measured}
            )
            if name == "ConvAutoencoderTransformer":
                worst = max(worst, ratios.mean())
        _report.write(args.out, {"results": results})
assert worst < 1, f"the autoencoder is behind PCA: ratio {worst:.3f}"
