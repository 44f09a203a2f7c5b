"""Seconds of `fit` until an error is reached: the article's recipe, and the defaults.

Held out: the error of 100 faces of 32 x 32 passes that of PCA, all with codes of 256.
Training: that of all 400 passes the last one that the article prints, 0.53 per image
(half a squared error), a mean squared error of 0.001035; 600 epochs of its own
TensorFlow graph take about 660 s on 2 cores. Evaluations are not counted.

    python benchmarks/bench_time_to_quality.py [--epochs 100] [--rounds 3]
"""

import argparse
import copy
import time

import _report
import numpy as np
import torch
from sklearn.datasets import fetch_olivetti_faces
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback

from sk_autoencoder import ConvAutoencoderTransformer, recipes

ARTICLE_ERROR, ARTICLE_SECONDS = 0.001035, 660


class _Reached(Callback):
    """Seconds from here until the error of the images is at most `error`."""

    def __init__(self, rows, error):
        self.images = torch.from_numpy(rows).view(len(rows), 1, 32, 32)
        self.error = error
        self.start = time.perf_counter()
        self.seconds = None

    def __copy__(self):
        return self

    def on_epoch_end(self, net, **kwargs):
        if self.seconds is not None:
            return
        begun = time.perf_counter()
        module = copy.deepcopy(net.module_).eval()
        with torch.inference_mode():
            restored = module(self.images)[0]
        if float(torch.mean((restored - self.images) ** 2)) <= self.error:
            self.seconds = begun - self.start
        self.start += time.perf_counter() - begun


def seconds_until(rows, watched, error, **parameters):
    reached = _Reached(watched, error)
    ConvAutoencoderTransformer(
        **parameters, value_range=(0.0, 1.0), callbacks=[reached]
    ).fit(rows)
    return reached.seconds


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=100, help="of the article's recipe")
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()

faces = fetch_olivetti_faces()
X = np.ascontiguousarray(
    faces.data.reshape(-1, 32, 2, 32, 2).mean((2, 4)).reshape(400, -1)
)
X_train, X_test = train_test_split(
    X, stratify=faces.target, test_size=0.25, random_state=0
)
pca = PCA(256, random_state=0).fit(X_train)
pca_error = float(np.mean((pca.inverse_transform(pca.transform(X_test)) - X_test) ** 2))

recipe = {**recipes.OLIVETTI, "image_shape": (32, 32), "resize": None}
recipe |= {"max_epochs": args.epochs}
recipe.pop("value_range")
contenders = {"the defaults": {"n_components": 256}, "the article's recipe": recipe}
figures = {name: {"held out": [], "training": []} for name in contenders}
for seed in range(args.rounds):
    for name, parameters in contenders.items():
        options = {**parameters, "random_state": seed}
        found = figures[name]
        found["held out"].append(seconds_until(X_train, X_test, pca_error, **options))
        found["training"].append(seconds_until(X, X, ARTICLE_ERROR, **options))

print(f"{'seconds until':24}{'past PCA, held out':>22}{'past the article':>20}")
for name, found in figures.items():
    cells = [
        "never" if None in times else f"{np.median(times):.1f}"
        for times in found.values()
    ]
    print(f"{name:24}{cells[0]:>22}{cells[1]:>20}")
_report.write("time_to_quality", {"epochs": args.epochs, "seconds": figures})
ours = figures["the defaults"]
assert None not in ours["held out"] and np.median(ours["held out"]) < 15
assert np.median(ours["training"]) < ARTICLE_SECONDS / 30
