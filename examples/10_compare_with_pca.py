"""An autoencoder next to PCA: one grid, one key, accuracy and reconstruction

python examples/10_compare_with_pca.py [--data faces] [--epochs N] [--out pca.png]
"""

import argparse

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import fetch_olivetti_faces, load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sk_autoencoder import ConvAutoencoderTransformer

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", choices=["digits", "faces"], default="digits")
parser.add_argument("--epochs", type=int, help="by default fewer than the estimator's")
parser.add_argument("--out", default="compare_with_pca.png")
args = parser.parse_args()

if args.data == "digits":
    X, y = load_digits(return_X_y=True)
    lengths, max_epochs = [4, 16], args.epochs or 15
else:
    try:
        X, y = fetch_olivetti_faces(return_X_y=True)
    except OSError as error:
        raise SystemExit(
            f"The faces are neither on disk nor to be had: {error}"
        ) from None
    lengths, max_epochs = [16, 64], args.epochs or 100
X_train, X_test, y_train, y_test = train_test_split(
    X, y, stratify=y, test_size=0.25, random_state=0
)

pca = PCA(random_state=0)
ae = ConvAutoencoderTransformer(max_epochs=max_epochs, random_state=0)
grid = GridSearchCV(
    Pipeline([("reduce", pca), ("scale", StandardScaler()), ("classify", SVC())]),
    {"reduce": [pca, ae], "reduce__n_components": lengths},
    cv=2,
    n_jobs=2,
    refit=False,
).fit(X_train, y_train)

print(f"{args.data}: {len(X_train)} images to train on, {len(X_test)} held out")
print(f"{'':26} {'code':>5} {'cv accuracy':>12} {'accuracy':>9} {'error':>9}")
rows = {"original": X_test}
for candidate, cv_accuracy in zip(
    grid.cv_results_["params"], grid.cv_results_["mean_test_score"]
):
    pipeline = clone(grid.estimator).set_params(**candidate).fit(X_train, y_train)
    reduce, length = pipeline["reduce"], candidate["reduce__n_components"]
    name = type(reduce).__name__
    restored = reduce.inverse_transform(reduce.transform(X_test))
    rows[f"{name}, {length}"] = restored
    print(
        f"{name:26} {length:>5} {cv_accuracy:>12.3f} "
        f"{pipeline.score(X_test, y_test):>9.3f} {np.mean((restored - X_test) ** 2):>9.4g}"
    )

side = int(X.shape[1] ** 0.5)
figure, axes = plt.subplots(len(rows), 10, figsize=(10, 1.15 * len(rows)))
for line, (name, images) in zip(axes, rows.items()):
    line[0].set_title(name, loc="left", fontsize=9)
    for axis, image in zip(line, images):
        axis.imshow(image.reshape(side, side), "gray", vmin=X.min(), vmax=X.max())
        axis.axis("off")
figure.savefig(args.out, dpi=90, bbox_inches="tight")
print(f"Originals and reconstructions: {args.out}")
