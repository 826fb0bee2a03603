"""Operators, and the functions of numbers that stand beside them."""

from __future__ import annotations

from ev3lang.catalog.signature import SAME, Function, Input, Operator, Option, parse_type, types

OPERATORS = (
    Operator("+", "sum", is_differentiable=True),
    Operator("-", "difference", is_differentiable=True),
    Operator("*", "product", is_differentiable=True),
    Operator("/", "quotient", is_differentiable=True),
    Operator("^", "power", is_differentiable=True),
    Operator("mod", "remainder, with the sign of the divisor", is_differentiable=True),
    Operator("negate", "the sign `-` before one value", is_differentiable=True),
    Operator("==", "whether both are equal", is_differentiable=False),
    Operator("!=", "whether both differ", is_differentiable=False),
    Operator("<", "whether the left is less", is_differentiable=False),
    Operator("<=", "whether the left is not more", is_differentiable=False),
    Operator(">", "whether the left is more", is_differentiable=False),
    Operator(">=", "whether the left is not less", is_differentiable=False),
    Operator("in", "whether a label is one of a set of classes", is_differentiable=False),
    Operator("and", "whether both hold", is_differentiable=False),
    Operator("or", "whether any of both holds", is_differentiable=False),
    Operator("not", "whether it does not hold", is_differentiable=False),
)

_X = Input("x", types("f32[...]", "real"))
_Y = Input("y", types("f32[...]", "real"))
_PLAIN = "elementary arithmetic"

ARITHMETIC = (
    Function(
        name="clip",
        inputs=(Input("x", types("f32[...]", "real", "logits[...]")),),
        output=SAME,
        family="math",
        options=(
            Option("low", "real", is_required=True, summary="what is below becomes this"),
            Option("high", "real", is_required=True, summary="what is above becomes this"),
        ),
        summary="the value, kept between low and high; no gradient outside them",
        source=_PLAIN,
    ),
    Function(
        name="abs",
        inputs=(_X,),
        output=SAME,
        family="math",
        summary="absolute value",
        source=_PLAIN,
    ),
    Function(
        name="exp",
        inputs=(_X,),
        output=SAME,
        family="math",
        summary="e to the power of the value",
        source=_PLAIN,
    ),
    Function(
        name="log",
        inputs=(_X,),
        output=SAME,
        family="math",
        summary="natural logarithm; not finite at 0 and below",
        source=_PLAIN,
    ),
    Function(
        name="sqrt",
        inputs=(_X,),
        output=SAME,
        family="math",
        summary="square root; not a number below 0",
        source=_PLAIN,
    ),
    Function(
        name="round",
        inputs=(_X,),
        output=SAME,
        family="math",
        summary="nearest whole number, of two equally near ones the even one",
        source="IEEE 754-2019, roundToIntegralTiesToEven",
        is_differentiable=False,
    ),
    Function(
        name="min",
        inputs=(_X, _Y),
        output=SAME,
        family="math",
        summary="the lesser of two values",
        source=_PLAIN,
    ),
    Function(
        name="max",
        inputs=(_X, _Y),
        output=SAME,
        family="math",
        summary="the greater of two values",
        source=_PLAIN,
    ),
    Function(
        name="mean",
        inputs=(_X,),
        output=parse_type("real"),
        family="math",
        summary="mean over an example's own dimensions",
        source=_PLAIN,
    ),
    Function(
        name="sum",
        inputs=(_X,),
        output=parse_type("real"),
        family="math",
        summary="sum over an example's own dimensions",
        source=_PLAIN,
    ),
)
