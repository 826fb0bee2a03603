"""The shapes that facts about built-ins come in: types, options and one class for each family.

The files beside this one fill them. Checker, completion, docs and backend read the same entries,
so none of them may import jax or numpy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

Dimension: TypeAlias = int | str
"""A size, or the name of one: `time` in a spec, `C` in a signature."""

Level: TypeAlias = Literal["constant", "example", "set", "model"]
"""What a value belongs to: nothing, one example, a whole set, or a model's weights."""

Value: TypeAlias = "int | float | bool | str | tuple[Value, ...]"
"""What an option may hold once it is checked."""

LARGEST_SEED = 2**32 - 1
"""A random key is made of 32 bits: a larger number would be the run of a smaller one."""

TENSORS = ("f32", "bf16", "u8", "i32")
SCORES = ("logits", "probs", "log_probs")
SCALARS = ("real", "bool", "int", "ratio", "pp", "duration", "path")
KINDS = (*TENSORS, *SCORES, *SCALARS, "class", "multi", "classes", "tokens", "text", "id")


@attrs.frozen
class Type:
    """What one example's value is: a kind and its dimensions, without the batch axis.

    `f32[28, 28, 1]`, `class[10]`, `logits[10]`, `real`. `classes[C]` is a set of labels, as
    `top_k` gives it. In a signature a dimension may be a variable (`C`) or `...` for any number
    of them.
    """

    kind: str
    dimensions: tuple[Dimension, ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(str(dimension) for dimension in self.dimensions)
        return f"{self.kind}[{inside}]" if inside else self.kind

    @property
    def is_tensor(self) -> bool:
        return self.kind in TENSORS

    @property
    def is_scores(self) -> bool:
        return self.kind in SCORES

    @property
    def has_sizes(self) -> bool:
        """Whether every dimension is a number, and none the name of one."""
        return all(isinstance(dimension, int) for dimension in self.dimensions)

    @property
    def size(self) -> int:
        """How many numbers one example holds; 1 for a scalar. Needs known dimensions."""
        size = 1
        for dimension in self.dimensions:
            assert isinstance(dimension, int), f"{self} has a dimension without a size"
            size *= dimension
        return size


def parse_type(text: str) -> Type:
    """`logits[C]` as a `Type`; raises ValueError for text that is none."""
    match = re.fullmatch(r"(\w+)(?:\[([^\]]*)\])?", text)
    if match is None or match[1] not in KINDS:
        raise ValueError(f"not a type: {text!r}")
    parts = [part.strip() for part in match[2].split(",")] if match[2] else []
    return Type(match[1], tuple(int(part) if part.isdigit() else part for part in parts))


def types(*texts: str) -> tuple[Type, ...]:
    """The types that an input takes, any one of them."""
    return tuple(parse_type(text) for text in texts)


SAME = Type("same")
"""As the output of a function: the type of its input, of the one with most dimensions."""


@attrs.frozen(eq=False)
class Option:
    """A scalar argument: fixed when the program is built.

    kind      what may stand there:
              real, int, ratio (`10%` or 0.1), bool, text ("…"), name (one of `choices`),
              ints (`[64, 64]`), reals (`[0.5, 2]`), steps (`100 steps`), pixels (`4 px`),
              factor (`2x`), schedule (a real, or a call of a schedule), layers (a pipe of
              layers), path (a text or a param of type path), operator (a call of a growth
              operator)
    default   the only place where it is written; None with `is_required` false means "off"
    low, high inclusive bounds; `is_low_open` excludes the lower one
    most      a further upper bound, in the variables of the function's inputs: `C`, `C - 1`
    """

    name: str
    kind: str
    default: Value | None = None
    is_required: bool = False
    low: float | None = None
    high: float | None = None
    is_low_open: bool = False
    choices: tuple[str, ...] = ()
    summary: str = ""
    most: Literal["C", "C - 1"] | None = None


@attrs.frozen(eq=False)
class Input:
    """A value argument of a function: any of `types`, which share the function's variables.

    `...` matches any number of dimensions, none too. Without types it is a model's name. What
    may stand for a `real` (int, bool, ratio) or an `f32` tensor (u8, bf16) is the checker's rule.
    """

    name: str
    types: tuple[Type, ...]


@attrs.frozen(eq=False)
class Function:
    """A built-in of expressions: losses, metrics, and what stands inside them.

    inputs           value arguments in order; options follow them, by place or by name
    output           its type, in the variables of the inputs, or `SAME`
    level            `example` and `constant` results have the level of their inputs and are
                     written `example`; `set` needs a whole set; `model` takes a model's name
    is_differentiable whether a gradient flows from the output to the inputs
    gradient_to      the one input that a gradient flows to, None for all of them
    range            bounds of the output where they are known, inclusive
    family           which page it stands on: loss, metric, scores, math, model
    source           where the formula is from
    better           for metrics and losses: whether higher or lower is better, None where neither
    compares_examples whether an example's value depends on the others that it is computed with
    told             what the backend's twin is told of its inputs' types, as keywords:
                     `kinds` (the kind of each input, a tuple of names), `classes` (the last
                     dimension of the first input, which it can't see in an array of labels),
                     `groups` (that of the last input, so many as there are)
    """

    name: str
    inputs: tuple[Input, ...]
    output: Type
    family: Literal["loss", "metric", "scores", "math", "model"]
    summary: str
    source: str
    options: tuple[Option, ...] = ()
    level: Literal["example", "set", "model"] = "example"
    is_differentiable: bool = True
    range: tuple[float, float] | None = None
    better: Literal["higher", "lower"] | None = None
    told: tuple[Literal["kinds", "classes", "groups"], ...] = ()
    gradient_to: str | None = None
    compares_examples: bool = False


@attrs.frozen(eq=False)
class Operator:
    """A sign or word between expressions; its typing is the checker's own work."""

    name: str
    summary: str
    is_differentiable: bool


class ShapeError(Exception):
    """What a layer's `shape` raises: why it can't take this input, as one plain sentence."""


Shape: TypeAlias = tuple[Dimension, ...]


@attrs.frozen(eq=False)
class Layer:
    """A layer, or a whole network such as `mlp`.

    shape        (input dimensions, options by name) -> output dimensions; raises ShapeError.
                 For a layer that ends with a dense one (`dense`, `mlp`) whose width may be left
                 to the model's signature, the option `width_option` is None then and the shape
                 rule isn't asked.
    width_option the option that the signature may fill, such as `width` of `dense`
    inner        the option that holds a pipe of layers, for `residual` and `repeat`; `shape` is
                 given the shape that comes out of that pipe in its place
    takes        `tokens` for a layer that turns whole numbers into vectors
    """

    name: str
    summary: str
    shape: Callable[[Shape, dict[str, Value]], Shape]
    options: tuple[Option, ...] = ()
    width_option: str | None = None
    inner: str | None = None
    takes: Literal["numbers", "tokens"] = "numbers"
    source: str = ""


@attrs.frozen(eq=False)
class Optimizer:
    """A link of an optimizer's chain under its optax name.

    role      `optimizer` (scales by a learning rate), `transform` (any other link),
              `schedule` (a value over steps)
    alias_of  the longer optax name of the same, for short names of ours
    per_array whether it does something else to a model's arrays than to one vector of all of
              their numbers, such as to scale by each one's norm
    """

    name: str
    role: Literal["optimizer", "transform", "schedule"]
    summary: str
    options: tuple[Option, ...] = ()
    alias_of: str | None = None
    source: str = ""
    per_array: bool = False


@attrs.frozen(eq=False)
class DataSource:
    """Where data come from.

    fields    name and type of every field, for sources that know their own; a dimension that
              has the name of an option has its value
    rows      how many examples, None where the spec or the file says
    rows_option the option that states the count; without it the source is endless
    unscaled  fields whose numbers differ in scale by orders of magnitude
    declares_fields  whether the spec declares the fields, as for files
    """

    name: str
    summary: str
    fields: tuple[tuple[str, Type], ...]
    rows: int | None = None
    options: tuple[Option, ...] = ()
    rows_option: str | None = None
    source: str = ""
    declares_fields: bool = False
    unscaled: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Operation:
    """A strategy, a growth operator or an augmentation, by what the search does with it."""

    name: str
    summary: str
    options: tuple[Option, ...] = ()
    source: str = ""
