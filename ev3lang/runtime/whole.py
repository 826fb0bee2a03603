"""Whole numbers on the host, where they have 64 bits, and what a program can't hold in its 32.

A device computes with int32, which wraps around without a word. Derived fields are computed here,
exactly; of what a program computes it is shown before the run that no value leaves 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs
import numpy as np

from ev3lang.catalog.index import OPERATORS
from ev3lang.plan.plan import (
    Apply,
    Constant,
    Expr,
    Field,
    Forward,
    Plan,
    fields_of,
    inner_first,
    models_of,
    parts_of,
)
from ev3lang.runtime.faults import DataError

Columns: TypeAlias = Mapping[str, np.ndarray]
Bounds: TypeAlias = tuple[int, int]

INT32 = np.iinfo(np.int32)
INT64 = np.iinfo(np.int64)


class BeyondError(ArithmeticError):
    """A whole number that 64 bits can't hold, or a division by 0.

    row    the first example that has it, counted from 0
    why    what happens there, to follow its name
    """

    def __init__(self, row: int, why: str) -> None:
        super().__init__(row, why)
        self.row = row
        self.why = why


# ---------------------------------------------------------------- values


def value(expr: Expr, columns: Columns) -> Any:
    """An expression without models over columns `[B, *dimensions]`, whole numbers as int64.

    Sums, products, powers, remainders and comparisons of whole numbers are exact. All else is what
    a program computes, in float32. Raises BeyondError.
    """
    known: dict[Expr, Any] = {}
    for part in inner_first(expr):
        known[part] = _value(part, columns, known)
    return known[expr]


def _value(expr: Expr, columns: Columns, known: Mapping[Expr, Any]) -> Any:
    """The same, where it is known of what the expression is made of."""
    match expr:
        case Constant():
            return expr.value
        case Field():
            column = columns[expr.name]
            if column.dtype == np.uint8:
                return column / np.float32(255)
            return column.astype(np.int64) if column.dtype.kind == "i" else column
        case Apply():
            parts = [known[part] for part in expr.inputs]
            if all(_is_whole(part) for part in parts):
                exact = _EXACT.get(expr.function)
                if exact is not None:
                    return exact(*parts)
                if expr.function == "^" and isinstance(parts[1], int) and parts[1] >= 0:
                    return _power(*parts)
            return _in_float32(expr, parts)
        case _:
            raise AssertionError(f"{expr} is computed by a model")


def _in_float32(expr: Apply, parts: list[Any]) -> np.ndarray:
    from ev3lang.backend import expressions

    narrow = [_narrowed(part) for part in parts]
    # a copy: JAX may give back the very memory of a column, which is reordered later
    found = np.array(expressions.TABLE[expr.function](*narrow, **expressions.keywords(expr)))
    return found.astype(np.int64) if found.dtype.kind == "i" else found


def _narrowed(part: Any) -> Any:
    """What a program can take: int32 where that holds it, else the nearest float32."""
    if not isinstance(part, np.ndarray) or part.dtype.kind != "i":
        return part
    is_small = not part.size or (part.min() >= INT32.min and part.max() <= INT32.max)
    return part.astype(np.int32 if is_small else np.float32)


def _is_whole(part: Any) -> bool:
    if isinstance(part, np.ndarray):
        return part.dtype.kind in "bi"
    return isinstance(part, int) or (isinstance(part, float) and part.is_integer())


def _numbers(*parts: Any) -> list[np.ndarray]:
    """Whole numbers of one rank, int64; values of one example stand along the first axis."""
    wide = []
    for part in parts:
        if not isinstance(part, np.ndarray) and not INT64.min <= part <= INT64.max:
            raise BeyondError(0, f"needs the number {part:g}, which is beyond 64 bits")
        wide.append(np.asarray(part, np.int64))
    rank = max(each.ndim for each in wide)
    return [
        each.reshape(each.shape + (1,) * (rank - each.ndim)) if each.ndim else each for each in wide
    ]


def _checked(operation: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """An operation of int64 that raises where its value has more bits."""

    def exact(*parts: Any) -> np.ndarray:
        numbers = _numbers(*parts)
        # Rounded, it is off by far less than what is between the limit and the largest int64.
        with np.errstate(over="ignore"):
            near = operation(*(each.astype(np.float64) for each in numbers))
        if near.size and max(near.max(), -near.min()) >= _LIMIT:
            row = _first(np.abs(near) >= _LIMIT)
            raise BeyondError(
                row,
                f"is about {near.reshape(len(near), -1)[row].max():.4g}, which is beyond 64 bits",
            )
        return operation(*numbers)

    return exact


_LIMIT = 2.0**62 * 1.99


def _first(is_wrong: np.ndarray) -> int:
    """The first row of `[B, ...]` with something wrong in it."""
    return int(np.argmax(is_wrong.reshape(len(is_wrong), -1).any(axis=1)))


def _power(base: Any, exponent: int) -> np.ndarray:
    raised: np.ndarray = _checked(lambda x: np.power(x, x.dtype.type(exponent)))(base)
    return raised


def _remainder(left: Any, right: Any) -> np.ndarray:
    first, second = _numbers(left, right)
    is_zero = np.broadcast_to(second == 0, np.broadcast_shapes(first.shape, second.shape))
    if is_zero.any():
        raise BeyondError(_first(is_zero), "divides by 0")
    return np.mod(first, second)


def _sum(x: Any) -> np.ndarray:
    return _checked(lambda wide: wide.reshape(len(wide), -1).sum(axis=1))(x)


def _of_numbers(operation: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda *parts: operation(*_numbers(*parts))


_EXACT: Mapping[str, Callable[..., np.ndarray]] = {
    "+": _checked(np.add),
    "-": _checked(np.subtract),
    "*": _checked(np.multiply),
    "negate": _checked(np.negative),
    "abs": _checked(np.abs),
    "sum": _sum,
    "mod": _remainder,
    "min": _of_numbers(np.minimum),
    "max": _of_numbers(np.maximum),
    "round": _of_numbers(np.positive),
    "==": _of_numbers(np.equal),
    "!=": _of_numbers(np.not_equal),
    "<": _of_numbers(np.less),
    "<=": _of_numbers(np.less_equal),
    ">": _of_numbers(np.greater),
    ">=": _of_numbers(np.greater_equal),
}
"""Of whole numbers; the power, which depends on its exponent, is beside them."""


# ---------------------------------------------------------------- what a program computes


def check(plan: Plan, tables: Mapping[str, Columns]) -> None:
    """Raises DataError where a program may compute a whole number that 32 bits can't hold.

    tables   split to field to its examples, `[B, *dimensions]`; empty for an endless source
    Bounds come from the values of the fields, and from the number of classes where a model names
    one. Where they are too wide, and no model has a part in it, each example is looked at.
    """
    ranges = _Ranges(plan, tables)
    derived = () if tables else tuple(each.value for each in plan.data.derived)
    for expr in (*plan.values, *derived):
        ranges.of(expr)


@attrs.frozen(eq=False)
class _Ranges:
    """What each whole number of a program lies between."""

    plan: Plan
    tables: Mapping[str, Columns]
    known: dict[Expr, Bounds | None] = attrs.field(factory=dict)

    def of(self, expr: Expr) -> Bounds | None:
        """Bounds of an expression; None of reals, and where nothing is known."""
        for part in inner_first(expr, known=self.known):
            self.known[part] = self._found(part)
        return self.known[expr]

    def _found(self, expr: Expr) -> Bounds | None:
        parts = [self.known[part] for part in parts_of(expr)]
        match expr:
            case Constant(value=int() as number):
                return number, number
            case Field() if self.tables:
                return self._of_field(expr.name)
            case Apply(function=function) if function in _BOUNDS:
                known = [part for part in parts if part is not None]
                return self._narrow(expr, known) if len(known) == len(parts) else None
        if expr.type.kind == "bool":
            return 0, 1
        count = expr.type.dimensions[-1] if expr.type.dimensions else None
        return (0, count - 1) if expr.type.kind == "class" and isinstance(count, int) else None

    def _of_field(self, name: str) -> Bounds | None:
        columns = [table[name] for table in self.tables.values() if len(table[name])]
        if any(column.dtype.kind not in "bi" for column in columns) or not columns:
            return None
        return min(int(each.min()) for each in columns), max(int(each.max()) for each in columns)

    def _narrow(self, expr: Apply, parts: list[Bounds]) -> Bounds | None:
        """Bounds of an operation, those of the examples where they are needed."""
        if expr.function == "^" and (parts[1][0] < 0 or not isinstance(expr.inputs[1], Constant)):
            return None
        ends = _BOUNDS[expr.function](*parts)
        bounds = min(ends), max(ends)
        is_held = all(INT32.min <= low and high <= INT32.max for low, high in (*parts, bounds))
        if is_held and (expr.function != "mod" or not parts[1][0] <= 0 <= parts[1][1]):
            return bounds
        if models_of(expr) or not self.tables or not fields_of(expr):
            if is_held:
                return bounds
            raise self._beyond(expr, f"may be anything from {bounds[0]:,} to {bounds[1]:,}")
        return self._of_examples(expr, parts)

    def _of_examples(self, expr: Apply, parts: list[Bounds]) -> Bounds:
        lows, highs = [], []
        for part, (low, high) in zip(expr.inputs, parts, strict=True):
            if not INT32.min <= low <= high <= INT32.max:
                raise self._beyond(expr, f"needs {low if low < INT32.min else high:,}", part)
        for table in self.tables.values():
            try:
                found = np.asarray(value(expr, table))
            except BeyondError as error:
                raise self._beyond(expr, error.why, expr, table, error.row) from error
            is_wrong = (found < INT32.min) | (found > INT32.max)
            if is_wrong.any():
                row = _first(is_wrong)
                example = found[row].ravel()[np.argmax(is_wrong[row])]
                raise self._beyond(expr, f"is {example:,}", expr, table, row)
            if found.size:
                lows.append(int(found.min()))
                highs.append(int(found.max()))
        return min(lows), max(highs)

    def _beyond(
        self,
        expr: Apply,
        why: str,
        reads: Expr | None = None,
        table: Columns | None = None,
        row: int | None = None,
    ) -> DataError:
        names = fields_of(expr if reads is None else reads)
        where = ""
        if table is not None and row is not None and names:
            where = " where " + " and ".join(
                f"{name} is {_shown(table[name][row])}" for name in names
            )
        field = names[0] if names else None
        if why == "divides by 0":
            return DataError(
                f"{self.plan.data.name}: `{text(expr)}` divides by 0{where}",
                "leave these rows out, or divide by something else",
                field=field,
            )
        return DataError(
            f"{self.plan.data.name}: `{text(expr)}` {why}{where}, and whole numbers of a program "
            f"end at {INT32.max:,}",
            "make it a field, `derive … = …`, which is computed with 64 bits, or first subtract or "
            "divide what all rows have in common",
            field=field,
        )


def _shown(number: np.ndarray) -> str:
    return str(number.tolist())


def _products(a: Bounds, b: Bounds) -> tuple[int, ...]:
    return tuple(x * y for x in a for y in b)


def _sizes(a: Bounds) -> tuple[int, ...]:
    return (abs(a[0]), abs(a[1]), *((0,) if a[0] <= 0 <= a[1] else ()))


def _powers(base: Bounds, exponent: Bounds) -> tuple[int, ...]:
    least = (0,) if base[0] < 0 < base[1] else ()
    return (_raised(base[0], exponent[0]), _raised(base[1], exponent[0]), *least)


# the least and the most are among what each gives
_BOUNDS: Mapping[str, Callable[..., tuple[int, ...]]] = {
    "+": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "-": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "*": _products,
    "^": _powers,
    "mod": lambda a, b: (min(0, b[0] + 1), max(0, b[1] - 1)),
    "negate": lambda a: (-a[0], -a[1]),
    "abs": _sizes,
    "min": lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "max": lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
}
"""Of numbers within bounds, what bounds an operation's value."""


_MOST_BITS = 128
"""Beyond which a power is as good as beyond 32 bits, and would only take memory."""


def _raised(base: int, exponent: int) -> int:
    if abs(base) > 1 and abs(base).bit_length() * exponent > _MOST_BITS:
        return (-1 if base < 0 and exponent % 2 else 1) << _MOST_BITS
    return int(base**exponent)


# ---------------------------------------------------------------- words


def text(expr: Expr) -> str:
    """An expression as a spec could write it."""
    match expr:
        case Constant():
            return f"{expr.value:g}" if isinstance(expr.value, float) else str(expr.value)
        case Field():
            return expr.name
        case Apply(function="negate", inputs=(part,)):
            return f"-{_inside(part)}"
        case Apply(function=function, inputs=(left, right)) if function in OPERATORS:
            return f"{_inside(left)} {function} {_inside(right)}"
        case Apply():
            return f"{expr.function}({', '.join(map(text, expr.inputs))})"
        case Forward():
            return f"{expr.model}({', '.join(map(text, expr.inputs))})"
    return f"mean({', '.join(map(text, parts_of(expr)))})"


def _inside(expr: Expr) -> str:
    is_joined = isinstance(expr, Apply) and expr.function in OPERATORS
    return f"({text(expr)})" if is_joined else text(expr)
