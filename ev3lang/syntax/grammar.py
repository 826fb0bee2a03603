"""The grammar as Lark reads it, and the tables that remain of it.

Loading Lark takes as long as checking a page does, and building the parser ten times that. So it
is done once a grammar: `tables.py` keeps what comes of it, and reads texts by that alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lark
from lark.grammar import Rule as LarkRule
from lark.lark import PostLex
from lark.parsers.lalr_analysis import Shift

from ev3lang.syntax.layout import BRACKETS, MARKS, is_idle
from ev3lang.syntax.tables import STARTS, Rule, Tables


class Layout(PostLex):
    """Drops the line breaks that end nothing.

    All but the words of the grammar is read alike everywhere, so that a name which begins with a
    word (`within`) is never cut in two, and a misplaced mark is an error of the parser's.
    """

    always_accept = (
        *MARKS,
        "NAME",
        "DOTTED",
        "NUMBER",
        "PORTION",
        "STRING",
        "UNCLOSED",
        "ALIEN",
    )

    def process(self, stream: Iterator[lark.Token]) -> Iterator[lark.Token]:
        before, open_brackets = None, 0
        for token in stream:
            if token.type == "END" and is_idle(token, before, open_brackets > 0):
                continue
            if token.type in BRACKETS:
                open_brackets += 1
            elif token.type in BRACKETS.values():
                open_brackets -= 1
            before = token.type
            yield token


def build_parser(text: str, *, strict: bool = False) -> lark.Lark:
    """Lark's parser of a grammar; a strict one refuses conflicts and lexemes that collide.

    Raises lark.exceptions.LarkError where the grammar is at fault.
    """
    return lark.Lark(
        text,
        parser="lalr",
        lexer="contextual",
        start=list(STARTS),
        keep_all_tokens=True,
        maybe_placeholders=True,
        postlex=Layout(),
        strict=strict,
    )


def build_tables(text: str) -> Tables:
    """The tables of a grammar. Raises as `build_parser` does."""
    parser = build_parser(text)
    frontend: Any = parser.parser
    table = frontend.parser._parse_table
    rules = {rule: index for index, rule in enumerate(parser.rules)}
    lexer = frontend.lexer.lexer.root_lexer
    # Lark joins all lexemes into one pattern in this order; words it takes for names at first.
    lexemes = [(each.name, each.pattern.to_regexp()) for each in lexer.scanner.terminals]
    words = {
        terminal.name: terminal.pattern.value
        for terminal in parser.terminals
        if terminal.pattern.type == "str"
    }
    everywhere = {*Layout.always_accept, *parser.ignore_tokens}
    assert everywhere == {name for name, _ in lexemes}, "only words depend on their place"
    return Tables(
        steps=tuple(
            {
                kind: argument if action is Shift else ~rules[argument]
                for kind, (action, argument) in table.states[state].items()
            }
            for state in range(len(table.states))
        ),
        rules=tuple(_rule(rule) for rule in parser.rules),
        starts={name: (table.start_states[name], table.end_states[name]) for name in STARTS},
        words=words,
        lexemes="|".join(f"(?P<{name}>{pattern})" for name, pattern in lexemes),
        ignored=frozenset(parser.ignore_tokens),
    )


def _rule(rule: LarkRule) -> Rule:
    options = rule.options
    assert options.keep_all_tokens, "every word is a child"
    symbols = iter(rule.expansion)
    is_missing = options.empty_indices or (False,) * len(rule.expansion)
    shape = "".join(
        Rule.MISSING if missing else Rule.OPENED if _is_opened(next(symbols)) else Rule.KEPT
        for missing in is_missing
    )
    return Rule(
        name=str(rule.alias or options.template_source or rule.origin.name),
        origin=str(rule.origin.name),
        size=len(rule.expansion),
        shape=shape,
        is_open=bool(options.expand1 and not rule.alias),
    )


def _is_opened(symbol: Any) -> bool:
    return not symbol.is_term and symbol.name.startswith("_")
