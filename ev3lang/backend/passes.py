"""What goes beside the numbers through the layers of one forward pass."""

from __future__ import annotations

import attrs
import jax

Array = jax.Array


@attrs.frozen(eq=False)
class Pass:
    """One forward pass over a batch, as each layer is told of it.

    dropout_key   [] of `jax.random.key`, or None: then nothing is dropped
    is_training   whether batch norm takes the batch's own statistics and moves the running ones
    mask          [B, T] bool, True where a token stands and not padding; None where all do
    """

    dropout_key: Array | None = None
    is_training: bool = False
    mask: Array | None = None

    def at(self, place: int) -> Pass:
        """The same pass for the layer at a place of a pipe, with a key of its own."""
        if self.dropout_key is None:
            return self
        return attrs.evolve(self, dropout_key=jax.random.fold_in(self.dropout_key, place))
