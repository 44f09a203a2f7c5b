"""Training and encoding on the CPU, beside bare PyTorch and other ways to write it.

Every measurement is a process of its own, and the contenders take turns: medians over
the rounds of the median epoch (the first epoch left out). "bare loop" is torch as it
comes (float32, contiguous, Adam); "tuned" has the memory format, optimiser and
precision of the estimator. The share is that of the speed of a large matrix product in
the same precision. Lightning takes part where it is installed, TensorFlow with
`--tensorflow`, the python of an environment with tensorflow-cpu==2.15.1.

    python benchmarks/bench_speed.py [--rounds 3] [--tensorflow PYTHON]
        [--parts training encoding growth] [--out speed]
"""

import argparse
import importlib.util
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _report
import _speed
import numpy as np
import torch
from sklearn.datasets import fetch_olivetti_faces, load_digits
from sklearn.decomposition import PCA

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder._batches import default_epochs
from sk_autoencoder._device import autocast_dtype

AUTO = "float32"
if autocast_dtype("auto", torch.device("cpu")) is not None:
    AUTO = "bfloat16"

CONTENDERS = {
    "bare loop": lambda task: _speed.bare(task),
    "bare loop, tuned, float32": lambda task: _speed.bare(task, tuned=True),
    "bare loop, tuned, auto": lambda task: _speed.bare(
        task, tuned=True, precision=AUTO
    ),
    "skorch": _speed.skorch,
    "Lightning": _speed.lightning,
    "ours, float32": lambda task: _speed.ours(task, precision="float32"),
    "ours, auto": lambda task: _speed.ours(task),
}


def make_task(name):
    if name == "digits":
        X, parameters = load_digits().data, {"n_components": 16, "augment": None}
        return _speed.Task(X, parameters, batch_size=64, epochs=8)
    X = fetch_olivetti_faces().data
    if name == "faces":
        parameters = {"n_components": 64, "augment": None}
        return _speed.Task(X[:320], parameters, batch_size=32, epochs=6)
    return _speed.Task(X, _speed.ARTICLE, batch_size=50, epochs=3)


PARTS = "training", "encoding", "growth"
TASKS = {
    "article": "the article's network, 400 faces, batches of 50",
    "faces": "the default, 320 faces of 64 x 64, batches of 32",
    "digits": "the default, 1,797 digits of 8 x 8, batches of 64",
}


def measure(task, contender):
    """Median seconds per epoch and MB at most, of a process of its own."""
    command = [sys.executable, __file__, "--one", task, contender]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def megabytes_at_most():
    """Peak memory of this process; without /proc, at least what its parent had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    peak = dict(line.split(":", 1) for line in lines)["VmHWM"]
    return int(peak.split()[0]) // 1024


def measure_tensorflow(python):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "faces.npy")
        np.save(path, fetch_olivetti_faces().data)
        script = Path(__file__).with_name("_tensorflow_graph.py")
        command = [python, script, path, "3"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"seconds": float(np.median(json.loads(run.stdout)[1:])), "megabytes": None}


def train_all(rounds, tensorflow, chosen, peak):
    found = {}
    for task in chosen:
        names = [name for name in CONTENDERS if name != "Lightning"]
        if importlib.util.find_spec("lightning"):
            names.append("Lightning")
        if task == "article" and tensorflow:
            names.append("TensorFlow graph")
        runs = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                if name == "TensorFlow graph":
                    runs[name].append(measure_tensorflow(tensorflow))
                else:
                    runs[name].append(measure(task, name))
        found[task] = runs
        show(task, runs, peak)
    return found


def seconds(runs):
    return np.array([run["seconds"] for run in runs])


def show(task, runs, peak):
    work = _speed.operations(make_task(task))
    print(f"\n{TASKS[task]}")
    print(f"{'':28}{'s / epoch':>10}{'rows / s':>10}{'/ bare':>8}{'peak':>7}{'MB':>7}")
    for name, measured in runs.items():
        typical = np.median(seconds(measured))
        ratio = np.median(seconds(measured) / seconds(runs["bare loop"]))
        low = "auto" in name and AUTO == "bfloat16"
        share = work / typical / peak["bfloat16" if low else "float32"]
        memory = measured[0]["megabytes"] or ""
        n = len(make_task(task).X)
        print(
            f"{name:28}{typical:10.3f}{n / typical:10.0f}{ratio:8.2f}"
            f"{share:7.0%}{memory:>7}",
            flush=True,
        )


def typical_seconds(functions, repeats=21):
    """Median seconds of each of some calls that take turns."""
    for function in functions:
        function()
    taken = [[] for _ in functions]
    for _ in range(repeats):
        for function, mine in zip(functions, taken):
            start = time.perf_counter()
            function()
            mine.append(time.perf_counter() - start)
    return [float(np.median(mine)) for mine in taken]


def encode():
    """Seconds to encode 1,000 rows and one, beside the bare network and PCA."""
    found = []
    faces = np.tile(fetch_olivetti_faces().data, (3, 1))[:1000]
    sets = {"digits": (load_digits().data.astype(np.float32)[:1000], 16)}
    sets["faces 64 x 64"] = faces, 64
    print(
        f"\n{'transform':28}{'rows':>6}{'ours, ms':>10}{'bare, ms':>10}{'PCA, ms':>10}"
    )
    for name, (X, length) in sets.items():
        ae = ConvAutoencoderTransformer(length, max_epochs=1, random_state=0).fit(X)
        module, pca = ae.module_.eval(), PCA(length, random_state=0).fit(X)
        shape = module.network.image_shape
        for n in (1000, 1):
            rows = X[:n]
            images = torch.from_numpy(rows).view(n, *shape)

            def bare(images=images, module=module):
                with torch.inference_mode():
                    return module.encode(images)

            taken = typical_seconds([lambda ae=ae, rows=rows: ae.transform(rows), bare])
            # apart: the threads of its BLAS go on spinning, and would slow the next
            taken += typical_seconds([lambda pca=pca, rows=rows: pca.transform(rows)])
            entry = dict(zip(("ours", "bare", "pca"), taken))
            found.append({"data": name, "rows": n, **entry})
            print(f"{name:28}{n:6}" + "".join(f"{1e3 * t:10.2f}" for t in taken))
        for dtype in (np.float32, np.float64):
            rows, codes = X.astype(dtype), ae.transform(X).astype(dtype)
            taken = typical_seconds(
                [
                    lambda ae=ae, rows=rows: ae.transform(rows),
                    lambda ae=ae, codes=codes: ae.inverse_transform(codes),
                ],
                repeats=7,
            )
            entry = dict(zip(("transform", "inverse_transform"), taken))
            found.append({"data": name, "dtype": dtype.__name__, **entry})
            there, back = (1e3 * t for t in taken)
            print(
                f"{name:28}{len(X):6}{there:10.2f}{back:10.2f} back, {dtype.__name__}"
            )
        print(f"{name:28}{len(pickle.dumps(ae)) / 1e6:10.1f} MB pickled")
    return found


def growth():
    """How the cost of a default fit grows with rows and with pixels."""
    found = []
    faces = fetch_olivetti_faces().data.reshape(-1, 64, 64)[:300]
    print(f"\n{'default fit, 32 components':28}{'s / epoch':>10}{'epochs':>8}{'s':>7}")
    faces = np.kron(faces, np.ones((1, 2, 2), np.float32))
    sizes = (16, 1), (32, 1), (64, 1), (128, 1), (32, 4), (32, 16)
    for side, copies in sizes:
        step = 128 // side
        X = np.tile(faces[:, ::step, ::step].reshape(300, -1), (copies, 1))
        clock = _speed.Clock()
        ConvAutoencoderTransformer(
            32, max_epochs=4, random_state=0, warm_start=True, callbacks=[clock]
        ).fit(X)
        taken, epochs = float(np.median(clock.seconds[1:])), default_epochs(len(X))
        found.append({"rows": len(X), "side": side, "seconds": taken, "epochs": epochs})
        print(
            f"{len(X):5} rows of {side} x {side:<12}{taken:10.2f}{epochs:8}"
            f"{taken * epochs:7.0f}",
            flush=True,
        )
    return found


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--tensorflow", metavar="PYTHON")
parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
parser.add_argument("--out", default="speed")
parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
args = parser.parse_args()

if args.one:
    task, contender = args.one
    taken = CONTENDERS[contender](make_task(task))
    typical = float(np.median(taken[1:]))
    print(json.dumps({"seconds": typical, "megabytes": megabytes_at_most()}))
    sys.exit()

# what other runs of this script measured here is kept
results = _report.read(args.out, {}, of_this_machine=True)
if "training" in args.parts:
    results["peak"] = {
        name: _speed.peak(getattr(torch, name)) for name in ("float32", "bfloat16")
    }
    print({name: f"{rate / 1e9:.0f} GFLOP/s" for name, rate in results["peak"].items()})
    results["auto"] = AUTO
    found = train_all(args.rounds, args.tensorflow, args.tasks, results["peak"])
    results["training"] = results.get("training", {}) | found
if "encoding" in args.parts:
    results["encoding"] = encode()
if "growth" in args.parts:
    results["growth"] = growth()
_report.write(args.out, {"results": results})
for task, runs in results.get("training", {}).items():
    ratio = np.median(seconds(runs["ours, auto"]) / seconds(runs["bare loop"]))
    assert ratio < 1, f"{task}: slower than the bare loop, ratio {ratio:.2f}"
