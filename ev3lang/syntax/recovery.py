"""Reading on behind a mistake, so that every mistake is told once.

The parser's stacks are kept wherever a statement begins. At a token that doesn't fit, small repairs
are tried on the stacks alone (put a mark in, leave a token out, close a brace) and the one that
reads furthest is made. Where none reads past the line, the statement is given up: the stacks of its
start come back and the text is skipped to its end (panic mode).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import attrs

from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.diagnostics.suggest import nearest
from ev3lang.source import Source, Span
from ev3lang.syntax import errors
from ev3lang.syntax.build import DEEPEST, PLACEHOLDERS
from ev3lang.syntax.layout import BRACES, BRACKETS, is_idle
from ev3lang.syntax.tables import Tables
from ev3lang.syntax.words import Token, Tree

MOST_ERRORS = 50
MOST_MISTAKES = 500  # of which most are echoes: nothing that a person writes
LONGEST_LINE = 20_000

_DEEPEST_STACK = 1_000
_TRIAL_TOKENS = 40
_TRIAL_LENGTH = 160  # characters behind the line of the mistake

# A mistake at most so many words behind another is its echo: the second half of two words that
# changed places, say. As yacc does, which keeps still until three words have been read.
_ECHO = 3

_CLOSERS = BRACKETS | BRACES
_BOUNDARIES = frozenset(("END", "LBRACE", "RBRACE"))
_END_OF_TEXT = "$END"

# Marks a repair may put in, by how likely their loss is.
_MARKS = (
    "LBRACE",
    "RPAR",
    "RSQB",
    "RBRACE",
    "COMMA",
    "COLON",
    "EQUAL",
    "LPAR",
    "LSQB",
    "END",
    "ARROW",
    "VBAR",
)

# What skipping must see: everything else is only passed over. Line breaks as in the grammar.
_LANDMARK = r"""
      (?P<end>(?:\n[ \t\r]*+(?:\#[^\r\n]*+)?+)++(?!\||(?:or|then|with)\b)|;)
    | (?P<open>\{) | (?P<close>\})
    | (?P<bracket>[(\[]) | (?P<unbracket>[)\]])
    | (?:[,|=+*/^<>-]|\b(?:with|mod|in|and|or|not)\b)(?:\s++|\#[^\r\n]*+)*+
    | "(?:[^"\\\r\n]|\\[^\r\n])*+["\\]?+ | \#[^\r\n]*+
    | \w++ | [^\w\s"\#{}()\[\],|=+*/^<>;-]++ | \s
    """
_AFTER_BLOCK = re.compile(r"[ \t]*+(?:[\r\n;#}]|\Z)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_PIECE = re.compile(r"#[^\r\n]*|(?P<word>\w+|[^\w\s#]+)")
_STRING = re.compile(r'#.*|"(?:[^"\\\r]|\\[^\r])*+(?:"|(?P<unclosed>))')


@attrs.frozen(eq=False)
class _Place:
    """Where reading may start over.

    lengths  children of each value at the time; a longer tree goes on filling the same list
    offset   where the text goes on
    before   type of the token before it
    """

    states: tuple[int, ...]
    values: tuple[Any, ...]
    lengths: tuple[int, ...]
    openers: tuple[Token, ...]
    offset: int
    before: str | None

    @property
    def braces(self) -> tuple[Token, ...]:
        return tuple(token for token in self.openers if token.type in BRACES)


@attrs.frozen(eq=False)
class _Repair:
    """From `base`, first the tokens `put_in`, then the text from `offset` on."""

    base: _Place
    put_in: tuple[Token, ...]
    offset: int
    diagnose: Callable[[], Diagnostic] | None = None


class Grammar:
    """The tables, as questions about what fits."""

    def __init__(self, tables: Tables, start: str) -> None:
        self.steps = tables.steps
        self.rules = tables.rules
        self.start_state, self.end_state = tables.starts[start]
        self.words = tables.words
        self._lexeme = re.compile(tables.lexemes)
        self._ignored = tables.ignored
        self._kinds = {text: kind for kind, text in self.words.items() if text.isidentifier()}

    def token(self, state: int, text: str, offset: int) -> Token:
        """The token from there on: a word of the grammar only where the state has a step for it."""
        while offset < len(text):
            match = self._lexeme.match(text, offset)
            assert match is not None and match.lastgroup, "some lexeme takes any character"
            kind, offset = match.lastgroup, match.end()
            if kind in self._ignored:
                continue
            if kind == "NAME":
                word = self._kinds.get(match[0])
                kind = word if word is not None and word in self.steps[state] else kind
            return Token(kind, match[0], match.start(), offset)
        return _mark(_END_OF_TEXT, "", len(text))

    def advance(self, states: tuple[int, ...], kind: str) -> tuple[int, ...] | None:
        """The states behind a token of this kind, or None where it doesn't fit."""
        stack = list(states)
        while True:
            step = self.steps[stack[-1]].get(kind)
            if step is None:
                return None
            if step >= 0:
                stack.append(step)
                return tuple(stack)
            rule = self.rules[~step]
            if rule.size:
                del stack[-rule.size :]
            stack.append(self.steps[stack[-1]][rule.origin])
            if kind == _END_OF_TEXT and stack[-1] == self.end_state:
                return tuple(stack)

    def accepted(self, states: tuple[int, ...]) -> frozenset[str]:
        """The kinds of all tokens that fit."""
        kinds = self.steps[states[-1]]
        return frozenset(k for k in kinds if k.isupper() and self.advance(states, k) is not None)


class Reader:
    """Reads one text; `diagnostics` collects the mistakes in it."""

    def __init__(
        self, grammar: Grammar, source: Source, begin: int = 0, most_errors: int = MOST_ERRORS
    ) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._most_errors = most_errors
        self._grammar = grammar
        self._source = source
        self._states = [grammar.start_state]
        self._values: list[Any] = []  # what stands for each state but the first
        self._openers: tuple[Token, ...] = ()
        self._offset = begin
        self._line_start = 0
        self._before: str | None = None
        self._line_break: Token | None = None  # the last one dropped inside brackets
        self._statement: list[Token] = []  # its tokens so far
        self._start = self._place()  # of the statement
        self._before_end: _Place | None = None  # before the line break above the statement
        self._before_close: _Place | None = None  # before the `}` above it
        self._close: Token | None = None  # that `}`, empty where a repair put it in
        self._faulty_offset: int | None = None  # start of the last statement with a mistake
        self._panicked_at = -1
        self._mistakes = 0
        self._mistake: int | None = None  # where the last one showed
        self._misread_block: tuple[Token, ...] = ()  # the `{` above the last first word amiss
        self._has_skipped_close = False  # whether a `}` that closes something was passed over

    def read(self) -> Tree:
        """The parse tree of all that could be read."""
        while True:
            token = self._next()
            if len(self._openers) > DEEPEST or len(self._states) > _DEEPEST_STACK:
                place = self._span(self._openers[-1] if self._openers else token)
                self._give_up(token, errors.nesting_too_deep(place, DEEPEST))
            elif self._is_far_out(token):
                self._skip_line()
            elif self._fits(token.type):
                tree = self._feed(token)
                if tree is not None:
                    return tree
            elif token.type == "ALIEN":
                self._quieten(token)
                self._report(errors.unexpected_character(self._span(token)))
                self._offset = token.end
            else:
                self._recover(token)
            if len(self.diagnostics) >= self._most_errors or self._mistakes >= MOST_MISTAKES:
                self._offset = len(self._source.text)

    # ------------------------------------------------------------ tokens

    def _next(self) -> Token:
        while True:
            token = self._grammar.token(self._states[-1], self._source.text, self._offset)
            if token.type != "END" or not is_idle(token, self._before, self._in_brackets()):
                return token
            self._offset = token.end
            if self._in_brackets():
                self._line_break = token
            elif not self._statement:
                self._start = attrs.evolve(self._start, offset=self._offset)

    def _is_far_out(self, token: Token) -> bool:
        """Whether the token's line is too long to be read."""
        if token.end - self._line_start <= LONGEST_LINE or token.type in ("END", _END_OF_TEXT):
            return False
        self._line_start = self._source.text.rfind("\n", 0, token.start) + 1
        return token.end - self._line_start > LONGEST_LINE

    def _in_brackets(self) -> bool:
        return bool(self._openers) and self._openers[-1].type in BRACKETS

    def _fits(self, kind: str) -> bool:
        step = self._grammar.steps[self._states[-1]].get(kind)
        if step is None:
            return False
        return step >= 0 or self._grammar.advance(tuple(self._states), kind) is not None

    def _feed(self, token: Token) -> Tree | None:
        """Take the token, which must fit; at the end of the text the tree is returned."""
        kind = token.type
        if kind == "END":
            self._before_end = self._place()
        elif kind == "RBRACE":
            self._before_close, self._close = self._place(), token
        tree = self._push(token)
        self._offset, self._before = token.end, kind
        if kind in _CLOSERS:
            self._openers += (token,)
        elif kind in _CLOSERS.values():
            self._openers = self._openers[:-1]
        if kind in _BOUNDARIES:
            self._begin_statement()
        else:
            self._statement.append(token)
        return tree

    def _push(self, token: Token) -> Tree | None:
        """Reduce what the token ends, then put it on the stacks."""
        grammar, states, values = self._grammar, self._states, self._values
        while (step := grammar.steps[states[-1]][token.type]) < 0:
            rule = grammar.rules[~step]
            first = len(values) - rule.size
            parts = values[first:]
            del values[first:], states[first + 1 :]
            values.append(rule.build(parts))
            states.append(grammar.steps[states[-1]][rule.origin])
            if token.type == _END_OF_TEXT and states[-1] == grammar.end_state:
                tree: Tree = values[-1]
                return tree
        states.append(step)
        values.append(token)
        return None

    def _begin_statement(self) -> None:
        self._start = self._place()
        self._statement = []
        self._line_break = None

    # ------------------------------------------------------------ places

    def _place(self) -> _Place:
        values = tuple(self._values)
        lengths = tuple(len(value.children) if isinstance(value, Tree) else 0 for value in values)
        states = tuple(self._states)
        return _Place(states, values, lengths, self._openers, self._offset, self._before)

    def _return_to(self, place: _Place) -> None:
        for value, length in zip(place.values, place.lengths, strict=True):
            if isinstance(value, Tree):
                del value.children[length:]
        self._states[:] = place.states
        self._values[:] = place.values
        self._openers, self._offset, self._before = place.openers, place.offset, place.before

    # ------------------------------------------------------------ mistakes

    def _report(self, diagnostic: Diagnostic) -> None:
        """Once a statement: what follows a mistake in it is mostly its echo."""
        is_echo = diagnostic.code == "unclosed-bracket" and self._has_skipped_close
        if is_echo:
            self._has_skipped_close = False
        if self._faulty_offset != self._start.offset:
            self._faulty_offset = self._start.offset
            if not is_echo:
                self.diagnostics.append(diagnostic)

    def _quieten(self, token: Token) -> None:
        """Report nothing of this statement if its mistake is mostly the echo of an earlier one.

        That is where it shows close behind, and where a second statement of a block begins with a
        word that the block doesn't have: it is the block that was misread.
        """
        is_echo = False
        self._mistakes += 1
        if self._mistake is not None:
            pieces = _PIECE.finditer(self._source.text, self._mistake, token.start)
            words = (piece for piece in pieces if piece["word"])
            is_echo = len(tuple(islice(words, _ECHO + 1))) <= _ECHO
        block = self._start.braces[-1:] if not self._statement else ()
        if is_echo or (block and block == self._misread_block):
            self._faulty_offset = self._start.offset
        self._mistake, self._misread_block = token.start, block or self._misread_block

    def _recover(self, token: Token) -> None:
        self._quieten(token)
        if token.type == _END_OF_TEXT and self._close_all(token):
            return
        repair = self._best_repair(token)
        if repair is not None:
            self._report(self._diagnose(token, repair))
            self._make(repair)
            return
        if self._is_line_joined(token) and self._fits("END"):
            # Its first word joins a line to the one above, which is whole without it.
            self._feed(_mark("END", "", token.start))
        self._report(self._diagnose(token, None))
        if self._start.before == "RBRACE" and self._is_first_in_line(self._start.offset - 1):
            # Only a line's end may follow a `}`: this one was meant for something else.
            assert self._before_close is not None
            self._has_skipped_close = True
            self._return_to(self._before_close)
            self._begin_statement()
            self._faulty_offset = self._start.offset
        self._panic(token)

    def _make(self, repair: _Repair) -> None:
        self._return_to(repair.base)
        if repair.base.offset <= self._start.offset:
            self._begin_statement()
        for mark in repair.put_in:
            self._feed(mark)
        self._offset = repair.offset
        if not self._statement:
            self._start = attrs.evolve(self._start, offset=repair.offset)
            self._faulty_offset = repair.offset

    def _close_all(self, end: Token) -> bool:
        """At the end of the text, close whatever is open; False where more than that is amiss."""
        states: tuple[int, ...] | None = tuple(self._states)
        for opener in reversed(self._openers):
            states = states and self._grammar.advance(states, _CLOSERS[opener.type])
        if not self._openers or not states or not self._grammar.advance(states, _END_OF_TEXT):
            return False
        for opener in reversed(self._openers):
            if opener:
                self._faulty_offset = None
                self._report(errors.unclosed_bracket(self._span(opener), self._span(end)))
            self._feed(_mark(_CLOSERS[opener.type], "", end.start))
        return True

    # ------------------------------------------------------------ repairs

    def _best_repair(self, token: Token) -> _Repair | None:
        """The repair that reads furthest, of equals the likelier; None where none ends the line."""
        text = self._source.text
        line_end = text.find("\n", token.end)
        goal = len(text) if line_end < 0 else line_end
        limit = goal + _TRIAL_LENGTH
        best, best_reach = None, goal
        for repair in self._repairs(token):
            reach = self._reach(repair, limit)
            if reach > best_reach:
                best, best_reach = repair, reach
            if reach >= limit:
                break
        return best

    def _reach(self, repair: _Repair, limit: int) -> int:
        """To which end of a statement the text can be read after a repair, at most the limit."""
        states: tuple[int, ...] | None = repair.base.states
        open_types = [opener.type for opener in repair.base.openers]
        before, offset = repair.base.before, repair.offset
        put_in = iter(repair.put_in)
        reached = -1
        for _ in range(len(repair.put_in) + _TRIAL_TOKENS):
            mark = next(put_in, None)
            assert states is not None
            token = mark
            if token is None:
                token = self._grammar.token(states[-1], self._source.text, offset)
            kind = token.type
            in_brackets = bool(open_types) and open_types[-1] in BRACKETS
            is_passed_over = kind == "ALIEN" or (
                kind == "END" and mark is None and is_idle(token, before, in_brackets)
            )
            if not is_passed_over:
                states = self._grammar.advance(states, kind)
                if states is None:
                    return reached
                if kind == _END_OF_TEXT:
                    return limit
                if kind in _CLOSERS:
                    open_types.append(kind)
                elif kind in _CLOSERS.values():
                    del open_types[-1:]
                before = kind
            if mark is None:
                offset = token.end
                if offset >= limit:
                    return limit
                if kind in _BOUNDARIES and not is_passed_over:
                    reached = offset
        return limit

    def _repairs(self, token: Token) -> Iterator[_Repair]:
        """All that may be done about a token that doesn't fit, the likeliest first."""
        here = self._place()
        yield from self._spellings(token)
        yield from self._brace_repairs(token)
        if self._in_brackets() and self._is_first_in_line(token.start):
            closers = [_mark(_CLOSERS[o.type], "", token.start) for o in self._open_brackets()]
            put_in = (*closers, _mark("END", "", token.start))
            yield _Repair(here, put_in, token.start, self._blame_bracket(token))
        accepted = self._grammar.accepted(here.states)
        marks = [_mark(kind, "", token.start) for kind in _MARKS if kind in accepted]
        parts = [_mark(kind, "", token.start) for kind in PLACEHOLDERS if kind in accepted]
        is_end = token.type == _END_OF_TEXT
        for mark in marks:
            yield _Repair(here, (mark,), token.start, self._blame_if_closer(mark, token))
        if not is_end:
            yield _Repair(here, (), token.end)
            for mark in marks:
                yield _Repair(here, (mark,), token.end, self._blame_if_closer(mark, token))
        for part in parts:
            yield _Repair(here, (part,), token.start)
            if not is_end:
                yield _Repair(here, (part,), token.end)
        if self._in_brackets() and self._line_break is not None:
            offset = self._line_break.end
            if self._opens_statement(offset):
                yield _Repair(self._start, (), offset, self._blame_bracket(token))

    def _spellings(self, token: Token) -> Iterator[_Repair]:
        """The token, or the name before it, as the word of the grammar it is spelt much like."""
        for behind in (len(self._statement), len(self._statement) - 1):
            if behind < 0:
                return
            tokens, word = self._statement[:behind], [*self._statement, token][behind]
            if not _WORD.fullmatch(word):
                continue
            accepted = self._grammar.accepted(self._states_behind(tokens))
            kinds = {self._grammar.words[k]: k for k in accepted if k in self._grammar.words}
            meant = nearest(str(word), [text for text in kinds if text.isalpha()])
            if meant is not None:
                put_in = (*tokens, Token(kinds[meant], meant, word.start, word.end))
                misspelt = partial(errors.misspelt, self._span(word), meant)
                yield _Repair(self._start, put_in, word.end, misspelt)

    def _brace_repairs(self, token: Token) -> Iterator[_Repair]:
        """A `}` too few or too many, or a `{` too few, above the statement."""
        first = (*self._statement, token)[0]
        put_in: tuple[Token, ...] = ()
        for opener in reversed(self._start.braces):
            if not opener:
                return
            put_in += (_mark("RBRACE", "", first.start), _mark("END", "", first.start))
            blame = partial(errors.unclosed_bracket, self._span(opener), self._span(first))
            yield _Repair(self._start, put_in, first.start, blame)
        if len(self._statement) == 1 and token.type == "END" and self._start.braces:
            put_in = (_mark("RBRACE", "", first.start),)
            yield _Repair(self._start, put_in, token.start)
        if self._statement:
            return
        above = self._before_end
        if above is not None and self._start.before == "END":
            gap = Span(self._source, above.offset, above.offset)
            blame = partial(errors.missing, gap, "`{`", errors.found(token.type, token))
            put_in = (_mark("LBRACE", "", above.offset),)
            yield _Repair(above, put_in, token.start, blame)
        closed = self._before_close
        is_just_closed = self._start.before == "RBRACE" or (
            above is not None and self._start.before == "END" and above.before == "RBRACE"
        )
        if closed is not None and self._close and is_just_closed:
            blame = partial(errors.needless_close, self._span(self._close))
            end = _mark("END", "", self._close.start)
            yield _Repair(closed, (), token.start, blame)
            yield _Repair(closed, (end,), token.start, blame)

    def _open_brackets(self) -> list[Token]:
        """The `(` and `[` of this statement that are open, innermost first."""
        inside = self._openers[len(self._start.openers) :]
        return [opener for opener in reversed(inside) if opener.type in BRACKETS]

    def _is_line_joined(self, token: Token) -> bool:
        joins = token.type in ("VBAR", "OR", "THEN", "WITH") or token in ("or", "then", "with")
        return joins and bool(self._statement) and self._is_first_in_line(token.start)

    def _is_first_in_line(self, offset: int) -> bool:
        line_start = self._source.text.rfind("\n", 0, offset) + 1
        return not self._source.text[line_start:offset].strip()

    def _blame_bracket(self, token: Token) -> Callable[[], Diagnostic] | None:
        """For the innermost opener, unless a repair put it in."""
        opener = self._openers[-1]
        if not opener:
            return None
        return partial(errors.unclosed_bracket, self._span(opener), self._span(token))

    def _blame_if_closer(self, mark: Token, token: Token) -> Callable[[], Diagnostic] | None:
        is_closer = mark.type in _CLOSERS.values() and bool(self._openers)
        return self._blame_bracket(token) if is_closer else None

    # ------------------------------------------------------------ blame

    def _diagnose(self, token: Token, repair: _Repair | None) -> Diagnostic:
        string = self._unclosed_string(token)
        if string is not None:
            return errors.unclosed_string(string)
        if token.type == "RBRACE" and not self._openers:
            return errors.needless_close(self._span(token))
        if repair is not None and repair.diagnose is not None:
            return repair.diagnose()
        if repair is None:
            for spelling in self._spellings(token):
                assert spelling.diagnose is not None
                return spelling.diagnose()
            stops = token.type in ("LBRACE", "RBRACE", "END", _END_OF_TEXT)
            blame = self._blame_bracket(token) if stops and self._in_brackets() else None
            if blame is not None:
                return blame()
        states, statement = tuple(self._states), self._statement
        if self._is_word_as_name():
            *statement, token = statement
            states = self._states_behind(statement)
        expected = errors.expectations(
            self._grammar.accepted(states),
            self._grammar.words,
            [(part.type, str(part)) for part in statement],
        )
        return errors.unexpected(self._span(token), expected, errors.found(token.type, token))

    def _is_word_as_name(self) -> bool:
        """Whether a word of the grammar was just taken for a name, where a name was missing."""
        if not self._statement or self._statement[-1].type != "NAME":
            return False
        is_value = len(self._statement) > 1 and self._statement[-2].type == "COLON"
        return self._statement[-1] in self._grammar.words.values() and not is_value

    def _states_behind(self, tokens: list[Token]) -> tuple[int, ...]:
        """The parser's states behind these tokens of the statement."""
        states: tuple[int, ...] | None = self._start.states
        for token in tokens:
            states = states and self._grammar.advance(states, token.type)
        assert states, "the parser has taken these tokens before"
        return states

    def _unclosed_string(self, token: Token) -> Span | None:
        """A string on the token's line that the line ends before it does."""
        text = self._source.text
        line_start = text.rfind("\n", 0, token.start) + 1
        line_end = text.find("\n", line_start)
        for match in _STRING.finditer(text, line_start, len(text) if line_end < 0 else line_end):
            if match.lastgroup == "unclosed":
                return Span(self._source, *match.span())
        return None

    def _span(self, token: Token) -> Span:
        """The token's place; a line break has none, so the end of its line stands for it."""
        if token.type in ("END", _END_OF_TEXT) and not token.startswith(";"):
            end = self._statement[-1].end if self._statement else token.start
            return Span(self._source, end, end)
        return Span(self._source, token.start, token.end)

    # ------------------------------------------------------------ panic

    def _give_up(self, token: Token, diagnostic: Diagnostic) -> None:
        self._report(diagnostic)
        self._panic(token)

    def _skip_line(self) -> None:
        """Leave a line without reading it: at this length it is no spec, and takes long."""
        text = self._source.text
        line_end = text.find("\n", self._line_start)
        place = Span(self._source, self._line_start, self._line_start + 1)
        self._return_to(self._start)
        self._begin_statement()
        self._report(errors.line_too_long(place, LONGEST_LINE))
        self._offset = self._line_start = len(text) if line_end < 0 else line_end

    def _panic(self, token: Token) -> None:
        """Forget the statement and go on behind it."""
        offset = self._end_of_statement(token)
        if offset <= self._panicked_at:
            offset = min(max(token.end, self._panicked_at + 1), len(self._source.text))
        self._panicked_at = offset
        self._return_to(self._start)
        self._begin_statement()
        self._offset = offset

    def _end_of_statement(self, token: Token) -> int:
        """Where the statement of a misfit ends, by its braces and lines alone."""
        text = self._source.text
        in_block = bool(self._start.braces)
        braces, brackets = 0, len(self._openers) - len(self._start.openers)
        # Compiled only once there is a mistake, as few texts have one; `re` keeps it.
        for match in re.compile(_LANDMARK, re.VERBOSE).finditer(text, token.start):
            kind = match.lastgroup
            if kind == "open":
                braces += 1
            elif kind == "close":
                if braces == 0 and in_block and _AFTER_BLOCK.match(text, match.end()):
                    return match.start()
                self._has_skipped_close |= braces == 0 and in_block
                braces = max(0, braces - 1)
            elif kind == "bracket":
                brackets += 1
            elif kind == "unbracket":
                brackets -= 1
            elif kind == "end":
                ends = brackets <= 0 and braces == 0 and not self._goes_on(match.end())
                if ends or self._opens_statement(match.end(), inside=braces > 0):
                    return match.start()
        return len(text)

    def _goes_on(self, offset: int) -> bool:
        """Whether a line that begins there is the rest of the faulty statement by its looks."""
        text = self._source.text
        if offset >= len(text) or text[offset] == "}":
            return False
        if _WORD.match(text, offset) is None:
            return True
        indent = self._indent(offset) - self._indent(self._start.offset)
        return indent > 0 and not self._opens_statement(offset)

    def _indent(self, offset: int) -> int:
        line_start = self._source.text.rfind("\n", 0, offset) + 1
        line = self._source.text[line_start : line_start + 200]
        return len(line) - len(line.lstrip())

    def _opens_statement(self, offset: int, inside: bool = False) -> bool:
        """Whether a word stands there that only a statement begins with."""
        word = _WORD.match(self._source.text, offset)
        if word is None:
            return False
        states: list[tuple[int, ...]] = [(self._grammar.start_state,)]
        if not inside:
            states.append(self._start.states)
        kind = word[0].upper()
        return kind in self._grammar.words and any(
            self._grammar.advance(stack, kind) is not None for stack in states
        )


def _mark(kind: str, text: str, offset: int) -> Token:
    """A token that isn't in the text."""
    return Token(kind, text, offset, offset + len(text))
