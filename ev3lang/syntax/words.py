"""The words of a text, and the tree that the grammar's rules make of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Token(str):
    """A word or mark as it is written, with the name that the grammar has for its kind.

    start, end  offsets in the text, the latter exclusive
    """

    __slots__ = ("end", "start", "type")

    type: str
    start: int
    end: int

    def __new__(cls, kind: str, text: str, start: int, end: int) -> Token:
        token = super().__new__(cls, text)
        token.type, token.start, token.end = kind, start, end
        return token


class Tree:
    """What stands under one rule of the grammar.

    data      the rule's name
    children  a `Token` or `Tree` each; None for an optional part that isn't written
    """

    __slots__ = ("children", "data")

    def __init__(self, data: str, children: list[Any]) -> None:
        self.data = data
        self.children = children

    def tokens(self) -> Iterator[tuple[Token, str]]:
        """All tokens in the order of the text, each with the rule that it stands under."""
        stack: list[tuple[Any, str]] = [(self, "")]
        while stack:
            node, rule = stack.pop()
            if isinstance(node, Tree):
                stack.extend((child, node.data) for child in reversed(node.children))
            elif node is not None:
                yield node, rule
