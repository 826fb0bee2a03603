"""A checked program: every name resolved, every type, level and gradient known.

Whoever holds a `TypedProgram` asks none of the checker's questions again. It still has the spec's
own shape: a value bound by `let` is referred to, a loss with parameters stands once. Lowering
(plan/lower.py) writes all of that out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs

from ev3lang.catalog.signature import Level, Type, Value
from ev3lang.check import bounds
from ev3lang.source import Span

span_field = attrs.field(eq=False, repr=False, kw_only=True)


# ---------------------------------------------------------------- expressions


@attrs.frozen(eq=False)
class Facts:
    """What is known of a value beside what it is.

    gradient  the models through which a gradient flows from it
    data      the data block whose fields it reads, None for none
    range     inclusive bounds of one value, where known
    is_token_mean  whether it is one sequence's part in a mean over all tokens, which has a
              meaning in sums and multiples alone
    """

    type: Type
    level: Level
    gradient: frozenset[str] = frozenset()
    data: str | None = None
    range: tuple[float, float] | None = None
    is_token_mean: bool = False


@attrs.frozen(eq=False)
class Constant:
    value: int | float
    facts: Facts
    span: Span = span_field


@attrs.frozen(eq=False)
class Parameter:
    """A parameter of the loss whose body it stands in."""

    name: str
    facts: Facts
    span: Span = span_field


@attrs.frozen(eq=False)
class Field:
    name: str
    facts: Facts
    span: Span = span_field


@attrs.frozen(eq=False)
class Forward:
    """A model applied to its inputs."""

    model: str
    inputs: tuple[Expr, ...]
    facts: Facts
    span: Span = span_field


@attrs.frozen(eq=False)
class Weights:
    """A model's weights, the argument of a function of a model."""

    model: str
    facts: Facts
    span: Span = span_field


@attrs.frozen(eq=False)
class Apply:
    """A function or operator of the catalogue; options may still hold a loss's parameters.

    One of the user's is called `extern NAME`, so that no name in the catalogue is meant.
    """

    function: str
    inputs: tuple[Expr, ...]
    options: tuple[tuple[str, Value | Expr | None], ...]
    facts: Facts
    span: Span = span_field

    @property
    def is_extern(self) -> bool:
        """Whether the function is the user's own."""
        return self.function.startswith("extern ")


@attrs.frozen(eq=False)
class Reference:
    """A declared value by its name: a let, a loss with its arguments, an objective, a metric."""

    name: str
    arguments: tuple[tuple[str, Expr], ...]
    facts: Facts
    span: Span = span_field


Expr: TypeAlias = Constant | Parameter | Field | Forward | Weights | Apply | Reference


# ---------------------------------------------------------------- declarations


@attrs.frozen(eq=False)
class FieldInfo:
    """A field; `value` is what a derived one is computed from, None for one of the source.

    origin   its name in a file where that is another, or the columns (first, last) it is made of
    """

    name: str
    type: Type
    value: Expr | None = None
    origin: str | tuple[int, int] | None = None


@attrs.frozen(eq=False)
class ShareInfo:
    """A share of the whole or, for a file with splits of its own, of one of its parts."""

    part: str | None
    fraction: float


@attrs.frozen(eq=False)
class SplitInfo:
    """`shares` by use; `by` is the field that `method` reads, None for a plain draw.

    block    examples in a row that count as one where the split is ordered
    groups   how many groups there are and how many examples the largest has, where that is stated
    is_pooled   whether the whole is all parts of a file as one, which the spec has to say
    """

    shares: Mapping[str, ShareInfo]
    method: Literal["stratified", "grouped", "ordered"] | None
    by: str | None
    seed: int
    block: int | None = None
    groups: int | None = None
    largest: int | None = None
    is_pooled: bool = False

    @property
    def has_units(self) -> bool:
        """Whether several examples may count as one: groups, or blocks of time."""
        return self.method == "grouped" or self.block is not None


@attrs.frozen(eq=False)
class NormalizeInfo:
    field: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


@attrs.frozen(eq=False)
class OperationInfo:
    """A strategy, growth operator or augmentation with all its options.

    An option may be a growth operator itself.
    """

    name: str
    options: tuple[tuple[str, Value | OperationInfo | None], ...]
    span: Span = span_field


@attrs.frozen(eq=False)
class AugmentInfo:
    field: str
    operations: tuple[OperationInfo, ...]


@attrs.frozen(eq=False)
class KnownInfo:
    """A field that part of explore shows: `count` examples of a draw, or those of a bool field."""

    field: str
    count: int | None
    mask: str | None


SPLITS = ("explore", "assess", "adapt", "report")
"""What examples are used for, each for one: gradients, ranking, accepting, the final report."""


def split_sizes(rows: int, shares: Sequence[float]) -> tuple[int, ...]:
    """How many examples each split gets: its share of the rows, rounded by largest remainder.

    Shares that sum to 1 use every row; of equal remainders the earlier split is rounded up. So
    1797 rows in 60%, 15%, 15%, 10% are 1078, 270, 269 and 180.
    """
    quotas = [rows * share for share in shares]
    # a share such as 0.15 is not exact in binary: a quota that is whole but for that stays whole
    floors = [int(quota + 1e-9) for quota in quotas]
    left = round(sum(quotas)) - sum(floors)
    by_remainder = sorted(range(len(shares)), key=lambda i: (round(floors[i] - quotas[i], 9), i))
    for i in by_remainder[:left]:
        floors[i] += 1
    return tuple(floors)


@attrs.frozen
class BatchInfo:
    """Examples of a batch, and how many parts of it have their gradients one after the other."""

    size: int
    parts: int = 1


@attrs.frozen(eq=False)
class DataInfo:
    """A data block; `rows` counts the examples of each part of a file, None for the whole."""

    name: str
    source: str
    options: tuple[tuple[str, Value | None], ...]
    fields: Mapping[str, FieldInfo]
    split: SplitInfo | None
    normalized: tuple[NormalizeInfo, ...]
    rows: Mapping[str | None, int]
    batch: int
    parts: int = 1
    augmented: tuple[AugmentInfo, ...] = ()
    known: tuple[KnownInfo, ...] = ()

    @property
    def is_endless(self) -> bool:
        return self.split is None

    def examples(self, use: str) -> int | None:
        """How many examples a use has, None where the spec doesn't say."""
        if self.split is None:
            return None
        part = self.split.shares[use].part
        rows = self.rows.get(part)
        if self.split.is_pooled and rows is None and self.rows:
            rows = sum(self.rows.values())
        if rows is None:
            return None
        sharing = {key: each for key, each in self.split.shares.items() if each.part == part}
        sizes = split_sizes(rows, [each.fraction for each in sharing.values()])
        return dict(zip(sharing, sizes, strict=True))[use]

    def units(self, use: str) -> int | None:
        """How many examples, groups or blocks a use has; None where the spec doesn't say."""
        split = self.split
        if split is None or not split.has_units:
            return self.examples(use)
        if split.block is not None:
            examples = self.examples(use)
            return None if examples is None else bounds.blocks(examples, split.block)
        if split.groups is None or split.shares[use].part is not None:
            return None
        return round(split.groups * split.shares[use].fraction)

    @property
    def fullness(self) -> float:
        """How full a group is in the mean, as a share of the largest, as far as that is stated."""
        split = self.split
        if split is None:
            return 1.0
        return bounds.fullness(self.rows.get(None), split.groups, split.largest)


@attrs.frozen(eq=False)
class LayerInfo:
    """A layer with its example shapes; `inner` is the pipe that `residual` and `repeat` hold."""

    name: str
    options: tuple[tuple[str, Value | None], ...]
    inner: tuple[LayerInfo, ...]
    input: tuple[int, ...]
    output: tuple[int, ...]


@attrs.frozen(eq=False)
class ModelInfo:
    """A network.

    inputs   the types of the arguments that are joined along the last axis
    module   the user's own class in the place of layers
    """

    name: str
    inputs: tuple[Type, ...]
    input: tuple[int, ...]
    output: Type
    layers: tuple[LayerInfo, ...]
    is_frozen: bool
    module: ModuleInfo | None = None


@attrs.frozen(eq=False)
class ModuleInfo:
    """A class of the user's, `package.module:Class`, and what it is built with."""

    target: str
    options: tuple[tuple[str, Value], ...]


@attrs.frozen(eq=False)
class TrainedByInfo:
    """Training before the run that a model's weights come from."""

    name: str
    loss: Expr
    optimizer: OptimizerInfo
    length: int
    unit: Literal["epochs", "steps"]


@attrs.frozen(eq=False)
class CheckpointInfo:
    """A file or folder that a model's weights come from."""

    path: str


StartInfo: TypeAlias = TrainedByInfo | CheckpointInfo


@attrs.frozen(eq=False)
class ParameterInfo:
    name: str
    type: Type
    default: Constant | None


@attrs.frozen(eq=False)
class LossInfo:
    name: str
    parameters: tuple[ParameterInfo, ...]
    value: Expr


Direction: TypeAlias = Literal["maximize", "minimize"]


@attrs.frozen(eq=False)
class ObjectiveInfo:
    """What is judged by: `clips`, whether an example's value can lie beyond its stated range."""

    name: str
    direction: Direction
    value: Expr
    target: float | None
    range: tuple[float, float] | None
    clips: bool = False


@attrs.frozen(eq=False)
class MetricInfo:
    name: str
    value: Expr
    range: tuple[float, float] | None


@attrs.frozen(eq=False)
class ExternInfo:
    """A Python function of the user's, `package.module:name`, as declared."""

    name: str
    target: str
    is_host: bool
    inputs: tuple[Type, ...]
    output: Type
    span: Span = span_field


@attrs.frozen(eq=False)
class LinkInfo:
    """A link of an optimizer's chain, or a schedule in an option's place."""

    name: str
    options: tuple[tuple[str, Value | LinkInfo | None], ...]


@attrs.frozen(eq=False)
class OptimizerInfo:
    """A chain under the name the report gives it: the declared one, or the chain as written."""

    name: str
    links: tuple[LinkInfo, ...]
    decays: Literal["all", "matrices"] = "all"


# ---------------------------------------------------------------- phases


@attrs.frozen(eq=False)
class Descent:
    """One loss with one optimizer: a candidate. `name` is the loss in normal form."""

    name: str
    loss: Expr
    optimizer: OptimizerInfo
    steps: int


@attrs.frozen(eq=False)
class Evolution:
    """Generations of a population that an objective selects: a candidate."""

    name: str
    objective: ObjectiveInfo
    strategy: OperationInfo
    generations: int


@attrs.frozen(eq=False)
class Perturbation:
    """Weights with noise, as many candidates as draws. `name` is the noise in normal form."""

    name: str
    noise: OperationInfo
    draws: int


@attrs.frozen(eq=False)
class Mutation:
    """An option of the optimizers', and the factors one of which each descent draws."""

    option: str
    factors: tuple[float, ...]


@attrs.frozen(eq=False)
class ExploreInfo:
    """The candidates of an iteration; `averages` counts the accepted models of each average."""

    models: tuple[str, ...]
    name: str
    descents: tuple[Descent, ...]
    batches: Literal["shared", "fresh"]
    state: Literal["lasting", "reset"]
    batch: BatchInfo | None
    evolutions: tuple[Evolution, ...] = ()
    perturbations: tuple[Perturbation, ...] = ()
    averages: tuple[int, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    span: Span = span_field


@attrs.frozen(eq=False)
class ComparisonInfo:
    objective: str
    operator: Literal["<", "<=", ">", ">=", "==", "!="]
    value: float


@attrs.frozen(eq=False)
class StopInfo:
    iterations: int | None
    seconds: float | None
    any_of: tuple[tuple[ComparisonInfo, ...], ...]
    when_targets_met: bool


@attrs.frozen(eq=False)
class RankingInfo:
    """How assess orders candidates.

    kind   `then`: by the keys in order of importance; `pareto`: by all of them at once;
           `priority`: by the one furthest from its target
    """

    kind: Literal["then", "pareto", "priority"]
    keys: tuple[ObjectiveInfo, ...]


@attrs.frozen(eq=False)
class GuardInfo:
    """What no accepted model may break: its gain has to pass a margin.

    measure    what is compared, with the direction that is better
    factor     how much of accepted's own value counts; the gain is the measure less that, turned
               so that more is better
    """

    name: str
    measure: ObjectiveInfo
    factor: float
    margin: float
    is_strict: bool
    is_proven: bool


@attrs.frozen(eq=False)
class LimitInfo:
    """A fact of the explored models' shapes, and what it may be at most after growth.

    name       the condition in normal form
    is_strict  whether `most` itself is too much
    """

    name: str
    value: Expr
    most: float
    is_strict: bool
    span: Span = span_field


@attrs.frozen(eq=False)
class GrowingInfo:
    """The operators that make the explored models larger, and what limits them.

    choice  of several: `or`, one is drawn each time; `best of`, each is tried
    """

    operators: tuple[OperationInfo, ...]
    choice: Literal["only", "or", "best of"]
    limits: tuple[LimitInfo, ...]
    span: Span = span_field


@attrs.frozen(eq=False)
class PatienceInfo:
    """What follows so many iterations without progress.

    lengthen   the factor that roll-outs become longer by; None: they stay
    most       steps that they become at most; None without `lengthen`
    growing    None: models stay as they are
    restarts   whether the search starts again from the smallest models where limits stop growth
    """

    iterations: int
    lengthen: float | None
    most: int | None
    growing: GrowingInfo | None = None
    restarts: bool = False


@attrs.frozen(eq=False)
class ArchiveInfo:
    """The best accepted model for each value of a fact of its shapes.

    model  the explored model that its members are of
    best   by which a model takes the place of another
    """

    name: str
    model: str
    best: ObjectiveInfo
    per: Expr


@attrs.frozen(eq=False)
class AdaptInfo:
    """When a model is accepted and when the run ends.

    objectives   what has to improve; several where the leading one has to
    margin       by how much
    scope        what the confidence is of: the run, or each decision
    rule         in force, whether it was written or chosen
    widths       of rule `reference`, in standard errors: for assess and for decisions
    runs         those of the sweep, which share the confidence
    passes       how often the run grows from the smallest models before it ends; None: growth
                 ends nothing
    """

    objectives: tuple[ObjectiveInfo, ...]
    margin: float
    confidence: float
    scope: Literal["over the run", "each time"]
    rule: Literal["gate", "challenger", "reference"]
    widths: tuple[float, float] | None
    move: Literal["unless worse", "when better", "always"]
    evaluate: int | None
    stop: StopInfo
    patience: PatienceInfo | None = None
    runs: int = 1
    passes: int | None = None

    @property
    def delta(self) -> float:
        """The chance to be wrong that the run, or each decision, may spend.

        The chance that any run of a sweep errs is at most the sum of theirs, whatever they have in
        common (Boole's inequality), so each has an equal part. What bounds no run has no parts.
        """
        # In decimal: 0.05 rather than 0.050000000000000044.
        whole = round(1 - self.confidence, 12)
        return whole / self.runs if self.scope == "over the run" else whole


@attrs.frozen(eq=False)
class ShownInfo:
    name: str
    value: Expr


@attrs.frozen(eq=False)
class BaselineInfo:
    name: str
    loss_name: str
    loss: Expr
    optimizer: OptimizerInfo
    is_same_lineage: bool


@attrs.frozen(eq=False)
class TypedProgram:
    """A whole experiment, checked.

    values   what each let, loss, objective and metric stands for, by name
    written_out  gives an expression of the program without names: shared parts stay shared
    starts   where weights come from that don't start fresh, by the model's name
    """

    name: str
    seed: int
    data: DataInfo
    models: Mapping[str, ModelInfo]
    values: Mapping[str, Expr]
    written_out: Callable[[Expr], Expr]
    losses: Mapping[str, LossInfo]
    objectives: Mapping[str, ObjectiveInfo]
    metrics: Mapping[str, MetricInfo]
    explore: ExploreInfo
    ranking: RankingInfo
    guards: tuple[GuardInfo, ...]
    adapt: AdaptInfo
    shown: tuple[ShownInfo, ...]
    baselines: tuple[BaselineInfo, ...]
    precision: Literal["f32", "bf16"] = "f32"
    starts: Mapping[str, StartInfo] = MappingProxyType({})
    externs: Mapping[str, ExternInfo] = MappingProxyType({})
    archives: Mapping[str, ArchiveInfo] = MappingProxyType({})
