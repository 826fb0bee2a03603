"""The types that operators give and take."""

from __future__ import annotations

from ev3lang.catalog.signature import Level, Type

ARITHMETIC = ("+", "-", "*", "/", "^", "mod")
EQUALITY = ("==", "!=")
ORDER = ("<", "<=", ">", ">=")
LOGIC = ("and", "or")

BOOL = Type("bool")
INT = Type("int")
REAL = Type("real")
RATIO = Type("ratio")
PP = Type("pp")

LOGARITHMIC = ("logits", "log_probs")
"""Scores that a sum or a mean leaves scores: unnormalised logarithms of probabilities."""

_NUMBERS = ("real", "int", "ratio", "pp", "bool")


def scalar(type_: Type) -> Type | None:
    """The type as one number: a lone f32 is a real, a class counts as its index; else None."""
    if type_.kind in _NUMBERS:
        return type_
    if type_.kind == "class":
        return INT
    if type_.is_tensor and not type_.dimensions:
        # a u8 is scaled to [0, 1] before anything is computed from it
        return INT if type_.kind == "i32" else REAL
    return None


def arithmetic(operator: str, left: Type, right: Type) -> Type | None:
    """The type of `left operator right`; None where there is none. Units: see `units_clash`."""
    a, b = scalar(left), scalar(right)
    if a is not None and b is not None:
        return _scalars(operator, a.kind, b.kind)
    if a is None and b is None:
        return _arrays(operator, left, right)
    array = right if a is not None else left
    if not (array.is_tensor or array.is_scores):
        return None
    # Scaling by a temperature or adding a constant leaves unnormalised scores what they are, and
    # takes the norm from log-probabilities.
    keeping = ("+", "-", "*", "/") if array is left else ("+", "*")
    keeps_kind = array.kind in LOGARITHMIC and operator in keeping
    return Type("logits" if keeps_kind else "f32", array.dimensions)


def comparison(operator: str, left: Type, right: Type) -> bool:
    """Whether the two can be compared. Counts of classes: see `dimensions_clash`."""
    if left.kind == right.kind == "text":
        return operator in EQUALITY
    return scalar(left) is not None and scalar(right) is not None


def units_clash(operator: str, left: Type, right: Type) -> bool:
    """Whether a difference of fractions meets something that is no fraction.

    `accuracy >= 98 pp` compares a fraction with a difference; `loss - 1 pp` takes a difference of
    fractions off something that is none.
    """
    kinds = (left.kind, right.kind)
    if "pp" not in kinds:
        return False
    other = kinds[0] if kinds[1] == "pp" else kinds[1]
    if operator in ("+", "-"):
        return other not in ("pp", "ratio", "int", "bool") or (
            operator == "-" and kinds[0] == "pp" and other != "pp"
        )
    if operator in (*EQUALITY, *ORDER):
        return other == "ratio"
    return False


def dimensions_clash(left: Type, right: Type) -> bool:
    """Whether two labels or arrays differ in size, so that element by element makes no sense."""
    both_classes = left.kind == right.kind == "class"
    both_arrays = scalar(left) is None and scalar(right) is None
    return (both_classes or both_arrays) and left.dimensions != right.dimensions


def join_levels(left: Level, right: Level) -> Level | None:
    """The level of a value made of both; None for an example's value beside a whole set's."""
    if left == right or right == "constant":
        return left
    if left == "constant":
        return right
    if "set" in (left, right):
        return None if "example" in (left, right) else "set"
    return "example"


def _scalars(operator: str, left: str, right: str) -> Type | None:
    kinds = {left, right}
    if operator in ("+", "-"):
        if kinds == {"ratio"}:
            return PP if operator == "-" else RATIO
        if kinds == {"pp"}:
            return PP
        if "ratio" in kinds and kinds <= {"ratio", "pp", "int", "bool"}:
            return RATIO
        if "pp" in kinds and kinds <= {"pp", "int", "bool"}:
            return RATIO
    if operator == "*" and kinds == {"ratio"}:
        return RATIO
    if operator == "*" and "pp" in kinds and kinds <= {"pp", "int", "bool"}:
        return PP
    if operator != "/" and kinds <= {"int", "bool"}:
        return INT
    return REAL


def _arrays(operator: str, left: Type, right: Type) -> Type | None:
    if not all(each.is_tensor or each.is_scores for each in (left, right)):
        return None
    if left.dimensions != right.dimensions:
        return None
    if left.kind in LOGARITHMIC and right.kind in LOGARITHMIC and operator in ("+", "-"):
        return Type("logits", left.dimensions)
    return Type("f32", left.dimensions)
