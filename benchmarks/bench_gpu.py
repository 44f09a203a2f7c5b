"""Whole fits on a CUDA device, and training beside the contenders of `bench_speed.py`.

Medians of epochs that take turns, in one process, after one that warms up; at last
torch.compile, whose first epoch is the one that compiles. Needs no download: random
images of the faces' and the digits' sizes stand in for them, and enlarged digits for
60,000 of 28 x 28. skorch and this package may be carried along on PYTHONPATH.

    python benchmarks/bench_gpu.py [--device cuda] [--rounds 3] [--scale 1]
"""

import argparse
import time

import _report
import _speed
import numpy as np
import torch
from sklearn.datasets import load_digits

from sk_autoencoder import ConvAutoencoderTransformer, recipes

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--device", default="cuda")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--scale", type=float, default=1, help="of all sizes, for a trial")
args = parser.parse_args()

rng = np.random.default_rng(0)
faces = rng.random((max(100, round(400 * args.scale)), 4096), dtype=np.float32)
small = rng.random((max(100, round(1797 * args.scale)), 64), dtype=np.float32)
n = max(100, round(60_000 * args.scale))
digits = load_digits().images.astype(np.float32)[rng.integers(1797, size=n)] / 16
places = np.arange(28) * 8 // 28
many = digits[:, places][:, :, places].reshape(n, 784)
many = (many + 0.1 * rng.random(many.shape, dtype=np.float32)).clip(0, 1)

epochs = max(2, round(600 * args.scale))
fits = {
    "a small fit, with all that CUDA loads": (small[:100], {"max_epochs": 5}),
    **{
        f"the recipe, {epochs} epochs, {precision}": (
            faces,
            {**recipes.OLIVETTI, "max_epochs": epochs, "precision": precision},
        )
        for precision in ("float32", "auto")
    },
    f"the default, {len(faces)} rows of 64 x 64": (faces, {"n_components": 64}),
    f"the default, {len(small)} rows of 8 x 8": (small, {"n_components": 16}),
    f"the default, {n} rows of 28 x 28": (many, {"n_components": 32}),
}

tasks = {
    "the article's network, 64 x 64": (faces, _speed.ARTICLE, 50),
    "the default, 64 x 64": (faces, {"n_components": 64, "augment": None}, 32),
    "the default, 8 x 8": (small, {"n_components": 16, "augment": None}, 64),
}
tasks = {
    title: _speed.Task(X, parameters, size, epochs=6, device=args.device)
    for title, (X, parameters, size) in tasks.items()
}
tuned = {"tuned": True, "precision": "bfloat16"}
contenders = {
    "bare loop": _speed.bare,
    "bare loop, tuned, bfloat16": lambda task: _speed.bare(task, **tuned),
    "skorch": _speed.skorch,
    "ours, float32": lambda task: _speed.ours(task, precision="float32"),
    "ours, auto, one by one": lambda task: _speed.ours(task, clock=_speed.BatchClock),
    "ours, auto": _speed.ours,
}
compiled = "bare loop, bfloat16, compiled"


def show(title, contender, runs):
    """Print a row of the table; ratios are of runs in the same round."""
    taken = np.array(runs[contender])
    ratios = (
        f"{np.median(taken / np.array(runs[other])):10.2f}"
        for other in ("bare loop", "skorch")
    )
    typical = np.median(taken)
    rows = len(tasks[title].X) / typical
    print(f"{title:31}{contender:30}{typical:10.4f}{rows:10.0f}", *ratios, flush=True)


device = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
results = {"device": device, "fits": {}, "training": {}, "compiled": {}}
print(device)
for title, (X, parameters) in fits.items():
    start = time.perf_counter()
    ConvAutoencoderTransformer(**parameters, device=args.device, random_state=0).fit(X)
    results["fits"][title] = time.perf_counter() - start
    print(f"{title:61}{results['fits'][title]:10.2f} s", flush=True)

print(f"\n{'':61}{'s / epoch':>10}{'rows / s':>10}{'/ bare':>11}{'/ skorch':>11}")
for title, task in tasks.items():
    runs = {contender: [] for contender in contenders}
    for _ in range(args.rounds):
        for contender, run in contenders.items():
            runs[contender].append(float(np.median(run(task)[1:])))
    results["training"][title] = runs
    for contender in contenders:
        show(title, contender, runs)
    _report.write("gpu", results)

for title, task in tasks.items():
    first, *others = _speed.bare(task, **tuned, compiled=True)
    results["compiled"][title] = {"first": first, "epoch": float(np.median(others))}
    runs = results["training"][title]
    show(title, compiled, {**runs, compiled: [np.median(others)] * args.rounds})
    print(f"{'':31}{'  and its first epoch':30}{first:10.1f}", flush=True)
    _report.write("gpu", results)

for title, runs in results["training"].items():
    ratio = np.median(np.array(runs["ours, auto"]) / np.array(runs["skorch"]))
    assert ratio < 1, f"{title}: slower than skorch, ratio {ratio:.2f}"
