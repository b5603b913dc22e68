"""Optional accelerators, probed in one place."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass

import torch

__all__ = ["Accelerator", "accelerators"]


@dataclass(frozen=True)
class Accelerator:
    """An optional package or device: its version if it can be used, else the reason why not."""

    name: str
    version: str | None
    reason: str | None = None


def accelerators() -> list[Accelerator]:
    """Probe every optional accelerator."""
    return [_package("torch-scatter", "torch_scatter"), _package("pyg-lib", "pyg_lib"), _compiler(), _cuda()]


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
