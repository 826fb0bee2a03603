"""A spec with its defaults written into it: what `fmt --explicit` gives."""

from __future__ import annotations

import attrs

from ev3lang.analysis import analyze, default_name
from ev3lang.check import data, judging, reference, typed
from ev3lang.check.checking import Checking
from ev3lang.check.phases import DEFAULT_EVALUATION
from ev3lang.check.power import DEFAULT_CONFIDENCE
from ev3lang.check.resolve import resolve
from ev3lang.check.sweeps import axes, checked_points
from ev3lang.diagnostics.diagnostic import Diagnostic, has_errors
from ev3lang.source import Source
from ev3lang.syntax import tree
from ev3lang.syntax.format import format_source
from ev3lang.syntax.layout import RESERVED


def explicit_source(source: Source) -> tuple[str | None, tuple[Diagnostic, ...]]:
    """The formatted text with every setting of every block; None and why where it has errors.

    It means the same experiment, of the same name. Options of built-ins stay as they are: `explain`
    shows those. An experiment without a block gets one with the name of its file; none where that
    is no name of the language, or names something else in the spec.
    """
    analysis = analyze(source)
    if has_errors(analysis.diagnostics):
        return None, analysis.diagnostics
    names, _ = resolve(attrs.evolve(analysis.tree, declarations=analysis.declarations))
    checking = Checking(names, {})
    checking.overrides = next(
        checked_points(() if names.sweep is None else axes(checking, names.sweep))
    )
    blocks = {
        each.name.text: data.data(checking, each)
        for each in names.declared.values()
        if isinstance(each, tree.Data)
    }
    writing = _Writing(source, checking, blocks)
    for each in analysis.tree.declarations:
        writing.declaration(each)
    writing.missing(analysis.tree)
    return format_source(Source(source.name, writing.text())), ()


@attrs.frozen(eq=False)
class _Writing:
    """A text and what is to be put into it: `parts` by the offset that they stand before."""

    source: Source
    checking: Checking
    blocks: dict[str, typed.DataInfo | None]
    parts: dict[int, str] = attrs.Factory(dict)

    def text(self) -> str:
        """The text with its additions, not yet in the one layout."""
        pieces, before = [], 0
        for place, addition in sorted(self.parts.items()):
            pieces += [self.source.text[before:place], addition]
            before = place
        return "".join((*pieces, self.source.text[before:]))

    def put(self, place: int, addition: str) -> None:
        self.parts[place] = self.parts.get(place, "") + addition

    def add(self, declaration: tree.Declaration, statements: list[str]) -> None:
        """Put statements at the end of a declaration's block, which may have to be opened."""
        if not statements:
            return
        inside = "".join(f"{each}\n" for each in statements)
        if declaration.span.text.endswith("}"):
            place = declaration.span.end - 1
            is_on_new_line = self.source.text[:place].rstrip(" \t").endswith("\n")
            self.put(place, inside if is_on_new_line else f"\n{inside}")
        else:
            self.put(declaration.span.end, f" {{\n{inside}}}")

    def declaration(self, declaration: tree.Declaration) -> None:
        """Write out one declaration of the spec itself."""
        match declaration:
            case tree.Experiment(settings=settings):
                stated = {each.name.text for each in settings}
                plain = {"seed": "seed 0", "precision": "precision f32"}
                self.add(declaration, [plain[each] for each in plain if each not in stated])
            case tree.Data():
                self.data(declaration)
            case tree.Explore(items=items):
                self.add(
                    declaration,
                    [
                        *_unless(items, tree.Batches, "batches shared"),
                        *_unless(items, tree.OptimizerState, "state lasting"),
                    ],
                )
            case tree.Adapt():
                self.adapt(declaration)
            case tree.Report(items=items):
                self.add(declaration, _unless(items, tree.Show, self.show()))
            case _:
                pass

    def data(self, declaration: tree.Data) -> None:
        info = self.blocks[declaration.name.text]
        if info is None:
            return
        statements = []
        split = next((e for e in declaration.items if isinstance(e, tree.SplitItem)), None)
        if split is not None and split.seed is None:
            self.put(split.span.end, " seed 0")
        elif split is None and info.split is not None:
            by = info.split.by
            how = "" if info.split.method is None else f" {info.split.method} by {by}"
            shares = ", ".join(
                f"{use} {100 * share:g}%" for use, share in data.DEFAULT_SHARES.items()
            )
            statements.append(f"split {shares}{how} seed {info.split.seed}")
        explore = self.checking.names.explore
        items = () if explore is None else explore.items
        if not any(isinstance(each, tree.Batch) for each in items):
            # What `explore` states would win over it.
            statements += _unless(declaration.items, tree.Batch, f"batch {data.DEFAULT_BATCH}")
        self.add(declaration, statements)

    def adapt(self, block: tree.Adapt) -> None:
        is_endless = any(info is not None and info.is_endless for info in self.blocks.values())
        statements: list[str] = []
        if not reference.is_chosen(block.items):
            for item in block.items:
                if isinstance(item, tree.Accept):
                    self.accept(item)
            accept = next((each for each in block.items if isinstance(each, tree.Accept)), None)
            rule = judging.rule_in_force(self.checking, accept, is_endless=is_endless)
            statements += _unless(block.items, tree.Rule, f"rule {rule}")
            statements += _unless(block.items, tree.Move, "move unless worse")
        if is_endless:
            evaluate = f"evaluate {DEFAULT_EVALUATION} batches"
            statements += _unless(block.items, tree.Evaluate, evaluate)
        self.add(block, statements)

    def accept(self, item: tree.Accept) -> None:
        confidence = f" with confidence {100 * DEFAULT_CONFIDENCE:g}% "
        place = item.span.end
        if item.confidence is None and item.scope is not None:
            start = item.span.text.rfind(item.scope.split()[0])
            self.put(item.span.start + start, confidence)
        elif item.confidence is None:
            self.put(place, f"{confidence}over the run")
        elif item.scope is None:
            self.put(place, " over the run")

    def show(self) -> str:
        names = self.checking.names.declared
        shown = [name for name, each in names.items() if isinstance(each, tree.Objective)]
        return f"show {', '.join(shown)}"

    def missing(self, syntax_tree: tree.SyntaxTree) -> None:
        """Write whole blocks that the spec leaves out."""
        names = self.checking.names
        if names.experiment is None and syntax_tree.edition is not None:
            name = default_name(self.source)
            reserved = {*RESERVED, *names.declared}
            # By another name it would be another experiment, with folders of its own.
            if name.isascii() and name.isidentifier() and name not in reserved:
                block = f"experiment {name} {{\nseed 0\nprecision f32\n}}"
                self.put(syntax_tree.edition.span.end, f"\n\n{block}")
        if names.report is None:
            end = len(self.source.text)
            lead = "" if self.source.text.endswith("\n") else "\n"
            self.put(end, f"{lead}\nreport {{\n{self.show()}\n}}\n")


def _unless(items: tuple[tree.Node, ...], kind: type[tree.Node], statement: str) -> list[str]:
    """The statement, where the block has none of its kind."""
    return [] if any(isinstance(each, kind) for each in items) else [statement]
