"""Types as written, and what a source's options make of its fields."""

from __future__ import annotations

from ev3lang.catalog.index import SOURCES
from ev3lang.catalog.signature import (
    KINDS,
    SCALARS,
    SCORES,
    TENSORS,
    DataSource,
    Dimension,
    Type,
    Value,
)
from ev3lang.check import declarations, errors, expressions
from ev3lang.check.arguments import bind, known_number
from ev3lang.check.checking import Checking
from ev3lang.check.limits import MOST_COUNT
from ev3lang.syntax import tree

_FORMS = {
    "class": "class[10]",
    "multi": "multi[20]",
    "tokens": "tokens[8000, 128]",
    "text": "text[categories]",
    "id": "id",
    **{kind: f"{kind}[10]" for kind in SCORES},
    **{kind: kind for kind in SCALARS},
}

_COUNTS = {"class": 1, "multi": 1, "tokens": 2, "text": 1, "id": 0}


def type_of(checking: Checking, written: tree.TypeExpression) -> Type | None:
    """The type that is written; None, reported, where it is none."""
    kind = written.head.text
    if kind not in KINDS or kind in ("classes", "pp"):
        checking.report(
            errors.unknown_type(
                written.head, [each for each in KINDS if each not in ("classes", "pp")]
            )
        )
        return None
    if written.of is not None:
        return _of_field(checking, written)
    dimensions: list[Dimension] = []
    for each in written.dimensions or ():
        size = _dimension(checking, each)
        if size is None:
            return None
        dimensions.append(size)
    expected = _COUNTS.get(kind, 0)
    fits = len(dimensions) in (1, 2) if kind in SCORES else len(dimensions) == expected
    if kind not in TENSORS and not fits:
        checking.report(errors.type_form(written.span, kind, _FORMS[kind]))
        return None
    if kind in ("class", "tokens", "text") and dimensions[0] == 1:
        checking.report(errors.one_class(written.span, is_label=kind == "class"))
        return None
    found = Type(kind, tuple(dimensions))
    if kind in TENSORS and found.has_sizes and found.size > MOST_COUNT:
        checking.report(errors.value_too_large(written.span, found, MOST_COUNT))
        return None
    return found


def scalar_type(checking: Checking, written: tree.TypeExpression) -> Type | None:
    """The type of a param or parameter; None, reported, where it is no scalar."""
    found = type_of(checking, written)
    if found is not None and found.kind not in SCALARS:
        checking.report(errors.wrong_type(written.span, "a scalar type", str(found)))
        return None
    return found


def source_options(
    checking: Checking, declaration: tree.Data
) -> tuple[tuple[str, Value | None], ...] | None:
    """The options of a data block's source; None where it or they are at fault."""
    origin = declaration.origin
    if not isinstance(origin, (tree.Call, tree.Name)):
        checking.report(errors.wrong_type(origin.span, "a source of data", origin.span.text))
        return None
    name = origin.function if isinstance(origin, tree.Call) else origin
    entry = SOURCES.get(name.text)
    if entry is None:
        checking.report(errors.unknown_name(name, SOURCES, "source of data"))
        return None
    bound = bind(checking, origin, [option.name for option in entry.options])
    if bound is None:
        return None
    values = expressions.option_values(checking, bound, entry.options)
    if values is None:
        return None
    return tuple((name, _known(value)) for name, value in values)


def source_of(declaration: tree.Data) -> DataSource | None:
    """The catalogue's entry of a data block's source; None where there is none."""
    origin = declaration.origin
    name = origin.function if isinstance(origin, tree.Call) else origin
    return SOURCES.get(name.text) if isinstance(name, tree.Name) else None


def _known(value: object) -> Value | None:
    assert value is None or isinstance(value, int | float | bool | str | tuple), (
        "only a loss has parameters, so an option here is known"
    )
    return value


def _dimension(checking: Checking, written: tree.Number | tree.Name) -> Dimension | None:
    if isinstance(written, tree.Number):
        if written.unit is not None or not isinstance(written.value, int) or written.value < 1:
            checking.report(
                errors.out_of_range(
                    written.span, "a size", "a whole number from 1", written.span.text
                )
            )
            return None
        return _countable(checking, written, written.value)
    declaration = checking.names.declared.get(written.text)
    if not isinstance(declaration, tree.Param):
        return written.text
    expr = declarations.param(checking, declaration)
    number = None if expr is None else known_number(checking, expr)
    if number is None:
        return None
    if not isinstance(number, int) or number < 1:
        checking.report(
            errors.out_of_range(written.span, "a size", "a whole number from 1", number)
        )
        return None
    return _countable(checking, written, number)


def _countable(checking: Checking, written: tree.Number | tree.Name, size: int) -> int | None:
    if size <= MOST_COUNT:
        return size
    checking.report(errors.uncountable(written.span, "a size", MOST_COUNT, written.span.text))
    return None


def _of_field(checking: Checking, written: tree.TypeExpression) -> Type | None:
    """`logits(label)`: as many scores as the field has classes."""
    assert written.of is not None
    kind = written.head.text
    if kind not in SCORES:
        checking.report(
            errors.wrong_type(written.span, "`logits(…)`, `probs(…)` or `log_probs(…)`", kind)
        )
        return None
    symbol = checking.field(written.of)
    info = None if symbol is None else declarations.field(checking, symbol, written.of)
    if info is None:
        return None
    if info.type.kind not in ("class", "multi"):
        checking.report(errors.wrong_type(written.of.span, "a field of labels", f"{info.type}"))
        return None
    return Type(kind, info.type.dimensions)
