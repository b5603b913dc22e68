"""Optional accelerators, probed in one place.

None changes a number by more than rounding, and nothing here calls torch-scatter: measured on one CPU core (torch 2.13,
torch-scatter 2.1.2), it was faster nowhere. Gather and ``segment_csr`` took 6 to 36 times as long as
:func:`gnnzoo.ops.spmm` forward, and 5 to 12 times forward and backward (2.3k to 24.5k nodes, 11k to 186k edges, 32 or
64 channels); its sums over edges took as long as PyTorch's ``scatter_add``, its sums over the nodes of each graph 4
times as long as ``index_add``. PyG's own layers use it where it is installed.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

__all__ = ["Accelerator", "accelerators", "mamba_scan"]


@dataclass(frozen=True)
class Accelerator:
    """An optional package or device: its version if it can be used, else the reason why not."""

    name: str
    version: str | None
    reason: str | None = None


def accelerators() -> list[Accelerator]:
    """Probe every optional accelerator."""
    packages = {"torch-scatter": "torch_scatter", "pyg-lib": "pyg_lib", "mamba-ssm": "mamba_ssm"}
    return [*(_package(name, module) for name, module in packages.items()), _compiler(), _cuda()]


@cache
def mamba_scan() -> Callable[..., Any] | None:
    """Return mamba_ssm's selective scan, or None where it is not installed or does not load; probed once."""
    try:
        return importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    except Exception:  # see _package
        return None


def _package(name: str, module: str) -> Accelerator:
    try:
        version = importlib.import_module(module).__version__
    except ModuleNotFoundError as error:
        missing = "not installed" if error.name == module else f"needs {error.name}, which is not installed"
        return Accelerator(name, None, missing)
    except Exception as error:  # an extension built for another torch fails in many ways; all of them mean "absent"
        return Accelerator(name, None, f"installed but does not load: {str(error).splitlines()[0]}")
    return Accelerator(name, str(version))


def _compiler() -> Accelerator:
    if shutil.which("g++") or shutil.which("clang++"):
        return Accelerator("torch.compile", torch.__version__)
    return Accelerator("torch.compile", None, "no C++ compiler (g++ or clang++) on the path")


def _cuda() -> Accelerator:
    if torch.cuda.is_available():
        return Accelerator("cuda", f"{torch.version.cuda} ({torch.cuda.get_device_name()})")
    return Accelerator("cuda", None, "this PyTorch has no CUDA" if torch.version.cuda is None else "no device found")
