"""Expressions and types as text in normal form: one spelling for one meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ev3lang.printable import printable
from ev3lang.syntax import tree
from ev3lang.syntax.spacing import SIGN, Word, join

_BINDING = {
    "|": 0,
    "or": 1,
    "and": 2,
    "not": 3,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 4),
    "to": 5,
    **dict.fromkeys(("+", "-"), 6),
    **dict.fromkeys(("*", "/", "mod"), 7),
    "negate": 8,
    "^": 9,
}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}

_OPEN, _CLOSE = Word("LPAR", "("), Word("RPAR", ")")
_OPEN_LIST, _CLOSE_LIST = Word("LSQB", "["), Word("RSQB", "]")
_COMMA, _COLON = Word("COMMA", ","), Word("COLON", ":")


def write_expression(expression: tree.Expression) -> str:
    """The expression on one line, with single spaces and no needless parentheses."""
    return join(_words(expression, 0))


def write_string(value: str) -> str:
    """The string in quotes; what no editor or terminal would show is escaped."""
    # two of them in a row begin the commands of some CI systems
    return f'"{"".join(map(_escaped, value))}"'.replace("##", "#\\u0023")


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    # what can't be shown lies within the characters that have four hexadecimal digits
    return char if printable(char) == char else f"\\u{ord(char):04x}"


def write_type(type_: tree.TypeExpression) -> str:
    """The type on one line."""
    return join(_words_of_type(type_))


def write_number(number: tree.Number) -> str:
    """The number as one would write it: `0.001`, `1e-05`, `95%`, `100 steps`."""
    digits = repr(number.value)
    if number.unit is None:
        return digits
    return digits + ("" if number.unit in ("%", "x") else " ") + number.unit


def write_amount(amount: tree.Amount) -> str:
    """A number as one would write it, or a param with the unit behind it: `rollout steps`."""
    if isinstance(amount, tree.Number):
        return write_number(amount)
    return amount.param.text + ("" if amount.unit is None else f" {amount.unit}")


def _words(expression: tree.Expression, binding: int) -> Iterator[Word]:
    """In parentheses where it binds looser than what stands around it."""
    own = _binding_of(expression)
    if own is not None and own < binding:
        yield _OPEN
        yield from _bare_words(expression)
        yield _CLOSE
    else:
        yield from _bare_words(expression)


def _binding_of(expression: tree.Expression) -> int | None:
    """How tightly its outermost operator binds, None where it has none."""
    match expression:
        case tree.Pipe():
            return _BINDING["|"]
        case tree.Range():
            return _BINDING["to"]
        case tree.Unary(operator=operator):
            return _BINDING["not" if operator == "not" else "negate"]
        case tree.Binary(operator=operator):
            return _BINDING[operator]
    return None


def _bare_words(expression: tree.Expression) -> Iterator[Word]:
    match expression:
        case tree.Name(text=text):
            yield Word("NAME", text)
        case tree.Number():
            yield Word("NUMBER", write_number(expression))
        case tree.String(value=value):
            yield Word("STRING", write_string(value))
        case tree.ListOf(items=items):
            yield _OPEN_LIST
            yield from _listed(items, lambda item: _words(item, 0))
            yield _CLOSE_LIST
        case tree.Range(low=low, high=high):
            inside = _BINDING["to"] + 1
            yield from _words(low, inside)
            yield Word("TO", "to")
            yield from _words(high, inside)
        case tree.Member(owner=owner, name=name):
            yield Word("DOTTED", f"{owner.text}.{name.text}")
        case tree.Call(function=function, arguments=arguments):
            yield Word("NAME", function.text)
            yield _OPEN
            yield from _listed(arguments, _words_of_argument)
            yield _CLOSE
        case tree.Pipe(stages=stages):
            yield from _words(stages[0], 1)
            for stage in stages[1:]:
                yield Word("VBAR", "|")
                yield from _words(stage, 1)
        case tree.DecayOnly(what=what):
            yield Word("DECAY", "decay")
            yield Word("ONLY", "only")
            yield Word("NAME", what.text)
        case tree.Unary(operator=operator, operand=operand):
            is_not = operator == "not"
            yield Word("NOT", "not") if is_not else Word(SIGN, "-")
            yield from _words(operand, _BINDING["not" if is_not else "negate"])
        case tree.Binary(operator=operator, left=left, right=right):
            own = _BINDING[operator]
            # `^` groups to the right, all others to the left; comparisons don't chain.
            is_power, is_comparison = operator == "^", own == _BINDING["=="]
            yield from _words(left, own + (is_power or is_comparison))
            yield Word("OPERATOR", operator)
            yield from _words(right, _BINDING["negate"] if is_power else own + 1)


def _words_of_argument(argument: tree.Argument) -> Iterator[Word]:
    if argument.name is not None:
        yield Word("NAME", argument.name.text)
        yield _COLON
    yield from _words(argument.value, 0)


def _words_of_type(type_: tree.TypeExpression) -> Iterator[Word]:
    yield Word("NAME", type_.head.text)
    if type_.of is not None:
        yield from (_OPEN, Word("NAME", type_.of.text), _CLOSE)
    elif type_.dimensions is not None:
        yield _OPEN_LIST
        yield from _listed(type_.dimensions, _bare_words)
        yield _CLOSE_LIST


def _listed(items: Iterable[tree.Node], words: Callable[..., Iterator[Word]]) -> Iterator[Word]:
    for index, item in enumerate(items):
        if index:
            yield _COMMA
        yield from words(item)
