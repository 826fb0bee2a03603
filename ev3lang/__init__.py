"""ev3lang: a declarative language for training experiments, compiled to JAX."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ev3lang.backend.modules import ModuleError
    from ev3lang.compile import SpecError, load
    from ev3lang.runtime.faults import DataError, InputError, WeightsError
    from ev3lang.runtime.loaded import load_model

__all__ = [
    "DataError",
    "InputError",
    "ModuleError",
    "SpecError",
    "WeightsError",
    "__version__",
    "load",
    "load_model",
]

__version__ = "0.1.0"

# Imported on first use, so that checking and formatting start without jax.
_HOMES = {
    "DataError": "runtime.faults",
    "InputError": "runtime.faults",
    "ModuleError": "backend.modules",
    "SpecError": "compile",
    "WeightsError": "runtime.faults",
    "load": "compile",
    "load_model": "runtime.loaded",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
