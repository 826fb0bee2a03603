"""A checked spec in plain English: what would run, each setting with where it came from."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import TypeVar

import attrs

from ev3lang.analysis import Analysis, default_name
from ev3lang.catalog.index import FUNCTIONS, GROWTH, LAYERS, OPTIMIZERS, SOURCES, STRATEGIES
from ev3lang.catalog.signature import Option
from ev3lang.check import data, declarations, judging, models, reference, sweeps, typed
from ev3lang.check.amounts import settled, share
from ev3lang.check.checking import Checking
from ev3lang.check.phases import DEFAULT_EVALUATION
from ev3lang.check.power import DEFAULT_CONFIDENCE
from ev3lang.check.resolve import resolve
from ev3lang.diagnostics.diagnostic import NOT_BUILT
from ev3lang.explain.values import counted, grouped, listed, percent, written
from ev3lang.printable import printable
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_amount, write_expression, write_type

WIDTH = 96

USES = {
    "explore": "gradients",
    "assess": "ranking candidates",
    "adapt": "deciding on acceptance",
    "report": "the final report alone",
}

Declared = TypeVar("Declared", bound=tree.Declaration)
Item = TypeVar("Item", bound=tree.Node)


def explain_spec(analysis: Analysis) -> str:
    """The experiment of a spec without errors, as text.

    Parts that can't be run yet are told like all others, and listed once more at the end.
    """
    names, _ = resolve(attrs.evolve(analysis.tree, declarations=analysis.declarations))
    checking = Checking(names, MappingProxyType({}))
    axes = () if names.sweep is None else sweeps.axes(checking, names.sweep)
    # A sweep is told at its first point, as it is checked there first.
    checking.overrides = next(sweeps.checked_points(axes))
    spec = _Spec(analysis, checking, axes)
    sections = (
        spec.experiment(),
        *(spec.data(each) for each in spec.all_of(tree.Data)),
        *(spec.model(each) for each in spec.all_of(tree.Model)),
        spec.losses(),
        spec.measures(),
        *(spec.archive(each) for each in spec.all_of(tree.Archive)),
        spec.explore(),
        spec.assess(),
        spec.adapt(),
        spec.report(),
        spec.not_built(),
    )
    return "\n\n".join(section for section in sections if section)


def _competition(assess: float, decide: float) -> tuple[str, ...]:
    """What rule `reference` does with candidates, by the widths of its bounds."""
    rank, compete = (
        f"their mean less {width:g} standard error{'' if width == 1 else 's'}"
        for width in (assess, decide)
    )
    return (
        f"  candidates are ranked by {rank}",
        f"  on adapt the best one, the current and the accepted model compete by {compete}; "
        "exploring goes on from the winner",
        "  it is accepted where its lower bound lies above the accepted model's upper bound",
        "  nothing bounds the chance that the run ever accepts a model that is no better",
    )


def _section(title: str, lines: Iterable[str]) -> str:
    """A heading and what stands under it; a line keeps its indent, its rest hangs by two."""
    found = [printable(title)]
    for line in lines:
        inside = printable(line.lstrip(" "))
        indent = " " * (2 + len(line) - len(inside))
        found.append(
            textwrap.fill(
                inside,
                WIDTH,
                initial_indent=indent,
                subsequent_indent=indent + "  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(found)


@attrs.frozen(eq=False)
class _Spec:
    """A spec with its names; each public method tells one part of it."""

    analysis: Analysis
    checking: Checking
    axes: tuple[sweeps.Axis, ...]

    # ------------------------------------------------------------ places

    def all_of(self, kind: type[Declared]) -> list[Declared]:
        """The declarations of a kind, in the order of the text."""
        return [each for each in self.checking.names.declared.values() if isinstance(each, kind)]

    def at(self, node: tree.Node) -> str:
        """`(line 11)`, with the file where it is another than the spec's own."""
        return f"({self.line(node.span)})"

    def line(self, span: Span) -> str:
        line = f"line {span.first.line}"
        return line if span.source is self.analysis.source else f"{span.source.name}, {line}"

    def setting(self, name: str, item: tree.Node | None, value: str, otherwise: str) -> str:
        """A setting with its place, or its default with that word."""
        if item is None:
            return f"{name} {otherwise} (default)"
        return f"{name} {value} {self.at(item)}"

    def arguments(
        self, written_as: tree.Expression, options: Sequence[Option], inputs: int = 0
    ) -> list[str]:
        """`name value (where from)` of each option of a call.

        inputs  how many arguments come before the options
        """
        given: dict[str, tree.Expression] = {}
        if isinstance(written_as, tree.Call):
            by_place = [each.value for each in written_as.arguments if each.name is None]
            names = [each.name for each in options]
            given.update(zip(names, by_place[inputs:], strict=False))
            given.update(
                (each.name.text, each.value)
                for each in written_as.arguments
                if each.name is not None
            )
        lines = []
        for option in options:
            if option.name in given:
                value = given[option.name]
                lines.append(f"{option.name} {self.value(value)} {self.at(value)}")
            elif not option.is_required:
                lines.append(f"{option.name} {written(option.default, option.kind)} (default)")
        return lines

    def value(self, expression: tree.Expression) -> str:
        """An expression as written; what params in it stand for follows."""
        text = write_expression(expression)
        known = [
            f"{each.text} is {self.param(each.text)}"
            for each in dict.fromkeys(
                node for node in tree.walk(expression) if isinstance(node, tree.Name)
            )
            if isinstance(self.checking.names.declared.get(each.text), tree.Param)
        ]
        return f"{text}, where {listed(known)}" if known else text

    def param(self, name: str) -> str:
        declaration = self.checking.names.declared[name]
        assert isinstance(declaration, tree.Param)
        given = self.checking.overrides.get(name, declaration.default)
        return "unset" if given is None else write_expression(given)

    def calls(self, expression: tree.Expression) -> Iterator[str]:
        """Each built-in function in an expression that has options, with these."""
        seen: set[str] = set()
        for node in tree.walk(expression):
            if not isinstance(node, tree.Call):
                continue
            entry = FUNCTIONS.get(node.function.text)
            if entry is None or not entry.options or node.function.text in seen:
                continue
            seen.add(entry.name)
            options = self.arguments(node, entry.options, len(entry.inputs))
            yield f"{entry.name}: {', '.join(options)}"

    # ------------------------------------------------------------ the whole

    def experiment(self) -> str:
        block = self.checking.names.experiment
        name = default_name(self.analysis.source) if block is None else block.name.text
        origin = "(default: the file's name)" if block is None else self.at(block)
        settings = {} if block is None else {each.name.text: each for each in block.settings}
        lines = [*self.summary(), ""]
        for setting, words in (("seed", "0"), ("precision", "f32")):
            item = settings.get(setting)
            value = "" if item is None else write_expression(item.value)
            lines.append(self.setting(setting, item, value, words))
        for each in self.all_of(tree.Param):
            kind = write_type(each.type)
            is_swept = any(axis.name.text == each.name.text for axis in self.axes)
            what = "at the first point of the sweep" if is_swept else "unless --set says another"
            lines.append(
                f"param {each.name.text}: {kind} = {self.param(each.name.text)}, {what} "
                f"{self.at(each)}"
            )
        if self.axes and self.checking.names.sweep is not None:
            points = math.prod(len(axis.values) for axis in self.axes)
            shown = listed(
                f"{axis.name.text} in {listed(map(write_expression, axis.values))}"
                for axis in self.axes
            )
            place = self.line(self.checking.names.sweep.keyword_span)
            lines.append(f"sweep: {counted(points, 'run', 'runs')}, {shown} ({place})")
        for use in self.analysis.tree.declarations:
            if isinstance(use, tree.Use):
                lines.append(f"uses the declarations of {use.path.value} {self.at(use)}")
            elif isinstance(use, tree.Allow):
                reason = f"{use.code.value} is silenced because {use.reason.value!r}"
                lines.append(f"{reason} {self.at(use)}")
        return _section(f"Experiment {name} {origin}", lines)

    def summary(self) -> list[str]:
        """The whole in a few sentences."""
        names = self.checking.names
        if names.explore is None or names.assess is None or names.adapt is None:
            return []
        candidates = self.candidates()
        what = f"Each iteration explores {counted(candidates, 'update', 'updates')} of"
        taught = self.by_members(names.explore)
        more = f" (and one for each member of {listed(taught)})" if taught else ""
        iteration = (
            f"{what} {names.explore.model.text}{more}, ranks the outcomes on examples kept for "
            "that, goes on from the best unless it is worse, and accepts a model for the report "
            "only on statistical evidence from further examples."
        )
        stop = next((each for each in names.adapt.items if isinstance(each, tree.Stop)), None)
        end = "" if stop is None else f" It stops {self.conditions(stop)}."
        return [iteration + end]

    def candidates(self) -> int:
        """How many candidates an iteration has, but for those that members of archives teach."""
        block = self.checking.names.explore
        total = 0
        for item in () if block is None else block.items:
            match item:
                case tree.Descend():
                    own = [each for each in item.losses if not self.archives_in(each)]
                    total += len(own) * len(item.optimizers)
                case tree.Perturb():
                    draws = settled(self.checking, item.amount, "draws")
                    total += 0 if draws is None else int(draws.value)
                case tree.Evolve() | tree.Average():
                    total += 1
        return total

    # ------------------------------------------------------------ data

    def data(self, declaration: tree.Data) -> str:
        origin = declaration.origin
        function = origin.function if isinstance(origin, tree.Call) else origin
        entry = SOURCES.get(function.text) if isinstance(function, tree.Name) else None
        info = data.data(self.checking, declaration)
        lines = []
        if entry is not None:
            lines.append(f"from {write_expression(origin)}: {entry.summary}")
            lines += [f"  {each}" for each in self.arguments(origin, entry.options)]
        else:
            lines.append(f"from {write_expression(origin)}")
        if info is None:
            return _section(f"Data {declaration.name.text} {self.at(declaration)}", lines)
        derived = {
            each.name.text: each for each in declaration.items if isinstance(each, tree.DeriveItem)
        }
        plain = [f"{name}: {each.type}" for name, each in info.fields.items() if each.value is None]
        lines.append(f"fields: {', '.join(plain)}")
        for name, item in derived.items():
            kind = info.fields[name].type
            lines.append(
                f"derived: {name}: {kind} = {write_expression(item.value)} {self.at(item)}"
            )
        lines += self.rows(declaration, info)
        lines += self.preparation(declaration, info)
        return _section(f"Data {declaration.name.text} {self.at(declaration)}", lines)

    def rows(self, declaration: tree.Data, info: typed.DataInfo) -> list[str]:
        if info.is_endless:
            return ["endless: every batch and every decision has fresh examples, so no split"]
        lines = []
        total = sum(info.rows.values())
        stated = next((e for e in declaration.items if isinstance(e, tree.RowsItem)), None)
        if total:
            origin = "(known of the source)" if stated is None else self.at(stated)
            lines.append(f"{grouped(total)} examples {origin}")
        else:
            lines.append("how many examples there are is known once the data are read")
        item = next((e for e in declaration.items if isinstance(e, tree.SplitItem)), None)
        split = info.split
        assert split is not None, "only an endless source has none"
        how = "at random" if split.method is None else f"{split.method} by {split.by}"
        shares = "/".join(f"{100 * split.shares[use].fraction:g}" for use in typed.SPLITS)
        lines.append(self.setting("split", item, f"{shares} {how}", f"{shares} {how}") + ":")
        for use in typed.SPLITS:
            share, count = split.shares[use], info.examples(use)
            part = "" if share.part is None else f" of the file's own {share.part}"
            part = " of all parts of the file" if split.is_pooled else part
            examples = "" if count is None else f", {grouped(count)} examples"
            lines.append(f"  {use} {percent(share.fraction)}{part}{examples}: {USES[use]}")
        units = None if item is None else item.units
        if split.method == "grouped":
            counted = "" if split.groups is None else f", {grouped(split.groups)} of them"
            most = "" if split.largest is None else f" of up to {grouped(split.largest)} examples"
            lines.append(
                f"tests, standard errors and intervals count whole groups{counted}{most}"
                + ("" if units is None else f" {self.at(units)}")
            )
        elif split.block is not None:
            assert units is not None, "blocks have no default"
            lines.append(
                f"tests, standard errors and intervals count blocks of at least {split.block} "
                f"examples in a row {self.at(units)}; they hold about, for the time that they cover"
            )
        elif split.method == "ordered":
            lines.append("tests and intervals take each example for independent of its neighbours")
        seed = None if item is None else item.seed
        lines.append(self.setting("split seed", seed, str(split.seed), str(split.seed)))
        return lines

    def preparation(self, declaration: tree.Data, info: typed.DataInfo) -> list[str]:
        lines = []
        batch = None
        for item in declaration.items:
            match item:
                case tree.NormalizeItem():
                    by = "the mean and spread that are written there"
                    if item.mean is None or item.std is None:
                        by = "mean and standard deviation of the explore split alone"
                    fields = listed(each.text for each in item.fields)
                    lines.append(f"{fields} normalized by {by} {self.at(item)}")
                case tree.AugmentItem():
                    steps = listed(map(write_expression, item.operations))
                    lines.append(
                        f"{item.field.text} augmented with {steps}, while exploring only "
                        f"{self.at(item)}"
                    )
                case tree.KnownItem():
                    which = f"where {item.mask.text}" if item.mask is not None else ""
                    if item.amount is not None:
                        which = f"for {write_amount(item.amount)}"
                    lines.append(f"{item.field.text} known only {which} {self.at(item)}")
                case tree.Batch():
                    batch = item
        if not any(isinstance(each, tree.NormalizeItem) for each in declaration.items):
            has_bytes = any(each.type.kind == "u8" for each in info.fields.values())
            plain = "normalization: none but u8 scaled to [0, 1] (default)"
            lines.append(plain if has_bytes else "normalization: none (default)")
        explore = self.checking.names.explore
        items = () if explore is None else explore.items
        batch = next((each for each in items if isinstance(each, tree.Batch)), batch)
        value = "" if batch is None else self.batch(batch)
        lines.append(self.setting("batch", batch, value, str(data.DEFAULT_BATCH)))
        return lines

    def batch(self, item: tree.Batch) -> str:
        parts = "" if item.parts is None else f" in {write_amount(item.parts)}"
        return f"{write_amount(item.size)}{parts}"

    # ------------------------------------------------------------ models

    def model(self, declaration: tree.Model) -> str:
        name = declaration.name.text
        info = models.model(self.checking, declaration)
        lines = []
        if info is not None:
            kinds = listed(map(str, info.inputs))
            fields = listed(map(write_expression, declaration.input.fields))
            given = f"{fields} ({kinds})" if fields else kinds
            lines.append(f"from {given} to {info.output}")
        layers = declaration.layers
        if declaration.module is not None:
            lines.append(f"a network of Python's: {write_expression(declaration.module)}")
        for stage in () if layers is None else _stages(layers):
            lines += self.layer(stage, info)
        count = None if info is None or not info.layers else models.parameters(info)
        if count is not None:
            lines.append(f"{count:,} parameters")
        explored = self.explored()
        for item in declaration.items:
            lines.append(self.model_item(item))
        if name in explored:
            lines.append("explored: this is what the experiment trains")
        elif not declaration.items:
            lines.append("frozen, because nothing explores it (default)")
        return _section(f"Model {name} {self.at(declaration)}", lines)

    def explored(self) -> tuple[str, ...]:
        block = self.checking.names.explore
        return () if block is None else declarations.members(self.checking, block.model)

    def layer(self, stage: tree.Expression, info: typed.ModelInfo | None) -> list[str]:
        name = stage.function if isinstance(stage, tree.Call) else stage
        entry = LAYERS.get(name.text) if isinstance(name, tree.Name) else None
        if entry is None:
            return [write_expression(stage)]
        options = [
            each.replace(
                f"{entry.width_option} none (default)",
                f"{entry.width_option} as the signature says",
            )
            if entry.width_option is not None
            else each
            for each in self.arguments(stage, entry.options)
        ]
        return [f"{entry.name}: {', '.join(options)}" if options else entry.name]

    def model_item(self, item: tree.ModelItem) -> str:
        match item:
            case tree.TrainedBy():
                return (
                    f"trained once before the run: descends {write_expression(item.loss)} with "
                    f"{write_expression(item.optimizer)} for {write_amount(item.amount)} "
                    f"on the explore split, then frozen {self.at(item)}"
                )
            case tree.FromCheckpoint():
                return f"read from {item.path.value}, frozen {self.at(item)}"
            case tree.Frozen():
                return f"frozen {self.at(item)}"

    # ------------------------------------------------------------ values

    def losses(self) -> str:
        lines = []
        for each in self.all_of(tree.Let):
            lines.append(
                f"{each.name.text} stands for {write_expression(each.value)} {self.at(each)}"
            )
            lines += [f"  {call}" for call in self.calls(each.value)]
        for loss in self.all_of(tree.Loss):
            lines.append(
                f"loss {loss.name.text}: {write_expression(loss.value)}, averaged over the batch "
                f"{self.at(loss)}"
            )
            for parameter in loss.parameters:
                kind = write_type(parameter.type)
                value = "given where it is used"
                if parameter.default is not None:
                    value = f"{write_expression(parameter.default)} unless given"
                lines.append(f"  {parameter.name.text}: {kind}, {value} {self.at(parameter)}")
            lines += [f"  {call}" for call in self.calls(loss.value)]
        return _section("What is descended", lines) if lines else ""

    def measures(self) -> str:
        lines = []
        measures: list[tree.Objective | tree.Metric] = [
            *self.all_of(tree.Objective),
            *self.all_of(tree.Metric),
        ]
        for each in measures:
            what = f"metric {each.name.text}:"
            target = ""
            if isinstance(each, tree.Objective):
                what = f"objective {each.name.text}: {each.direction}"
                if each.target is not None:
                    target = f", target {write_amount(each.target)}"
            if each.range is not None:
                target += f", in {write_expression(each.range)}"
            lines.append(f"{what} {write_expression(each.value)}{target} {self.at(each)}")
            lines += [f"  {call}" for call in self.calls(each.value)]
        return _section("What is measured", lines) if lines else ""

    def archive(self, archive: tree.Archive) -> str:
        best, per = archive.best.text, archive.per.text
        lines = [
            f"the accepted {archive.model.text} with the best {best} on assess, for each value of "
            f"{per}; empty as the run starts",
            "from the next growth, pass or new start on each of them is a frozen teacher: a loss "
            f"that applies {archive.name.text} makes one candidate for each",
        ]
        return _section(f"Archive {archive.name.text} {self.at(archive)}", lines)

    def archives_in(self, node: tree.Node) -> tuple[str, ...]:
        """The archives that are applied in an expression, or in what its names stand for."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        nodes = [node]
        while nodes:
            for each in tree.walk(nodes.pop()):
                declared = None
                if isinstance(each, tree.Name) and each.text not in seen:
                    seen.add(each.text)
                    declared = self.checking.names.declared.get(each.text)
                if isinstance(declared, tree.Archive):
                    found[declared.name.text] = None
                elif isinstance(declared, tree.Let | tree.Loss):
                    nodes.append(declared.value)
        return tuple(found)

    def by_members(self, block: tree.Explore) -> tuple[str, ...]:
        """The archives whose members teach a candidate each."""
        losses = (
            loss for item in block.items if isinstance(item, tree.Descend) for loss in item.losses
        )
        return tuple(dict.fromkeys(name for loss in losses for name in self.archives_in(loss)))

    # ------------------------------------------------------------ phases

    def explore(self) -> str:
        block = self.checking.names.explore
        if block is None:
            return ""
        lines: list[str] = []
        shown: dict[str, tree.Expression] = {}
        for item in block.items:
            match item:
                case tree.Descend():
                    for loss in item.losses:
                        for optimizer in item.optimizers:
                            chain = write_expression(optimizer)
                            shown.setdefault(chain, optimizer)
                            taught = self.archives_in(loss)
                            by = f", for each member of {listed(taught)}" if taught else ""
                            lines.append(
                                f"descend {write_expression(loss)} with {chain} for "
                                f"{write_amount(item.amount)}{by} {self.at(loss)}"
                            )
                case tree.Evolve():
                    strategy = write_expression(item.strategy)
                    amount = write_amount(item.amount)
                    lines.append(
                        f"evolve {item.objective.text} with {strategy} for {amount}, without "
                        f"gradients {self.at(item)}"
                    )
                    called = item.strategy
                    name = called.function if isinstance(called, tree.Call) else called
                    entry = STRATEGIES.get(name.text) if isinstance(name, tree.Name) else None
                    if entry is not None:
                        lines += [f"  {each}" for each in self.arguments(called, entry.options)]
                case tree.Perturb():
                    strategy = write_expression(item.strategy)
                    lines.append(
                        f"perturb with {strategy} for {write_amount(item.amount)} {self.at(item)}"
                    )
                case tree.Mutate():
                    factors = listed(map(write_amount, item.factors), "or")
                    lines.append(
                        f"{item.hyperparameter.text} changed by a drawn {factors} for each "
                        f"descent, kept if it wins {self.at(item)}"
                    )
                case tree.Average():
                    count = write_amount(item.count)
                    lines.append(
                        f"the average of the last {count} accepted models is a candidate from "
                        f"the second acceptance on {self.at(item)}"
                    )
        for chain, optimizer in shown.items():
            lines += self.optimizer(chain, optimizer)
        mode = _first(block.items, tree.Batches)
        lines.append(
            self.setting(
                "batches",
                mode,
                "" if mode is None else mode.mode,
                "shared: all candidates of an iteration see the same",
            )
        )
        state = _first(block.items, tree.OptimizerState)
        lines.append(
            self.setting(
                "optimizer state",
                state,
                "" if state is None else state.mode,
                "lasting: each candidate keeps its own from iteration to iteration",
            )
        )
        title = f"Explore {block.model.text}: "
        title += f"{counted(self.candidates(), 'candidate', 'candidates')} an iteration"
        if taught := self.by_members(block):
            title += f", and one for each member of {listed(taught)}"
        return _section(f"{title} {self.at(block)}", lines)

    def optimizer(self, name: str, optimizer: tree.Expression) -> Iterator[str]:
        """A chain with the options of each link."""
        chain = optimizer
        if isinstance(optimizer, tree.Name):
            declaration = self.checking.names.declared.get(optimizer.text)
            if isinstance(declaration, tree.Optimizer):
                chain = declaration.chain
                name = f"{name} = {write_expression(chain)} {self.at(declaration)}"
        yield f"optimizer {name}"
        for stage in _stages(chain):
            yield from self.link(stage, "  ")

    def link(self, stage: tree.Expression, indent: str) -> Iterator[str]:
        function = stage.function if isinstance(stage, tree.Call) else stage
        entry = OPTIMIZERS.get(function.text) if isinstance(function, tree.Name) else None
        if entry is None:
            yield f"{indent}{write_expression(stage)}"
            return
        yield f"{indent}{entry.name}: {', '.join(self.arguments(stage, entry.options))}"
        for argument in stage.arguments if isinstance(stage, tree.Call) else ():
            value = argument.value
            if isinstance(value, tree.Call) and value.function.text in OPTIMIZERS:
                yield from self.link(value, indent + "  ")

    def assess(self) -> str:
        block = self.checking.names.assess
        if block is None:
            return ""
        lines = []
        for item in block.items:
            match item:
                case tree.RankBy():
                    keys = ", then ".join(map(write_expression, item.keys))
                    close = " among those within one standard error" if len(item.keys) > 1 else ""
                    lines.append(f"candidates ranked by {keys}{close} {self.at(item)}")
                case tree.Prioritize():
                    names = listed(each.text for each in item.objectives)
                    lines.append(
                        f"of {names} the one furthest from its target leads the iteration "
                        f"{self.at(item)}"
                    )
                case tree.Guard():
                    proof = ", tested on the adapt split too" if item.is_proven else ""
                    lines.append(
                        f"a candidate that breaks {write_expression(item.condition)} is never "
                        f"accepted{proof} {self.at(item)}"
                    )
        return _section(f"Assess {block.model.text} {self.at(block)}", lines)

    def adapt(self) -> str:
        block = self.checking.names.adapt
        if block is None:
            return ""
        lines: list[str] = []
        accept = _first(block.items, tree.Accept)
        rule = _first(block.items, tree.Rule)
        is_endless = any(
            info is not None and info.is_endless
            for info in (data.data(self.checking, each) for each in self.all_of(tree.Data))
        )
        widths = None
        if rule is not None and reference.is_chosen(block.items):
            widths = reference.widths(self.checking, rule)
        if accept is not None:
            lines += self.acceptance(accept, is_bounded=widths is None, is_endless=is_endless)
        plain: str = judging.rule_in_force(self.checking, accept, is_endless=is_endless)
        if plain == "challenger":
            plain = "challenger, because examples are fresh"
        value = "" if rule is None else write_expression(rule.rule)
        lines.append(self.setting("rule", rule, value, plain))
        lines += self.move(block) if widths is None else _competition(*widths)
        evaluate = _first(block.items, tree.Evaluate)
        if evaluate is not None or is_endless:
            value = "" if evaluate is None else write_amount(evaluate.amount)
            plain = f"{DEFAULT_EVALUATION} batches"
            lines.append(self.setting("evaluate", evaluate, value, plain))
        for item in block.items:
            if isinstance(item, tree.After):
                lines += self.after(item, is_bounded=widths is None)
            elif isinstance(item, tree.Repeat):
                passes = write_amount(item.amount)
                lines.append(
                    f"{passes}, each from the smallest model, with fresh weights, to where limits "
                    f"stop growth; then the run ends {self.at(item)}"
                )
        stop = _first(block.items, tree.Stop)
        if stop is not None:
            lines.append(f"stop {self.conditions(stop)} {self.at(stop)}")
        return _section(f"Adapt {block.model.text} {self.at(block)}", lines)

    def move(self, block: tree.Adapt) -> Iterator[str]:
        move = _first(block.items, tree.Move)
        value = "" if move is None else move.mode
        yield self.setting("move", move, value, "unless worse")
        when = {
            "unless worse": "unless it is worse by more than one paired standard error",
            "when better": "only when it is better",
            "always": "in every iteration",
        }["unless worse" if move is None else move.mode]
        yield f"  the best candidate becomes the model that exploring goes on from {when}"

    def acceptance(
        self, accept: tree.Accept, *, is_bounded: bool, is_endless: bool
    ) -> Iterator[str]:
        objective = "the leading objective" if accept.objective is None else accept.objective.text
        margin = "" if accept.margin is None else f" by {write_amount(accept.margin)}"
        where = "fresh examples" if is_endless else "the adapt split"
        yield f"accept when {objective} improves{margin} on {where} {self.at(accept)}"
        if not is_bounded:
            return
        scope = accept.scope or "over the run"
        given, fraction = accept.confidence, DEFAULT_CONFIDENCE
        if given is not None:
            fraction = share(self.checking, given, "a confidence") or DEFAULT_CONFIDENCE
        value = f"{percent(fraction)} {scope}"
        yield self.setting("confidence", given, value, value)
        tested = list(self.tested(accept))
        reasons = list(self.approximations(tested))
        error = ("about " if reasons else "") + percent(1 - fraction)
        runs = math.prod(len(axis.values) for axis in self.axes)
        who = "the run" if runs == 1 else f"any of the {runs} runs of the sweep"
        yield (
            f"  the chance that {who} ever accepts a model that is no better is at most {error}"
            if scope == "over the run"
            else f"  each single decision is wrong with a chance of at most {error}"
        )
        yield from (f"  about: {reason}" for reason in reasons)
        for info in tested:
            if info.clips and info.range is not None:
                low, high = info.range
                yield (
                    f"  what is tested is the mean of {info.name} with each example's value kept "
                    f"in {low:g} to {high:g}; rankings, conditions and figures take values as they "
                    "are"
                )

    def approximations(self, tested: Sequence[typed.ObjectiveInfo]) -> Iterator[str]:
        """Why tests of acceptance hold their level only about; nothing where they are exact."""
        if any(each.value.facts.level == "set" for each in tested):
            yield "a value of the whole set is tested by a bootstrap, an approximation"
        infos = [data.data(self.checking, each) for each in self.all_of(tree.Data)]
        if any(info and info.split and info.split.block is not None for info in infos):
            yield "blocks of time are independent as far as nothing is felt longer than they are"

    def tested(self, accept: tree.Accept) -> Iterator[typed.ObjectiveInfo]:
        """What adapt tests: the objective that has to improve, or that may lead, and guards."""
        block = self.checking.names.assess
        if accept.objective is not None:
            named = judging.objective_info(self.checking, accept.objective)
            yield from () if named is None else (named,)
        elif block is not None:
            keys = judging.ranking(self.checking, block)
            yield from () if keys is None else keys.keys
        guards = None if block is None else judging.guards(self.checking, block)
        yield from (guard.measure for guard in guards or () if guard.is_proven)

    def after(self, block: tree.After, *, is_bounded: bool) -> Iterator[str]:
        lacking = "with neither an acceptance nor a new best of current on assess"
        if not is_bounded:
            lacking = "without an acceptance"
        amount = write_amount(block.amount)
        yield f"after {amount} without progress {self.at(block)}, {lacking}:"
        for item in block.items:
            match item:
                case tree.Grow():
                    yield f"  grow by {_operators(item)} {self.at(item)}"
                    for operator in item.operators:
                        yield from self.operator(operator)
                    if not is_bounded:
                        yield "  the accepted model is replaced by what has grown, untested"
                case tree.Limit():
                    yield f"  only while {write_expression(item.condition)} {self.at(item)}"
                case tree.Lengthen():
                    cap = "" if item.cap is None else f" up to {write_amount(item.cap)}"
                    factor = write_amount(item.factor)
                    yield f"  explore {factor} as long{cap} {self.at(item)}"
                case tree.Restart():
                    yield (
                        "  start again from the smallest model, with fresh weights, where limits "
                        f"stop growth {self.at(item)}"
                    )

    def operator(self, written_as: tree.Expression) -> Iterator[str]:
        """An operator of growth with its options, and the one inside it with its own."""
        name = written_as.function if isinstance(written_as, tree.Call) else written_as
        entry = GROWTH.get(name.text) if isinstance(name, tree.Name) else None
        if entry is None:
            return
        yield f"    {entry.name}: {', '.join(self.arguments(written_as, entry.options))}"
        for each in written_as.arguments if isinstance(written_as, tree.Call) else ():
            yield from self.operator(each.value)

    def conditions(self, stop: tree.Stop) -> str:
        words = []
        for condition in stop.conditions:
            match condition:
                case tree.StopAfter():
                    words.append(f"after {write_amount(condition.amount)}")
                case tree.StopWhen():
                    words.append(f"when {write_expression(condition.condition)}")
                case tree.StopTargets():
                    words.append("when all targets are met")
        return listed(words, "or")

    def report(self) -> str:
        block = self.checking.names.report
        items = () if block is None else block.items
        shows = [each for each in items if isinstance(each, tree.Show)]
        lines = ["measured once, at the end, on the report split"]
        for each in shows:
            lines.append(f"shows {', '.join(map(write_expression, each.values))} {self.at(each)}")
        if not shows:
            names = listed(each.name.text for each in self.all_of(tree.Objective))
            lines.append(f"shows {names}, all objectives (default)")
        baselines = [each for each in items if isinstance(each, tree.Baseline)]
        for baseline in baselines:
            steps = "as many gradient steps as all candidates together"
            if baseline.is_same_lineage:
                steps = "as many gradient steps as the accepted model's own lineage"
            lines.append(
                f"baseline {baseline.name.text}: descends {write_expression(baseline.loss)} with "
                f"{write_expression(baseline.optimizer)} from the same start for {steps} "
                f"{self.at(baseline)}"
            )
        if not baselines:
            lines.append("baselines: none (default)")
        return _section("Report" if block is None else f"Report {self.at(block)}", lines)

    # ------------------------------------------------------------ what is to come

    def not_built(self) -> str:
        lines = [
            f"{self.line(each.span)}: {each.message}"
            for each in self.analysis.diagnostics
            if each.code == NOT_BUILT and each.span is not None
        ]
        if not lines:
            return ""
        return _section("What can't be run yet, so that this spec is only checked", lines)


def _operators(grow: tree.Grow) -> str:
    """How the models grow, in words."""
    operators = [write_expression(each) for each in grow.operators]
    match grow.choice:
        case "only":
            return listed(operators)
        case "or":
            return f"one drawn of {listed(operators, 'or')}"
        case "best of":
            return f"the best of {listed(operators)}, each tried for one iteration"


def _stages(pipe: tree.Expression) -> tuple[tree.Expression, ...]:
    return pipe.stages if isinstance(pipe, tree.Pipe) else (pipe,)


def _first(items: Iterable[tree.Node], kind: type[Item]) -> Item | None:
    return next((each for each in items if isinstance(each, kind)), None)
