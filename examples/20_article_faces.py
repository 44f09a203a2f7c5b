"""The article's recipe on the Olivetti faces: its epoch lines, curve and pictures

python examples/20_article_faces.py [--epochs 600] [--out article_faces.png]
"""

import argparse

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import fetch_olivetti_faces

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder.recipes import OLIVETTI

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=OLIVETTI["max_epochs"])
parser.add_argument("--device", default="auto")
parser.add_argument("--out", default="article_faces.png")
args = parser.parse_args()

try:
    X = fetch_olivetti_faces(shuffle=True, random_state=1000).data
except OSError as error:
    raise SystemExit(f"The faces are neither on disk nor to be had: {error}") from None

recipe = OLIVETTI | {"max_epochs": args.epochs}
ae = ConvAutoencoderTransformer(
    **recipe, device=args.device, random_state=1000, verbose=1
).fit(X)

codes = ae.transform(X)
restored = ae.inverse_transform(codes)
# the article divides the loss of 350 images by all 400
print(f"In the article's bookkeeping: {ae.loss_curve_[-1] * 512 * 350 / 400:.4f}")
print(f"Mean of the code: {codes.mean():.3f}")

figure = plt.figure(figsize=(10, 5), layout="constrained")
pictures, curve = figure.subfigures(1, 2, width_ratios=[2, 1])
axes = pictures.subplots(4, 8)
for column in range(8):
    for pair, i in ((0, column), (2, column + 8)):
        for row, image in ((pair, X[i]), (pair + 1, restored[i])):
            axes[row, column].imshow(image.reshape(64, 64), "gray", vmin=0, vmax=1)
for axis in axes.flat:
    axis.axis("off")
pictures.suptitle("Faces and, below each, their reconstructions")
axis = curve.subplots()
epochs = np.arange(1, ae.n_iter_ + 1)
axis.semilogy(epochs, np.array(ae.loss_curve_) * 512, label="loss per sample")
axis.semilogy(epochs, ae.code_mean_curve_, label="code mean")
axis.set_xlabel("epoch")
axis.legend()
figure.savefig(args.out, dpi=90)
print(f"Faces and curve: {args.out}")
