"""`models.json` beside weights: the models, what they take, and what their outputs mean.

Written as plain JSON, read by its structure, and with a digest of itself: whatever was changed
since it was written is told before anything is made of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ev3lang import __version__
from ev3lang.catalog.index import FUNCTIONS
from ev3lang.catalog.signature import Type, parse_type
from ev3lang.plan.plan import (
    Apply,
    Constant,
    DataPlan,
    Expr,
    Field,
    Forward,
    LayerPlan,
    Layers,
    Link,
    ModelPlan,
    Module,
    Plan,
    TrainedBy,
    fields_of,
    models_of,
    subexpressions,
)
from ev3lang.runtime import codec, folder
from ev3lang.runtime.codec import Json
from ev3lang.runtime.data import Dataset
from ev3lang.runtime.faults import WeightsError
from ev3lang.runtime.foreign import cause

FORMAT = "ev3lang checkpoint"
FORMAT_VERSION = 2
EARLIER = (1,)
"""Formats that are read as well: the first has no words, derived fields, targets and digest."""

AGAIN = "copy the folder again, or run again"


@attrs.frozen(eq=False)
class SavedField:
    """A field of the data, and how it was encoded in training.

    mean, std   it was normalised by, [] or one for each channel; None: it wasn't
    words       what a text field was numbered by; None of other fields, and of the first format
    origin      its name in the file, where that is another
    """

    field: str
    type: Type
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    words: tuple[str, ...] | None = None
    origin: str | None = None


@attrs.frozen(eq=False)
class SavedDerived:
    """A field that is computed from others, before anything is normalised."""

    field: str
    type: Type
    value: Expr


@attrs.frozen(eq=False)
class SavedModel:
    """A model as it was trained.

    inputs    the fields that it is applied to, in order; None where they aren't fields
    sources   further fields, which derived ones are computed from
    derived   those among `inputs`, and what they are computed from in turn, in order
    target    the field that its outputs are predictions of; None where they are of no field itself
    classes   what its scores are of, in order: names, or numbers where labels are; None of others
    """

    plan: ModelPlan
    inputs: tuple[SavedField, ...] | None
    sources: tuple[SavedField, ...] = ()
    derived: tuple[SavedDerived, ...] = ()
    target: SavedField | None = None
    classes: tuple[str | int, ...] | None = None


@attrs.frozen(eq=False)
class Description:
    """What `models.json` says.

    version   the format that it has
    wrote     the version of ev3lang that wrote it
    data      what `checkpoints.data_record` gave
    models    by name
    documents   the models as JSON has them, by name
    """

    version: int
    wrote: str
    data: Mapping[str, Any]
    models: Mapping[str, SavedModel]
    documents: Mapping[str, Any]

    @property
    def explored(self) -> list[str]:
        """The models that the run explored."""
        return [name for name, each in self.models.items() if each.plan.is_explored]


# ---------------------------------------------------------------- writing


def describe(plan: Plan, dataset: Dataset, data: Mapping[str, Any]) -> dict[str, Any]:
    """The value of `models.json`; `data` is what `checkpoints.data_record` gives."""
    value = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "experiment": plan.name,
        "seed": plan.seed,
        "precision": plan.precision,
        "versions": folder.versions(),
        "data": dict(data),
        "models": [_described(plan, model, dataset) for model in plan.models],
    }
    return {**value, "sha256": _digest(value)}


def model_json(model: ModelPlan) -> dict[str, Any]:
    """A model's plan as JSON has it."""
    return {
        "name": model.name,
        "input": list(model.input),
        "output": str(model.output),
        "takes": model.takes,
        "is_explored": model.is_explored,
        "layers": plain(model.layers),
        "module": None
        if model.module is None
        else {"target": model.module.target, "options": _options_json(model.module.options)},
    }


def _described(plan: Plan, model: ModelPlan, dataset: Dataset) -> dict[str, Any]:
    fields = _fields_into(plan, model.name) or ()
    needed = _derivations(plan.data, [each.name for each in fields])
    known = {name for name, _ in plan.data.fields}
    read = {name for each in needed for name in fields_of(each.value) if name in known}
    read -= {each.name for each in fields}
    types = dict(plan.data.fields)
    target = _target(plan, model)

    def saved(field: Field) -> dict[str, Any]:
        return _field_json(plan.data, dataset, field.name, field.type)

    return {
        **model_json(model),
        "inputs": [saved(each) for each in fields] if fields else None,
        "sources": [_field_json(plan.data, dataset, name, types[name]) for name in sorted(read)],
        "derived": [
            {"field": each.name, "type": str(each.type), "value": _expr_json(each.value)}
            for each in needed
        ],
        "target": None if target is None else saved(target),
        "classes": _classes(plan, model, dataset),
    }


def _field_json(plan: DataPlan, dataset: Dataset, name: str, type_: Type) -> dict[str, Any]:
    scale = dataset.scales.get(name) or _stated_scale(plan, name)
    mean, std = (None, None) if scale is None else (np.asarray(each).tolist() for each in scale)
    words = dataset.words.get(name)
    origin = dict(plan.origins).get(name)
    return {
        "field": name,
        "type": str(type_),
        "mean": mean,
        "std": std,
        "words": None if words is None else list(words),
        "origin": origin if isinstance(origin, str) else None,
    }


def _fields_into(plan: Plan, name: str) -> tuple[Field, ...] | None:
    """The fields that a model is applied to everywhere; None where they differ or are no fields."""
    inputs = {
        part.inputs for part in _applied(plan) if isinstance(part, Forward) and part.model == name
    }
    if len(inputs) != 1:
        return None
    fields = tuple(part for part in inputs.pop() if isinstance(part, Field))
    return fields or None


def _applied(plan: Plan) -> Iterator[Expr]:
    """Every part of what is descended, measured or shown."""
    exprs: list[Expr] = list(plan.losses)
    exprs += [each.value for each in plan.objectives]
    exprs += [each.value for each in plan.shown]
    exprs += [each.start.loss for each in plan.models if isinstance(each.start, TrainedBy)]
    for expr in exprs:
        yield from subexpressions(expr)


def _target(plan: Plan, model: ModelPlan) -> Field | None:
    """The field that a model's output itself is compared with, everywhere the same one.

    Not where what is compared is computed from the output, which then has another unit.
    """
    found = {
        target
        for part in _applied(plan)
        if isinstance(part, Apply)
        for prediction, target in _compared(part)
        if isinstance(prediction, Forward) and prediction.model == model.name
    }
    return found.pop() if len(found) == 1 else None


def _compared(expr: Apply) -> Iterator[tuple[Expr, Field]]:
    """The predictions of an expression, each with the field that it is of."""
    names: tuple[str, ...] = ("prediction", "target")
    if expr.function in FUNCTIONS:
        names = tuple(each.name for each in FUNCTIONS[expr.function].inputs)
    elif expr.function != "-":
        return
    parts = dict(zip(names, expr.inputs, strict=False))
    first, second = parts.get("prediction"), parts.get("target")
    pairs = [(first, second)] if expr.function in FUNCTIONS else [(first, second), (second, first)]
    for prediction, target in pairs:
        is_real = isinstance(target, Field) and target.type.kind in ("real", "f32")
        if is_real and prediction is not None:
            yield prediction, target  # type: ignore[misc]


def _classes(plan: Plan, model: ModelPlan, dataset: Dataset) -> list[str | int] | None:
    """What a model's scores are of: the classes of the label that they are compared with."""
    if not model.output.is_scores or len(model.output.dimensions) != 1:
        return None
    (count,) = model.output.dimensions
    labels = {
        label
        for part in _applied(plan)
        if isinstance(part, Apply) and model.name in models_of(part)
        for label in part.inputs
        if isinstance(label, Field) and label.type == Type("class", (count,))
    }
    if len(labels) != 1 or not isinstance(count, int):
        return None
    names = dataset.classes.get(labels.pop().name)
    # a type may have room for more than there are
    return list(range(count)) if names is None or len(names) != count else list(names)


def _derivations(plan: DataPlan, names: Iterable[str]) -> list[Any]:
    """How fields are computed from those of the file, in order; none by code of the user's."""
    by_name = {each.name: each for each in plan.derived}
    needed: dict[str, None] = {}

    def need(name: str) -> None:
        if name in by_name and name not in needed:
            for each in fields_of(by_name[name].value):
                need(each)
            needed[name] = None

    for name in names:
        need(name)
    return [by_name[name] for name in needed if _is_portable(by_name[name].value)]


def _is_portable(expr: Expr) -> bool:
    return all(
        isinstance(part, (Field, Constant))
        or (isinstance(part, Apply) and not part.function.startswith("extern "))
        for part in subexpressions(expr)
    )


def _stated_scale(plan: DataPlan, field: str) -> tuple[Any, Any] | None:
    """What the spec of an endless source says that a field is normalised by."""
    for each in plan.normalized:
        if each.field == field and each.mean is not None and each.std is not None:
            return each.mean, each.std
    return None


def _expr_json(expr: Expr) -> dict[str, Any]:
    """An expression of fields, numbers and functions of the catalogue."""
    common = {"type": str(expr.type), "level": expr.level}
    match expr:
        case Field():
            return {"field": expr.name, **common}
        case Constant():
            return {"constant": expr.value, **common}
        case Apply():
            return {
                "function": expr.function,
                "inputs": [_expr_json(each) for each in expr.inputs],
                "options": _options_json(expr.options),
                **common,
            }
        case _:
            raise AssertionError(f"{expr} was found to be portable")


def _options_json(options: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: plain(value) for name, value in options}


def plain(value: Any) -> Any:
    """Layers, links and option values as JSON has them."""
    match value:
        case Layers():
            return [
                {
                    "name": layer.name,
                    "options": _options_json(layer.options),
                    "input": list(layer.input),
                    "output": list(layer.output),
                }
                for layer in value.layers
            ]
        case Link():
            return {"name": value.name, "options": _options_json(value.options)}
        case Type():
            return str(value)
        case tuple():
            return [plain(item) for item in value]
        case _:
            assert value is None or isinstance(value, (bool, int, float, str)), repr(value)
            return value


def _digest(value: Mapping[str, Any]) -> str:
    """64 hexadecimal digits of all that `models.json` says beside them."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- reading


def read(path: Path) -> Description:
    """What `models.json` of a folder says.

    Raises WeightsError for a file that can't be read, that another version wrote, or that was
    changed.
    """
    file = path / "models.json"
    try:
        return codec.load(file, "a description of weights", AGAIN, _description)
    except OSError as error:
        raise WeightsError(f"{file} can't be read: {cause(error)}", AGAIN) from error
    except codec.FormatFault as fault:
        raise WeightsError(str(fault), fault.help) from fault
    except _OtherFormat as other:
        raise WeightsError(
            f"{file} has format {other.format}, and ev3lang {__version__} reads "
            f"format {FORMAT_VERSION} and earlier ones",
            f"it was written by ev3lang {other.wrote}: train again with this version, or use that "
            "one",
        ) from other


class _OtherFormat(Exception):
    """A description of another format, which this version can't read."""

    def __init__(self, format: object, wrote: str) -> None:
        super().__init__(format, wrote)
        self.format, self.wrote = format, wrote


def _description(document: Json) -> Description:
    if not isinstance(document.value, dict) or document.value.get("format") != FORMAT:
        raise ValueError("it doesn't describe weights of an ev3lang run")
    version = document["format_version"].value
    versions = document.get("versions")
    wrote = versions["ev3lang"].as_(str) if versions is not None else "of another version"
    if isinstance(version, bool) or version not in (FORMAT_VERSION, *EARLIER):
        raise _OtherFormat(ascii(version)[: codec.KEY_SHOWN], wrote)
    if version == FORMAT_VERSION or "sha256" in document.value:
        without = {name: each for name, each in document.value.items() if name != "sha256"}
        if document["sha256"].value != _digest(without):
            raise ValueError("it is not whole, or was changed: its sha256 is another")
    found = {each["name"].as_(str): each for each in document["models"]}
    return Description(
        version,
        wrote,
        _data(document["data"]),
        {name: _model(each) for name, each in found.items()},
        {name: each.value for name, each in found.items()},
    )


def _data(json: Json) -> Mapping[str, Any]:
    """The record of the data, which is compared as it is."""
    for name in ("name", "source", "split", "rows"):
        json[name]
    json["fields"].as_(Mapping[str, str])
    found: Mapping[str, Any] = json.value
    return found


def _model(json: Json) -> SavedModel:
    inputs, target, classes = json["inputs"], json.get("target"), json.get("classes")
    return SavedModel(
        _model_plan(json),
        None if inputs.value is None else tuple(_field(each) for each in inputs),
        _each(json, "sources", _field),
        _each(json, "derived", _derived),
        None if target is None or target.value is None else _field(target),
        None if classes is None or classes.value is None else tuple(_class(x) for x in classes),
    )


def _each(json: Json, name: str, read: Callable[[Json], Any]) -> tuple[Any, ...]:
    """The parts of a list that the first format didn't have."""
    found = json.get(name)
    return () if found is None else tuple(read(each) for each in found)


def _class(json: Json) -> str | int:
    return json.value if type(json.value) is int else json.as_(str)


def _field(json: Json) -> SavedField:
    words, origin = json.get("words"), json.get("origin")
    return SavedField(
        json["field"].as_(str),
        _type(json["type"]),
        _numbers(json["mean"]),
        _numbers(json["std"]),
        None if words is None else words.as_(tuple[str, ...] | None),
        None if origin is None else origin.as_(str | None),
    )


def _numbers(json: Json) -> np.ndarray | None:
    if json.value is None:
        return None
    is_list = isinstance(json.value, list)
    return np.asarray(json.as_(tuple[float, ...] if is_list else float), np.float64)


def _type(json: Json) -> Type:
    try:
        return parse_type(json.as_(str))
    except ValueError:
        json.fail("is no type")


def _derived(json: Json) -> SavedDerived:
    return SavedDerived(json["field"].as_(str), _type(json["type"]), _expr(json["value"]))


def _expr(json: Json) -> Expr:
    type_, level = _type(json["type"]), json["level"].value
    if (field := json.get("field")) is not None:
        return Field(field.as_(str), type_, level)
    if (constant := json.get("constant")) is not None:
        value = constant.value
        return Constant(value if type(value) is int else constant.as_(float), type_, level)
    return Apply(
        json["function"].as_(str),
        tuple(_expr(each) for each in json["inputs"]),
        type_,
        level,
        tuple((name, _tuples(each.value)) for name, each in json["options"].items()),
    )


def _model_plan(json: Json) -> ModelPlan:
    """The plan that `model_json` wrote."""
    module = json["module"]
    return ModelPlan(
        name=json["name"].as_(str),
        input=json["input"].as_(tuple[int, ...]),
        output=_type(json["output"]),
        layers=_layers(json["layers"]),
        is_explored=json["is_explored"].as_(bool),
        takes=json["takes"].value,
        module=None
        if module.value is None
        else Module(
            module["target"].as_(str),
            tuple((name, _tuples(each.value)) for name, each in module["options"].items()),
        ),
    )


def _layers(json: Json) -> Layers:
    return Layers(
        tuple(
            LayerPlan(
                each["name"].as_(str),
                tuple(
                    (name, _layers(value) if _is_pipe(value.value) else _tuples(value.value))
                    for name, value in each["options"].items()
                ),
                each["input"].as_(tuple[int, ...]),
                each["output"].as_(tuple[int, ...]),
            )
            for each in json
        )
    )


def _is_pipe(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
