"""What every benchmark here does with its figures: name the machine, write JSON."""

import json
import os
import platform
from pathlib import Path

import numpy
import sklearn
import skorch
import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict:
    """Processor, cores and versions, without which a timing says nothing."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0].split(":")[1].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "skorch": skorch.__version__,
        "numpy": numpy.__version__,
    }


def read(name: str, missing, *, of_this_machine: bool = False):
    """What earlier runs measured, the entry "results" of results/<name>.json.

    With `of_this_machine` what another processor measured counts as `missing`.
    """
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return missing
    found = json.loads(path.read_text())
    if of_this_machine and found["machine"]["cpu"] != machine()["cpu"]:
        return missing
    return found["results"]


def write(name: str, figures: dict) -> Path:
    """Write `figures` to results/<name>.json beside the machine of this run."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")
    return path
