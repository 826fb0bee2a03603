"""Values that JAX can take apart: an attrs class registered with its fields as children."""

from __future__ import annotations

from typing import TypeVar

import attrs
import jax

Class = TypeVar("Class", bound=type)


def pytree(cls: Class) -> Class:
    """The attrs class, registered with JAX; every field is data, in the order of the class."""
    names = [field.name for field in attrs.fields(cls)]
    jax.tree_util.register_dataclass(cls, data_fields=names, meta_fields=[])
    return cls
