"""Noisy, denoised, clean: a denoising autoencoder on held-out images

python examples/30_denoise.py [--data faces] [--epochs N] [--out denoise.png]
"""

import argparse

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import fetch_olivetti_faces, load_digits
from sklearn.model_selection import train_test_split

from sk_autoencoder import DenoisingAutoencoder
from sk_autoencoder.metrics import psnr

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", choices=["digits", "faces"], default="digits")
parser.add_argument("--epochs", type=int, help="by default the estimator's own")
parser.add_argument("--out", default="denoise.png")
args = parser.parse_args()

if args.data == "digits":
    X = load_digits().data / 16
    n_components = 48
else:
    try:
        X = fetch_olivetti_faces().data
    except OSError as error:
        raise SystemExit(
            f"The faces are neither on disk nor to be had: {error}"
        ) from None
    n_components = 256

X_train, clean = train_test_split(X, test_size=100, random_state=0)
rng = np.random.default_rng(0)
noisy = np.clip(clean + rng.normal(0, 0.2, clean.shape), 0, 1)

ae = DenoisingAutoencoder(
    n_components,
    noise="gaussian",
    noise_level=0.2,
    max_epochs=args.epochs,
    random_state=0,
).fit(X_train)
denoised = ae.denoise(noisy)

print(f"{args.data}: {len(X_train)} images to train on, {len(clean)} held out")
print(f"noisy    {psnr(clean, noisy, data_range=1):6.2f} dB")
print(f"denoised {psnr(clean, denoised, data_range=1):6.2f} dB")

side = int(X.shape[1] ** 0.5)
figure, axes = plt.subplots(3, 10, figsize=(10, 3.4))
for line, name, images in zip(
    axes, ("noisy", "denoised", "clean"), (noisy, denoised, clean)
):
    line[0].set_title(name, loc="left", fontsize=9)
    for axis, image in zip(line, images):
        axis.imshow(image.reshape(side, side), "gray", vmin=0, vmax=1)
        axis.axis("off")
figure.savefig(args.out, dpi=90, bbox_inches="tight")
print(f"Pictures: {args.out}")
