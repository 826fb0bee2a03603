"""ev3lang: a declarative language for training experiments, compiled to JAX."""

import sys

# `python -m ev3lang` puts the current folder first on the path, where a file such as `click.py`
# would be imported in the place of a library. It is removed before anything else is imported, also
# before `__future__`; programs that import ev3lang keep their path.
if (
    sys.argv[:1] == ["-m"]
    and not sys.flags.safe_path
    and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == "ev3lang"
):
    del sys.path[0]

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
