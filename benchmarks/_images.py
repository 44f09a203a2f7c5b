"""The image sets of the benchmarks: rows of pixels, split three ways at random."""

import numpy as np
from sklearn.datasets import fetch_olivetti_faces, load_digits, load_sample_images
from sklearn.model_selection import GroupShuffleSplit, train_test_split

SHAPES = {
    "digits": (8, 8),
    "faces32": (32, 32),
    "faces64": (64, 64),
    "patches": (16, 16, 3),
    "persons32": (32, 32),
}
# those whose held-out images are like the others
AT_RANDOM = [name for name in SHAPES if name != "persons32"]


def load(name, split):
    """Return X_train, X_test, y_train, y_test, a quarter held out, labels or None.

    The digits and the faces (stratified) come from scikit-learn, 8 x 8 and 64 x 64, or
    the means of 2 x 2 pixels; the patches from its two sample photographs, cut into
    columns of 80 pixels: the first 16 of each are held out, and no patch crosses.
    "persons32" are the faces at 32 x 32, all ten of a quarter of the persons held out.
    """
    if name == "patches":
        return *_patches(np.random.default_rng(split)), None, None
    if name == "digits":
        X, y = load_digits(return_X_y=True)
    else:
        X, y = fetch_olivetti_faces(return_X_y=True)
        if name != "faces64":
            X = X.reshape(-1, 32, 2, 32, 2).mean((2, 4)).reshape(len(X), -1)
    X = X.astype(np.float32)
    if name == "persons32":
        splits = GroupShuffleSplit(1, test_size=0.25, random_state=split)
        train, test = next(splits.split(X, groups=y))
        return X[train], X[test], None, None
    return tuple(train_test_split(X, y, stratify=y, test_size=0.25, random_state=split))


def _patches(rng, n_train=20_000, n_test=1_000):
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
