"""Plain features: how often does an autoencoder gain on PCA, and how often lose?

Tables that scikit-learn ships, as they are and standardised, at code lengths of 1, 2, 4
and 8, a quarter of the rows held out, three splits; defaults, and `image_shape` of a line
of features. Ratios of the held-out mean squared error to PCA's.

    python benchmarks/bench_tables.py
"""

import _report
import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    load_wine,
)
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sk_autoencoder import ConvAutoencoderTransformer

TABLES = {
    "breast cancer": load_breast_cancer,
    "wine": load_wine,
    "diabetes": load_diabetes,
    "iris": load_iris,
}
LENGTHS = 1, 2, 4, 8
SPLITS = 3
BETTER, WORSE = 0.98, 1.02  # than PCA, from such ratios on


def ratio(X, n_components, seed):
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    shape = 1, X.shape[1]
    ae = ConvAutoencoderTransformer(n_components, image_shape=shape, random_state=seed)
    pca = PCA(n_components).fit(train)
    error = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    return -ae.fit(train).score(test) / error


results = {}
for name, load in TABLES.items():
    table = load().data
    standardised = StandardScaler().fit_transform(table)
    for title, X in ((name, table), (f"{name}, standardised", standardised)):
        for n_components in LENGTHS:
            if n_components >= X.shape[1]:
                continue
            ratios = [ratio(X, n_components, seed) for seed in range(SPLITS)]
            results[f"{title}, {n_components}"] = ratios
            _report.write("tables", {"results": results})
            line = " ".join(f"{each:.2f}" for each in ratios)
            print(f"{title:28} {n_components}: {line}", flush=True)
every = np.concatenate(list(results.values()))
print(
    f"{len(every)} fits: {np.sum(every < BETTER)} better than PCA, "
    f"{np.sum(every > WORSE)} worse, geometric mean {np.exp(np.log(every).mean()):.2f}, "
    f"greatest {every.max():.2f}"
)
assert np.exp(np.log(every).mean()) < 1
