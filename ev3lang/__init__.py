"""ev3lang: a declarative language for training experiments, compiled to JAX."""

import sys

# `python -m ev3lang` puts the current folder first on the path, where a file such as `click.py`
# would be imported in the place of a library. It is removed before anything else is imported;
# programs that import ev3lang keep their path.
if (
    sys.argv[:1] == ["-m"]
    and not sys.flags.safe_path
    and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == "ev3lang"
):
    del sys.path[0]

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
