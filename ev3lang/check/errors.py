"""Every fault the checker finds, one constructor each: all wording of the room is here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ev3lang.catalog.signature import Dimension, Type
from ev3lang.diagnostics.diagnostic import Diagnostic, Edit, Fix, Label
from ev3lang.diagnostics.suggest import nearest
from ev3lang.source import Span
from ev3lang.syntax import tree

# ---------------------------------------------------------------- names


def unknown_name(name: tree.Name, known: Iterable[str], what: str = "name") -> Diagnostic:
    """A name that nothing declares."""
    near = nearest(name.text, known)
    return Diagnostic(
        code="unknown-name",
        message=f"there is no {what} `{name.text}`",
        span=name.span,
        help=f"did you mean `{near}`?" if near else None,
        fixes=(_rename(name.span, near),) if near else (),
    )


def unknown_field(name: tree.Name, known: Sequence[str]) -> Diagnostic:
    """A name that should be a field of the data and is none."""
    diagnostic = unknown_name(name, known, "field")
    if diagnostic.help is not None or not known:
        return diagnostic
    return Diagnostic(
        code=diagnostic.code,
        message=diagnostic.message,
        span=diagnostic.span,
        help=f"the data have {_listed(known)}",
    )


def duplicate_name(name: tree.Name, earlier: Span) -> Diagnostic:
    """A second declaration of a name."""
    return Diagnostic(
        code="duplicate-name",
        message=f"`{name.text}` is declared twice",
        span=name.span,
        labels=(Label(earlier, "first declared here"),),
        help="give one of them another name",
    )


def name_of_a_field(name: tree.Name, data: str, field: Span) -> Diagnostic:
    """A declaration under the name of a field of the data."""
    return Diagnostic(
        code="duplicate-name",
        message=f"`{name.text}` is also a field of `{data}`",
        span=name.span,
        labels=(Label(field, "the field comes from here"),),
        help="fields stand bare in expressions, so a declaration needs another name",
    )


def ambiguous_field(name: tree.Name, owners: Sequence[str]) -> Diagnostic:
    """A bare field that two data blocks share."""
    return Diagnostic(
        code="ambiguous-field",
        message=f"`{name.text}` is a field of {_listed(owners, 'and')}",
        span=name.span,
        help=f"write {_listed([f'{owner}.{name.text}' for owner in owners])}",
    )


def circular(name: tree.Name, use: Span, through: Sequence[str]) -> Diagnostic:
    """A declaration that needs itself."""
    path = " -> ".join((*through, name.text))
    return Diagnostic(
        code="circular-definition",
        message=f"`{name.text}` is defined by itself: {path}",
        span=use,
        labels=(Label(name.span, "declared here"),),
        help="write out one of them",
    )


def unused(name: tree.Name, what: str) -> Diagnostic:
    """A declaration that nothing reads."""
    return Diagnostic(
        code="unused-name",
        message=f"the {what} `{name.text}` is never used",
        span=name.span,
        severity="warning",
        help="use it or take it out",
    )


# ---------------------------------------------------------------- parts


def missing_parts(missing: Sequence[str], whole: Span) -> Diagnostic:
    """Blocks that every experiment needs."""
    return Diagnostic(
        code="missing-part",
        message=f"the spec has no {_listed(missing)}",
        span=Span(whole.source, whole.end, whole.end),
        help=_PARTS[missing[0]]
        if len(missing) == 1
        else f"an experiment has {_listed(_PARTS, 'and')}",
    )


_PARTS = {
    "data": "say what to learn from, such as `data digits = sklearn.digits()`",
    "model": "declare one, such as `model net: image -> logits(label) = mlp(hidden: [64])`",
    "explore": "say how to update the weights: `explore net { descend … with … for 100 steps }`",
    "assess": "say how to order the candidates: `assess net { rank by … }`",
    "adapt": "say what is accepted and when to stop: `adapt net { accept when … improves; … }`",
}


def duplicate_part(again: Span, first: Span) -> Diagnostic:
    """A second block of a kind that stands once."""
    return Diagnostic(
        code="duplicate-part",
        message=f"a spec has one `{again.text}`",
        span=again,
        labels=(Label(first, "the first one is here"),),
        help="join the two blocks",
    )


def missing_statement(block: str, keyword: Span, statement: str) -> Diagnostic:
    """A block without a statement that it needs."""
    return Diagnostic(
        code="missing-statement",
        message=f"`{block}` needs `{statement.split()[0]} …`",
        span=keyword,
        help=f"add a line such as `{statement}`",
    )


def duplicate_statement(again: Span, first: Span, what: str) -> Diagnostic:
    """A statement that stands once in its block, twice."""
    return Diagnostic(
        code="duplicate-statement",
        message=f"{what} stands twice in this block",
        span=again,
        labels=(Label(first, "the first one is here"),),
        help="keep one of them",
    )


def missing_stop(keyword: Span) -> Diagnostic:
    """An adapt block without an end."""
    return Diagnostic(
        code="missing-stop",
        message="nothing ends this run",
        span=keyword,
        help="add a line such as `stop after 60 iterations`",
    )


def other_model(name: tree.Name, explored: tree.Name) -> Diagnostic:
    """assess or adapt of a model that isn't the explored one."""
    return Diagnostic(
        code="other-model",
        message=f"`{explored.text}` is explored, so `{name.text}` can't be judged here",
        span=name.span,
        labels=(Label(explored.span, "explored here"),),
        help=f"write `{explored.text}`",
        fixes=(_rename(name.span, explored.text),),
    )


def not_built_yet(span: Span, what: str, instead: str | None = None) -> Diagnostic:
    """A part of the language that this release can read but not run."""
    return Diagnostic(
        code="not-built-yet",
        message=f"{what} can't be run yet",
        span=span,
        severity="warning",
        help=instead or "the spec is checked as far as it goes; running it waits for this",
    )


# ---------------------------------------------------------------- types


def wrong_type(span: Span, expected: str, got: str, hint: str | None = None) -> Diagnostic:
    """A value of a type that doesn't fit its place."""
    return Diagnostic(
        code="wrong-type",
        message=f"expected {expected}, got {got}",
        span=span,
        help=hint,
    )


def wrong_operands(
    operator: str, span: Span, left: Span, left_type: Type, right: Span, right_type: Type
) -> Diagnostic:
    """An operator between two types that it doesn't join."""
    return Diagnostic(
        code="wrong-type",
        message=f"`{operator}` can't join {left_type} and {right_type}",
        span=span,
        labels=(Label(left, f"this is {left_type}"), Label(right, f"this is {right_type}")),
    )


def wrong_scores(span: Span, function: str, expected: str, got: Type) -> Diagnostic:
    """Probabilities where raw scores belong, or the other way round."""
    undo = span.text.startswith(("softmax(", "log_softmax(")) and expected == "logits"
    inner = span.text[span.text.index("(") + 1 : -1] if undo else ""
    return Diagnostic(
        code="wrong-scores",
        message=f"`{function}` takes {expected}, and this is {got}",
        span=span,
        help=(
            f"`{function}` applies softmax itself: give it `{inner}`"
            if undo
            else f"turn it into {expected} first"
        ),
        fixes=(Fix(f"write `{inner}`", (Edit(span, inner),)),) if undo else (),
    )


def shape_mismatch(
    span: Span, what: str, left: Span, left_type: Type, right: Span, right_type: Type
) -> Diagnostic:
    """Two sizes that have to be equal and are not."""
    classes = "class" in (left_type.kind, right_type.kind)
    return Diagnostic(
        code="class-count" if classes else "shape-mismatch",
        message=f"{what} {left_type} and {right_type}, which differ in size",
        span=span,
        labels=(Label(left, f"this is {left_type}"), Label(right, f"this is {right_type}")),
    )


def layer_shape(span: Span, why: str) -> Diagnostic:
    """A layer that can't take what comes in."""
    return Diagnostic(code="shape-mismatch", message=why, span=span)


def output_shape(
    layers: Span, got: Sequence[Dimension], signature: Span, output: Type
) -> Diagnostic:
    """Layers that end in another shape than the signature promises."""
    shape = ", ".join(str(size) for size in got)
    return Diagnostic(
        code="shape-mismatch",
        message=f"the layers end in [{shape}], the signature says {output}",
        span=layers,
        labels=(Label(signature, f"this asks for {output}"),),
        help="end with `dense`: its width comes from the signature",
    )


def missing_width(span: Span, layer: str, option: str) -> Diagnostic:
    """A layer whose width nobody states."""
    return Diagnostic(
        code="missing-width",
        message=f"`{layer}` here needs its {option}",
        span=span,
        help=f"only the last layer's comes from the signature; write `{layer}(64)`",
    )


def wrong_level(span: Span, what: str, hint: str | None = None) -> Diagnostic:
    """A value of an example where one of a set belongs, or the other way round."""
    return Diagnostic(code="wrong-level", message=what, span=span, help=hint)


def set_level_loss(span: Span, name: str) -> Diagnostic:
    """A loss that no batch's examples average to."""
    return Diagnostic(
        code="set-level-loss",
        message=f"the loss `{name}` is no mean over examples",
        span=span,
        help="a batch can't estimate it; make it an objective, and descend a loss that follows it",
    )


def wrong_unit(span: Span, unit: str, expected: str) -> Diagnostic:
    """A unit that measures something else."""
    return Diagnostic(
        code="wrong-unit",
        message=f"expected {expected}, got {unit}",
        span=span,
    )


def unknown_unit(number: tree.Number, known: Iterable[str]) -> Diagnostic:
    """A word behind a number that is no unit."""
    assert number.unit is not None and number.unit_span is not None
    near = nearest(number.unit, known)
    return Diagnostic(
        code="unknown-unit",
        message=f"there is no unit `{number.unit}`",
        span=number.unit_span,
        help=f"did you mean `{near}`?" if near else f"units are {_listed(sorted(known))}",
        fixes=(_rename(number.unit_span, near),) if near else (),
    )


def fraction_and_difference(span: Span, left: Span, left_type: Type, right: Span) -> Diagnostic:
    """`accuracy >= 98 pp`: a fraction beside a difference of fractions."""
    return Diagnostic(
        code="wrong-unit",
        message="`pp` is a difference of two fractions, and can only be added to a fraction",
        span=span,
        labels=(Label(left, f"this is {_article(left_type)}"), Label(right, "beside it")),
        help="write `%` for a fraction: `accuracy >= 98%`",
    )


def out_of_range(span: Span, what: str, allowed: str, value: object) -> Diagnostic:
    """A number beyond what its place allows."""
    return Diagnostic(
        code="out-of-range",
        message=f"{what} has to be {allowed}, and this is {value}",
        span=span,
    )


def division_by_zero(span: Span, where: Span) -> Diagnostic:
    """A division that these arguments turn into one by zero."""
    labels = () if where == span else (Label(where, "divided here"),)
    return Diagnostic(
        code="division-by-zero",
        message="this divides by zero",
        span=span,
        labels=labels,
        help="a temperature has to be above 0",
    )


def no_value(span: Span, what: str, hint: str) -> Diagnostic:
    """Something that is no value, where an expression needs one."""
    return Diagnostic(code="not-a-value", message=f"{what} is no value", span=span, help=hint)


def unknown_type(name: tree.Name, known: Iterable[str]) -> Diagnostic:
    """A type nobody knows."""
    near = nearest(name.text, known)
    return Diagnostic(
        code="unknown-type",
        message=f"there is no type `{name.text}`",
        span=name.span,
        help=f"did you mean `{near}`?" if near else f"types are {_listed(sorted(known))}",
        fixes=(_rename(name.span, near),) if near else (),
    )


def type_form(span: Span, kind: str, form: str) -> Diagnostic:
    """A type with the wrong dimensions for its kind."""
    return Diagnostic(
        code="wrong-type", message=f"`{kind}` is written `{form}`", span=span, help=None
    )


# ---------------------------------------------------------------- arguments


def unknown_argument(function: str, name: tree.Name, known: Sequence[str]) -> Diagnostic:
    """A named argument that a function doesn't have."""
    near = nearest(name.text, known)
    has = f"it takes {_listed(known, 'and')}" if known else "it takes none"
    return Diagnostic(
        code="unknown-argument",
        message=f"`{function}` has no argument `{name.text}`",
        span=name.span,
        help=f"did you mean `{near}`?" if near else has,
        fixes=(_rename(name.span, near),) if near else (),
    )


def duplicate_argument(function: str, name: str, span: Span) -> Diagnostic:
    """An argument given twice."""
    return Diagnostic(
        code="duplicate-argument",
        message=f"`{function}` gets `{name}` twice",
        span=span,
    )


def too_many_arguments(function: str, most: int, span: Span) -> Diagnostic:
    """More arguments by place than a function has."""
    takes = {0: "no arguments", 1: "one argument"}.get(most, f"at most {most} arguments")
    return Diagnostic(code="too-many-arguments", message=f"`{function}` takes {takes}", span=span)


def missing_argument(function: str, names: Sequence[str], span: Span) -> Diagnostic:
    """Arguments without a default that are not given."""
    return Diagnostic(
        code="missing-argument",
        message=f"`{function}` needs {_listed(names, 'and')}",
        span=span,
    )


def unknown_choice(name: tree.Name, what: str, choices: Sequence[str]) -> Diagnostic:
    """A word that is none of an option's choices."""
    near = nearest(name.text, choices)
    return Diagnostic(
        code="unknown-name",
        message=f"there is no {what} `{name.text}`",
        span=name.span,
        help=f"did you mean `{near}`?" if near else f"choose {_listed(choices)}",
        fixes=(_rename(name.span, near),) if near else (),
    )


# ---------------------------------------------------------------- gradient, search


def no_gradient(
    span: Span, loss: str, model: str, ends: Span | None, declared: Span | None
) -> Diagnostic:
    """A loss that can't be descended, because nothing of it reaches the model's weights."""
    labels = []
    if ends is not None:
        labels.append(Label(ends, "the gradient ends here"))
    elif declared is not None:
        labels.append(Label(declared, f"nothing here depends on `{model}` smoothly"))
    return Diagnostic(
        code="no-gradient",
        message=f"no gradient of `{loss}` reaches `{model}`",
        span=span,
        labels=tuple(labels),
        help="descend a loss that is smooth in its outputs, such as `cross_entropy`",
    )


def frozen_explored(name: tree.Name, frozen: Span) -> Diagnostic:
    """A model that is frozen and explored."""
    return Diagnostic(
        code="frozen-explored",
        message=f"`{name.text}` is frozen and can't be explored",
        span=name.span,
        labels=(Label(frozen, "frozen here"),),
        help="take out `frozen`, or explore another model",
    )


def no_learning_rate(span: Span) -> Diagnostic:
    """A chain of transforms alone: its steps would go uphill, unscaled."""
    return Diagnostic(
        code="no-optimizer",
        message="this chain has no optimizer, so it would add the gradient instead of descending",
        span=span,
        help="end it with one, such as `| sgd(0.1)`",
    )


def identical_candidates(span: Span, name: str, first: Span) -> Diagnostic:
    """Two candidates of one name: the same loss with the same optimizer."""
    return Diagnostic(
        code="identical-candidates",
        message=f"the candidate `{name}` stands twice",
        span=span,
        labels=(Label(first, "the first one is here"),),
        help="it would be computed twice and can never win over itself; take one out",
    )


def no_direction(name: tree.Name, declared: Span) -> Diagnostic:
    """A metric where an objective belongs."""
    return Diagnostic(
        code="no-direction",
        message=f"`{name.text}` is a metric: it doesn't say whether more is better",
        span=name.span,
        labels=(Label(declared, "declared here"),),
        help=f"declare it as `objective {name.text} = maximize …` or `minimize …`",
    )


# ---------------------------------------------------------------- data


def split_too_large(span: Span, total: float) -> Diagnostic:
    """Shares that sum to more than everything."""
    return Diagnostic(
        code="split-too-large",
        message=f"the shares sum to {total:g}%, more than there is",
        span=span,
    )


def split_use_twice(again: Span, first: Span, use: str) -> Diagnostic:
    """One use named twice in a split."""
    return Diagnostic(
        code="split-use-twice",
        message=f"`{use}` has two shares",
        span=again,
        labels=(Label(first, "the first one is here"),),
        help="each share has one use, and each use one share",
    )


def missing_share(span: Span, uses: Sequence[str]) -> Diagnostic:
    """A split without a use that every run needs."""
    return Diagnostic(
        code="missing-share",
        message=f"the split has no share for {_listed(uses, 'and')}",
        span=span,
        help="gradients, ranking, accepting and the final report each need examples of their own",
    )


def split_of_endless(span: Span) -> Diagnostic:
    """A split of a source without end."""
    return Diagnostic(
        code="split-of-endless",
        message="an endless source can't be split: every batch is fresh",
        span=span,
        help="take out the split, or state how many examples to draw: `two_moons(n: 2000)`",
    )


def batch_too_large(span: Span, batch: int, rows: int) -> Diagnostic:
    """A batch that the explore split can't fill."""
    return Diagnostic(
        code="batch-too-large",
        message=f"a batch of {batch} is larger than the explore split, which has {rows} examples",
        span=span,
        help=f"write `batch {max(1, rows // 4)}` or give explore a larger share",
    )


def empty_share(span: Span, use: str, rows: int) -> Diagnostic:
    """A share so small that no example falls to it."""
    return Diagnostic(
        code="empty-share",
        message=f"`{use}` gets no example of {rows}",
        span=span,
        help="give it a larger share",
    )


def two_data_blocks(span: Span, first: str, second: str) -> Diagnostic:
    """An expression that reads the fields of two blocks."""
    return Diagnostic(
        code="two-data-blocks",
        message=f"this reads fields of `{first}` and of `{second}`",
        span=span,
        help="examples of two data blocks don't belong together; read one of them",
    )


def field_of_file(item: Span, source: str) -> Diagnostic:
    """A declared field of a source that brings its own."""
    return Diagnostic(
        code="field-of-known-source",
        message=f"`{source}` brings its own fields, which are not declared",
        span=item,
        help="take out the line, or compute a field with `derive … = …`",
    )


def input_is_id(span: Span, name: str) -> Diagnostic:
    """An id that a model would learn by heart."""
    return Diagnostic(
        code="id-as-input",
        message=f"`{name}` names who or what an example is, and can't be an input",
        span=span,
        help="a model would learn the names by heart; use it in `grouped by` only",
    )


def derived_from_model(span: Span) -> Diagnostic:
    """A field that a model's output should become."""
    return Diagnostic(
        code="derived-from-model",
        message="a field is computed once, before the run, and can't depend on a model",
        span=span,
        help="use `let` for values that depend on a model",
    )


# ---------------------------------------------------------------- settings


def unknown_setting(name: tree.Name, known: Sequence[str]) -> Diagnostic:
    """A line in `experiment` that means nothing."""
    return unknown_name(name, known, "setting")


def unknown_override(name: str, known: Sequence[str]) -> Diagnostic:
    """`--set` of a name that isn't a param."""
    near = nearest(name, known)
    hint = f"did you mean `{near}`?" if near else None
    if hint is None:
        hint = f"the spec has {_listed(known)}" if known else "the spec declares no `param`"
    return Diagnostic(
        code="unknown-override",
        message=f"`--set {name}=…`: the spec has no param `{name}`",
        span=None,
        help=hint,
    )


def param_without_value(param: tree.Param) -> Diagnostic:
    """A param that has no default and was not set."""
    return Diagnostic(
        code="missing-value",
        message=f"the param `{param.name.text}` has no value",
        span=param.name.span,
        help=f"give it a default, or run with `--set {param.name.text}=…`",
    )


def never_met(span: Span, objective: str, bounds: tuple[float, float], value: float) -> Diagnostic:
    """A target or condition that lies outside what its objective can be."""
    return Diagnostic(
        code="never-met",
        message=f"`{objective}` lies from {bounds[0]:g} to {bounds[1]:g}; {value:g} is not there",
        span=span,
        help=f"write the sign of a fraction: `{value:g}%`" if bounds == (0, 1) else None,
    )


# ---------------------------------------------------------------- wording


def _rename(span: Span, text: str) -> Fix:
    return Fix(f"write `{text}`", (Edit(span, text),))


def _listed(names: Iterable[str], word: str = "or") -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"


def _article(type_: Type) -> str:
    words = {"ratio": "a fraction", "pp": "a difference of fractions", "real": "a real number"}
    return words.get(type_.kind, str(type_))
