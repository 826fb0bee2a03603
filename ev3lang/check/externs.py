"""Functions and models from outside a spec's own expressions: externs and archives."""

from __future__ import annotations

from ev3lang.catalog.signature import Dimension
from ev3lang.check import declarations, errors, expressions, models, typed, types
from ev3lang.check.checking import Checking
from ev3lang.check.sizes import fits, solved
from ev3lang.syntax import tree


def check_extern(checking: Checking, declaration: tree.Extern) -> None:
    """The declared signature: types of inputs and output, and where the function is found."""
    for each in (*declaration.inputs, declaration.output):
        types.type_of(checking, each)
    module, _, function = declaration.target.value.partition(":")
    parts = [*module.split("."), function]
    if not all(part.isidentifier() for part in parts):
        checking.report(errors.extern_target(declaration.target))


def call_extern(
    checking: Checking, declaration: tree.Extern, call: tree.Call, scope: expressions.Scope
) -> typed.Expr | None:
    """A call checked against the declared signature, whose names of sizes are solved by it.

    An `extern host fn` scores a whole set, outside of the graph: no gradient, set level.
    """
    checking.used.add(declaration.name.text)
    name = declaration.name.text
    wanted = [types.type_of(checking, each) for each in declaration.inputs]
    output = types.type_of(checking, declaration.output)
    given = [expressions.infer(checking, each.value, scope) for each in call.arguments]
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
        if type_ is None or expr is None:
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
    if output is None:
        return None
    gradient = frozenset[str]().union(*(each.facts.gradient for each in known))
    facts = typed.Facts(
        solved(output, sizes),
        "set" if declaration.is_host else "example",
        gradient=frozenset() if declaration.is_host else gradient,
        data=next((each.facts.data for each in known if each.facts.data is not None), None),
    )
    return typed.Apply(name, tuple(known), (), facts, span=call.span)


def check_archive(checking: Checking, declaration: tree.Archive) -> None:
    """An archive keeps accepted models of the explored one, the best for each value of a metric."""
    members = declarations.members(checking, declaration.model)
    explored = checking.names.explore
    if members and explored is not None and explored.model.text != declaration.model.text:
        checking.report(errors.archive_never_fills(declaration.model, explored.model))
    for name, what in ((declaration.best, "objective"), (declaration.per, "metric")):
        kinds = (tree.Objective,) if what == "objective" else (tree.Objective, tree.Metric)
        found = checking.names.declared.get(name.text)
        checking.used.add(name.text)
        if found is None:
            known = [k for k, each in checking.names.declared.items() if isinstance(each, kinds)]
            checking.report(errors.unknown_name(name, known, what))
        elif isinstance(found, tree.Metric) and what == "objective":
            checking.report(errors.no_direction(name, found.name.span))
        elif not isinstance(found, kinds):
            kind = type(found).__name__.lower()
            checking.report(errors.wrong_type(name.span, f"an {what}", f"the {kind} `{name.text}`"))


def call_archive(
    checking: Checking, declaration: tree.Archive, call: tree.Call, scope: expressions.Scope
) -> typed.Expr | None:
    """A member of the archive applied: as its model, but with no gradient to any weights."""
    checking.used.add(declaration.name.text)
    model = checking.names.declared.get(declaration.model.text)
    if not isinstance(model, tree.Model):
        for argument in call.arguments:
            expressions.infer(checking, argument.value, scope)
        return None
    applied = models.forward(checking, model, call, scope)
    if applied is None:
        return None
    inner = frozenset[str]().union(*(each.facts.gradient for each in applied.inputs))
    facts = typed.Facts(applied.facts.type, "example", gradient=inner, data=applied.facts.data)
    return typed.Forward(declaration.name.text, applied.inputs, facts, span=call.span)
