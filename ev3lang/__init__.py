"""ev3lang: a declarative language for training experiments, compiled to JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ev3lang.compile import load
    from ev3lang.runtime.checkpoints import load_model

__all__ = ["__version__", "load", "load_model"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # On first use, so that checking and formatting start without jax.
    if name == "load":
        from ev3lang.compile import load

        return load
    if name == "load_model":
        from ev3lang.runtime.checkpoints import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
