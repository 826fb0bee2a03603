"""Models: shapes through every layer, from the signature's input to its output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import attrs

from ev3lang.catalog.index import FUNCTIONS, LAYERS, OPTIMIZERS
from ev3lang.catalog.layers import ACTIVATIONS
from ev3lang.catalog.networks import resnet_channels, resnet_convolutions
from ev3lang.catalog.signature import Dimension, Layer, ShapeError, Type, Value
from ev3lang.check import declarations, errors, expressions, limits, operators, typed, types
from ev3lang.check.arguments import Bound, bind, known_number
from ev3lang.check.checking import Checking
from ev3lang.check.sizes import fits, solved
from ev3lang.syntax import tree


def model(checking: Checking, declaration: tree.Model) -> typed.ModelInfo | None:
    """The model with the shapes of all its layers.

    A model whose layers can't be run yet still has its signature, so that the rest of the spec
    can be checked.
    """
    name = declaration.name.text
    if name not in checking.models:
        checking.models[name] = _model(checking, declaration)
    return checking.models[name]


def forward(
    checking: Checking, declaration: tree.Model, call: tree.Call, scope: expressions.Scope
) -> typed.Forward | None:
    """A model applied to the arguments of a call; sizes with a name are solved by them."""
    info = model(checking, declaration)
    checking.used.add(declaration.name.text)
    if info is None:
        for argument in call.arguments:
            expressions.note_names(checking, argument.value)
        return None
    given = [argument.value for argument in call.arguments]
    if len(given) == 1 and isinstance(given[0], tree.ListOf):
        given = list(given[0].items)
    named = next((each.name for each in call.arguments if each.name is not None), None)
    if named is not None:
        checking.report(errors.unknown_argument(info.name, named, ()))
        return None
    inputs = [expressions.infer(checking, each, scope) for each in given]
    if len(given) != len(info.inputs):
        expected = "1 input" if len(info.inputs) == 1 else f"{len(info.inputs)} inputs"
        checking.report(
            errors.wrong_type(call.span, f"{expected} for `{info.name}`", str(len(given)))
        )
        return None
    known = [each for each in inputs if each is not None]
    if len(known) < len(inputs):
        return None
    sizes: dict[str, Dimension] = {}
    for each, wanted in zip(known, info.inputs, strict=True):
        if not fits(wanted, each.facts.type, sizes):
            checking.report(
                errors.wrong_type(each.span, f"{wanted} for `{info.name}`", str(each.facts.type))
            )
            return None
        if each.facts.level not in ("example", "constant"):
            checking.report(
                errors.wrong_level(each.span, f"`{info.name}` takes one example at a time")
            )
            return None
    gradient = frozenset().union(*(each.facts.gradient for each in known))
    facts = typed.Facts(
        solved(info.output, sizes),
        "example",
        gradient=gradient if info.is_frozen else gradient | {info.name},
        data=expressions.one_data_block(checking, call.span, tuple(known)),
    )
    return typed.Forward(info.name, tuple(known), facts, span=call.span)


@attrs.frozen
class _Pipe:
    """Layers one after the other, and the shape of what comes out of the last."""

    layers: tuple[typed.LayerInfo, ...]
    output: tuple[Dimension, ...]


def _model(checking: Checking, declaration: tree.Model) -> typed.ModelInfo | None:
    output = _output(checking, declaration.output)
    inputs = _inputs(checking, declaration.input)
    module: typed.ModuleInfo | None = None
    if declaration.module is not None:
        module = _module(checking, declaration.module)
        if module is None:
            return None
    if output is None or inputs is None:
        return None
    input_shape = _joined(checking, declaration, inputs)
    if input_shape is None:
        return None
    layers: tuple[typed.LayerInfo, ...] = ()
    if declaration.layers is not None:
        width = output.dimensions[-1] if output.dimensions else 1
        vocabulary = next((each.dimensions[0] for each in inputs if each.kind == "tokens"), None)
        pipe = _pipe(checking, declaration.layers, input_shape, width, vocabulary)
        if pipe is None:
            return None
        wanted = output.dimensions or (1,)
        if pipe.output != wanted:
            last = _stages(declaration.layers)[-1]
            checking.report(
                errors.output_shape(last.span, pipe.output, declaration.output.span, output)
            )
            return None
        layers = pipe.layers
    info = typed.ModelInfo(
        name=declaration.name.text,
        inputs=inputs,
        input=tuple(size for size in input_shape if isinstance(size, int)),
        output=output,
        layers=layers,
        is_frozen=_is_frozen(declaration),
        module=module,
    )
    return info if declaration.layers is None or _fits(checking, declaration, info) else None


def _fits(checking: Checking, declaration: tree.Model, info: typed.ModelInfo) -> bool:
    """Whether the model can be compiled and held at all; reports why not."""
    assert declaration.layers is not None, "a class of the user's says nothing of its size"
    span, depth = declaration.layers.span, limits.layers(info.layers)
    if depth > limits.MOST_LAYERS:
        checking.report(errors.too_many_layers(span, info.name, depth, limits.MOST_LAYERS))
        return False
    count = parameters(info)
    if count is not None and count > limits.MOST_PARAMETERS:
        checking.report(errors.too_many_parameters(span, info.name, count, limits.MOST_PARAMETERS))
        return False
    return True


def _is_frozen(declaration: tree.Model) -> bool:
    """Whether nothing ever descends it: `trained by` does, before the run."""
    kinds = {type(each) for each in declaration.items}
    return tree.Frozen in kinds and tree.TrainedBy not in kinds


def _module(checking: Checking, call: tree.Call) -> typed.ModuleInfo | None:
    """The class that a network comes from, `nnx("package.module:Class", width: 32)`."""
    if call.function.text != "nnx":
        checking.report(errors.unknown_name(call.function, ("nnx",), "origin of a network"))
        return None
    target = call.arguments[0].value if call.arguments else None
    if not isinstance(target, tree.String) or call.arguments[0].name is not None:
        checking.report(errors.module_target(call.span if target is None else target.span))
        return None
    package, _, name = target.value.partition(":")
    if not all(part.isidentifier() for part in (*package.split("."), name)):
        checking.report(errors.module_target(target.span))
        return None
    options: dict[str, Value] = {}
    for argument in call.arguments[1:]:
        if argument.name is None:
            checking.report(errors.too_many_arguments("nnx", 1, argument.span))
            return None
        if argument.name.text in options or argument.name.text == "rngs":
            checking.report(errors.duplicate_argument("nnx", argument.name.text, argument.span))
            return None
        value = _module_option(checking, argument.value, f"`{argument.name.text}` of `nnx`")
        if value is None:
            return None
        options[argument.name.text] = value
    return typed.ModuleInfo(target.value, tuple(options.items()))


def _module_option(checking: Checking, written: tree.Expression, what: str) -> Value | None:
    """A number, text, truth value or list of these, as Python gets it; None, reported, else."""
    match written:
        case tree.String(value=text):
            return text
        case tree.Name(text="true" | "false" as text):
            return text == "true"
        case tree.ListOf(items=items):
            parts = [_module_option(checking, each, what) for each in items]
            known = tuple(each for each in parts if each is not None)
            return known if len(known) == len(parts) else None
    expr = expressions.constant(checking, written, what)
    number = None if expr is None else known_number(checking, expr)
    if expr is not None and number is None:
        checking.report(
            errors.wrong_type(written.span, f"a number, text or list for {what}", "something else")
        )
    return number


def _output(checking: Checking, written: tree.TypeExpression) -> Type | None:
    found = types.type_of(checking, written)
    if found is None:
        return None
    if found.kind in ("logits", "real", "f32"):
        return found
    if found.kind in ("probs", "log_probs"):
        expected = "raw scores, `logits`, as a model's output"
        hint = "apply `softmax` where you use them"
    else:
        expected, hint = "`logits`, `real` or `f32[…]` as a model's output", None
    checking.report(errors.wrong_type(written.span, expected, str(found), hint))
    return None


def _inputs(checking: Checking, written: tree.ModelInput) -> tuple[Type, ...] | None:
    if written.type is not None:
        found = types.type_of(checking, written.type)
        return None if found is None else _checked_inputs(checking, written.type, found)
    inputs: list[Type] = []
    for name in written.fields:
        symbol = checking.field(name)
        info = None if symbol is None else declarations.field(checking, symbol, name)
        checked = None if info is None else _checked_inputs(checking, name, info.type)
        if checked is None:
            return None
        inputs.extend(checked)
    return tuple(inputs)


def _checked_inputs(checking: Checking, place: tree.Node, type_: Type) -> tuple[Type, ...] | None:
    if type_.kind == "id":
        checking.report(errors.input_is_id(place.span, place.span.text))
        return None
    if type_.kind in CATEGORIES and not isinstance(type_.dimensions[0], int):
        why = f"`{place.span.text}` has an unknown number of categories, `{type_.dimensions[0]}`"
        checking.report(errors.layer_shape(place.span, why))
        return None
    return (type_,)


CATEGORIES = ("class", "text")
"""Kinds that a model takes as one number for each category: 1 for the one it is, else 0."""


def _joined(
    checking: Checking, declaration: tree.Model, inputs: tuple[Type, ...]
) -> tuple[Dimension, ...] | None:
    """The shape of the inputs side by side along the last axis."""
    if len(inputs) == 1:
        only = inputs[0]
        if only.kind == "tokens":
            return only.dimensions[1:]
        if only.kind in CATEGORIES:
            return only.dimensions
        return (1,) if operators.scalar(only) is not None else only.dimensions
    for name, each in zip(declaration.input.fields, inputs, strict=True):
        if each.kind == "tokens":
            expected = "numbers or categories beside other inputs"
            hint = "embed the tokens in a model of their own, and give its output to this one"
            checking.report(errors.wrong_type(name.span, expected, str(each), hint))
            return None
    shapes = [each.dimensions or (1,) for each in inputs]
    width = 0
    for name, shape in zip(declaration.input.fields, shapes, strict=True):
        if len(shape) != len(shapes[0]) or shape[:-1] != shapes[0][:-1]:
            first = declaration.input.fields[0]
            checking.report(
                errors.shape_mismatch(
                    name.span,
                    "inputs are joined along the last dimension:",
                    first.span,
                    inputs[0],
                    name.span,
                    Type("f32", shape),
                )
            )
            return None
        if not isinstance(shape[-1], int):
            checking.report(
                errors.layer_shape(name.span, f"the size of `{name.span.text}` is not known")
            )
            return None
        width += shape[-1]
    return (*shapes[0][:-1], width)


def _stages(layers: tree.Expression) -> tuple[tree.Expression, ...]:
    return layers.stages if isinstance(layers, tree.Pipe) else (layers,)


def _pipe(
    checking: Checking,
    layers: tree.Expression,
    shape: tuple[Dimension, ...],
    last_width: Dimension | None,
    vocabulary: Dimension | None = None,
) -> _Pipe | None:
    """Send a shape through a pipe.

    last_width  what the signature asks of the last layer
    vocabulary  how many tokens there are, where tokens go into the first one
    """
    done: list[typed.LayerInfo] = []
    current = shape
    stages = _stages(layers)
    for index, stage in enumerate(stages):
        width = last_width if index == len(stages) - 1 else None
        entry = _entry(checking, stage)
        if entry is None:
            return None
        assert isinstance(stage, (tree.Name, tree.Call))
        gives: Literal["numbers", "tokens"] = "numbers" if vocabulary is None else "tokens"
        if entry.takes != gives:
            checking.report(errors.layer_input(stage.span, entry.name, gives))
            return None
        info = _layer(checking, entry, stage, current, width, vocabulary)
        vocabulary = None
        if info is None:
            return None
        done.append(info.layers[0])
        current = info.output
    return _Pipe(tuple(done), current)


def _entry(checking: Checking, stage: tree.Expression) -> Layer | None:
    """The layer that a stage names; None, reported, for no layer."""
    if not isinstance(stage, (tree.Name, tree.Call)):
        checking.report(errors.wrong_type(stage.span, "a layer", f"`{stage.span.text}`"))
        return None
    name = stage.function if isinstance(stage, tree.Call) else stage
    if name.text in LAYERS:
        return LAYERS[name.text]
    if name.text in FUNCTIONS or name.text in OPTIMIZERS or name.text in checking.names.declared:
        checking.report(errors.wrong_type(stage.span, "a layer", f"`{name.text}`"))
        return None
    checking.report(errors.unknown_name(name, LAYERS, "layer"))
    return None


def _layer(
    checking: Checking,
    entry: Layer,
    stage: tree.Name | tree.Call,
    shape: tuple[Dimension, ...],
    width: Dimension | None,
    vocabulary: Dimension | None,
) -> _Pipe | None:
    bound = bind(checking, stage, [option.name for option in entry.options])
    if bound is None:
        return None
    plain = tuple(option for option in entry.options if option.kind != "layers")
    values = expressions.option_values(checking, bound, plain)
    if values is None:
        return None
    options: dict[str, Value] = {}
    for name, value in values:
        if value is not None:
            assert isinstance(value, int | float | bool | str | tuple), "no parameters here"
            options[name] = value
    if entry.width_option is not None and entry.width_option not in options:
        if width is None:
            checking.report(errors.missing_width(stage.span, entry.name, entry.width_option))
            return None
        if isinstance(width, str):
            why = f"the size of `{width}` is not known, so `{entry.name}` needs its own"
            checking.report(errors.layer_shape(stage.span, why))
            return None
        options[entry.width_option] = width
    inner: _Pipe | None = None
    if entry.inner is not None:
        inner = _inner(checking, entry, bound, shape)
        if inner is None:
            return None
        options[entry.inner] = inner.output
    try:
        output = entry.shape(shape, options)
    except ShapeError as error:
        checking.report(errors.layer_shape(stage.span, str(error)))
        return None
    info = _info(entry, options, inner, shape, output)
    if entry.takes == "tokens":
        if not isinstance(vocabulary, int):
            why = f"`{entry.name}` needs to know how many tokens there are, not `{vocabulary}`"
            checking.report(errors.layer_shape(stage.span, why))
            return None
        info = attrs.evolve(info, options=(*info.options, (VOCABULARY, vocabulary)))
    return _Pipe((info,), output)


VOCABULARY = "tokens"
"""The option that a layer of tokens is told by the model's input: how many there are."""


def _inner(
    checking: Checking, entry: Layer, bound: Bound, shape: tuple[Dimension, ...]
) -> _Pipe | None:
    assert entry.inner is not None
    pipe = bound.given.get(entry.inner)
    if pipe is None:
        checking.report(errors.missing_argument(entry.name, [entry.inner], bound.span))
        return None
    # What comes out of an inner pipe goes back to where its input is: the widths agree.
    last = shape[-1] if shape else None
    return _pipe(checking, pipe, shape, last)


def _info(
    entry: Layer,
    options: dict[str, Value],
    inner: _Pipe | None,
    shape: tuple[Dimension, ...],
    output: tuple[Dimension, ...],
) -> typed.LayerInfo:
    named = tuple(
        (option.name, options.get(option.name))
        for option in entry.options
        if option.kind != "layers"
    )
    return typed.LayerInfo(
        name=entry.name,
        options=named,
        inner=() if inner is None else inner.layers,
        input=tuple(size for size in shape if isinstance(size, int)),
        output=tuple(size for size in output if isinstance(size, int)),
    )


# ---------------------------------------------------------------- counts


def parameters(info: typed.ModelInfo) -> int | None:
    """How many numbers the model learns; None where a layer's count is not known here."""
    if info.module is not None:
        return None
    counts = [_parameters(layer) for layer in info.layers]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _parameters(layer: typed.LayerInfo) -> int | None:
    inner = [_parameters(each) for each in layer.inner]
    options = dict(layer.options)
    if None in inner:
        return None
    total = sum(count for count in inner if count is not None)
    match layer.name:
        case "repeat":
            times = options["n"]
            return total * times if isinstance(times, int) else None
        case "residual":
            return total
        case "dense":
            return (layer.input[-1] + 1) * layer.output[-1]
        case "conv":
            kernel = options["kernel"]
            assert isinstance(kernel, int)
            return (kernel**2 * layer.input[-1] + 1) * layer.output[-1]
        case "layer_norm" | "group_norm" | "batch_norm":
            return 2 * layer.input[-1]
        case "embed":
            return _whole(options, VOCABULARY) * _whole(options, "width")
        case "attention":
            return _of_attention(layer.input[-1])
        case "transformer":
            return _of_transformer(layer) if len(layer.input) == 2 else None
        case "resnet":
            return _of_resnet(layer)
        case "mlp":
            hidden = options["hidden"]
            assert isinstance(hidden, tuple)
            widths = [math.prod(layer.input), *hidden, layer.output[-1]]
            return sum(
                (int(a) + 1) * int(b)
                for a, b in pairwise(widths)
                if isinstance(a, int) and isinstance(b, int)
            )
        case "flatten" | "dropout" | "max_pool" | "avg_pool" | "mean_pool":
            return 0
        case name if name in ACTIVATIONS:
            return 0
    return None


def _whole(options: Mapping[str, Value | None], name: str) -> int:
    value = options[name]
    assert isinstance(value, int), f"{name} is checked to be whole"
    return value


def _of_attention(width: int) -> int:
    """Queries, keys, values and what is made of them: a matrix and a bias each."""
    return 4 * (width + 1) * width


def _of_transformer(layer: typed.LayerInfo) -> int:
    length, width = layer.input
    options = dict(layer.options)
    given = options["feed_forward"]
    between = given if isinstance(given, int) else 4 * width
    block = 4 * width + _of_attention(width) + (width + 1) * between + (between + 1) * width
    positions = length * width if options["positions"] == "learned" else 0
    return positions + _whole(options, "layers") * block + 2 * width


def _of_resnet(layer: typed.LayerInfo) -> int:
    """Kernels without bias, two numbers a channel for each norm, the dense layer at the end."""
    options = dict(layer.options)
    total = sum(
        each.kernel**2 * each.before * each.after + 2 * each.after
        for each in resnet_convolutions(layer.input, options)
    )
    return total + (resnet_channels(options) + 1) * layer.output[-1]


def depth(info: typed.ModelInfo) -> int | None:
    """Hidden layers of an mlp, blocks of a resnet, layers of a transformer; None for the rest."""
    for layer in info.layers:
        options = dict(layer.options)
        match layer.name:
            case "mlp":
                hidden = options["hidden"]
                return len(hidden) if isinstance(hidden, tuple) else None
            case "resnet":
                stages = options["stages"]
                blocks = stages if isinstance(stages, tuple) else ()
                return sum(each for each in blocks if isinstance(each, int))
            case "transformer":
                layers = options["layers"]
                return layers if isinstance(layers, int) else None
    return None
