"""Functions from outside a spec: what the user's own Python gives."""

from __future__ import annotations

from ev3lang.catalog.signature import SCORES, TENSORS, Dimension, Type
from ev3lang.check import errors, expressions, typed, types
from ev3lang.check.checking import Checking
from ev3lang.check.sizes import fits, solved
from ev3lang.syntax import tree

INPUTS = (*TENSORS, *SCORES, "real", "bool", "int", "ratio", "class", "multi", "tokens", "text")
"""Kinds of values that are arrays to the user's function."""

OUTPUTS = ("f32", "bf16", "i32", *SCORES, "real", "bool", "int", "ratio", "class", "multi")
HOST_OUTPUTS = ("real", "ratio", "int", "f32")


def extern(checking: Checking, declaration: tree.Extern) -> typed.ExternInfo | None:
    """A declared function; None, reported, where its types or its place are at fault."""
    signature = _signature(checking, declaration)
    module, _, function = declaration.target.value.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        checking.report(errors.extern_target(declaration.target))
        return None
    if signature is None:
        return None
    return typed.ExternInfo(
        declaration.name.text,
        declaration.target.value,
        declaration.is_host,
        *signature,
        span=declaration.name.span,
    )


def _signature(
    checking: Checking, declaration: tree.Extern
) -> tuple[tuple[Type, ...], Type] | None:
    """The types of the inputs and of the output; None, reported, where one is at fault."""
    inputs = []
    for written in declaration.inputs:
        type_ = types.type_of(checking, written)
        if type_ is not None and type_.kind not in INPUTS:
            checking.report(errors.wrong_type(written.span, "a type of arrays", str(type_)))
        elif type_ is not None:
            inputs.append(type_)
    output = types.type_of(checking, declaration.output)
    if output is None or not _is_output(checking, declaration, output):
        return None
    return (tuple(inputs), output) if len(inputs) == len(declaration.inputs) else None


def _is_output(checking: Checking, declaration: tree.Extern, output: Type) -> bool:
    """Whether the function can give this; if not, it was reported."""
    written = declaration.output
    if declaration.is_host and (output.kind not in HOST_OUTPUTS or output.dimensions):
        hint = "a host function scores a whole set: write `real`"
        checking.report(errors.wrong_type(written.span, "one number", str(output), hint))
        return False
    if output.kind not in OUTPUTS:
        checking.report(errors.wrong_type(written.span, "a type of arrays", str(output)))
        return False
    sizes = {
        each.text
        for inner in declaration.inputs
        for each in inner.dimensions or ()
        if isinstance(each, tree.Name)
    }
    for each in written.dimensions or ():
        is_open = isinstance(each, tree.Name) and each.text in output.dimensions
        if isinstance(each, tree.Name) and is_open and each.text not in sizes:
            checking.report(errors.unknown_name(each, sizes, "size of an input"))
            return False
    return True


def call_extern(
    checking: Checking, declaration: tree.Extern, call: tree.Call, scope: expressions.Scope
) -> typed.Expr | None:
    """A call checked against the declared signature, whose names of sizes are solved by it.

    An `extern host fn` scores a whole set, outside of the graph: no gradient, set level.
    """
    checking.used.add(declaration.name.text)
    name = declaration.name.text
    given = [expressions.infer(checking, each.value, scope) for each in call.arguments]
    signature = _signature(checking, declaration)
    if signature is None:
        return None
    wanted, output = signature
    named = next((each.name for each in call.arguments if each.name is not None), None)
    if named is not None:
        checking.report(errors.unknown_argument(name, named, ()))
        return None
    if len(given) != len(wanted):
        counted = "1 input" if len(wanted) == 1 else f"{len(wanted)} inputs"
        checking.report(errors.wrong_type(call.span, f"{counted} for `{name}`", str(len(given))))
        return None
    sizes: dict[str, Dimension] = {}
    known: list[typed.Expr] = []
    for type_, expr in zip(wanted, given, strict=True):
        if expr is None:
            return None
        if not fits(type_, expr.facts.type, sizes):
            checking.report(
                errors.wrong_type(expr.span, f"{type_} for `{name}`", str(expr.facts.type))
            )
            return None
        if expr.facts.level not in ("example", "constant"):
            checking.report(errors.wrong_level(expr.span, f"`{name}` takes values of examples"))
            return None
        known.append(expr)
    if not any(expr.facts.level == "example" for expr in known):
        checking.report(errors.wrong_level(call.span, f"this call of `{name}` reads no example"))
        return None
    gradient = frozenset[str]().union(*(each.facts.gradient for each in known))
    has_gradient = not declaration.is_host and output.kind not in _WHOLE
    facts = typed.Facts(
        solved(output, sizes),
        "set" if declaration.is_host else "example",
        gradient=gradient if has_gradient else frozenset(),
        data=expressions.one_data_block(checking, call.span, tuple(known)),
    )
    return typed.Apply(f"extern {name}", tuple(known), (), facts, span=call.span)


_WHOLE = ("i32", "bool", "int", "class", "multi")
