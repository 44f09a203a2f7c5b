"""Which training noise and which code length: a grid, scored as a denoiser

python examples/40_grid_noise_and_length.py [--epochs 10] [--out grid.png]

Plain `score` restores clean images, and prefers a model that never saw noise. The
denoising scorer gives every candidate the same noisy images and compares with the clean.
"""

import argparse

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sk_autoencoder import DenoisingAutoencoder
from sk_autoencoder.metrics import make_denoising_scorer

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--out", default="grid.png")
args = parser.parse_args()

X = load_digits().data[:500] / 16
levels, lengths = [0.0, 0.2, 0.4], [8, 32]
search = GridSearchCV(
    DenoisingAutoencoder(max_epochs=args.epochs, random_state=0),
    {"noise_level": levels, "n_components": lengths},
    scoring={
        "psnr": make_denoising_scorer(noise_level=0.2, metric="psnr"),
        "score": lambda ae, images: ae.score(images),
    },
    refit="psnr",
    cv=2,
    error_score="raise",
).fit(X)

print(f"best for noise of 0.2: {search.best_params_}, {search.best_score_:.2f} dB")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
names = {"psnr": "denoising at 0.2, PSNR in dB", "score": "plain score of clean images"}
for axis, (key, title) in zip(axes, names.items()):
    scores = search.cv_results_[f"mean_test_{key}"].reshape(len(lengths), len(levels))
    figure.colorbar(axis.imshow(scores, aspect="auto"), ax=axis)
    axis.set_xticks(range(len(levels)), levels)
    axis.set_yticks(range(len(lengths)), lengths)
    axis.set(title=title, xlabel="noise_level in training", ylabel="n_components")
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    axis.plot(column, row, "r*", markersize=14)
figure.savefig(args.out, dpi=90)
print(f"Heat map: {args.out}")
