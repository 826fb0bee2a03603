"""The syntax tree that belongs to a parse tree, with the faults that only single words show."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, cast

import attrs

from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Source, Span
from ev3lang.syntax import errors, tree
from ev3lang.syntax.comments import documentation_above
from ev3lang.syntax.layout import RESERVED
from ev3lang.syntax.tree import (
    Amount,
    Call,
    Expression,
    Name,
    Node,
    Number,
    Quantity,
    Range,
    String,
    TypeExpression,
)
from ev3lang.syntax.words import Token, Tree

# A tree deeper than this is a slip or an attack, and later stages walk trees by recursion.
DEEPEST = 100

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")
_ESCAPED = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}


class _Missing:
    """Stands for a statement that lacks a part, so that none of it reaches the tree."""


_MISSING = _Missing()


@attrs.frozen(eq=False, repr=False)
class _Several(Node):
    """Nodes in a row: a list with commas, or what a block holds."""

    nodes: tuple[Any, ...]


@attrs.frozen(eq=False, repr=False)
class _Words(Node):
    """Words that choose between ways, such as `over the run`."""

    text: str


@attrs.frozen(eq=False, repr=False)
class _Method(Node):
    """`stratified by label`, `ordered by day in blocks of 50 examples`."""

    method: Literal["stratified", "grouped", "ordered"]
    by: Name
    units: tree.Blocks | tree.Groups | None = None


@attrs.frozen(eq=False, repr=False)
class _Keep(Node):
    """`keep best accuracy per blocks`."""

    best: Name
    per: Name


def build(parse_tree: Tree, source: Source) -> tuple[Any, tuple[Diagnostic, ...]]:
    """The statements of a file, or the one expression, and what is wrong with single words."""
    builder = _TreeBuilder(source)
    return builder.build(parse_tree), tuple(builder.diagnostics)


class _TreeBuilder:
    """One method a rule of the grammar: its span and its parts in, a node out.

    An optional part that isn't written arrives as None, every word of the grammar as its token.
    """

    def __init__(self, source: Source) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.source = source
        self.depths: dict[int, tuple[int, Node]] = {}
        self.outer_spans: dict[int, Span] = {}

    def build(self, parse_tree: Tree) -> Any:
        """What the whole tree becomes, from the leaves up; it may be deeper than Python's stack."""
        order, waiting = [], [parse_tree]
        while waiting:
            tree_ = waiting.pop()
            order.append(tree_)
            waiting += [child for child in tree_.children if isinstance(child, Tree)]
        built: list[Any] = []
        for tree_ in reversed(order):
            first = len(built) - sum(isinstance(child, Tree) for child in tree_.children)
            inside = iter(built[first:])
            children = [next(inside) if isinstance(c, Tree) else c for c in tree_.children]
            built[first:] = [self.node_of(tree_.data, children)]
        return built.pop()

    def node_of(self, rule: str, children: list[Any]) -> Any:
        if rule in ("file", "block"):
            children = [child for child in children if child is not _MISSING]
        elif any(child is _MISSING or _is_placeholder(child) for child in children):
            return _MISSING
        node = getattr(self, f"_{rule}")(self.span_of(children), *children)
        return self.measured(node, children) if isinstance(node, Node) else node

    def measured(self, node: Node, children: list[Any]) -> Node | _Missing:
        """The node, or what is missing where it is nested too deep."""
        inside = [self.depths[id(child)][0] for child in children if id(child) in self.depths]
        depth = 1 + max(inside, default=0)
        # The node is kept beside its depth so that no later one gets its id.
        self.depths[id(node)] = (depth, node)
        if depth <= DEEPEST:
            return node
        self.diagnostics.append(errors.nesting_too_deep(node.span, DEEPEST))
        return _MISSING

    def span_of(self, children: list[Any]) -> Span:
        """From the first child's start to the last one's end."""
        present = [child for child in children if child is not None]
        if not present:
            return Span(self.source, 0, 0)
        return self.place(present[0]).to(self.place(present[-1]))

    def place(self, child: Any) -> Span:
        if isinstance(child, Token):
            return Span(self.source, child.start, child.end)
        return self.outer_spans.get(id(child), cast(Span, child.span))

    def opening(self, keyword: Token) -> dict[str, Any]:
        """What every declaration carries beside its parts."""
        span = self.place(keyword)
        documentation = documentation_above(self.source, span.first.line)
        return {"keyword_span": span, "documentation": documentation}

    def choice(self, *words: Any) -> Any:
        """The words as the tree names them; the grammar lets no others through."""
        return " ".join(str(word) for word in words)

    # ------------------------------------------------------------ the whole

    def _file(self, span: Span, *statements: Any) -> tuple[Node, ...]:
        del span
        return _nodes(statements)

    def _lone_expression(self, span: Span, expression: Expression, *end: Token) -> Expression:
        del span, end
        return expression

    def _edition(self, span: Span, keyword: Token, number: Token) -> Number:
        del span, keyword
        return self.numeral(number, self.place(number))

    def _commas(self, span: Span, *parts: Any) -> _Several:
        return _Several(_nodes(parts), span=span)

    _block = _parameters = _signature = _dimensions = _factors = _ranking = _commas

    # ------------------------------------------------------------ declarations

    def _experiment(self, span: Span, keyword: Token, name: Name, block: _Several) -> Node:
        return tree.Experiment(name, block.nodes, span=span, **self.opening(keyword))

    def _setting(self, span: Span, keyword: Token, value: Expression) -> Node:
        return tree.Setting(Name(str(keyword), span=self.place(keyword)), value, span=span)

    def _param(
        self,
        span: Span,
        keyword: Token,
        name: Name,
        _colon: Token,
        type_: TypeExpression,
        _equal: Token | None,
        default: Expression | None,
    ) -> Node:
        return tree.Param(name, type_, default, span=span, **self.opening(keyword))

    def _group(
        self, span: Span, keyword: Token, name: Name, _equal: Token, members: _Several
    ) -> Node:
        return tree.Group(name, members.nodes, span=span, **self.opening(keyword))

    def _let(
        self, span: Span, keyword: Token, name: Name, _equal: Token, value: Expression
    ) -> Node:
        return tree.Let(name, value, span=span, **self.opening(keyword))

    def _loss(
        self,
        span: Span,
        keyword: Token,
        name: Name,
        parameters: _Several | None,
        _equal: Token,
        value: Expression,
    ) -> Node:
        return tree.Loss(name, _all(parameters), value, span=span, **self.opening(keyword))

    def _parameter(
        self,
        span: Span,
        name: Name,
        _colon: Token,
        type_: TypeExpression,
        _equal: Token | None,
        default: Expression | None,
    ) -> Node:
        return tree.Parameter(name, type_, default, span=span)

    def _objective(
        self,
        span: Span,
        keyword: Token,
        name: Name,
        _target: Token | None,
        target: Number | None,
        _in: Token | None,
        range_: Range | None,
        _equal: Token,
        direction: Token,
        value: Expression,
    ) -> Node:
        return tree.Objective(
            name,
            self.choice(direction),
            value,
            target,
            range_,
            span=span,
            **self.opening(keyword),
        )

    def _metric(
        self,
        span: Span,
        keyword: Token,
        name: Name,
        _in: Token | None,
        range_: Range | None,
        _equal: Token,
        value: Expression,
    ) -> Node:
        return tree.Metric(name, value, range_, span=span, **self.opening(keyword))

    def _optimizer(
        self, span: Span, keyword: Token, name: Name, _equal: Token, chain: Expression
    ) -> Node:
        return tree.Optimizer(name, chain, span=span, **self.opening(keyword))

    def _archive(
        self, span: Span, keyword: Token, name: Name, _of: Token, model: Name, block: _Several
    ) -> Node | _Missing:
        if len(block.nodes) != 1:
            self.diagnostics.append(errors.archive_keeps_one(block.span, len(block.nodes)))
            return _MISSING
        kept: _Keep = block.nodes[0]
        return tree.Archive(name, model, kept.best, kept.per, span=span, **self.opening(keyword))

    def _keep(
        self, span: Span, _keep: Token, _best: Token, best: Name, _per: Token, per: Name
    ) -> Node:
        return _Keep(best, per, span=span)

    def _use(self, span: Span, keyword: Token, path: String) -> Node:
        return tree.Use(path, span=span, **self.opening(keyword))

    def _extern(
        self,
        span: Span,
        keyword: Token,
        host: Token | None,
        _fn: Token,
        name: Name,
        inputs: _Several,
        _arrow: Token,
        output: TypeExpression,
        _from: Token,
        target: String,
    ) -> Node:
        return tree.Extern(
            name,
            inputs.nodes,
            output,
            target,
            host is not None,
            span=span,
            **self.opening(keyword),
        )

    def _allow(
        self, span: Span, keyword: Token, code: String, _because: Token, reason: String
    ) -> Node:
        return tree.Allow(code, reason, span=span, **self.opening(keyword))

    def _report(self, span: Span, keyword: Token, block: _Several) -> Node:
        return tree.Report(block.nodes, span=span, **self.opening(keyword))

    def _show(self, span: Span, _show: Token, values: _Several) -> Node:
        return tree.Show(values.nodes, span=span)

    def _baseline(
        self,
        span: Span,
        _baseline: Token,
        name: Name,
        _equal: Token,
        _descend: Token,
        loss: Expression,
        _with: Token,
        optimizer: Expression,
        lineage: _Words | None,
    ) -> Node:
        return tree.Baseline(name, loss, optimizer, lineage is not None, span=span)

    def _words_of(self, span: Span, *words: Token) -> _Words:
        return _Words(self.choice(*words), span=span)

    _lineage = _scope = _words_of

    def _sweep(self, span: Span, keyword: Token, block: _Several) -> Node:
        return tree.Sweep(block.nodes, span=span, **self.opening(keyword))

    def _axis(self, span: Span, name: Name, _in: Token, values: Expression) -> Node:
        return tree.Axis(name, values, span=span)

    # ------------------------------------------------------------ data

    def _data(
        self,
        span: Span,
        keyword: Token,
        name: Name,
        _equal: Token,
        origin: Expression,
        block: _Several | None,
    ) -> Node:
        return tree.Data(name, origin, _all(block), span=span, **self.opening(keyword))

    def _field(
        self,
        span: Span,
        name: Name,
        _colon: Token,
        type_: TypeExpression,
        _from: Token | None = None,
        origin: String | tree.Columns | None = None,
    ) -> Node:
        if name.text in RESERVED:
            self.diagnostics.append(errors.reserved_field(name.span, span, origin is not None))
        return tree.FieldItem(name, type_, origin, span=span)

    def _columns(self, span: Span, _columns: Token, range_: Range) -> Node:
        return tree.Columns(range_, span=span)

    def _rows(self, span: Span, _rows: Token, counts: _Several) -> Node:
        return tree.RowsItem(counts.nodes, span=span)

    def _row_count(self, span: Span, count: Number, _in: Token | None, part: Name | None) -> Node:
        return tree.RowCount(count, part, span=span)

    def _split(
        self,
        span: Span,
        _split: Token,
        shares: _Several,
        method: _Method | None,
        _seed: Token | None,
        seed: Number | None,
    ) -> Node:
        if method is None:
            return tree.SplitItem(shares.nodes, seed=seed, span=span)
        return tree.SplitItem(shares.nodes, method.method, method.by, seed, method.units, span=span)

    def _share(
        self, span: Span, use: Name, _from: Token | None, part: Name | None, amount: Number | None
    ) -> Node:
        return tree.Share(use, part, amount, span=span)

    def _method(
        self,
        span: Span,
        method: Token,
        _by: Token,
        by: Name,
        _in: Token | None = None,
        units: tree.Blocks | tree.Groups | None = None,
    ) -> Node:
        return _Method(self.choice(method), by, units, span=span)

    def _units(
        self,
        span: Span,
        count: Amount,
        _of: Token | None,
        up: Token | None,
        _to: Token | None,
        size: Amount | None,
    ) -> Node:
        is_bare = isinstance(count, tree.Quantity) and count.unit is None
        if size is not None and up is None and is_bare and count.span.text == "blocks":
            return tree.Blocks(size, span=span)
        return tree.Groups(count, size, span=span)

    def _normalize(
        self,
        span: Span,
        _normalize: Token,
        fields: _Several,
        _mean: Token | None,
        mean: Expression | None,
        _std: Token | None,
        std: Expression | None,
    ) -> Node:
        return tree.NormalizeItem(fields.nodes, mean, std, span=span)

    def _augment(
        self, span: Span, _augment: Token, field: Name, _with: Token, operations: _Several
    ) -> Node:
        return tree.AugmentItem(field, operations.nodes, span=span)

    def _derive(
        self,
        span: Span,
        _derive: Token,
        name: Name,
        _equal: Token,
        value: Expression,
        _as: Token | None,
        type_: TypeExpression | None,
    ) -> Node:
        return tree.DeriveItem(name, value, type_, span=span)

    def _known(self, span: Span, field: Name, _known: Token, by: Token, what: Node) -> Node:
        if isinstance(what, Number | Quantity):
            return tree.KnownItem(field, amount=what, span=span)
        assert isinstance(what, Name), by
        return tree.KnownItem(field, mask=what, span=span)

    def _batch(
        self, span: Span, _batch: Token, size: Amount, _in: Token | None, parts: Amount | None
    ) -> Node:
        return tree.Batch(size, parts, span=span)

    # ------------------------------------------------------------ models

    def _model(
        self,
        span: Span,
        keyword: Token,
        name: Name,
        _colon: Token,
        input_: tree.ModelInput,
        _arrow: Token,
        output: TypeExpression,
        way: Token,
        network: Expression,
        block: _Several | None,
    ) -> Node:
        is_module = way.type == "FROM"
        return tree.Model(
            name,
            input_,
            output,
            None if is_module else network,
            cast(Call, network) if is_module else None,
            _all(block),
            span=span,
            **self.opening(keyword),
        )

    def _model_input(self, span: Span, *parts: Any) -> Node:
        nodes = _nodes(parts)
        if isinstance(nodes[0], TypeExpression):
            return tree.ModelInput(type=nodes[0], span=span)
        return tree.ModelInput(nodes, is_list=len(parts) > 1, span=span)

    def _trained_by(
        self,
        span: Span,
        _trained: Token,
        _by: Token,
        _descend: Token,
        loss: Expression,
        _with: Token,
        optimizer: Expression,
        _for: Token,
        amount: Amount,
    ) -> Node:
        return tree.TrainedBy(loss, optimizer, amount, span=span)

    def _from_checkpoint(
        self,
        span: Span,
        _from: Token,
        _checkpoint: Token,
        _open: Token,
        path: String,
        _close: Token,
    ) -> Node:
        return tree.FromCheckpoint(path, span=span)

    def _frozen(self, span: Span, _frozen: Token) -> Node:
        return tree.Frozen(span=span)

    # ------------------------------------------------------------ explore

    def _explore(self, span: Span, keyword: Token, model: Name, block: _Several) -> Node:
        return tree.Explore(model, block.nodes, span=span, **self.opening(keyword))

    def _descend(
        self,
        span: Span,
        _descend: Token,
        losses: _Several,
        _with: Token,
        optimizers: _Several,
        _for: Token,
        amount: Amount,
    ) -> Node:
        return tree.Descend(losses.nodes, optimizers.nodes, amount, span=span)

    def _evolve(
        self,
        span: Span,
        _evolve: Token,
        objective: Name,
        _with: Token,
        strategy: Expression,
        _for: Token,
        amount: Amount,
    ) -> Node:
        return tree.Evolve(objective, strategy, amount, span=span)

    def _perturb(
        self,
        span: Span,
        _perturb: Token,
        _with: Token,
        strategy: Expression,
        _for: Token,
        amount: Amount,
    ) -> Node:
        return tree.Perturb(strategy, amount, span=span)

    def _mutate(
        self, span: Span, _mutate: Token, name: Name, _by: Token, factors: _Several
    ) -> Node:
        return tree.Mutate(name, factors.nodes, span=span)

    def _average(
        self, span: Span, _average: Token, _last: Token, count: Amount, _accepted: Token
    ) -> Node:
        return tree.Average(count, span=span)

    def _batches(self, span: Span, _batches: Token, mode: Token) -> Node:
        return tree.Batches(self.choice(mode), span=span)

    def _optimizer_state(self, span: Span, _state: Token, mode: Token) -> Node:
        return tree.OptimizerState(self.choice(mode), span=span)

    # ------------------------------------------------------------ assess

    def _assess(self, span: Span, keyword: Token, model: Name, block: _Several) -> Node:
        return tree.Assess(model, block.nodes, span=span, **self.opening(keyword))

    def _rank_by(self, span: Span, _rank: Token, _by: Token, keys: _Several) -> Node:
        return tree.RankBy(keys.nodes, span=span)

    def _prioritize(
        self, span: Span, _prioritize: Token, objectives: _Several, *_words: Token
    ) -> Node:
        return tree.Prioritize(objectives.nodes, span=span)

    def _guard(
        self, span: Span, _guard: Token, condition: Expression, proven: Token | None
    ) -> Node:
        return tree.Guard(condition, proven is not None, span=span)

    # ------------------------------------------------------------ adapt

    def _adapt(self, span: Span, keyword: Token, model: Name, block: _Several) -> Node:
        return tree.Adapt(model, block.nodes, span=span, **self.opening(keyword))

    def _accept(
        self,
        span: Span,
        _accept: Token,
        _when: Token,
        aim: Name | _Words,
        _improves: Token,
        _by: Token | None,
        margin: Number | None,
        _with: Token | None,
        _confidence: Token | None,
        confidence: Amount | None,
        scope: _Words | None,
    ) -> Node:
        return tree.Accept(
            aim if isinstance(aim, Name) else None,
            margin,
            confidence,
            self.choice(scope.text) if scope is not None else None,
            span=span,
        )

    def _aim(self, span: Span, first: Name | Token, objective: Token | None = None) -> Node:
        if isinstance(first, Name):
            return first
        # an objective may be called so
        return (
            self._name(span, first) if objective is None else self._words_of(span, first, objective)
        )

    def _rule(self, span: Span, _rule: Token, rule: Name | Call) -> Node:
        return tree.Rule(rule, span=span)

    def _evaluate(self, span: Span, _evaluate: Token, amount: Amount) -> Node:
        return tree.Evaluate(amount, span=span)

    def _move(self, span: Span, _move: Token, *mode: Token) -> Node:
        return tree.Move(self.choice(*mode), span=span)

    def _after(
        self,
        span: Span,
        _after: Token,
        amount: Amount,
        _without: Token,
        _progress: Token,
        block: _Several,
    ) -> Node:
        return tree.After(amount, block.nodes, span=span)

    def _grow(self, span: Span, _grow: Token, _by: Token, grow: tree.Grow) -> Node:
        return attrs.evolve(grow, span=span)

    def _grow_or(self, span: Span, *parts: Any) -> Node:
        operators = _nodes(parts)
        return tree.Grow(operators, "or" if len(operators) > 1 else "only", span=span)

    def _grow_best(self, span: Span, _best: Token, _of: Token, *parts: Any) -> Node:
        return tree.Grow(_nodes(parts), "best of", span=span)

    def _limit(self, span: Span, _limit: Token, condition: Expression) -> Node:
        return tree.Limit(condition, span=span)

    def _lengthen(
        self,
        span: Span,
        _lengthen: Token,
        _exploration: Token,
        factor: Number,
        _up: Token | None,
        _to: Token | None,
        cap: Amount | None,
    ) -> Node:
        return tree.Lengthen(factor, cap, span=span)

    def _restart(self, span: Span, *_words: Token) -> Node:
        return tree.Restart(span=span)

    def _repeat(self, span: Span, _repeat: Token, amount: Amount, *_words: Token) -> Node:
        return tree.Repeat(amount, span=span)

    def _stop(self, span: Span, *parts: Any) -> Node:
        return tree.Stop(_nodes(parts), span=span)

    def _stop_after(self, span: Span, _after: Token, amount: Amount) -> Node:
        return tree.StopAfter(amount, span=span)

    def _stop_when(self, span: Span, _when: Token, condition: Expression) -> Node:
        return tree.StopWhen(condition, span=span)

    def _stop_targets(self, span: Span, *_words: Token) -> Node:
        return tree.StopTargets(span=span)

    # ------------------------------------------------------------ types

    def _type(self, span: Span, head: Name, rest: Any = None) -> Node:
        if isinstance(rest, Name):
            return TypeExpression(head, of=rest, span=span)
        return TypeExpression(head, None if rest is None else rest.nodes, span=span)

    def _field_of(self, span: Span, _open: Token, field: Name, _close: Token) -> Name:
        del span
        return field

    # ------------------------------------------------------------ expressions

    def _pipe(self, span: Span, *parts: Any) -> Node:
        return tree.Pipe(_nodes(parts), span=span)

    def _chain(self, span: Span, first: Any, *rest: Any) -> Node | _Missing:
        """`a + b - c`, from the left."""
        del span
        left = first
        for operator, right in zip(rest[::2], rest[1::2], strict=True):
            operator_span, span = self.place(operator), self.place(left).to(self.place(right))
            node = tree.Binary(str(operator), left, right, operator_span=operator_span, span=span)
            measured = self.measured(node, [left, right])
            if isinstance(measured, _Missing):
                return measured
            left = measured
        return cast(Node, left)

    _disjunction = _conjunction = _comparison = _sum = _product = _power = _chain

    def _unary(self, span: Span, operator: Token, operand: Expression) -> Node:
        return tree.Unary(str(operator), operand, span=span)

    def _range(self, span: Span, low: Expression, _to: Token, high: Expression) -> Node:
        return Range(low, high, span=span)

    def _parenthesized(
        self, span: Span, _open: Token, expression: Expression, _close: Token
    ) -> Expression:
        # They belong to the text of whatever this is a part of, not to its own.
        self.outer_spans[id(expression)] = span
        return expression

    def _list(self, span: Span, *parts: Any) -> Node:
        return tree.ListOf(_nodes(parts), span=span)

    def _call(self, span: Span, function: Token, *parts: Any) -> Node:
        name = Name(str(function), span=self.place(function))
        return Call(name, _nodes(parts), span=span)

    def _argument(self, span: Span, *parts: Any) -> Node:
        if len(parts) == 1:
            return tree.Argument(None, parts[0], span=span)
        name, _colon, value = parts
        return tree.Argument(name, value, span=span)

    def _member(self, span: Span, token: Token) -> Node:
        owner, name = token.split(".")
        middle = span.start + len(owner)
        return tree.Member(
            Name(owner, span=attrs.evolve(span, end=middle)),
            Name(name, span=attrs.evolve(span, start=middle + 1)),
            span=span,
        )

    def _decay_only(self, span: Span, _decay: Token, _only: Token, what: Name) -> Node:
        return tree.DecayOnly(what, span=span)

    # ------------------------------------------------------------ words

    def _name(self, span: Span, token: Token) -> Name:
        return Name(str(token), span=span)

    _word = _argument_name = _name

    _field_name = _name

    def _declared(self, span: Span, token: Token) -> Name:
        if token in RESERVED:
            self.diagnostics.append(errors.reserved_word(span))
        return self._name(span, token)

    def _string(self, span: Span, token: Token) -> Node:
        return String(
            _ESCAPE.sub(lambda match: self.unescaped(match, span), token[1:-1]), span=span
        )

    def unescaped(self, match: re.Match[str], string: Span) -> str:
        code_point, char = match.groups()
        if code_point is not None:
            return chr(int(code_point, 16))
        if char not in _ESCAPED:
            start = string.start + 1 + match.start()
            escape = Span(self.source, start, start + len(match[0]))
            self.diagnostics.append(errors.unknown_escape(escape))
        return _ESCAPED.get(char, char)

    def _number(self, span: Span, token: Token, unit: Token | None = None) -> Number:
        if unit is not None:
            unit_span = self.place(unit)
            return self.numeral(token, span, str(unit), unit_span)
        if token[-1] in "%x":
            sign = attrs.evolve(span, start=span.end - 1)
            return self.numeral(token[:-1], span, token[-1], sign)
        return self.numeral(token, span)

    def _quantity(self, span: Span, param: Name, unit: Token | None) -> Quantity:
        if unit is None:
            return Quantity(param, span=span)
        return Quantity(param, str(unit), self.place(unit), span=span)

    def numeral(
        self, digits: str, span: Span, unit: str | None = None, unit_span: Span | None = None
    ) -> Number:
        """The number that the digits write, 0 where it is beyond what a float holds."""
        digits = digits.replace("_", "")
        value: int | float = float(digits)
        if math.isinf(value):
            self.diagnostics.append(errors.number_too_large(span))
            value = 0
        elif digits.isdigit():
            # Python refuses to read thousands of digits, and leading zeros count.
            value = int(digits.lstrip("0") or "0")
        return Number(value, unit, unit_span, span=span)

    def _signed(self, span: Span, *parts: Any) -> Number:
        number: Number = parts[-1]
        return attrs.evolve(
            number, value=-number.value if len(parts) > 1 else number.value, span=span
        )


def _is_placeholder(child: object) -> bool:
    return isinstance(child, Token) and child == "" and child.type in PLACEHOLDERS


# What recovery may put in where a part is missing: a token without text.
PLACEHOLDERS = ("NAME", "NUMBER", "STRING")


def _nodes(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(part for part in parts if isinstance(part, Node))


def _all(several: _Several | None) -> tuple[Any, ...]:
    return () if several is None else several.nodes
