"""How many or how long: a number that is written in place, or a param with the unit behind it."""

from __future__ import annotations

from ev3lang.catalog.units import UNITS
from ev3lang.check import arguments, declarations, errors, typed
from ev3lang.check.checking import Checking
from ev3lang.syntax import tree

STEPS = "a count of steps, such as `100 steps`"
ACCEPTED = "a count of accepted models"


def counted(
    checking: Checking, amount: tree.Amount, measures: str, words: str
) -> int | float | None:
    """An amount with a unit of the given kind, in its base unit; None, reported, otherwise."""
    number = settled(checking, amount, words)
    return None if number is None else arguments.counted(checking, number, measures, words)


def whole(checking: Checking, amount: tree.Amount, what: str) -> int | None:
    """A bare whole number from 1; None, reported, otherwise."""
    number = settled(checking, amount, what)
    return None if number is None else arguments.whole(checking, number, what)


def share(checking: Checking, amount: tree.Amount, words: str) -> float | None:
    """A fraction, written as `95%` or given by a param of type ratio; None, reported, otherwise."""
    if isinstance(amount, tree.Quantity) and amount.unit is None:
        constant = _param(checking, amount.param, "ratio")
        return None if constant is None else float(constant.value)
    fraction = counted(checking, amount, "ratio", words)
    return None if fraction is None else float(fraction)


def settled(checking: Checking, amount: tree.Amount, words: str) -> tree.Number | None:
    """The number that stands there in this run; None, reported, where no param gives one.

    words   what was to stand there, such as `a count of steps`
    """
    if isinstance(amount, tree.Number):
        return amount
    name = amount.param
    if amount.unit is None and name.text in UNITS and name.text not in checking.names.declared:
        checking.report(errors.wrong_unit(amount.span, f"`{name.text}` without a number", words))
        return None
    constant = _param(checking, name, "int")
    if constant is None:
        return None
    return tree.Number(constant.value, amount.unit, amount.unit_span, span=amount.span)


def _param(checking: Checking, name: tree.Name, kind: str) -> typed.Constant | None:
    """What a param of the type stands for; None, reported, where the name is no such param."""
    declared = checking.names.declared
    declaration = declared.get(name.text)
    if declaration is None:
        params = [each for each, found in declared.items() if isinstance(found, tree.Param)]
        checking.report(errors.unknown_name(name, params, "param"))
        return None
    wanted = f"a param of type {kind}"
    if not isinstance(declaration, tree.Param):
        checking.report(errors.wrong_type(name.span, wanted, f"`{name.text}`"))
        return None
    constant = declarations.param(checking, declaration)
    if constant is None:
        return None
    checking.types[name.span] = constant.facts
    if constant.facts.type.kind != kind:
        got = f"`{name.text}` of type {constant.facts.type}"
        checking.report(errors.wrong_type(name.span, wanted, got))
        return None
    return constant
