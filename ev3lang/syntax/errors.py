"""Every fault of syntax in words: one function an error."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from ev3lang.diagnostics.diagnostic import Diagnostic, Edit, Fix, Label
from ev3lang.source import Source, Span

EDITION = 1

_LONGEST_QUOTE = 40

# What people type, or what a text editor makes of it, for a mark of the language.
_MEANT = {
    "“": '"',
    "”": '"',
    "„": '"',
    "'": '"',
    "’": '"',
    "‘": '"',
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "*",
    "·": "*",
    "÷": "/",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "→": "->",
    "\u00a0": " ",
    "\u202f": " ",
    "&": "and",
    "&&": "and",
    "!": "not",
}


def unexpected(span: Span, expected: Sequence[str], found: str) -> Diagnostic:
    """A word or mark where the language has none such.

    expected  in the language's words, most likely first; may be empty
    found     likewise: what stands there
    """
    if not expected:
        return Diagnostic("syntax-error", f"{found} can't stand here", span)
    return Diagnostic("syntax-error", f"expected {either(expected)}, found {found}", span)


def missing(span: Span, mark: str, before: str) -> Diagnostic:
    """A mark left out, whose place is known from what follows."""
    fix = Fix(f"put in {mark}", (Edit(span, f" {mark.strip('`')}"),))
    return Diagnostic("syntax-error", f"expected {mark} before {before}", span, fixes=(fix,))


def misspelt(span: Span, word: str) -> Diagnostic:
    """A name where only words of the language can stand, one of them spelt much like it."""
    return Diagnostic(
        "syntax-error",
        f"{quoted(span.text)} is not a word of the language here",
        span,
        help=f"did you mean `{word}`?",
        fixes=(Fix(f"write `{word}`", (Edit(span, word),)),),
    )


def needless_close(span: Span) -> Diagnostic:
    """A `}` without its `{`."""
    fix = Fix("take it away", (Edit(span, ""),))
    return Diagnostic("syntax-error", "this `}` closes nothing", span, fixes=(fix,))


def unclosed_bracket(opener: Span, before: Span) -> Diagnostic:
    """An opener whose closer is missing before the place where that shows."""
    closer = {"(": ")", "[": "]", "{": "}"}[opener.text]
    return Diagnostic(
        "unclosed-bracket",
        f"this `{opener.text}` is never closed",
        opener,
        labels=(Label(before, f"expected `{closer}` before this"),),
        help=f"put a `{closer}` where it ends",
    )


def unclosed_string(span: Span) -> Diagnostic:
    """A string that its line ends before it does."""
    return Diagnostic(
        "unclosed-string",
        "this string is never closed",
        span,
        help='put a `"` where it ends; a string stays on one line',
    )


def unexpected_character(span: Span) -> Diagnostic:
    """Characters that nothing in the language is written with."""
    text = span.text
    if len(text) == 1:
        name = unicodedata.name(text, "").lower() or f"U+{ord(text):04X}"
        message = f"no word or mark of the language has {quoted(text)} ({name})"
    else:
        message = f"no word or mark of the language has {quoted(text)}"
    meant = _MEANT.get(text)
    if meant is None:
        return Diagnostic("unexpected-character", message, span)
    fix = Fix(f"write `{meant}`" if meant != " " else "write a space", (Edit(span, meant),))
    help_ = f"did you mean `{meant}`?" if meant != " " else "write an ordinary space"
    return Diagnostic("unexpected-character", message, span, help=help_, fixes=(fix,))


def unknown_escape(span: Span) -> Diagnostic:
    """A backslash with something behind it that it doesn't stand before."""
    fix = Fix("double the backslash", (Edit(span, "\\" + span.text),))
    return Diagnostic(
        "syntax-error",
        f"a string has no escape {quoted(span.text)}",
        span,
        help='the escapes are \\", \\\\, \\n, \\t and \\u with four hexadecimal digits',
        fixes=(fix,),
    )


def reserved_word(span: Span) -> Diagnostic:
    """A word that no name may be, as the name of something declared."""
    name = f"{span.text}_"
    return Diagnostic(
        "reserved-word",
        f"`{span.text}` is a word of the language that nothing can be named by",
        span,
        help=f"choose another name, such as `{name}`",
        fixes=(Fix(f"name it `{name}`", (Edit(span, name),)),),
    )


def reserved_field(name: Span, field: Span, has_origin: bool) -> Diagnostic:
    """Such a word as the name of a field: the column keeps it, the field gets another."""
    source = field.source
    edits = [Edit(name, f"{name.text}_")]
    rest = Span(source, name.end, field.end).text
    written = f"{name.text}_{rest}"
    if not has_origin:
        edits.append(Edit(Span(source, field.end, field.end), f' from "{name.text}"'))
        written += f' from "{name.text}"'
    return Diagnostic(
        "reserved-word",
        f"`{name.text}` is a word of the language that nothing can be named by",
        name,
        help=f"give the field another name than its column: {quoted(written)}",
        fixes=(Fix(f"name it `{name.text}_`", tuple(edits)),),
    )


def missing_edition(source: Source, start: int) -> Diagnostic:
    """No `ev3 1` at the head of the file, where `start` is."""
    span = Span(source, start, start)
    is_empty = not source.text[start:].strip()
    subject = "the file is empty: a spec" if is_empty else "a spec"
    return Diagnostic(
        "missing-edition",
        f"{subject} begins with the edition it is written in, `ev3 {EDITION}`",
        span,
        help=f"put `ev3 {EDITION}` in its first line",
        fixes=(Fix(f"put in `ev3 {EDITION}`", (Edit(span, f"ev3 {EDITION}\n\n"),), "safe"),),
    )


def unknown_edition(span: Span) -> Diagnostic:
    """`ev3 2`, before there is one."""
    return Diagnostic(
        "unknown-edition",
        f"there is no edition {quoted(span.text)}; this version reads edition {EDITION}",
        span,
        help=f"write `ev3 {EDITION}`, or use a newer version of ev3lang",
        fixes=(Fix(f"write {EDITION}", (Edit(span, str(EDITION)),)),),
    )


def misplaced_edition(span: Span) -> Diagnostic:
    """A second `ev3 1`, or one that isn't the first line."""
    fix = Fix("take it away", (Edit(span, ""),))
    message = "the edition stands once, in the first line"
    return Diagnostic("syntax-error", message, span, fixes=(fix,))


def archive_keeps_one(span: Span, count: int) -> Diagnostic:
    """An archive's block without its one statement, or with more."""
    return Diagnostic(
        "syntax-error",
        f"an archive keeps the best by one measure; here stand {count}",
        span,
        help="write `keep best METRIC per METRIC`",
    )


def file_too_long(span: Span, longest: int) -> Diagnostic:
    """A file that is no spec by its size."""
    return Diagnostic(
        "file-too-long",
        f"this file is longer than {longest:_} characters and isn't read",
        span,
        help="is it the data, in the place of the spec?",
    )


def number_too_large(span: Span) -> Diagnostic:
    """A numeral beyond what a float holds."""
    message = f"{quoted(span.text)} is larger than any number a run can hold"
    return Diagnostic("number-too-large", message, span, help="the largest is near 1.8e308")


def nesting_too_deep(span: Span, deepest: int) -> Diagnostic:
    """Brackets in brackets, or operators in a row, past all sense."""
    return Diagnostic(
        "nesting-too-deep",
        f"this goes more than {deepest} levels deep",
        span,
        help="give parts of it a name with `let`",
    )


def line_too_long(span: Span, longest: int) -> Diagnostic:
    """A line that nobody wrote."""
    message = f"this line is longer than {longest:_} characters and isn't read"
    return Diagnostic("line-too-long", message, span, help="put what is long in a file")


# ---------------------------------------------------------------- words


def quoted(text: str) -> str:
    """The text between backticks, cut where it is long and made visible where it isn't."""
    visible = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:100])
    cut = visible if len(visible) <= _LONGEST_QUOTE else visible[:_LONGEST_QUOTE] + "…"
    return f"`{cut}`"


def either(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    if len(choices) == 1:
        return choices[0]
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def found(token_type: str, text: str) -> str:
    """What stands there, in words."""
    if token_type == "$END":
        return "the end of the file"
    if token_type == "END":
        return "`;`" if text.startswith(";") else "the end of the line"
    if token_type == "STRING":
        return f"the string {quoted(text)}"
    return quoted(text)


def expectations(
    accepted: frozenset[str], words: Mapping[str, str], statement: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """What the language can go on with, in its own words, most likely first.

    accepted   types of all tokens that the parser would take here
    words      the text of each type that has only one, such as `with`
    statement  type and text of the tokens of this statement so far
    """
    before = statement[-1][0] if statement else None
    head, last, in_brackets = _where(statement, words)
    choices: list[str] = []
    rest = set(accepted)
    if "LPAR" in rest and "NUMBER" in rest:
        choices.append("an argument" if in_brackets else _VALUES.get((head, last), "a value"))
        rest -= _STARTS_OF_VALUES
    elif "NUMBER" in rest:
        choices.append("a number")
        rest -= {"NUMBER", "PORTION", "MINUS"}
    elif "PLUS" in rest:
        rest -= _OPERATORS
        if not rest - {"NAME", "LPAR", "END", "RBRACE", "$END"}:
            choices.append("an operator")
    if "NAME" in rest:
        rest -= {"NAME", "DOTTED"}
        if before in ("NUMBER", "PORTION"):
            if not choices and not rest - {"END", "RBRACE", "$END"}:
                choices.append("a unit")
        elif statement or len(rest) < _MANY:
            is_amount = choices == ["a number"]
            choices.append("a param" if is_amount else _NAMES.get((head, last), "a name"))
    if "STRING" in rest:
        rest.discard("STRING")
        choices.append("a string")
    if before == "NAME" and len(rest) > 1:
        rest -= {"LPAR"}
    if not statement and len(rest) >= _MANY and "MODEL" in rest:
        return ("a declaration such as `data`, `model`, `loss` or `explore`",)
    has_end = "END" in rest
    rest -= {"END", "$END"} | ({"RBRACE"} if has_end and statement else set())
    choices.extend(sorted(f"`{words[kind]}`" for kind in rest if kind in words))
    if has_end and (statement or not choices):
        choices.append("the end of the line")
    return tuple(choices)


def _where(statement: Sequence[tuple[str, str]], words: Mapping[str, str]) -> tuple[str, str, bool]:
    """The word that opens a statement, its last word outside brackets, and if one is open."""
    head, last, depth = "", "", 0
    for kind, text in statement:
        depth += (kind in ("LPAR", "LSQB")) - (kind in ("RPAR", "RSQB"))
        is_word = kind in words and (text.isalpha() or text == "=")
        if is_word and depth == 0:
            head, last = head or text, text
    return head, last, depth > 0


_MANY = 9

_OPERATORS = frozenset(
    ("PLUS", "MINUS", "STAR", "SLASH", "CIRCUMFLEX", "MOD", "COMPARISON", "IN", "TO", "AND", "OR")
) | {"VBAR"}

_STARTS_OF_VALUES = frozenset(
    (
        "NAME",
        "DOTTED",
        "NUMBER",
        "PORTION",
        "STRING",
        "LPAR",
        "LSQB",
        "MINUS",
        "NOT",
        "DECAY",
        "ALL",
    )
)

_VALUES = {
    ("descend", "descend"): "a loss",
    ("descend", "with"): "an optimizer",
    ("trained", "descend"): "a loss",
    ("trained", "with"): "an optimizer",
    ("baseline", "descend"): "a loss",
    ("baseline", "with"): "an optimizer",
    ("evolve", "with"): "a strategy",
    ("perturb", "with"): "a strategy",
    ("rank", "by"): "an objective or metric",
    ("rank", "then"): "an objective or metric",
    ("guard", "guard"): "a comparison",
    ("limit", "limit"): "a comparison",
    ("stop", "when"): "a condition",
    ("grow", "by"): "a growth operator",
    ("grow", "or"): "a growth operator",
    ("grow", "of"): "a growth operator",
    ("show", "show"): "a metric",
    ("augment", "with"): "an augmentation",
    ("data", "="): "a source of data",
    ("model", "="): "layers",
    ("optimizer", "="): "an optimizer",
}

# Behind these an amount stands: a number with its unit, or a param with it.
_AMOUNTS = (
    ("descend", "for"),
    ("evolve", "for"),
    ("perturb", "for"),
    ("trained", "for"),
    ("evaluate", "evaluate"),
    ("after", "after"),
    ("stop", "after"),
    ("lengthen", "to"),
    ("repeat", "repeat"),
)

_NAMES = {
    **dict.fromkeys(_AMOUNTS, "a unit"),
    ("model", ":"): "a field or a type",
    ("model", "->"): "a type",
    ("param", ":"): "a type",
    ("explore", "explore"): "the name of a model or group",
    ("assess", "assess"): "the name of a model or group",
    ("adapt", "adapt"): "the name of a model or group",
    ("archive", "of"): "the name of a model",
    ("evolve", "evolve"): "the name of an objective",
    ("accept", "when"): "the name of an objective",
    ("prioritize", "prioritize"): "the name of an objective",
    ("normalize", "normalize"): "the name of a field",
    ("augment", "augment"): "the name of a field",
    ("split", "by"): "the name of a field",
    ("split", "split"): "a use such as `explore`",
} | {
    (word, word): f"a name for the {word}"
    for word in ("experiment", "data", "model", "group", "loss", "objective", "metric")
    + ("optimizer", "archive", "baseline")
}
