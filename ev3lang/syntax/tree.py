"""The syntax tree: what the text says, before anyone asks what it means.

Every node carries the span of its text. Spans don't take part in comparison, so that two texts of
one meaning give equal trees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from ev3lang.source import Span


@attrs.frozen(eq=False, repr=False)
class Node:
    """Anything with a place in the text.

    Comparison and words are here once for all nodes. attrs would write and compile them anew for
    each of a hundred classes, most of what importing this file costs, and every check begins so.
    """

    span: Span = attrs.field(eq=False, repr=False, kw_only=True)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), self._compared()))

    def __repr__(self) -> str:
        shown = [each.name for each in attrs.fields(type(self)) if each.repr]
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__name__}({inside})"

    def _compared(self) -> tuple[object, ...]:
        return tuple(getattr(self, each.name) for each in attrs.fields(type(self)) if each.eq)


# ---------------------------------------------------------------- expressions


@attrs.frozen(eq=False, repr=False)
class Name(Node):
    """`accuracy`; as an expression, whatever is declared under that name."""

    text: str


@attrs.frozen(eq=False, repr=False)
class Number(Node):
    """`10`, `1e-3`, `95%`, `2x`, `1 pp`, `100 steps`.

    value  as written, so 95 for `95%`; an int where no fraction or exponent is written
    unit   `%`, `x`, `pp`, `steps`, … as written, or None
    """

    value: int | float
    unit: str | None = None
    unit_span: Span | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(eq=False, repr=False)
class Quantity(Node):
    """`rollout steps`: as many as a param says, in the unit that is written behind it, or None."""

    param: Name
    unit: str | None = None
    unit_span: Span | None = attrs.field(default=None, eq=False, repr=False)


Amount: TypeAlias = Number | Quantity


@attrs.frozen(eq=False, repr=False)
class String(Node):
    """`"data/images.npz"`, without its quotes and with its escapes undone."""

    value: str


@attrs.frozen(eq=False, repr=False)
class ListOf(Node):
    """`[512, 512]`."""

    items: tuple[Expression, ...]


@attrs.frozen(eq=False, repr=False)
class Range(Node):
    """`0 to 3`, both ends in."""

    low: Expression
    high: Expression


@attrs.frozen(eq=False, repr=False)
class Unary(Node):
    """`-x`, `not x`."""

    operator: str
    operand: Expression


@attrs.frozen(eq=False, repr=False)
class Binary(Node):
    """`a + b`, `a == b`, `a in b`, `a and b`, `a mod b`."""

    operator: str
    left: Expression
    right: Expression
    operator_span: Span = attrs.field(eq=False, repr=False, kw_only=True)


@attrs.frozen(eq=False, repr=False)
class Member(Node):
    """`digits.image`: a field of one data block where two share the name."""

    owner: Name
    name: Name


@attrs.frozen(eq=False, repr=False)
class Argument(Node):
    """`64` or `momentum: 0.9` in a call."""

    name: Name | None
    value: Expression


@attrs.frozen(eq=False, repr=False)
class Call(Node):
    """`dense(64)`, `sklearn.digits()`; a dotted function is one name with its dot."""

    function: Name
    arguments: tuple[Argument, ...]


@attrs.frozen(eq=False, repr=False)
class Pipe(Node):
    """`flatten | dense(64) | relu`, two stages or more."""

    stages: tuple[Expression, ...]


@attrs.frozen(eq=False, repr=False)
class DecayOnly(Node):
    """`decay only matrices`, a link of an optimizer's pipe."""

    what: Name


Expression: TypeAlias = (
    Name | Number | String | ListOf | Range | Unary | Binary | Member | Call | Pipe | DecayOnly
)


@attrs.frozen(eq=False, repr=False)
class TypeExpression(Node):
    """`f32[28, 28, 1]`, `class[10]`, `logits(label)`, `real`.

    dimensions  what stands in `[]`, None where there are no brackets
    of          the field in `logits(label)`: as many scores as the field has classes
    """

    head: Name
    dimensions: tuple[Number | Name, ...] | None = None
    of: Name | None = None


# ---------------------------------------------------------------- small parts


@attrs.frozen(eq=False, repr=False)
class Parameter(Node):
    """`smooth: ratio = 0%`, of a loss."""

    name: Name
    type: TypeExpression
    default: Expression | None


@attrs.frozen(eq=False, repr=False)
class Setting(Node):
    """`seed 7` or `precision f32` in an experiment."""

    name: Name
    value: Expression


@attrs.frozen(eq=False, repr=False)
class Batch(Node):
    """`batch 512 in 4 parts`."""

    size: Amount
    parts: Amount | None = None


# ---------------------------------------------------------------- data


@attrs.frozen(eq=False, repr=False)
class Columns(Node):
    """`from columns 1 to 30`."""

    range: Range


@attrs.frozen(eq=False, repr=False)
class FieldItem(Node):
    """`image: u8[32, 32, 3] from "batch"`: a field of a file."""

    name: Name
    type: TypeExpression
    origin: String | Columns | None = None


@attrs.frozen(eq=False, repr=False)
class RowCount(Node):
    """`50_000 in train`."""

    count: Number
    part: Name | None = None


@attrs.frozen(eq=False, repr=False)
class RowsItem(Node):
    """`rows 50_000 in train, 10_000 in test`."""

    counts: tuple[RowCount, ...]


@attrs.frozen(eq=False, repr=False)
class Share(Node):
    """`explore from train 90%`: a use, the file's own part, how much of it (None: all)."""

    use: Name
    part: Name | None
    amount: Number | None


@attrs.frozen(eq=False, repr=False)
class Blocks(Node):
    """`blocks of 50 examples`: so many in a row count as one."""

    size: Amount


@attrs.frozen(eq=False, repr=False)
class Groups(Node):
    """`300 groups of up to 40 examples`: how many groups there are, and the largest."""

    count: Amount
    largest: Amount | None = None


@attrs.frozen(eq=False, repr=False)
class SplitItem(Node):
    """`split explore 60%, … grouped by patient in 300 groups seed 3`."""

    shares: tuple[Share, ...]
    method: Literal["stratified", "grouped", "ordered"] | None = None
    by: Name | None = None
    seed: Number | None = None
    units: Blocks | Groups | None = None


@attrs.frozen(eq=False, repr=False)
class NormalizeItem(Node):
    """`normalize image mean [0.5] std [0.2]`."""

    fields: tuple[Name, ...]
    mean: Expression | None = None
    std: Expression | None = None


@attrs.frozen(eq=False, repr=False)
class AugmentItem(Node):
    """`augment image with shift(1 px), flip_horizontal`."""

    field: Name
    operations: tuple[Expression, ...]


@attrs.frozen(eq=False, repr=False)
class DeriveItem(Node):
    """`derive even = label mod 2 == 0 as class[2]`."""

    name: Name
    value: Expression
    type: TypeExpression | None = None


@attrs.frozen(eq=False, repr=False)
class KnownItem(Node):
    """`shown known for 100 examples`, or `shown known where has_label` by the file's mask."""

    field: Name
    amount: Amount | None = None
    mask: Name | None = None


DataItem: TypeAlias = (
    FieldItem | RowsItem | SplitItem | NormalizeItem | AugmentItem | DeriveItem | KnownItem | Batch
)


# ---------------------------------------------------------------- models


@attrs.frozen(eq=False, repr=False)
class TrainedBy(Node):
    """`trained by descend teach with adamw(1e-3) for 30 epochs`."""

    loss: Expression
    optimizer: Expression
    amount: Amount


@attrs.frozen(eq=False, repr=False)
class FromCheckpoint(Node):
    """`from checkpoint("teacher.ckpt")`."""

    path: String


@attrs.frozen(eq=False, repr=False)
class Frozen(Node):
    """`frozen`."""


ModelItem: TypeAlias = TrainedBy | FromCheckpoint | Frozen


@attrs.frozen(eq=False, repr=False)
class ModelInput(Node):
    """`image`, `[age, income]` (joined) or `f32[64]`: fields or a type, never both."""

    fields: tuple[Name | Member, ...] = ()
    type: TypeExpression | None = None
    is_list: bool = False


# ---------------------------------------------------------------- explore


@attrs.frozen(eq=False, repr=False)
class Descend(Node):
    """`descend hard, soft(T: 4) with calm, eager for 100 steps`."""

    losses: tuple[Expression, ...]
    optimizers: tuple[Expression, ...]
    amount: Amount


@attrs.frozen(eq=False, repr=False)
class Evolve(Node):
    """`evolve f1_score with evolution_strategy(population: 32) for 10 generations`."""

    objective: Name
    strategy: Expression
    amount: Amount


@attrs.frozen(eq=False, repr=False)
class Perturb(Node):
    """`perturb with gaussian(0.01) for 2 draws`."""

    strategy: Expression
    amount: Amount


@attrs.frozen(eq=False, repr=False)
class Mutate(Node):
    """`mutate learning_rate by 0.8x or 1.25x`."""

    hyperparameter: Name
    factors: tuple[Number, ...]


@attrs.frozen(eq=False, repr=False)
class Average(Node):
    """`average last 5 accepted`."""

    count: Amount


@attrs.frozen(eq=False, repr=False)
class Batches(Node):
    """`batches shared` or `batches fresh`."""

    mode: Literal["shared", "fresh"]


@attrs.frozen(eq=False, repr=False)
class OptimizerState(Node):
    """`state lasting` (the default) or `state reset`: a fresh one for every roll-out."""

    mode: Literal["lasting", "reset"]


ExploreItem: TypeAlias = (
    Descend | Evolve | Perturb | Mutate | Average | Batches | OptimizerState | Batch
)


# ---------------------------------------------------------------- assess


@attrs.frozen(eq=False, repr=False)
class RankBy(Node):
    """`rank by accuracy then size`: one expression, or several in order of importance."""

    keys: tuple[Expression, ...]


@attrs.frozen(eq=False, repr=False)
class Prioritize(Node):
    """`prioritize a, b by distance to target`."""

    objectives: tuple[Name, ...]


@attrs.frozen(eq=False, repr=False)
class Guard(Node):
    """`guard top3 >= accepted - 1 pp proven`."""

    condition: Expression
    is_proven: bool = False


AssessItem: TypeAlias = RankBy | Prioritize | Guard


# ---------------------------------------------------------------- adapt


@attrs.frozen(eq=False, repr=False)
class Accept(Node):
    """`accept when accuracy improves by 0.5 pp with confidence 95% over the run`.

    objective  None for `leading objective`
    scope      None where it isn't written
    """

    objective: Name | None
    margin: Number | None = None
    confidence: Amount | None = None
    scope: Literal["over the run", "each time"] | None = None


@attrs.frozen(eq=False, repr=False)
class Rule(Node):
    """`rule gate`, `rule reference(assess: 0.5, decide: 1.96)`."""

    rule: Name | Call

    @property
    def name(self) -> Name:
        """What the rule is called."""
        return self.rule.function if isinstance(self.rule, Call) else self.rule


@attrs.frozen(eq=False, repr=False)
class Evaluate(Node):
    """`evaluate 8 batches`."""

    amount: Amount


@attrs.frozen(eq=False, repr=False)
class Move(Node):
    """`move unless worse`, `move when better`, `move always`."""

    mode: Literal["unless worse", "when better", "always"]


@attrs.frozen(eq=False, repr=False)
class Grow(Node):
    """`grow by widen(2x) or deepen(1)`, `grow by best of widen(2x), deepen(1)`."""

    operators: tuple[Expression, ...]
    choice: Literal["only", "or", "best of"]


@attrs.frozen(eq=False, repr=False)
class Limit(Node):
    """`limit size <= 200_000`."""

    condition: Expression


@attrs.frozen(eq=False, repr=False)
class Lengthen(Node):
    """`lengthen exploration 1.5x up to 400 steps`."""

    factor: Number
    cap: Amount | None = None


@attrs.frozen(eq=False, repr=False)
class Restart(Node):
    """`restart from smallest`."""


AfterItem: TypeAlias = Grow | Limit | Lengthen | Restart


@attrs.frozen(eq=False, repr=False)
class After(Node):
    """`after 5 iterations without progress { … }`."""

    amount: Amount
    items: tuple[AfterItem, ...]


@attrs.frozen(eq=False, repr=False)
class Repeat(Node):
    """`repeat 5 passes from smallest`."""

    amount: Amount


@attrs.frozen(eq=False, repr=False)
class StopAfter(Node):
    """`after 60 iterations`, `after 20 min`."""

    amount: Amount


@attrs.frozen(eq=False, repr=False)
class StopWhen(Node):
    """`when accuracy >= 98%`."""

    condition: Expression


@attrs.frozen(eq=False, repr=False)
class StopTargets(Node):
    """`when all targets met`."""


@attrs.frozen(eq=False, repr=False)
class Stop(Node):
    """`stop after 60 iterations or when accuracy >= 98%`."""

    conditions: tuple[StopAfter | StopWhen | StopTargets, ...]


AdaptItem: TypeAlias = Accept | Rule | Evaluate | Move | After | Repeat | Stop


# ---------------------------------------------------------------- report


@attrs.frozen(eq=False, repr=False)
class Show(Node):
    """`show accuracy, confusion_matrix(argmax(guess), label)`."""

    values: tuple[Expression, ...]


@attrs.frozen(eq=False, repr=False)
class Baseline(Node):
    """`baseline plain = descend hard with eager same lineage`."""

    name: Name
    loss: Expression
    optimizer: Expression
    is_same_lineage: bool = False


ReportItem: TypeAlias = Show | Baseline


@attrs.frozen(eq=False, repr=False)
class Axis(Node):
    """`width in [16, 32]` in a sweep."""

    name: Name
    values: Expression


# ---------------------------------------------------------------- declarations


@attrs.frozen(eq=False, repr=False)
class Declaration(Node):
    """A top-level statement.

    keyword_span  the word that opens it: what to underline when the whole is at fault
    documentation the comment lines directly above it, without their `#`, or None
    """

    keyword_span: Span = attrs.field(eq=False, repr=False, kw_only=True)
    documentation: str | None = attrs.field(default=None, kw_only=True, eq=False, repr=False)


@attrs.frozen(eq=False, repr=False)
class Experiment(Declaration):
    name: Name
    settings: tuple[Setting, ...]


@attrs.frozen(eq=False, repr=False)
class Param(Declaration):
    name: Name
    type: TypeExpression
    default: Expression | None


@attrs.frozen(eq=False, repr=False)
class Data(Declaration):
    name: Name
    origin: Expression
    items: tuple[DataItem, ...]


@attrs.frozen(eq=False, repr=False)
class Model(Declaration):
    """`layers` is None where the network is a user's own class, `from nnx(…)`, in `module`."""

    name: Name
    input: ModelInput
    output: TypeExpression
    layers: Expression | None
    module: Call | None
    items: tuple[ModelItem, ...]


@attrs.frozen(eq=False, repr=False)
class Group(Declaration):
    name: Name
    members: tuple[Name, ...]


@attrs.frozen(eq=False, repr=False)
class Let(Declaration):
    name: Name
    value: Expression


@attrs.frozen(eq=False, repr=False)
class Loss(Declaration):
    name: Name
    parameters: tuple[Parameter, ...]
    value: Expression


@attrs.frozen(eq=False, repr=False)
class Objective(Declaration):
    name: Name
    direction: Literal["maximize", "minimize"]
    value: Expression
    target: Number | None = None
    range: Range | None = None


@attrs.frozen(eq=False, repr=False)
class Metric(Declaration):
    name: Name
    value: Expression
    range: Range | None = None


@attrs.frozen(eq=False, repr=False)
class Optimizer(Declaration):
    name: Name
    chain: Expression


@attrs.frozen(eq=False, repr=False)
class Archive(Declaration):
    """`archive peers of student { keep best accuracy per blocks }`."""

    name: Name
    model: Name
    best: Name
    per: Name


@attrs.frozen(eq=False, repr=False)
class Use(Declaration):
    path: String


@attrs.frozen(eq=False, repr=False)
class Extern(Declaration):
    name: Name
    inputs: tuple[TypeExpression, ...]
    output: TypeExpression
    target: String
    is_host: bool


@attrs.frozen(eq=False, repr=False)
class Allow(Declaration):
    code: String
    reason: String


@attrs.frozen(eq=False, repr=False)
class Explore(Declaration):
    model: Name
    items: tuple[ExploreItem, ...]


@attrs.frozen(eq=False, repr=False)
class Assess(Declaration):
    model: Name
    items: tuple[AssessItem, ...]


@attrs.frozen(eq=False, repr=False)
class Adapt(Declaration):
    model: Name
    items: tuple[AdaptItem, ...]


@attrs.frozen(eq=False, repr=False)
class Report(Declaration):
    items: tuple[ReportItem, ...]


@attrs.frozen(eq=False, repr=False)
class Sweep(Declaration):
    axes: tuple[Axis, ...]


# ---------------------------------------------------------------- the whole


@attrs.frozen(eq=False, repr=False)
class Comment(Node):
    """`# …` to the end of its line, as written.

    is_trailing  whether code stands before it on its line
    """

    text: str
    is_trailing: bool


@attrs.frozen(eq=False, repr=False)
class SyntaxTree(Node):
    """A whole file.

    edition   the number after `ev3`, None where the line is missing or unreadable
    comments  all of them in the order of the text, kept for the formatter
    """

    edition: Number | None
    declarations: tuple[Declaration, ...]
    comments: tuple[Comment, ...] = attrs.field(default=(), eq=False)


def children(node: Node) -> Iterator[Node]:
    """The nodes directly inside, in the order of their fields."""
    for field in attrs.fields(type(node)):
        value = getattr(node, field.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node))


def walk(node: Node) -> Iterator[Node]:
    """The node and all inside it, outer before inner."""
    yield node
    for child in children(node):
        yield from walk(child)
