"""Training on a CUDA device: the contenders of `bench_speed.py`, and whole fits.

Medians of epochs that take turns, in one process, after one that warms up. Needs no
download: random images of the faces' and the digits' sizes stand in for them. skorch
and this package may be carried along on PYTHONPATH.

    python benchmarks/bench_gpu.py [--device cuda] [--rounds 3] [--scale 1]
"""

import argparse
import time

import _report
import _speed
import numpy as np
import torch

from sk_autoencoder import ConvAutoencoderTransformer, recipes

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--device", default="cuda")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--scale", type=float, default=1, help="of all sizes, for a trial")
args = parser.parse_args()

rng = np.random.default_rng(0)
recipe = dict(recipes.OLIVETTI)
for given in ("max_epochs", "batch_size", "precision"):
    recipe.pop(given)
faces = rng.random((max(100, round(400 * args.scale)), 4096), dtype=np.float32)
small = rng.random((max(100, round(1797 * args.scale)), 64), dtype=np.float32)
tasks = {
    "the article's network, 64 x 64": (faces, recipe, 50),
    "the default, 64 x 64": (faces, {"n_components": 64, "augment": None}, 32),
    "the default, 8 x 8": (small, {"n_components": 16, "augment": None}, 64),
}
contenders = {
    "bare loop": lambda task: _speed.bare(task),
    "bare loop, tuned, bfloat16": lambda task: _speed.bare(
        task, tuned=True, precision="bfloat16"
    ),
    "skorch": _speed.skorch,
    "ours, float32": lambda task: _speed.ours(task, precision="float32"),
    "ours, auto": lambda task: _speed.ours(task),
}

name = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
print(f"{name}\n{'':34}{'':28}{'s / epoch':>10}{'rows / s':>10}{'/ bare':>8}")
training = {}
for title, (X, parameters, batch_size) in tasks.items():
    task = _speed.Task(X, parameters, batch_size, epochs=6, device=args.device)
    runs = {contender: [] for contender in contenders}
    for _ in range(args.rounds):
        for contender, run in contenders.items():
            runs[contender].append(float(np.median(run(task)[1:])))
    training[title] = runs
    for contender, taken in runs.items():
        ratio = np.median(np.array(taken) / np.array(runs["bare loop"]))
        typical = np.median(taken)
        print(
            f"{title:34}{contender:28}{typical:10.4f}{len(X) / typical:10.0f}"
            f"{ratio:8.2f}",
            flush=True,
        )

fits = {}
many = rng.random((max(100, round(60_000 * args.scale)), 784), dtype=np.float32)
epochs = max(2, round(600 * args.scale))
for title, X, parameters in (
    (
        f"the recipe, {epochs} epochs, auto",
        faces,
        {**recipes.OLIVETTI, "max_epochs": epochs, "precision": "auto"},
    ),
    (f"the default, {len(many)} rows of 28 x 28", many, {"n_components": 32}),
):
    start = time.perf_counter()
    ConvAutoencoderTransformer(**parameters, device=args.device, random_state=0).fit(X)
    fits[title] = time.perf_counter() - start
    print(f"{title:62}{fits[title]:10.1f} s")
_report.write("gpu", {"device": name, "training": training, "fits": fits})
for title, runs in training.items():
    ratio = np.median(np.array(runs["ours, auto"]) / np.array(runs["skorch"]))
    assert ratio < 1, f"{title}: slower than skorch, ratio {ratio:.2f}"
