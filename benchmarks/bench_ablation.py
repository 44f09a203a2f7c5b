"""What each ingredient of the default is worth: held-out error without it.

A quarter of the training rows of two data sets (those of `bench_vs_pca.py`, so that its
test rows stay unseen) is held out; ratios to PCA's error there, over seeds. An ingredient
may cost one of the sets something, but is to gain in the geometric mean of both.

    python benchmarks/bench_ablation.py [--seeds 2] [--only "no refiner" ...]
"""

import argparse
from unittest.mock import patch

import _report
import numpy as np
from _images import SHAPES, load
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch.optim import AdamW

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder._optimizer import MuonAdamW
from sk_autoencoder._residual import Residual

LENGTHS = {"digits": 16, "faces32": 64}


class NoPCAStart(Residual):
    starts_linear = False


class NoCodeBranch(Residual):
    """The code is linear in the image."""

    def encode(self, x):
        return self.to_code((x - self.mean).flatten(1))


class NoCorrection(Residual):
    """The code is the encoder's first draft."""

    def encode(self, x):
        x = x - self.mean
        return self.to_code(x.flatten(1)) + self.more_code(self._thumbnail(x))


class NoImageBranch(Residual):
    """The image is linear in the code, before it is refined."""

    def _draft(self, z):
        return self.from_code(z).unflatten(1, self.image_shape)


class NoRefiner(Residual):
    def __init__(self, image_shape, n_components):
        super().__init__(image_shape, n_components)
        self.refiner = None


ADAMW_ALONE = "AdamW for the kernels, too"
ABLATIONS = {
    "the default": {},
    ADAMW_ALONE: {},
    "no start at PCA (and no way back)": {"architecture": NoPCAStart},
    "no perceptron into the code": {"architecture": NoCodeBranch},
    "no correction of the code": {"architecture": NoCorrection},
    "no perceptron to the image": {"architecture": NoImageBranch},
    "no refiner": {"architecture": NoRefiner},
    "no augmentation": {"augment": None},
    "constant learning rate": {"lr_schedule": "constant"},
    "no weight decay": {"weight_decay": 0.0},
    "no samples held out (warm_start)": {"warm_start": True},
    "float32 only": {"precision": "float32"},
}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--seeds", type=int, default=2)
parser.add_argument("--only", nargs="+", default=list(ABLATIONS), choices=ABLATIONS)
args = parser.parse_args()

# what other runs of this script measured is kept
results = _report.read("ablation", {})
print(f"{'':36}" + "".join(f"{d + ', ' + str(k):>16}" for d, k in LENGTHS.items()))
for name in args.only:
    line = f"{name:36}"
    for data, length in LENGTHS.items():
        found = []
        for seed in range(args.seeds):
            X, _, y, _ = load(data, 0)
            X_fit, X_check = train_test_split(
                X, stratify=y, test_size=0.25, random_state=seed
            )
            pca = PCA(length, random_state=seed).fit(X_fit)
            restored = pca.inverse_transform(pca.transform(X_check))
            ours = ConvAutoencoderTransformer(
                length, image_shape=SHAPES[data], random_state=seed, **ABLATIONS[name]
            )
            optimizer = AdamW if name == ADAMW_ALONE else MuonAdamW, (0.9, 0.99)
            with patch("sk_autoencoder._net.optimizer_for", return_value=optimizer):
                error = -ours.fit(X_fit).score(X_check)
            found.append(float(error / np.mean((restored - X_check) ** 2)))
        results.setdefault(name, {})[data] = found
        line += f"{np.mean(found):16.3f}"
    print(line, flush=True)
    _report.write("ablation", {"lengths": LENGTHS, "results": results})
means = {
    name: np.exp(np.mean([np.log(np.mean(found[data])) for data in LENGTHS]))
    for name, found in results.items()
}
best = min(means, key=means.get)
assert means["the default"] < 1.01 * means[best], f"better: {best}"
