"""A trained model as a Python function of raw values, as a file has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import expressions, models
from ev3lang.plan.plan import Derived, fields_of
from ev3lang.runtime import checkpoints, description
from ev3lang.runtime.data import computed
from ev3lang.runtime.description import SavedDerived, SavedField, SavedModel
from ev3lang.runtime.faults import DataError, InputError, WeightsError
from ev3lang.runtime.foreign import MALFORMED, cause

SHOWN = 5
"""Known words that a message names at most."""


class LoadedModel:
    """A trained network as a function of raw values.

    plan      the model as it was trained
    inputs    the fields that it takes, in order; none where it is applied to no fields
    target    the field that its outputs predict, None where they are of no field itself
    classes   what its scores are of, in order: the names of classes, or their numbers; None where
              outputs are no scores of classes
    params    nested dicts of float32 arrays, as they were accepted
    """

    def __init__(self, saved: SavedModel, params: models.Params) -> None:
        plan = saved.plan
        self.plan = plan
        self.inputs = saved.inputs or ()
        self.target = saved.target
        self.classes = saved.classes
        self.params = params
        self._fields = {each.field: each for each in (*self.inputs, *saved.sources)}
        self._derived = {each.field: each for each in saved.derived}
        self._apply = jax.jit(lambda params, x: models.apply(plan, params, x))

    def __call__(self, *arrays: Any, **named: Any) -> np.ndarray:
        """What the network makes of examples.

        arrays    [B, *dimensions] each, in the order of `inputs`; or one mapping (or table) of
                  values by the name of their field, of which those that are needed are read
        named     the other inputs by name; a field that is computed from others may be given
                  itself, or what it is computed from
        All as the data hold them: words of text fields, u8 images from 0 to 255, numbers in their
        own units. They are numbered, computed and normalised as in training.
        returns   [B, *output]: predictions of a target in the target's own unit, float64 where it
                  was normalised; else float32, logits where the spec says so, in the order of
                  `classes`
        Raises InputError, a ValueError, for values that are missing or that the model can't take.
        """
        if not self.inputs:
            x = self._joined(arrays, named)
        else:
            raw = self._by_name(arrays, named)
            columns = [self._encoded(each, raw) for each in self.inputs]
            sizes = {each.field: len(x) for each, x in zip(self.inputs, columns, strict=True)}
            if len(set(sizes.values())) > 1:
                counts = ", ".join(f"{name} {count}" for name, count in sizes.items())
                raise InputError(
                    f"the inputs of {self.plan.name} have different numbers of examples: {counts}",
                    "give each field a value for every example",
                )
            types = [each.type for each in self.inputs]
            x = np.asarray(expressions.joined(list(map(jnp.asarray, columns)), types, self.plan))
        shape = x.shape[1:] or (1,)
        if shape != self.plan.input:
            raise InputError(
                f"{self.plan.name} takes examples of shape {self.plan.input}, not {x.shape[1:]}",
                "the first axis counts the examples",
            )
        outputs = np.asarray(self._apply(self.params, x))
        if self.target is None or self.target.mean is None or self.target.std is None:
            return outputs
        return outputs.astype(np.float64) * self.target.std + self.target.mean

    # ------------------------------------------------------------ which values

    def _joined(self, arrays: tuple[Any, ...], named: Mapping[str, Any]) -> np.ndarray:
        """The one input of a model that is applied to something else than fields."""
        if named or len(arrays) != 1:
            raise InputError(
                f"{self.plan.name} takes 1 inputs, not {len(arrays) + len(named)}",
                "it is applied to no field of the data, so that its input has no name",
            )
        kind = "tokens" if self.plan.takes == "tokens" else "f32"
        return _checked("the input", kind, arrays[0])

    def _by_name(self, arrays: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        """All values that were given, by the name of their field."""
        names = [each.field for each in self.inputs]
        if len(arrays) == 1 and hasattr(arrays[0], "keys"):
            given = {name: arrays[0][name] for name in arrays[0].keys()}  # noqa: SIM118
            for each in self._fields.values():
                if each.origin in given and each.field not in given:
                    given[each.field] = given[each.origin]
        elif len(arrays) > len(names):
            raise InputError(
                f"{self.plan.name} takes {len(names)} inputs, not {len(arrays)}",
                f"they are {', '.join(names)}",
            )
        else:
            given = dict(zip(names, arrays, strict=False))
        for name in named:
            if name not in self._fields and name not in self._derived:
                raise InputError(
                    f"{self.plan.name} takes no {name}",
                    f"its inputs are {', '.join(names)}",
                )
            if name in given:
                raise InputError(f"{name} is given twice", "give each field once")
        return {**given, **named}

    # ------------------------------------------------------------ as in training

    def _encoded(self, field: SavedField, raw: Mapping[str, Any]) -> np.ndarray:
        """A field as the network was trained on it."""
        x = self._column(field, raw)
        if field.type.kind == "u8":
            x = x.astype(np.float32) / np.float32(255)
        if field.mean is None or field.std is None:
            return x
        return ((x.astype(np.float64) - field.mean) / field.std).astype(np.float32)

    def _column(self, field: SavedField, raw: Mapping[str, Any]) -> np.ndarray:
        """A field's values, words by their numbers, computed where only its sources are given."""
        if field.field in raw:
            return _numbered(field, raw[field.field])
        derived = self._derived.get(field.field)
        if derived is None:
            needed = self._needed(field.field)
            raise InputError(
                f"{field.field} is missing: {self.plan.name} takes "
                f"{', '.join(each.field for each in self.inputs)}",
                f"give {' and '.join(needed)} by name, or all inputs in this order",
            )
        names = fields_of(derived.value)
        columns = {name: self._column(self._field(name), raw) for name in names}
        if len({len(each) for each in columns.values()}) > 1:
            counts = ", ".join(f"{name} {len(each)}" for name, each in columns.items())
            raise InputError(
                f"{field.field} is computed from different numbers of examples: {counts}",
                "give each field a value for every example",
            )
        return _computed(derived, columns)

    def _field(self, name: str) -> SavedField:
        if name in self._fields:
            return self._fields[name]
        return SavedField(name, self._derived[name].type)

    def _needed(self, name: str) -> list[str]:
        """A field, or what it is computed from."""
        if name not in self._derived:
            return [name]
        parts = fields_of(self._derived[name].value)
        return [each for part in parts for each in self._needed(part)]


def load_model(
    path: str | Path, name: str | None = None, *, allow_python: Collection[str] = ()
) -> LoadedModel:
    """The accepted model of a run, from its folder or its `accepted/`.

    name           of the model, where the run had several; None: the one that was explored
    allow_python   packages whose code may run: a network from a Python class needs its own, which
                   is looked for among what is installed and in the current folder
    returns a function of raw values, encoded as in training, with its weights in `.params`
    Raises WeightsError where the folder holds no such model or can't be read, ModuleError for a
    network from a Python class that was not allowed or can't be used, and OSError where the disk
    fails.
    """
    where = checkpoints.ours(Path(path))
    if where is None:
        raise WeightsError(
            f"{path} holds no weights of a run", "name a run's folder, or its `accepted`"
        )
    found = description.read(where)
    if name is None and len(found.explored) != 1:
        raise WeightsError(f"{path} holds several models: {', '.join(found.models)}", "name one")
    chosen = found.explored[0] if name is None else name
    if chosen not in found.models:
        raise WeightsError(
            f"{path} holds {', '.join(found.models)}, and no {name}", "name one of them"
        )
    saved = found.models[chosen]
    # in earlier formats nothing says whether the description is as it was written
    errors = MALFORMED if found.version in description.EARLIER else ()
    try:
        return _loaded(where, saved, allow_python)
    except errors as error:
        raise WeightsError(
            f"{where / 'models.json'} describes a network that can't be built: {cause(error)}",
            description.AGAIN,
        ) from error


def _loaded(where: Path, saved: SavedModel, allow_python: Collection[str]) -> LoadedModel:
    if saved.plan.module is not None:
        from ev3lang.backend import modules

        modules.load([saved.plan], allow_python, [Path()])
    return LoadedModel(saved, checkpoints.read(where, saved.plan, None).params)


# ---------------------------------------------------------------- values


def _computed(derived: SavedDerived, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    plan = Derived(derived.field, derived.value, derived.type)
    try:
        return computed("the input", plan, dict(columns), None)
    except DataError as error:
        raise InputError(str(error), error.help) from error


def _numbered(field: SavedField, values: Any) -> np.ndarray:
    """A field's values: of a text field the numbers of its words."""
    if field.type.kind != "text":
        return _shaped(field, _checked(field.field, field.type.kind, values))
    array = _array(field.field, values)
    if array.dtype.kind in "iu":
        return _shaped(field, _checked(field.field, "text", array))
    if field.words is None:
        raise InputError(
            f"{field.field} has words, and the folder doesn't say how they are numbered",
            "it was written by an earlier version: give their numbers, or train again",
        )
    words = np.asarray(field.words, dtype=object)
    texts = array.astype(object).reshape(-1)
    numbers = {word: place for place, word in enumerate(field.words)}
    for row, text in enumerate(texts):
        if not isinstance(text, str) or text not in numbers:
            known = ", ".join(map(ascii, words[:SHOWN])) + (", …" if len(words) > SHOWN else "")
            raise InputError(
                f"{field.field} is {text!a} in row {row + 1}, a word that training never saw",
                f"it knows {len(words)} words: {known}",
            )
    found = np.array([numbers[text] for text in texts], np.int32).reshape(array.shape)
    return _shaped(field, found)


def _shaped(field: SavedField, x: np.ndarray) -> np.ndarray:
    """The column, where its examples have the field's own shape and values in its range."""
    type_ = field.type
    is_counted = type_.kind in ("class", "text", "tokens")
    dimensions = type_.dimensions[1:] if is_counted else type_.dimensions
    if len(x.shape[1:]) != len(dimensions) or any(
        isinstance(wanted, int) and wanted != found
        for wanted, found in zip(dimensions, x.shape[1:], strict=True)
    ):
        wanted = ", ".join(("examples", *map(str, dimensions)))
        raise InputError(
            f"{field.field} has shape {list(x.shape)}, and {type_} takes shape [{wanted}]",
            "the first axis counts the examples",
        )
    if is_counted and isinstance(count := type_.dimensions[0], int):
        lowest = -1 if type_.kind == "tokens" else 0
        outside = np.flatnonzero(((x < lowest) | (x >= count)).reshape(len(x), -1).any(axis=1))
        if len(outside):
            raise InputError(
                f"{field.field} is out of range in row {outside[0] + 1}: {type_} takes {lowest} to "
                f"{count - 1}",
                "number as the training data do",
            )
    return x


def _array(name: str, values: Any) -> np.ndarray:
    """The values as an array of examples."""
    if np.ma.isMaskedArray(values):
        if np.ma.getmaskarray(values).any():
            raise InputError(
                f"{name} is a masked array, and some of it is masked",
                "fill it in, or leave these examples out",
            )
        values = np.ma.getdata(values)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{name} is no array: {error}", "give every example a value of the same shape"
        ) from error
    if array.ndim == 0:
        raise InputError(
            f"{name} is one value, not one for each example", "give a list, of one if need be"
        )
    if not len(array):
        raise InputError(f"{name} has no examples", "give one at least")
    return array


_WHOLE, _REAL = "iu", "biuf"

_TAKES: Mapping[str, tuple[str, str, Any]] = {
    "u8": (_WHOLE, "whole numbers from 0 to 255", np.uint8),
    "i32": (_WHOLE, "whole numbers", np.int32),
    "class": (_WHOLE, "whole numbers", np.int32),
    "tokens": (_WHOLE, "whole numbers", np.int32),
    "text": (_WHOLE, "words", np.int32),
    "bool": ("biu", "true and false", np.bool_),
    "multi": ("biu", "true and false", np.bool_),
}
"""What kinds of dtypes a field takes, in words too, and what training has it as."""


def _checked(name: str, kind: str, values: Any) -> np.ndarray:
    """Numbers that a field of a kind can have, as training has them."""
    array = _array(name, values)
    kinds, words, dtype = _TAKES.get(kind, (_REAL, "real numbers", np.float32))
    if array.dtype.kind not in kinds:
        raise InputError(f"{name} holds {array.dtype}, and takes {words}", "convert it before")
    low, high = (0, 1) if dtype is np.bool_ else (-np.inf, np.inf)
    if np.issubdtype(dtype, np.integer):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    with np.errstate(over="ignore"):
        found = array.astype(dtype)
    is_well = (array >= low) & (array <= high) & np.isfinite(found)
    if not is_well.all():
        row = int(np.argmin(is_well.reshape(len(array), -1).all(axis=1)))
        value = array[row].reshape(-1)[np.argmin(is_well[row].reshape(-1))]
        raise InputError(
            f"{name} holds {value} in row {row + 1}, and takes "
            f"{words if kinds != _REAL else 'finite numbers'}",
            "fill it in, or leave this example out",
        )
    return found
