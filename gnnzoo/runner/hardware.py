"""What a run took and where: the ``cost`` of a record, and what ``gnnzoo doctor`` says of the machine."""

from __future__ import annotations

import datetime
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import gnnzoo
from gnnzoo.errors import ConfigError
from gnnzoo.leaderboard import Cost
from gnnzoo.runner.engine import Fit
from gnnzoo.runner.planning import check_device

__all__ = ["commit", "cost", "peak_memory_mib", "pick_device", "processor"]


@cache
def processor() -> str:
    """Return the processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def commit() -> str | None:
    """Return the checkout's commit, with ``+`` where files differ from it; None outside a checkout."""
    folder = Path(gnnzoo.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        head = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
        name = subprocess.run(head, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        code = ["git", "-C", str(folder), "status", "--porcelain", "--", "gnnzoo", "configs"]
        changed = subprocess.run(code, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return name + ("+" if changed else "")


def pick_device(name: str) -> torch.device:
    """Return the device of ``device=auto|cpu|cuda|cuda:<n>``.

    Raises:
        ConfigError: there is no such device here, and why.
    """
    kind, _, index = check_device(name).partition(":")
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda":
        if not torch.cuda.is_available():
            why = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no GPU is visible"
            raise ConfigError(f"device={name}: {why}; choose device=cpu or device=auto")
        if int(index or 0) >= torch.cuda.device_count():
            raise ConfigError(f"device={name}: there are {torch.cuda.device_count()} GPUs, numbered from 0")
    return torch.device(name)


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak memory of the device (CUDA) or of the process (CPU: its resident set, PyTorch included)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def installed(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cost(fit: Fit, device: torch.device) -> Cost:
    """Return what a finished training took on this machine."""
    return Cost(
        seconds=round(fit.seconds, 3),
        cpu_seconds=round(fit.cpu_seconds, 3),
        peak_memory_mib=round(peak_memory_mib(device), 1),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        processor=processor(),
        threads=torch.get_num_threads(),
        gnnzoo=gnnzoo.__version__,
        torch=torch.__version__,
        pyg=installed("torch-geometric") or "?",
        python=platform.python_version(),
        commit=commit(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
