"""A plan: everything a run computes, with all names resolved and all defaults filled in.

It is a value without behaviour, and the same for one meaning: two specs that differ in layout
alone give equal plans. The backend turns it into a program; the oracle in tests/ interprets it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Container, Iterator
from typing import Literal, TypeAlias, cast

import attrs

from ev3lang.catalog.signature import Level, Type, Value
from ev3lang.check.bounds import excess_scale
from ev3lang.plan.shared import OneOfEach, text

Comparison: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]

Options: TypeAlias = tuple[tuple[str, "Value | Link | Layers | Operation | None"], ...]
"""Every option of a built-in by name, in the catalogue's order, defaults filled in."""


# ---------------------------------------------------------------- expressions


@attrs.frozen(eq=False, repr=False)
class _Shared(metaclass=OneOfEach):
    """An expression: equal ones are one object, so a part that stands twice is there once."""

    def __repr__(self) -> str:
        texts: dict[Expr, str] = {}
        for part in inner_first(cast(Expr, self)):
            texts[part] = text(part, texts)
        return texts[cast(Expr, self)]


@attrs.frozen(eq=False, repr=False)
class Constant(_Shared):
    """A number, known now. Ratios are fractions: `95%` is 0.95, `1 pp` is 0.01."""

    value: int | float
    type: Type
    level: Level = "constant"


@attrs.frozen(eq=False, repr=False)
class Field(_Shared):
    """A field of the data, after derivation and normalisation: `[B, *type.dimensions]`."""

    name: str
    type: Type
    level: Level = "example"


@attrs.frozen(eq=False, repr=False)
class Forward(_Shared):
    """A model applied to its inputs, which are joined along the last axis where several."""

    model: str
    inputs: tuple[Expr, ...]
    type: Type
    level: Level = "example"


@attrs.frozen(eq=False, repr=False)
class Weights(_Shared):
    """A model itself, as `parameters(m)` takes it."""

    model: str
    type: Type = Type("real")
    level: Level = "model"


@attrs.frozen(eq=False, repr=False)
class Apply(_Shared):
    """A function or operator of the catalogue applied.

    function   a name in the catalogue; operators under their signs: `+ - * / ^ mod == != < <= >
               >= in and or not`, and `negate` for the sign; of the user's an `Extern.function`
    """

    function: str
    inputs: tuple[Expr, ...]
    type: Type
    level: Level
    options: Options = ()


@attrs.frozen(eq=False, repr=False)
class Mean(_Shared):
    """The mean over a set of what each of its examples has."""

    value: Expr
    type: Type = Type("real")
    level: Level = "set"


Expr: TypeAlias = Constant | Field | Forward | Weights | Apply | Mean


def subexpressions(
    *exprs: Expr, inside: Callable[[Expr], tuple[Expr, ...]] | None = None
) -> Iterator[Expr]:
    """The expressions and all inside them, each once and outer before inner.

    inside   what to go on with from an expression, if not with all of its parts
    """
    parts = parts_of if inside is None else inside
    seen: set[Expr] = set()
    waiting = list(reversed(exprs))
    while waiting:
        expr = waiting.pop()
        if expr not in seen:
            seen.add(expr)
            yield expr
            waiting += reversed(parts(expr))


def inner_first(
    *exprs: Expr,
    known: Container[Expr] = frozenset(),
    inside: Callable[[Expr], tuple[Expr, ...]] | None = None,
) -> Iterator[Expr]:
    """The expressions and all inside them, each once, what it is made of before it.

    known    what is left out, with all inside it; it may grow meanwhile
    inside   what of an expression comes before it, if not all of its parts
    """
    parts = parts_of if inside is None else inside
    seen: set[Expr] = set()
    waiting = [expr for expr in reversed(exprs) if expr not in known]
    while waiting:
        expr = waiting[-1]
        missing = [each for each in parts(expr) if each not in seen and each not in known]
        if missing:
            waiting += reversed(missing)
            continue
        waiting.pop()
        if expr not in seen:
            seen.add(expr)
            yield expr


def parts_of(expr: Expr) -> tuple[Expr, ...]:
    """What an expression is made of, one level down."""
    match expr:
        case Apply() | Forward():
            return expr.inputs
        case Mean():
            return (expr.value,)
        case _:
            return ()


def holding(*exprs: Expr, wanted: Callable[[Expr], bool]) -> frozenset[Expr]:
    """Of the expressions and all inside them, those that are wanted or hold one that is."""
    found: set[Expr] = set()
    for part in inner_first(*exprs):
        if wanted(part) or not found.isdisjoint(parts_of(part)):
            found.add(part)
    return frozenset(found)


def uses(names: Collection[str]) -> Callable[[Expr], bool]:
    """Whether an expression is itself one of these models, or its application."""
    return lambda expr: isinstance(expr, (Forward, Weights)) and expr.model in names


def reads(names: Collection[str]) -> Callable[[Expr], bool]:
    """Whether an expression is itself one of these fields."""
    return lambda expr: isinstance(expr, Field) and expr.name in names


def rewritten(expr: Expr, change: Callable[[Expr, Expr], Expr]) -> Expr:
    """The expression with each part changed, inner before outer.

    change   the part as it was, and as it is with its own parts changed, to what it becomes
    """
    made: dict[Expr, Expr] = {}
    for part in inner_first(expr):
        new: Expr = part
        match part:
            case Apply() | Forward():
                new = attrs.evolve(part, inputs=tuple(made[each] for each in part.inputs))
            case Mean():
                new = attrs.evolve(part, value=made[part.value])
        made[part] = change(part, new)
    return made[expr]


def fields_of(*exprs: Expr) -> tuple[str, ...]:
    """The names of the fields that the expressions read, sorted."""
    return tuple(sorted({e.name for e in subexpressions(*exprs) if isinstance(e, Field)}))


def models_of(*exprs: Expr) -> tuple[str, ...]:
    """The names of the models that the expressions use, sorted."""
    applied = (e for e in subexpressions(*exprs) if isinstance(e, (Forward, Weights)))
    return tuple(sorted({e.model for e in applied}))


@attrs.frozen
class Extern:
    """A Python function of the user's: `target` is `package.module:name`.

    is_host   whether it takes NumPy arrays of a whole set, outside of the program, rather than
              JAX's of a batch
    inputs    as declared; a size that is a name is whatever a call says
    output    of each example, of a host's of the set
    place     file and line of its declaration, for messages; no part of what a plan means
    """

    name: str
    target: str
    is_host: bool
    inputs: tuple[Type, ...]
    output: Type
    place: str = attrs.field(default="", eq=False, repr=False)

    @property
    def function(self) -> str:
        """What an `Apply` calls it; no name in the catalogue, whatever its own hides there."""
        return f"extern {self.name}"


# ---------------------------------------------------------------- data


@attrs.frozen
class Split:
    """Shares of a finite source, in the order explore, assess, adapt, report.

    shares   fractions in [0, 1], each of its part, that sum to at most 1 a part
    by       the field that `method` reads, None for a plain draw
    seed     of the draw, apart from the experiment's
    method   `stratified`: each split keeps the proportions of `by`; `grouped`: no value of it
             is in two splits; `ordered`: explore has the least values, report the greatest
    parts    the file's own split that each share is drawn from, None for the whole
    block    the examples in a row that count as one, of an ordered split; None: each by itself
    groups   how many values `by` has, where the spec says so
    largest  the most examples of one of them, where the spec says so
    """

    shares: tuple[float, float, float, float]
    by: str | None
    seed: int
    method: Literal["stratified", "grouped", "ordered"] = "stratified"
    parts: tuple[str | None, str | None, str | None, str | None] = (None, None, None, None)
    block: int | None = None
    groups: int | None = None
    largest: int | None = None

    @property
    def has_units(self) -> bool:
        """Whether several examples may count as one: groups, or blocks of time."""
        return self.method == "grouped" or self.block is not None


@attrs.frozen
class Derived:
    """A field computed from others, once, when the data are read."""

    name: str
    value: Expr
    type: Type


@attrs.frozen
class Normalized:
    """A field brought to mean 0 and standard deviation 1 by the explore split's statistics.

    mean, std   as the spec gives them, one for each channel, or None: measured
    """

    field: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@attrs.frozen
class Operation:
    """One augmentation with all its options, defaults filled in."""

    name: str
    options: Options


@attrs.frozen
class Augmented:
    """A field changed at random whenever explore draws it, and nowhere else."""

    field: str
    operations: tuple[Operation, ...]


@attrs.frozen
class Known:
    """A field that only part of the explore split shows.

    count   of a seeded draw, stratified where the field is a class; None with a mask
    mask    the bool field that says which examples have it; None with a count
    """

    field: str
    count: int | None
    mask: str | None


@attrs.frozen
class DataPlan:
    """What is read, how it is split, and how batches are drawn.

    split         None for an endless source
    rows          examples of a finite source, where known before reading
    evaluate      batches in one evaluation draw; None where finite splits are used whole
    origins       where a file has a field under another name, or in columns (first, last) of a
                  table, both in, counted from 1
    rows_in       examples that the spec says each part of a file has
    is_pooled     whether the split asks for all parts of a file as one
    """

    name: str
    source: str
    options: Options
    fields: tuple[tuple[str, Type], ...]
    derived: tuple[Derived, ...]
    normalized: tuple[Normalized, ...]
    split: Split | None
    rows: int | None
    batch: int
    evaluate: int | None = None
    origins: tuple[tuple[str, str | tuple[int, int]], ...] = ()
    rows_in: tuple[tuple[str, int], ...] = ()
    augmented: tuple[Augmented, ...] = ()
    known: tuple[Known, ...] = ()
    is_pooled: bool = False

    @property
    def is_endless(self) -> bool:
        return self.split is None


# ---------------------------------------------------------------- models and optimizers


@attrs.frozen
class LayerPlan:
    """One layer with its example shapes; `options` hold inner pipes as `Layers`."""

    name: str
    options: Options
    input: tuple[int, ...]
    output: tuple[int, ...]


@attrs.frozen
class Layers:
    """Layers one after the other."""

    layers: tuple[LayerPlan, ...]


@attrs.frozen
class Module:
    """A flax module of the user's: `target` is `package.module:Class`."""

    target: str
    options: Options


@attrs.frozen
class ModelPlan:
    """A network: the shape of its joined input, its layers, and what its output means.

    takes    `tokens` where the input is whole numbers, -1 for padding, that are embedded
    start    where its weights come from; None: drawn by its name
    module   the user's own network in the place of layers, which are none then
    """

    name: str
    input: tuple[int, ...]
    output: Type
    layers: Layers
    is_explored: bool
    takes: Literal["numbers", "tokens"] = "numbers"
    start: TrainedBy | FromCheckpoint | None = None
    module: Module | None = None


Architecture: TypeAlias = tuple[ModelPlan, ...]
"""The explored models of a plan at some time of the run, in the plan's order."""


@attrs.frozen
class Link:
    """A link of an optimizer's chain, or a schedule as the value of an option."""

    name: str
    options: Options


@attrs.frozen
class OptimizerPlan:
    """A chain of links; `name` is what the report calls it.

    decays   what a link's weight decay reaches; `matrices` are arrays of two axes or more
    """

    name: str
    links: tuple[Link, ...]
    decays: Literal["all", "matrices"] = "all"


@attrs.frozen
class TrainedBy:
    """Weights from training before the run, on the explore split: `length` epochs or steps."""

    loss: Expr
    loss_name: str
    optimizer: OptimizerPlan
    length: int
    unit: Literal["epochs", "steps"]
    batch: int


@attrs.frozen
class FromCheckpoint:
    """Weights from a file or folder: our own `accepted/`, orbax's, or flax's msgpack."""

    path: str


# ---------------------------------------------------------------- the three phases


@attrs.frozen
class Descent:
    """A candidate: a roll-out of gradient steps from the current weights.

    name    unique among candidates, made of what it does, never of its place in the file:
            its random draws depend on it
    loss    averaged over a batch of examples and descended
    keeps_state  whether its optimizer state lasts from one iteration to the next
    most    the steps that a roll-out may be lengthened to; None where it stays as it is
    parts   how many equal parts of a batch have their gradients computed one after the other
    """

    name: str
    loss: Expr
    loss_name: str
    optimizer: OptimizerPlan
    steps: int
    batch: int
    keeps_state: bool = True
    parts: int = 1
    most: int | None = None

    @property
    def longest(self) -> int:
        """The steps of its longest roll-out."""
        return self.steps if self.most is None else max(self.steps, self.most)


@attrs.frozen
class ObjectivePlan:
    """What matters: `value` per example (a bool counts as 0 or 1) or of a set, and its direction.

    range   inclusive bounds of one value, where known
    clips   whether the spec states the range, so that an example's value can lie beyond it: a
            betting test then counts the nearer end
    reach   how many times a range that isn't stated one example's value can take up, of a mean
            over tokens: the most tokens of a sequence over their mean number; known once the data
            are read
    """

    name: str
    value: Expr
    direction: Literal["maximize", "minimize"]
    target: float | None
    range: tuple[float, float] | None
    clips: bool = False
    reach: float = attrs.field(default=1.0, repr=False)

    @property
    def is_binary(self) -> bool:
        """Whether each example is right or wrong, so that counts decide."""
        return self.value.level == "example" and self.value.type.kind == "bool"

    @property
    def example_range(self) -> tuple[float, float] | None:
        """Inclusive bounds of one example's value, where known."""
        if self.range is None or self.clips or self.reach == 1:
            return self.range
        low, high = self.range
        if is_token_mean(self.value):
            # a sum over no token is 0
            return min(low * self.reach, 0.0), max(high * self.reach, 0.0)
        further = (self.reach - 1) * max(abs(low), abs(high))
        return low - further, high + further

    @property
    def is_share(self) -> bool:
        """Whether it is read in percent: right or wrong for each example, or a value in [0, 1]."""
        return self.is_binary or self.range == (0.0, 1.0)

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.direction == "maximize" else -1


def is_token_mean(value: Expr) -> bool:
    """Whether a value is by itself a mean over all tokens, a sequence counting by its tokens."""
    return isinstance(value, Apply) and dict(value.options).get("over") == "tokens"


@attrs.frozen
class Evolution:
    """A candidate: generations of a population around the current weights; no gradient.

    objective  what makes a member fit, over one batch of explore a generation
    """

    name: str
    objective: ObjectivePlan
    population: int
    sigma: float
    learning_rate: float
    generations: int
    batch: int


@attrs.frozen
class Perturbation:
    """A candidate: the current weights with normal noise of standard deviation `scale`."""

    name: str
    scale: float


@attrs.frozen
class Averaged:
    """A candidate: the mean of the last `count` accepted models' weights.

    There from the second acceptance on; until `count` are there, the mean of those there are.
    """

    name: str
    count: int


Candidate: TypeAlias = Descent | Evolution | Perturbation | Averaged


@attrs.frozen
class Mutation:
    """A number of the optimizers' that each descent multiplies by one of the factors.

    A draw an iteration; what the descent has gathered so far is kept only where it wins.
    """

    option: str
    factors: tuple[float, ...]


@attrs.frozen
class Ranking:
    """How assess orders the candidates.

    kind   `then`: by the first key; those within one paired standard error of its best by the
           next. `pareto`: those that none is better than in every key, of them the one with the
           largest hypervolume. `priority`: by the key furthest from its target in this iteration
    keys   with weights they are one: their weighted sum
    """

    kind: Literal["then", "pareto", "priority"]
    keys: tuple[ObjectivePlan, ...]

    @property
    def words(self) -> str:
        """As the spec writes it."""
        names = [key.name for key in self.keys]
        match self.kind:
            case "then":
                return " then ".join(names)
            case "pareto":
                return f"pareto({', '.join(names)})"
            case "priority":
                return f"{', '.join(names)} by distance to target"


Test: TypeAlias = Literal["mcnemar", "betting", "bootstrap"]


@attrs.frozen
class Claim:
    """What evidence is asked for: that a gain lies above a margin, in the mean or for the set.

    measure  what is compared; the gain is `sign * (model - factor * accepted)`
    factor   how much of the accepted model's own value counts; 0 against a fixed bound
    margin   in the measure's unit: 0.005 for `improves by 0.5 pp`, -0.01 for a guard
             `>= accepted - 1 pp`, 0.9 for `>= 90%`, -0.1 for `<= 10%`
    test     `mcnemar`: exact, by counts; `betting`: exact, for values in a known range;
             `bootstrap`: of a set's value, approximate; None for a fact of the model
    """

    measure: ObjectivePlan
    factor: float
    margin: float
    test: Test | None

    @property
    def clipped(self) -> tuple[float, float] | None:
        """The range that a test keeps each example's value in; None where none can leave it."""
        is_kept = self.measure.clips and self.test == "betting"
        return self.measure.example_range if is_kept else None

    @property
    def scale(self) -> float:
        """The most by which a gain can miss or pass the margin; inf where no range is known."""
        if self.measure.example_range is None:
            return math.inf
        return excess_scale(
            *self.measure.example_range,
            is_falling=self.measure.direction == "minimize",
            factor=self.factor,
            margin=self.margin,
        )


@attrs.frozen
class Guard:
    """What an accepted model must keep: `operator` compares gain and margin of `claim`.

    name       as the spec writes it
    is_strict  whether the margin itself breaks it: `>` and `<`
    is_proven  whether the adapt split must show it as well
    """

    name: str
    claim: Claim
    is_strict: bool
    is_proven: bool


@attrs.frozen
class Gate:
    """Rule `gate`: `delta` bounds the chance that the run ever accepts a no better model.

    claims        what must improve; several where the leading objective of the iteration must,
                  in the order of the ranking's keys
    is_each_time  whether delta is spent on every decision anew, so that it bounds only each
    """

    claims: tuple[Claim, ...]
    delta: float
    is_each_time: bool = False


@attrs.frozen
class Challenger:
    """Rule `challenger`: frozen candidates gather evidence from each iteration's fresh examples.

    `delta` bounds the chance that the run ever accepts a no better model.
    """

    claims: tuple[Claim, ...]
    delta: float


@attrs.frozen
class Reference:
    """Rule `reference`: the published one, with unpaired bounds and no promise over the run.

    assess, decide   widths of the bounds in standard errors
    evaluate         batches of an evaluation, over finite splits too; None: the whole split
    """

    claims: tuple[Claim, ...]
    assess: float
    decide: float
    evaluate: int | None

    @property
    def objective(self) -> ObjectivePlan:
        """What is compared."""
        return self.claims[0].measure


Rule: TypeAlias = Gate | Challenger | Reference


@attrs.frozen
class Limit:
    """What a model has to keep to after growth: a fact of its shapes that stays below `most`.

    name       as the spec writes it
    value      of parameters, depth and flops of explored models, and numbers
    is_strict  whether `most` itself is too much
    """

    name: str
    value: Expr
    most: float
    is_strict: bool


@attrs.frozen
class Growing:
    """How the explored models become larger.

    operations  of the catalogue's GROWTH; each grows all of the group
    choice      of several: `or`, one is drawn by the seed each time; `best of`, each has one
                iteration and assess ranks what they came to
    """

    operations: tuple[Operation, ...]
    choice: Literal["only", "or", "best of"]
    limits: tuple[Limit, ...]


@attrs.frozen
class Patience:
    """What a run does after so many iterations without progress, all of it at once.

    lengthen   the factor that roll-outs become longer by, up to each one's `most`; None: they stay
    growing    None: models stay as they are
    restarts   whether the search starts again from the smallest models where limits stop growth
    """

    iterations: int
    lengthen: float | None
    growing: Growing | None = None
    restarts: bool = False


@attrs.frozen
class ArchivePlan:
    """The best accepted model for each value of a fact of its shapes.

    A loss applies a member under the archive's own name.

    model   the explored model that its members are of
    best    by which, on assess, a model takes the place of another
    per     a fact of the model's shapes: parameters, depth or flops, and numbers
    """

    name: str
    model: str
    best: ObjectivePlan
    per: Expr


@attrs.frozen
class Condition:
    """`accuracy >= 0.98`, read off the accepted model on assess."""

    objective: str
    operator: Comparison
    value: float


@attrs.frozen
class StopPlan:
    """When a run ends: at the first of these that comes.

    seconds   read by the host, between segments
    any_of    each inner tuple is met when all its conditions are
    """

    iterations: int | None
    seconds: float | None
    any_of: tuple[tuple[Condition, ...], ...]
    when_targets_met: bool


@attrs.frozen
class Shown:
    """A value of the report."""

    name: str
    value: Expr
    better: Literal["higher", "lower"] | None
    range: tuple[float, float] | None = None


@attrs.frozen
class BaselinePlan:
    """Plain training beside the run: the same start, as many gradient steps.

    is_same_lineage   as many as led to the accepted model, rather than as all candidates took
    """

    name: str
    loss: Expr
    loss_name: str
    optimizer: OptimizerPlan
    is_same_lineage: bool
    batch: int
    parts: int = 1


@attrs.frozen
class Plan:
    """A whole experiment.

    explored   the name of the model or group that is explored
    descents, others   the candidates: by gradient, and those of other kinds
    mutations  what descents change of their optimizers
    move       when the best candidate becomes current
    objectives every declared one, measured for every candidate each iteration
    precision  what models compute in; weights, optimizers and statistics stay float32
    runs       those of the sweep it is a point of, which share one promise: delta of the rule is
               its part
    externs    the functions of the user's that are called anywhere
    passes     how often the run goes from the smallest models to where limits stop growth, and
               then ends; None: growth ends nothing
    archives   of accepted models
    by_members descents whose losses apply archives: one candidate for each member, and none of
               them among `descents` before there are members
    elders     of the explored models, architectures that they had before they grew or started
               again, in the order of `models`: accepted and challengers may still have one
    """

    name: str
    seed: int
    data: DataPlan
    models: tuple[ModelPlan, ...]
    explored: str
    descents: tuple[Descent, ...]
    batches: Literal["shared", "fresh"]
    objectives: tuple[ObjectivePlan, ...]
    ranking: Ranking
    move: Literal["unless worse", "when better", "always"]
    rule: Rule
    stop: StopPlan
    shown: tuple[Shown, ...]
    baselines: tuple[BaselinePlan, ...]
    precision: Literal["f32", "bf16"] = "f32"
    others: tuple[Evolution | Perturbation | Averaged, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    guards: tuple[Guard, ...] = ()
    patience: Patience | None = None
    externs: tuple[Extern, ...] = ()
    runs: int = 1
    passes: int | None = None
    archives: tuple[ArchivePlan, ...] = ()
    by_members: tuple[Descent, ...] = ()
    elders: tuple[Architecture, ...] = ()

    @property
    def grows(self) -> bool:
        """Whether the explored models may become larger while the run goes on."""
        return self.patience is not None and self.patience.growing is not None

    @property
    def architecture(self) -> Architecture:
        """The explored models."""
        return tuple(model for model in self.models if model.is_explored)

    @property
    def has_host(self) -> bool:
        """Whether an iteration waits for Python on the host: then each is a segment."""
        return any(each.is_host for each in self.externs)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates of an iteration, in the order of records: descents first."""
        return (*self.descents, *self.others)

    @property
    def proven(self) -> tuple[Claim, ...]:
        """The guards that adapt has to show beside what improves."""
        return tuple(guard.claim for guard in self.guards if guard.is_proven)

    @property
    def is_approximate(self) -> bool:
        """Whether tests of acceptance hold their level only about: a bootstrap, or blocks of time.

        Blocks are independent as far as what happens at one time is felt no longer than they are.
        """
        tested = (*self.rule.claims, *self.proven)
        has_blocks = self.data.split is not None and self.data.split.block is not None
        return not isinstance(self.rule, Reference) and (
            has_blocks or any(claim.test == "bootstrap" for claim in tested)
        )

    @property
    def measures(self) -> tuple[ObjectivePlan, ...]:
        """All that assess measures of a model, each name once, the objectives first."""
        measures = (
            *self.objectives,
            *self.ranking.keys,
            *(claim.measure for claim in self.rule.claims),
            *(guard.claim.measure for guard in self.guards),
        )
        return tuple({measure.name: measure for measure in measures}.values())

    @property
    def losses(self) -> tuple[Expr, ...]:
        """All that is descended while the run goes on or beside it: by candidates and baselines."""
        return (
            *(descent.loss for descent in self.descents),
            *(descent.loss for descent in self.by_members),
            *(baseline.loss for baseline in self.baselines),
        )

    @property
    def values(self) -> tuple[Expr, ...]:
        """All that is computed: losses, before the run too, what is measured and what is shown."""
        return (
            *self.losses,
            *(each.start.loss for each in self.models if isinstance(each.start, TrainedBy)),
            *(each.objective.value for each in self.others if isinstance(each, Evolution)),
            *(measure.value for measure in self.measures),
            *(shown.value for shown in self.shown),
        )

    @property
    def evolutions(self) -> tuple[Evolution, ...]:
        """The candidates that a population leads."""
        return tuple(each for each in self.others if isinstance(each, Evolution))

    def objective(self, name: str) -> ObjectivePlan:
        """The declared objective of that name."""
        return next(objective for objective in self.objectives if objective.name == name)


# ---------------------------------------------------------------- lowering


@attrs.frozen
class RollOuts:
    """Candidates of one roll-out length that are lowered together.

    steps      of the longest roll-out that they may come to

    lowering   `one body`: each step of all of them in one scan body, side by side;
               `vmap`: stacked along a leading axis; `apart`: one scan after the other
    """

    candidates: tuple[int, ...]
    steps: int
    lowering: Literal["one body", "vmap", "apart"]


@attrs.frozen
class FusedPlan:
    """A plan and how its candidates are lowered.

    rollouts   of the descents; empty where there are none
    members    how the members of a population are measured: `vmap`, all at once; `apart`, one
               after the other
    """

    plan: Plan
    rollouts: tuple[RollOuts, ...]
    members: Literal["vmap", "apart"] = "vmap"
