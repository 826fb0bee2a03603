"""A built-in by its name: how it is written, what it takes, what it gives, where it is from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import attrs

from ev3lang.catalog import index
from ev3lang.catalog.signature import (
    SAME,
    SCALARS,
    TENSORS,
    DataSource,
    Function,
    Input,
    Layer,
    Operation,
    Operator,
    Optimizer,
    Option,
)
from ev3lang.catalog.units import UNITS
from ev3lang.explain.values import allowed, default, listed, written

WIDTH = 96

FAMILIES = {
    "loss": "Losses",
    "metric": "Metrics",
    "model function": "Functions of a model",
    "score function": "Functions of scores",
    "math function": "Mathematics",
    "operator": "Operators",
    "layer": "Layers and networks",
    "optimizer": "Optimizers",
    "transform": "Other links of an optimizer's chain",
    "schedule": "Schedules",
    "source": "Sources of data",
    "augmentation": "Augmentations",
    "strategy": "Strategies of evolution",
    "perturbation": "Perturbations",
    "growth operator": "Growth operators",
    "rule": "Rules of acceptance",
    "type": "Types",
    "unit": "Units",
}
"""Kinds of built-ins in the order of the catalogue page, each with its heading."""


@attrs.frozen
class Argument:
    """`what` may stand there, in words; `default` is `required` where there is none."""

    name: str
    what: str
    default: str
    summary: str


@attrs.frozen
class Description:
    """All that is said of a built-in.

    usage     how it is written, options with their defaults
    facts     further sentences
    example   a line or a block of a spec
    """

    name: str
    kind: str
    usage: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    facts: tuple[str, ...] = ()
    source: str = ""
    example: str = ""


def descriptions() -> Iterator[Description]:
    """Every built-in, by family in the order of `FAMILIES`."""
    found = [
        *map(_function, index.FUNCTIONS.values()),
        *map(_operator, index.OPERATORS.values()),
        *map(_layer, index.LAYERS.values()),
        *map(_link, index.OPTIMIZERS.values()),
        *map(_source, index.SOURCES.values()),
        *(_operation(each, "augmentation") for each in index.AUGMENTATIONS.values()),
        *(_operation(each, "strategy") for each in index.STRATEGIES.values()),
        *(_operation(each, "perturbation") for each in index.PERTURBATIONS.values()),
        *(_operation(each, "growth operator") for each in index.GROWTH.values()),
        *(_operation(each, "rule") for each in index.RULES.values()),
        *(_type(name, *facts) for name, facts in TYPES.items()),
        *map(_unit, UNITS),
    ]
    order = list(FAMILIES)
    yield from sorted(found, key=lambda each: order.index(each.kind))


def names() -> tuple[str, ...]:
    """All that `explain_builtin` knows."""
    return tuple(dict.fromkeys(each.name for each in descriptions()))


def explain_builtin(name: str) -> str | None:
    """What there is to say of a name, as text; None for a name that is no built-in."""
    found = [each for each in descriptions() if each.name == name]
    return "\n\n".join(map(_text, found)) if found else None


# ---------------------------------------------------------------- as text


def _text(description: Description) -> str:
    blocks = [f"{description.name}: {description.kind}", _wrapped(description.usage, "    ")]
    blocks.append(_wrapped(f"{_sentence(description.summary)}"))
    if description.arguments:
        width = max(len(each.name) for each in description.arguments)
        lines = []
        for each in description.arguments:
            words = "; ".join(part for part in (each.what, each.default, each.summary) if part)
            lines.append(_wrapped(f"{each.name:{width}}  {words}", " " * (4 + width)))
        blocks.append("\n".join(lines))
    if description.facts:
        blocks.append("\n".join(map(_wrapped, description.facts)))
    if description.source:
        blocks.append(_wrapped(f"Source: {description.source}"))
    if description.example:
        blocks.append("  Example:\n" + textwrap.indent(description.example, "    "))
    return "\n\n".join(blocks)


def _wrapped(text: str, hanging: str = "  ") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent=hanging,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


# ---------------------------------------------------------------- options


def _usage(name: str, options: tuple[Option, ...], inputs: tuple[str, ...] = ()) -> str:
    places = [*inputs, *map(_place, options)]
    return f"{name}({', '.join(places)})" if places else name


def _place(option: Option) -> str:
    if option.is_required:
        return option.name
    if option.default is None:
        return f"[{option.name}]"
    return f"{option.name}: {written(option.default, option.kind)}"


def _arguments(options: tuple[Option, ...]) -> tuple[Argument, ...]:
    return tuple(
        Argument(each.name, allowed(each), default(each), each.summary) for each in options
    )


_NUMBERS = {
    "learning_rate": "1e-3",
    "gamma": "2",
    "k": "3",
    "low": "0",
    "high": "5",
    "beta": "2",
    "rate": "10%",
    "max_norm": "1.0",
    "max_delta": "1.0",
    "value": "1e-3",
    "init_value": "1e-3",
    "peak_value": "1e-3",
    "end_value": "1e-5",
    "decay_rate": "0.9",
    "power": "2",
    "scale": "0.01",
    "step_size": "0.5",
    "decay_steps": "1000 steps",
    "transition_steps": "1000 steps",
    "over": "1000 steps",
    "hidden": "[64, 64]",
    "stages": "[2, 2, 2]",
    "layers": "dense(64) | relu",
    "width": "64",
    "heads": "4",
    "weights": "[1, 1, 1, 1, 1, 2, 2, 2, 2, 2]",
}
_BY_KIND = {
    "real": "1.0",
    "int": "2",
    "ratio": "10%",
    "bool": "true",
    "steps": "100 steps",
    "pixels": "2 px",
    "factor": "2x",
    "schedule": "1e-3",
    "ints": "[2, 2]",
    "layers": "dense(64) | relu",
    "text": '"name"',
    "path": '"data/file"',
    "operator": "widen(2x)",
}


def _value(option: Option) -> str:
    """Something that may stand for the option, as an example shows it."""
    if option.name == "layers" and option.kind == "int":
        return "2"
    if option.kind in ("text", "path", "name"):
        return option.choices[0] if option.choices else _BY_KIND[option.kind]
    return _NUMBERS.get(option.name, _BY_KIND.get(option.kind, "1"))


def _call(name: str, options: tuple[Option, ...], inputs: tuple[str, ...] = ()) -> str:
    """A call with all that is required: the first option by place, the others by name."""
    required = [each for each in options if each.is_required]
    given = list(inputs)
    for each in required:
        bare = not given and options[0] is each
        given.append(_value(each) if bare else f"{each.name}: {_value(each)}")
    return f"{name}({', '.join(given)})" if given else name


# ---------------------------------------------------------------- one for each family

_FUNCTION_KINDS = {
    "loss": "loss",
    "metric": "metric",
    "model": "model function",
    "scores": "score function",
    "math": "math function",
}
_LEVELS = {
    "example": "",
    "set": "It belongs to a whole set of examples: it is no mean of values of each example.",
    "model": "It belongs to a model, whatever the examples.",
}


def _function(entry: Function) -> Description:
    inputs = tuple(each.name for each in entry.inputs)
    arguments = tuple(
        Argument(
            each.name,
            listed(map(str, each.types), "or") if each.types else "the name of a model",
            "",
            "",
        )
        for each in entry.inputs
    )
    output = "the type of its input" if entry.output == SAME else str(entry.output)
    facts = [_LEVELS[entry.level], f"Gives {output}{_range(entry.range)}."]
    if entry.better is not None:
        facts.append(f"The {entry.better}, the better.")
    if entry.gradient_to is not None:
        facts.append(f"A gradient flows to `{entry.gradient_to}` alone.")
    elif entry.is_differentiable:
        facts.append("A gradient flows through it.")
    else:
        facts.append("No gradient flows through it: it can be an objective, and no loss alone.")
    return Description(
        name=entry.name,
        kind=_FUNCTION_KINDS[entry.family],
        usage=f"{_usage(entry.name, entry.options, inputs)} -> {output}",
        summary=entry.summary,
        arguments=(*arguments, *_arguments(entry.options)),
        facts=(" ".join(each for each in facts if each),),
        source=entry.source,
        example=_example_of(entry),
    )


def _range(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f" from {bounds[0]:g} to {bounds[1]:g}"


_BY_HAND = {
    "ctc_loss": "ctc_loss(net(signal), text)",
    "token_cross_entropy": "token_cross_entropy(net(text), next_token(text))",
    "token_accuracy": "token_accuracy(net(text), next_token(text))",
    "next_token": "next_token(text)",
    "straight_through": "straight_through(round(net(features)), net(features))",
}


def _example_of(entry: Function) -> str:
    call = _BY_HAND.get(entry.name) or _call(
        entry.name, entry.options, tuple(map(_input, entry.inputs))
    )
    match entry.family:
        case "loss":
            return f"loss {entry.name.removesuffix('_loss')}_of_net = {call}"
        case "metric" if entry.better is not None:
            direction = "maximize" if entry.better == "higher" else "minimize"
            return f"objective {entry.name}_of_net = {direction} {call}"
        case "metric" | "model":
            return f"metric {entry.name}_of_net = {call}"
    return f"let value = {call}"


def _input(each: Input) -> str:
    kinds = {type_.kind for type_ in each.types}
    if not kinds:
        return "net"
    if each.name == "group":
        return "group"
    if kinds & {"f32", "real"} and "logits" not in kinds:
        return "target" if each.name in ("target", "y") else "net(features)"
    if "class" in kinds:
        return "argmax(net(image))" if each.name == "prediction" else "label"
    if "multi" in kinds:
        return "labels"
    if "logits" not in kinds:
        return "softmax(teacher(image))" if each.name == "target" else "softmax(net(image))"
    return "net(image)"


_OPERATOR_EXAMPLES = {
    "negate": "let value = -entropy",
    "not": "metric wrong = not argmax(net(image)) == label",
    "and": "metric sure = argmax(net(image)) == label and label in top_k(net(image), 2)",
    "or": "metric near = argmax(net(image)) == label or label in top_k(net(image), 2)",
    "in": "metric top3 = label in top_k(net(image), 3)",
    "==": "objective accuracy = maximize argmax(net(image)) == label",
    "!=": "objective error_rate = minimize argmax(net(image)) != label",
    "mod": "derive even = label mod 2 == 0 as class[2]",
    "^": "loss soft(T: real) = entropy * T ^ 2",
}


def _operator(entry: Operator) -> Description:
    usage = {"negate": "-x", "not": "not x"}.get(entry.name, f"x {entry.name} y")
    is_comparison = entry.name in ("<", "<=", ">", ">=")
    plain = f"derive low = label {entry.name} 5 as class[2]" if is_comparison else ""
    plain = plain or f"loss other = entropy {entry.name} 2"
    return Description(
        name=entry.name,
        kind="operator",
        usage=usage,
        summary=entry.summary,
        facts=(
            "A gradient flows through it."
            if entry.is_differentiable
            else "No gradient flows through it.",
        ),
        example=_OPERATOR_EXAMPLES.get(entry.name, plain),
    )


def _layer(entry: Layer) -> Description:
    facts = []
    if entry.width_option is not None:
        facts.append(f"As the last layer it takes `{entry.width_option}` from the signature.")
    if entry.takes == "tokens":
        facts.append("It takes tokens and gives a vector for each.")
    call = _call(entry.name, entry.options)
    if entry.name in ("mlp", "resnet"):
        example = f"model net: image -> logits(label) = {call}"
    elif entry.takes == "tokens" or entry.name in ("transformer", "attention", "mean_pool"):
        start = call if entry.takes == "tokens" else f"embed(64) | {call}"
        rest = "dense" if entry.name == "mean_pool" else "mean_pool | dense"
        example = f"model net: text -> logits(label) = {start} | {rest}"
    elif entry.name in ("conv", "max_pool", "avg_pool", "batch_norm", "group_norm"):
        start = call if entry.name == "conv" else f"conv(64) | {call}"
        example = f"model net: image -> logits(label) = {start} | flatten | dense"
    elif entry.name == "dense":
        example = "model net: image -> logits(label) = flatten | dense(64) | relu | dense"
    elif entry.name == "flatten":
        example = "model net: image -> logits(label) = flatten | dense"
    else:
        example = f"model net: image -> logits(label) = flatten | dense(64) | {call} | dense"
    return Description(
        name=entry.name,
        kind="layer",
        usage=_usage(entry.name, entry.options),
        summary=entry.summary,
        arguments=_arguments(entry.options),
        facts=tuple(facts),
        source=entry.source,
        example=example,
    )


def _link(entry: Optimizer) -> Description:
    call = _call(entry.name, entry.options)
    if entry.role == "schedule":
        example = f"optimizer calm = adam({call})"
    elif entry.name == "params_ema":
        example = "optimizer calm = sgd(0.1) | params_ema(0.99)"
    elif entry.role == "transform":
        example = f"optimizer calm = {call} | sgd(0.1)"
    else:
        example = f"optimizer calm = {call}"
    facts = {
        "optimizer": "It scales by a learning rate; every chain has one at least.",
        "transform": "It stands in a chain with an optimizer, joined by |.",
        "schedule": "It stands in the place of a number that may change over steps.",
    }
    also = (f"A short name for `{entry.alias_of}` of optax.",) if entry.alias_of else ()
    return Description(
        name=entry.name,
        kind=entry.role,
        usage=_usage(entry.name, entry.options),
        summary=entry.summary,
        arguments=_arguments(entry.options),
        facts=(facts[entry.role], *also),
        source=entry.source,
        example=example,
    )


def _source(entry: DataSource) -> Description:
    facts = []
    if entry.fields:
        fields = listed(f"`{name}: {type_}`" for name, type_ in entry.fields)
        facts.append(f"Its fields: {fields}.")
    if entry.declares_fields:
        facts.append("The spec declares its fields; a run compares them with the file.")
    if entry.rows is not None:
        facts.append(f"It has {entry.rows} examples.")
    if entry.unscaled:
        facts.append(f"Normalize {listed(entry.unscaled)}: its numbers differ in scale.")
    call = _call(entry.name, entry.options)
    call = call if call.endswith(")") else f"{call}()"
    block = " {\n  features: f32[10]\n  label: class[2]\n}" if entry.declares_fields else ""
    return Description(
        name=entry.name,
        kind="source",
        usage=_usage(entry.name, entry.options) if entry.options else f"{entry.name}()",
        summary=entry.summary,
        arguments=_arguments(entry.options),
        facts=tuple(facts),
        source=entry.source,
        example=f"data examples = {call}{block}",
    )


def _operation(entry: Operation, kind: str) -> Description:
    call = _call(entry.name, entry.options)
    example = {
        "augmentation": f"augment image with {call}",
        "strategy": f"evolve accuracy with {call} for 10 generations",
        "perturbation": f"perturb with {call} for 2 draws",
        "growth operator": f"grow by {call}",
        "rule": f"rule {call}",
    }[kind]
    return Description(
        name=entry.name,
        kind=kind,
        usage=_usage(entry.name, entry.options),
        summary=entry.summary,
        arguments=_arguments(entry.options),
        source=entry.source,
        example=example,
    )


# ---------------------------------------------------------------- types and units

TYPES: dict[str, tuple[str, str, str]] = {
    "f32": ("f32[28, 28, 1]", "a tensor of 32-bit floats", "x: f32[28, 28, 1]"),
    "bf16": ("bf16[64]", "a tensor of 16-bit floats with the range of f32", "x: bf16[64]"),
    "u8": ("u8[32, 32, 3]", "a tensor of bytes, such as an image's", "x: u8[32, 32, 3]"),
    "i32": ("i32[8]", "a tensor of whole numbers", "x: i32[8]"),
    "logits": (
        "logits[10]",
        "scores before softmax, one a class; `logits(label)` has as many as label has classes",
        "model net: image -> logits(label) = mlp(hidden: [64])",
    ),
    "probs": ("probs[10]", "probabilities that sum to 1, as softmax gives them", "x: probs[10]"),
    "log_probs": ("log_probs[10]", "logarithms of probabilities", "x: log_probs[10]"),
    "class": ("class[10]", "one label of 10, counted from 0", "label: class[10]"),
    "multi": ("multi[20]", "any of 20 labels", "labels: multi[20]"),
    "classes": ("classes[10]", "a set of labels, as top_k gives it; never declared", ""),
    "tokens": (
        "tokens[8000, 128]",
        "up to 128 tokens of a vocabulary of 8000",
        "text: tokens[8000, 128]",
    ),
    "text": (
        "text[categories]",
        "a column of strings, read as categories",
        "town: text[categories]",
    ),
    "id": ("id", "a group or person; splits keep it together, models never see it", "patient: id"),
    "real": ("real", "a number", "param rate: real = 0.001"),
    "bool": ("bool", "true or false; 1 or 0 in arithmetic", "param wide: bool = true"),
    "int": ("int", "a whole number", "param width: int = 16"),
    "ratio": ("ratio", "a fraction of a whole, written 95%", "param share: ratio = 50%"),
    "pp": ("pp", "a difference of ratios, in percentage points: 1 pp", ""),
    "duration": ("duration", "a time, such as 20 min", "stop after 20 min"),
    "path": ("path", "where a file is", 'param file: path = "data/a.npz"'),
}
"""Each type as it is written, what it means, and an example."""

_MEASURES = {
    "ratio": "a fraction of a whole",
    "difference": "a difference of two ratios, in percentage points",
    "factor": "a factor",
    "pixels": "pixels",
    "duration": "a time",
}
_EXAMPLES = {
    "ratio": "accept when accuracy improves with confidence 95%",
    "difference": "guard top3 >= accepted - 1 pp",
    "factor": "mutate learning_rate by 0.8x or 1.25x",
    "pixels": "augment image with shift(1 px)",
    "duration": "stop after 20 min",
    "steps": "descend entropy with adam(1e-3) for 100 steps",
    "iterations": "stop after 60 iterations",
    "epochs": "trained by descend entropy with adam(1e-3) for 30 epochs",
    "generations": "evolve accuracy with evolution_strategy for 10 generations",
    "draws": "perturb with gaussian(0.01) for 2 draws",
    "examples": "shown known for 100 examples",
    "batches": "evaluate 8 batches",
    "passes": "repeat 5 passes from smallest",
    "parts": "batch 512 in 4 parts",
    "groups": (
        "split explore 60%, assess 15%, adapt 15%, report 10% grouped by patient in 300 groups"
    ),
}


def _type(name: str, form: str, summary: str, example: str) -> Description:
    facts = []
    if name in TENSORS:
        facts.append(f"`{name}` alone is one number; a dimension may be a name, `{name}[time, 8]`.")
    if name in SCALARS and example.startswith("param"):
        facts.append("A param of this type is set from outside with --set.")
    return Description(name, "type", form, summary, facts=tuple(facts), example=example)


def _unit(name: str) -> Description:
    unit = UNITS[name]
    what = _MEASURES.get(unit.measures, f"a count of {unit.measures}")
    base = {"duration": "s"}.get(unit.measures)
    facts = []
    if base is not None and name != base:
        per = (
            f"{unit.numerator} {base}" if unit.denominator == 1 else f"1/{unit.denominator} {base}"
        )
        facts.append(f"1 {name} is {per}.")
    gap = "" if name in ("%", "x") else " "
    example = _EXAMPLES[unit.measures]
    return Description(name, "unit", f"5{gap}{name}", what, facts=tuple(facts), example=example)
