"""Training data on the device, in memory or on disk: the same model."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from sk_autoencoder import DenoisingAutoencoder, _samples


def assert_same_model(a, b):
    for name, weight in a.weights_.items():
        np.testing.assert_array_equal(weight, b.weights_[name], err_msg=name)


@pytest.fixture
def on_disk(tmp_path):
    """Write an array to disk and map it."""

    def write(array):
        np.save(tmp_path / "rows.npy", array)
        return np.load(tmp_path / "rows.npy", mmap_mode="r")

    return write


@pytest.fixture
def placed(monkeypatch):
    """Whether the images of each fit are read from where they lie."""
    kinds = []
    place = _samples.place

    def watch(*args):
        images = place(*args)
        kinds.extend(isinstance(each, _samples.Rows) for each in images)
        return images

    monkeypatch.setattr("sk_autoencoder._training.place", watch)
    return kinds


@pytest.mark.filterwarnings("ignore:noise_level=0.2 is in the units")
@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, np.uint8, np.int64, bool]
)
@pytest.mark.parametrize("as_images", [False, True])
def test_memory_map_stays_on_disk_and_gives_the_same_model(
    make, images, on_disk, placed, dtype, as_images
):
    rows = images > images.mean() if dtype is bool else (255 * images).astype(dtype)
    if not as_images:
        rows = rows.reshape(len(rows), -1)
    there = make(early_stopping=True).fit(rows)
    streamed = make(early_stopping=True).fit(on_disk(rows))
    assert placed == [False, True]
    assert_same_model(there, streamed)
    np.testing.assert_array_equal(
        there.transform(rows), streamed.transform(on_disk(rows))
    )


def test_what_does_not_fit_is_read_batch_by_batch(make, X, placed, monkeypatch):
    resident = make(device="cpu").fit(X)
    # a little less than four times X in float32
    pages = {"SC_PAGE_SIZE": 16, "SC_PHYS_PAGES": X.size - 1}
    monkeypatch.setattr(_samples, "os", SimpleNamespace(sysconf=pages.get))
    streamed = make(device="cpu").fit(X)
    assert placed == [False, True]
    assert_same_model(resident, streamed)


@pytest.mark.parametrize(
    "limit, is_streamed", [("max", False), ("4e9", False), (-1, True), (0, False)]
)
def test_memory_is_that_of_the_container(
    make, X, placed, monkeypatch, tmp_path, limit, is_streamed
):
    path = tmp_path / "memory.max"
    if isinstance(limit, int):
        limit += 4 * 4 * X.size
    path.write_text(f"{limit}\n")
    monkeypatch.setattr(
        _samples, "MEMORY_OF_CONTAINER", (path, tmp_path / "of another system")
    )
    make(device="cpu").fit(X)
    assert placed == [is_streamed]


def test_pairs_need_room_together(X, on_disk, placed, monkeypatch):
    pages = {"SC_PAGE_SIZE": 16, "SC_PHYS_PAGES": 2 * X.size - 1}
    monkeypatch.setattr(_samples, "os", SimpleNamespace(sysconf=pages.get))
    ae = DenoisingAutoencoder(3, max_epochs=1, device="cpu").fit(X, target=X)
    assert placed == [True, True]
    ae.fit(X[1:], target=X[1:])
    assert placed == [True, True, False, False]
    ae.fit(X, target=on_disk(X))  # which needs none
    assert placed[4:] == [False, True]


def test_what_was_copied_from_a_map_is_in_memory(make, X, on_disk, placed):
    X = X.astype(np.float32)
    make().fit(on_disk(X).astype(np.float64))
    make().fit(on_disk(X).copy())
    make().fit(on_disk(X)[::2])
    assert placed == [False, False, True]


def test_pairs_may_lie_on_disk(X, on_disk, placed):
    options = {"n_components": 5, "max_epochs": 2, "random_state": 0}
    noisy = X + np.random.default_rng(0).normal(0, 0.1, X.shape)
    resident = DenoisingAutoencoder(**options).fit(noisy, target=X)
    streamed = DenoisingAutoencoder(**options).fit(noisy, target=on_disk(X))
    assert placed == [False, False, False, True]
    assert_same_model(resident, streamed)


@pytest.mark.filterwarnings("ignore:noise_level=0.2 is in the units")
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, bool])
def test_integers_mean_their_values(make, X, dtype, monkeypatch):
    rows = (X.mean() < X) if dtype is bool else (100 * X).astype(dtype)
    of_floats = make().fit(rows.astype(np.float64))
    monkeypatch.setattr(_samples, "VALUES_AT_A_TIME", 7 * 64)  # scaled in parts
    of_integers = make().fit(rows)
    assert_same_model(of_integers, of_floats)
    codes = of_integers.transform(rows)
    assert codes.dtype == np.float64
    np.testing.assert_array_equal(codes, of_floats.transform(rows.astype(np.float64)))
    np.testing.assert_array_equal(
        of_integers.score_samples(rows), of_floats.score_samples(rows.astype(float))
    )


LARGER_THAN_MEMORY = """
import resource
import numpy as np
from sk_autoencoder import ConvAutoencoderTransformer

# 1,000 images of 256 x 256, 262 MB, in a file with holes
X = np.memmap("rows.bin", np.float32, "w+", shape=(1000, 256 * 256))
X[::50] = np.random.default_rng(0).random((20, 1)) * np.linspace(0, 1, 256 * 256)
ae = ConvAutoencoderTransformer(
    8,
    architecture="plain",
    channels=(4,) * 3,
    strides=(2,) * 3,
    batch_size=16,
    max_epochs=1,
    device="cpu",
)
ae.fit(X[:16])  # torch and its threads have what they need

used = 1024 * next(
    int(line.split()[1])
    for line in open("/proc/self/status")
    if line.startswith("VmData")
)
resource.setrlimit(resource.RLIMIT_DATA, (used + 200 * 2**20,) * 2)
try:
    np.array(X)
except MemoryError:
    codes = ae.fit(X).transform(X)
    print(codes.shape)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its memory as Linux does")
def test_memory_map_may_be_larger_than_the_memory(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", LARGER_THAN_MEMORY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.stdout == "(1000, 8)\n", run.stderr
