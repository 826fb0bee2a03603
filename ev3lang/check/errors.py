"""Every fault the checker finds, one constructor each: all wording of the room is here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ev3lang.catalog.signature import Dimension, Type
from ev3lang.check.folding import Fault
from ev3lang.diagnostics.diagnostic import NOT_BUILT, Diagnostic, Edit, Fix, Label
from ev3lang.diagnostics.figures import likelihood
from ev3lang.diagnostics.suggest import nearest
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.errors import quoted

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


def too_deep(span: Span, most: int) -> Diagnostic:
    """Declarations that need each other in a longer row than can be followed."""
    return Diagnostic(
        code="nesting-too-deep",
        message=f"more than {most} declarations need each other in a row, or nest as deep",
        span=span,
        help="write some of them out",
    )


def expression_too_large(span: Span, size: str) -> Diagnostic:
    """An expression that, written out, is more than can be compiled.

    size   such as `more than 400 levels`
    """
    return Diagnostic(
        code="expression-too-large",
        message=f"with all names written out, this has {size}",
        span=span,
        help="say the same in fewer steps, or with fewer different arguments",
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


def duplicate_statement(
    again: Span, first: Span, what: str, where: str = "this block"
) -> Diagnostic:
    """A statement that stands once in its block, twice."""
    return Diagnostic(
        code="duplicate-statement",
        message=f"{what} stands twice in {where}",
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
        code=NOT_BUILT,
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


def other_classes(
    span: Span, what: str, left: tuple[Span, Type, str], right: tuple[Span, Type, str]
) -> Diagnostic:
    """Scores of other classes, such as a teacher's: each side with what gives it."""
    return Diagnostic(
        code="class-count",
        message=f"{what} {left[1]} from `{left[2]}` and {right[1]} from `{right[2]}`, which "
        "differ in classes",
        span=span,
        labels=tuple(Label(place, f"this is {type_}") for place, type_, _ in (left, right)),
        help="one can teach the other only over the same classes",
    )


def layer_shape(span: Span, why: str) -> Diagnostic:
    """A layer that can't take what comes in."""
    return Diagnostic(code="shape-mismatch", message=why, span=span)


def layer_input(span: Span, layer: str, gives: str) -> Diagnostic:
    """A layer of numbers on tokens, or the other way round."""
    if gives == "tokens":
        help_ = "`embed(64)` turns each token into a vector of 64 numbers"
        message = f"`{layer}` takes numbers, and tokens come in"
    else:
        help_ = "tokens come from a field such as `text: tokens[8000, 128]`"
        message = f"`{layer}` takes tokens, and numbers come in"
    return Diagnostic(code="wrong-type", message=message, span=span, help=help_)


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


def of_token_mean(span: Span, function: str) -> Diagnostic:
    """A function of one sequence's part in a mean over all tokens."""
    return wrong_level(
        span,
        f"{function} of a mean over tokens, which belongs to the whole set and no sequence",
        "each sequence counts in it by its tokens, so only sums and multiples have a meaning; for "
        "a value of each sequence write `over: sequences`",
    )


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


def uncountable(span: Span, what: str, most: int, value: object) -> Diagnostic:
    """A count beyond what a program counts."""
    return out_of_range(span, what, f"at most {most:_}", value)


def too_many_layers(span: Span, name: str, count: int, most: int) -> Diagnostic:
    """A model that would take hours to compile."""
    return Diagnostic(
        code="model-too-large",
        message=f"`{name}` has {count:_} layers, more than the {most:_} that can be compiled",
        span=span,
        help="take fewer blocks or repetitions",
    )


def too_many_parameters(span: Span, name: str, count: int, most: int) -> Diagnostic:
    """A model that no machine could hold."""
    return Diagnostic(
        code="model-too-large",
        message=f"`{name}` has {count:.3g} parameters, and a run can hold {most:.3g} at most",
        span=span,
        help="take fewer or narrower layers",
    )


def run_too_large(span: Span, needed: str, parts: str, most: str) -> Diagnostic:
    """A run that no machine has the memory for."""
    return Diagnostic(
        code="run-too-large",
        message=f"a run needs at least {needed} of memory, and no device has more than {most}",
        span=span,
        labels=(Label(span, parts),),
        help="take a smaller model, batch or set; `ev3lang plan` says what each part takes",
    )


def value_too_large(span: Span, type_: Type, most: int) -> Diagnostic:
    """A value of more numbers than an array can have."""
    return Diagnostic(
        code="out-of-range",
        message=f"one value of {type_} has more than the {most:_} numbers that an array can have",
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


def no_number(span: Span, fault: Fault, where: Span) -> Diagnostic:
    """Arithmetic of numbers, or of a loss's arguments, that comes to no finite number."""
    if fault == "zero":
        return division_by_zero(span, where)
    labels = () if where == span else (Label(where, "computed here"),)
    if fault == "large":
        return Diagnostic(
            code="number-too-large",
            message="this comes to a number larger than any that a run can hold",
            span=span,
            labels=labels,
            help="the largest is near 1.8e308",
        )
    return Diagnostic(
        code="no-real-number",
        message="this is no real number",
        span=span,
        labels=labels,
        help="a logarithm needs a number above 0, a root or a broken power one that is not below",
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


# ---------------------------------------------------------------- other files


def use_outside(path: tree.String, folder: str) -> Diagnostic:
    """`use` of a file that lies outside of the project."""
    return Diagnostic(
        code="use-outside-project",
        message=f"`{path.value}` lies outside of the project folder `{folder}`",
        span=path.span,
        help="use a path relative to this file that stays inside the project",
    )


def use_circle(path: tree.String, names: Sequence[str]) -> Diagnostic:
    """Files that use each other in a circle."""
    return Diagnostic(
        code="use-circle",
        message=f"these files use each other: {' -> '.join(names)}",
        span=path.span,
        help="put what both need into a third file",
    )


def use_unreadable(path: tree.String, why: str) -> Diagnostic:
    """`use` of a file that isn't there or is no text."""
    return Diagnostic(
        code="use-not-found",
        message=f"{quoted(path.value)} can't be used: {why[:1].lower()}{why[1:]}",
        span=path.span,
        help="the path is relative to this file",
    )


def extern_target(target: tree.String) -> Diagnostic:
    """An extern whose place is no `package.module:name`."""
    return Diagnostic(
        code="extern-target",
        message=f"`{target.value}` names no Python function",
        span=target.span,
        help='write the module and the function: `from "package.module:name"`',
    )


def archive_never_fills(model: tree.Name, explored: tree.Name) -> Diagnostic:
    """An archive of a model that nothing accepts."""
    return Diagnostic(
        code="archive-never-fills",
        message=f"`{model.text}` is not explored, so this archive never gets a member",
        span=model.span,
        labels=(Label(explored.span, "explored here"),),
        help=f"write `{explored.text}`",
    )


def archive_without_growth(span: Span, archive: str) -> Diagnostic:
    """A candidate that waits for members in a run whose models stay as they are."""
    return Diagnostic(
        code="archive-never-fills",
        message=f"members of `{archive}` come in when the model grows, and nothing grows here",
        span=span,
        help="add `grow by …` to `after … without progress`, or take this loss out",
    )


def archive_is_all(span: Span, archive: str) -> Diagnostic:
    """Candidates that all wait for members, which one of them would have to become."""
    return Diagnostic(
        code="archive-never-fills",
        message=f"every candidate needs a member of `{archive}`, and at the start it has none",
        span=span,
        help="descend a loss without it as well",
    )


def archive_outside_loss(span: Span, archive: str, reader: Span) -> Diagnostic:
    """A member of an archive where there is no candidate for each."""
    return Diagnostic(
        code="archive-outside-loss",
        message=f"`{archive}` has any number of members, and only a loss that `explore` descends "
        "has a candidate for each",
        span=span,
        labels=() if reader == span else (Label(reader, "this reads it"),),
        help="apply the explored model here, or a teacher that is trained before the run",
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


def nothing_to_evolve(span: Span, objective: str, model: str, declared: Span) -> Diagnostic:
    """An objective that no weights of the explored model change."""
    return Diagnostic(
        code="nothing-to-evolve",
        message=f"`{objective}` is the same whatever the weights of `{model}` are",
        span=span,
        labels=(Label(declared, "declared here"),),
        help=f"evolve an objective that reads what `{model}` gives",
    )


def fixed_option(span: Span, option: str, link: str, optimizer: str) -> Diagnostic:
    """A mutated number that its link takes in once and never reads again."""
    return Diagnostic(
        code="fixed-option",
        message=f"`{option}` of `{link}` is fixed before the first step, so no factor changes it",
        span=span,
        help=f"mutate another number, or explore without `{optimizer}`",
    )


def idle_baseline(name: tree.Name) -> Diagnostic:
    """A baseline that is to take as many gradient steps as candidates that take none."""
    return Diagnostic(
        code="idle-baseline",
        message=(
            f"no candidate takes gradient steps, so the baseline `{name.text}`, which takes as "
            "many, stays at its start"
        ),
        span=name.span,
        severity="warning",
        help="explore by a descent too, or take the baseline out",
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


def nothing_decays(span: Span) -> Diagnostic:
    """`decay only matrices` in a chain without a link that decays weights."""
    return Diagnostic(
        code="no-decay",
        message="no link of this chain decays weights, so there is nothing to keep from some",
        span=span,
        help="decay them, as `adamw(1e-3, weight_decay: 1%)` does, or leave this out",
    )


def decays_all(span: Span, link: str, link_span: Span) -> Diagnostic:
    """`decay only matrices` beside a link that can only decay all."""
    return Diagnostic(
        code="no-decay",
        message=f"the weight decay of `{link}` reaches all weights alike",
        span=span,
        labels=(Label(link_span, "this link"),),
        help="take `adamw`, or put `add_decayed_weights(1e-4)` before an optimizer without decay",
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


def split_too_large(span: Span, total: float, part: str | None) -> Diagnostic:
    """Shares that sum to more than everything, or than everything of a file's part."""
    of = "" if part is None else f" of `{part}`"
    return Diagnostic(
        code="split-too-large",
        message=f"the shares{of} sum to {total:g}%, more than there is",
        span=span,
    )


def part_twice(span: Span, part: str | None) -> Diagnostic:
    """Two counts of rows for one part of a file."""
    what = "the file" if part is None else f"`{part}`"
    return Diagnostic(
        code="duplicate-statement", message=f"the rows of {what} are counted twice", span=span
    )


def part_without_rows(name: tree.Name, counted: Sequence[str]) -> Diagnostic:
    """A part of a file that a split draws from, and that `rows` counts no examples of."""
    near = nearest(name.text, counted)
    return Diagnostic(
        code="unknown-name",
        message=f"`rows` counts no part `{name.text}` of the file",
        span=name.span,
        help=f"did you mean `{near}`?"
        if near
        else f"write `rows …, … in {name.text}`, or count the whole file alone: `rows …`",
        fixes=(_rename(name.span, near),) if near else (),
    )


def part_of_known_source(name: tree.Name, source: str) -> Diagnostic:
    """A split that draws from a part of a source that has none."""
    return Diagnostic(
        code="unknown-name",
        message=f"`{source}` has no part `{name.text}`: only files have parts",
        span=name.span,
        help=f"take out `from {name.text}`",
    )


def partly_pooled(other: Span, pooled: Span) -> Diagnostic:
    """A share of all parts of a file beside one of a single part, or of no stated one."""
    return Diagnostic(
        code="partly-pooled",
        message="some shares are of all parts of the file, and this one is not",
        span=other,
        labels=(Label(pooled, "of all parts"),),
        help="write `from all` in each of the four shares, or name a part in each",
    )


def uneven_parts(span: Span, batch: int, parts: int) -> Diagnostic:
    """A batch that can't be cut into equal parts."""
    return Diagnostic(
        code="uneven-parts",
        message=f"a batch of {batch} can't be cut into {parts} equal parts",
        span=span,
        help="gradients are averaged over the parts, so all need the same number of examples",
    )


def known_too_many(span: Span, count: int, rows: int) -> Diagnostic:
    """A field known for more examples than may show it."""
    return Diagnostic(
        code="known-too-many",
        message=f"{count} examples can't show it: the explore split has {rows}",
        span=span,
    )


def augments_images(span: Span, name: str, type_: Type) -> Diagnostic:
    """An augmentation of images on a field that is none."""
    return Diagnostic(
        code="augments-images",
        message=f"`{name}` works on images of height x width x channels, and this is {type_}",
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


def normalize_endless(span: Span, field: str) -> Diagnostic:
    """Statistics of an explore split where there is none."""
    return Diagnostic(
        code="normalize-endless",
        message=f"an endless source has no explore split to measure `{field}` on",
        span=span,
        help=f"state both, `normalize {field} mean [0.5] std [0.5]`, or draw a finite set",
    )


def batch_too_large(span: Span, batch: int, rows: int) -> Diagnostic:
    """A batch that the explore split can't fill."""
    return Diagnostic(
        code="batch-too-large",
        message=f"a batch of {batch} is larger than the explore split, which has {rows} examples",
        span=span,
        help=f"write `batch {max(1, rows // 4)}` or give explore a larger share",
    )


def norm_of_one(span: Span, model: Span, name: str, field: str | None = None) -> Diagnostic:
    """Batch norm over a single value: a batch, or a part of it, of one example."""
    what = "a batch, or a part of one," if field is None else f"a batch that knows `{field}`"
    return Diagnostic(
        code="norm-of-one",
        message=f"`{name}` has batch norm, and {what} has one value for each channel: what comes "
        "out is its bias, whatever goes in",
        span=span,
        labels=(Label(model, "normalises over a batch"),),
        help="take larger batches or fewer parts, or `layer_norm`, which normalises each example "
        "by itself",
    )


def batch_of_one(span: Span, call: Span, function: str) -> Diagnostic:
    """A loss that compares the examples of a batch, where there is only one."""
    return Diagnostic(
        code="batch-of-one",
        message=f"`{function}` compares an example with the others of its batch, and a batch, or a "
        "part of one, has one example: it is 0 whatever the models make of it",
        span=span,
        labels=(Label(call, "compares examples"),),
        help="take larger batches or fewer parts",
    )


def empty_share(span: Span, use: str, rows: int) -> Diagnostic:
    """A share so small that no example falls to it."""
    return Diagnostic(
        code="empty-share",
        message=f"`{use}` gets no example of {rows}",
        span=span,
        help="give it a larger share",
    )


def lone_example(span: Span, use: str, rows: int) -> Diagnostic:
    """A share of a single example, which has no spread."""
    return Diagnostic(
        code="lone-example",
        severity="warning",
        message=f"`{use}` gets one example of {rows}: whatever is measured there has no standard "
        "error",
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


def no_seed(span: Span, text: str, largest: int) -> Diagnostic:
    """A seed that is no whole number, or one that another seed would be the same as."""
    return Diagnostic(
        code="out-of-range",
        message=f"a seed has to be a whole number from 0 to {largest}, and this is {text}",
        span=span,
        help="take a smaller number: any other gives other draws, and a larger one would repeat it"
        if text.isdigit()
        else None,
    )


def label_out_of_range(
    span: Span, name: str, classes: int, least: float, greatest: float
) -> Diagnostic:
    """A derived label that takes values beyond its classes."""
    reaches = f"reaches {_count(greatest)}" if greatest >= classes else f"falls to {_count(least)}"
    if least < 0:
        help_ = "shift it, so that its values begin at 0"
    else:
        help_ = f"write `class[{_count(greatest + 1)}]`, or another remainder"
    return Diagnostic(
        code="label-out-of-range",
        message=f"`{name}` {reaches}, and `class[{classes}]` has the labels 0 to {classes - 1}",
        span=span,
        help=help_,
    )


def one_class(span: Span, *, is_label: bool) -> Diagnostic:
    """A label, or a vocabulary, with a single value."""
    return Diagnostic(
        code="one-class",
        message=f"`{span.text}` has a single value, so there is nothing to tell apart",
        span=span,
        help="count all classes: right or wrong is `class[2]`"
        if is_label
        else "the first number is that of all different words or tokens",
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
    is_bare = bounds == (0, 1) and "%" not in span.text
    return Diagnostic(
        code="never-met",
        message=f"`{objective}` lies from {bounds[0]:g} to {bounds[1]:g}; {value:g} is not there",
        span=span,
        help=f"write the sign of a fraction: `{value:g}%`" if is_bare else None,
    )


# ---------------------------------------------------------------- statistics


def no_power(
    span: Span, examples: int, needed: int, confidence: float, runs: int = 1
) -> Diagnostic:
    """An adapt split on which nothing can ever be accepted."""
    return Diagnostic(
        code="no-power",
        message=(
            f"{examples} adapt examples can't show a gain at {_percent(confidence)} confidence"
            f"{_shared_by(runs)}"
        ),
        span=span,
        help=f"at least {needed} are needed: give adapt a larger share, or ask for less confidence",
    )


def unfit_units(span: Span, units: str, method: str) -> Diagnostic:
    """Groups or blocks that the split doesn't make.

    units   `groups` or `blocks`
    method  the words of a split that makes them
    """
    return Diagnostic(
        code="unfit-units",
        message=f"{units} of examples are made by a split that is `{method}` a field",
        span=span,
        help=f"write `{method} FIELD in …`, or take out what is said of {units}",
    )


def impossible_groups(span: Span, groups: int, largest: int | None, rows: int) -> Diagnostic:
    """A count of groups that so many rows can't be in."""
    held = f"{groups} groups" + ("" if largest is None else f" of up to {largest} examples")
    hold = f"hold at least {groups}" if rows < groups else f"hold at most {groups * (largest or 1)}"
    return Diagnostic(
        code="unfit-units",
        message=f"{held} {hold} examples, and there are {rows}",
        span=span,
        help="count the different values of the field, and the rows of the commonest",
    )


def few_units(
    span: Span, groups: int, needed: int, confidence: float, words: str, runs: int = 1
) -> Diagnostic:
    """So few groups or blocks in adapt that nothing can ever be accepted.

    words   what they are, such as `groups by patient`
    """
    return Diagnostic(
        code="no-power",
        message=(
            f"{groups} {words} in adapt can't show a gain at {_percent(confidence)} confidence"
            f"{_shared_by(runs)}: examples of one count as one"
        ),
        span=span,
        help=(
            f"at least {needed} are needed: give adapt a larger share, or ask for less confidence"
        ),
    )


def independent_in_time(span: Span, by: str) -> Diagnostic:
    """Examples in order of time that count as if each were drawn by itself."""
    return Diagnostic(
        code="independent-in-time",
        message=f"each example counts as drawn by itself, though they are ordered by `{by}`",
        span=span,
        severity="warning",
        help=(
            f"write `ordered by {by} in blocks of 50 examples`, with blocks longer than what "
            "happens at one time is felt"
        ),
    )


def no_resamples(
    span: Span, objective: str, confidence: float, most: int, runs: int = 1
) -> Diagnostic:
    """A confidence so high that a bootstrap never gets to its level."""
    return Diagnostic(
        code="no-power",
        message=(
            f"a gain in `{objective}` can't be shown at {_percent(confidence)} confidence"
            f"{_shared_by(runs)}: a bootstrap would take more than {most:_} resamples"
        ),
        span=span,
        help="ask for less confidence: 99.99% is the most that a set's value can have",
    )


def _shared_by(runs: int) -> str:
    return f", which the {runs} runs of the sweep share" if runs > 1 else ""


def low_power(
    span: Span,
    other: Span,
    count: int,
    smallest: float,
    distance: float,
    units: str | None = None,
    *,
    is_share: bool,
) -> Diagnostic:
    """Aims closer together than a gain that can be shown.

    units   what decides where it isn't single examples, such as `groups by patient`
    """
    least = f"{100 * smallest:.1f} pp" if is_share else f"{smallest:.3g}"
    apart = f"{100 * distance:.3g} pp" if is_share else f"{distance:.3g}"
    return Diagnostic(
        code="low-power",
        message=(
            f"{_deciding(count, units)} can't show a gain below {least} at this confidence, and "
            f"these aims are {apart} apart"
        ),
        span=span,
        severity="warning",
        labels=(Label(other, "the other aim"),),
        help="give adapt a larger share, or set the aims further apart",
    )


def _deciding(count: int, units: str | None) -> str:
    return f"{count} adapt examples" if units is None else f"{count} {units} in adapt"


def low_confidence(span: Span, confidence: float) -> Diagnostic:
    """A confidence below a coin's."""
    return Diagnostic(
        code="low-confidence",
        message=f"at {_percent(confidence)} confidence most acceptances may be chance",
        span=span,
        severity="warning",
        help="95% is the default",
    )


def confidence_each_time(span: Span, confidence: float, iterations: int, ever: float) -> Diagnostic:
    """Confidence spent anew on every decision."""
    return Diagnostic(
        code="confidence-each-time",
        message=(
            f"{_percent(confidence)} each time over {iterations} iterations: the chance of "
            f"accepting a model that is no better grows to {likelihood(ever)}"
        ),
        span=span,
        severity="warning",
        help="`over the run` bounds the whole run",
    )


def no_promise(span: Span) -> Diagnostic:
    """Rule `reference`, which bounds nothing over a run."""
    return Diagnostic(
        code="no-promise",
        message=(
            "rule `reference` makes no promise over the run: of simulated runs of 200 iterations "
            "without a true gain up to 59% accepted a model, by how alike models answer"
        ),
        span=span,
        severity="warning",
        help="without this statement the rule keeps `with confidence 95% over the run`",
    )


def guard_never_fails(span: Span, what: str) -> Diagnostic:
    """A guard that every candidate keeps."""
    return Diagnostic(
        code="guard-never-fails",
        message=f"no value of `{what}` breaks this guard",
        span=span,
        severity="warning",
        help="set a bound inside its range, or take the guard out",
    )


def guard_never_proven(
    span: Span,
    guard: str,
    count: int | None,
    needed: int | None,
    units: str | None = None,
    *,
    is_of_equals: bool,
) -> Diagnostic:
    """A proven guard that the adapt split can't show.

    count          of the examples, groups or blocks that decide
    units          what they are where they aren't single examples
    needed         examples that would do; None where none would
    is_of_equals   whether that is for two identical models, else for a perfect one
    """
    can = f"no number of {'adapt examples' if units is None else units} can"
    if needed is not None and count is not None:
        can = f"{_deciding(count, units)} can't"
    even = "two identical models" if is_of_equals else "a perfect model"
    enough = "" if needed is None else f"{needed} are needed: "
    return Diagnostic(
        code="guard-never-proven",
        message=f"{can} prove `{guard}`, not even for {even}, so nothing would ever be accepted",
        span=span,
        help=f"{enough}widen the margin, enlarge adapt, or take out `proven`",
    )


def unknown_range(span: Span, name: str) -> Diagnostic:
    """A real value that evidence is asked about, and that may be anything."""
    return Diagnostic(
        code="unknown-range",
        message=f"`{name}` has no known range, and one example could outweigh all others",
        span=span,
        help="state one, as in `objective x in 0 to 5 = …`: its test counts a value beyond an end "
        "as that end; `clip(…, 0, 5)` bounds the reported value too",
    )


def no_challenger(span: Span, why: str) -> Diagnostic:
    """Rule `challenger` where it has nothing to stand on."""
    return Diagnostic(
        code="no-challenger",
        message=f"rule `challenger` can't hold its promise here: {why}",
        span=span,
        help="take the statement out: `gate` is chosen where it is the sound one",
    )


def outside_reference(span: Span, what: str, why: str, hint: str) -> Diagnostic:
    """A statement that the published rule has no place for."""
    return Diagnostic(
        code="outside-reference",
        message=f"{what} has no place under rule `reference`: {why}",
        span=span,
        help=hint,
    )


def evaluate_finite(span: Span) -> Diagnostic:
    """Evaluation draws from a split that the rule in force uses whole."""
    return Diagnostic(
        code="evaluate-finite",
        message="a finite split is used whole, so there is nothing to draw",
        span=span,
        help="take it out: `evaluate` is for endless sources, and for rule `reference`",
    )


def evaluation_too_large(span: Span, examples: int, use: str, rows: int) -> Diagnostic:
    """An evaluation that draws more examples than its split has."""
    return Diagnostic(
        code="evaluation-too-large",
        message=f"an evaluation of {examples} is larger than the {use} split, which has {rows}",
        span=span,
        help="draw fewer batches, or take `evaluate` out: then the split is used whole",
    )


# ---------------------------------------------------------------- growth


def growth_unfit(span: Span, model: str, why: str, is_fresh_possible: bool) -> Diagnostic:
    """An operator that can't grow a model and keep its function."""
    fresh = (
        ""
        if not is_fresh_possible
        else f", or write `fresh({span.text})`, which draws weights anew"
    )
    return Diagnostic(
        code="growth-unfit",
        message=f"`{model}` can't grow so: {why}",
        span=span,
        help=f"grow by another operator{fresh}",
    )


def limit_without_value(span: Span, divisor: Span) -> Diagnostic:
    """A limit that divides by what the first model has none of."""
    return Diagnostic(
        code="division-by-zero",
        message="this divides by zero at the start",
        span=span,
        labels=() if divisor == span else (Label(divisor, "divided here"),),
        help="limit what has a value at every size",
    )


def growth_never_starts(span: Span, beyond: Sequence[tuple[Span, float, str]]) -> Diagnostic:
    """Operators whose first step is one too many: each with what it comes to, and the limit."""
    return Diagnostic(
        code="growth-never-starts",
        message="the first step of growth already leads beyond a limit, so nothing ever grows",
        span=span,
        severity="warning",
        labels=tuple(
            Label(place, f"this comes to {_count(value)}, and the limit is `{limit}`")
            for place, value, limit in beyond
        ),
        help="raise the limit, or grow by less",
    )


def identical_operators(span: Span, first: Span) -> Diagnostic:
    """Two operators of one choice that do the same."""
    return Diagnostic(
        code="identical-operators",
        message="this operator does the same as another one of the choice",
        span=span,
        labels=(Label(first, "the first one is here"),),
        help="change one of them, or take it out",
    )


def count_and_factor(span: Span, name: str) -> Diagnostic:
    """An operator that is told both how many and how many times."""
    return Diagnostic(
        code="duplicate-argument",
        message=f"`{name}` takes `count` or `factor`, and this gives both",
        span=span,
        help="keep one of them",
    )


def no_inner_operator(span: Span, name: str) -> Diagnostic:
    """A factor where an operator says what grows by it."""
    inner = f"widen({span.text})" if span.text.endswith("x") else "widen(2x)"
    return Diagnostic(
        code="wrong-type",
        message=f"expected a growth operator in `{name}`, got `{span.text}`",
        span=span,
        help=f"write `{name}({inner})`: it says what grows",
    )


def operator_in_itself(span: Span, name: str) -> Diagnostic:
    """`fresh` of what is fresh already."""
    return Diagnostic(
        code="wrong-type",
        message=f"expected an operator that keeps the function in `{name}`, got `{span.text}`",
        span=span,
        help=f"one `{name}` is enough",
    )


def no_shape_fact(span: Span, why: str, facts: Sequence[str], inner: Span | None) -> Diagnostic:
    """A value that is known of weights, data or other models, where growth alone may change it."""
    return Diagnostic(
        code="wrong-level",
        message=f"`{span.text}` is no fact of the explored model's shapes: {why}",
        span=span,
        labels=() if inner is None else (Label(inner, "here"),),
        help=f"compute it from {_listed(facts, 'and')}, numbers and arithmetic",
    )


def growth_without_limit(span: Span) -> Diagnostic:
    """Growth that only memory ends."""
    return Diagnostic(
        code="growth-without-limit",
        message="nothing limits this growth",
        span=span,
        severity="warning",
        help="add a line such as `limit size <= 200_000`",
    )


def limit_without_growth(span: Span) -> Diagnostic:
    """A limit on what never grows."""
    return Diagnostic(
        code="limit-without-growth",
        message="nothing grows here, so this limits nothing",
        span=span,
        severity="warning",
        help="add `grow by …`, or take out the limit",
    )


def limit_below_start(span: Span, start: float, most: float, is_strict: bool) -> Diagnostic:
    """A limit that the first model is beyond."""
    limit = (
        f"which is not below {_count(most)}" if is_strict else f"beyond its limit of {_count(most)}"
    )
    return Diagnostic(
        code="limit-below-start",
        message=f"the model starts at {_count(start)}, {limit}",
        span=span,
        help="raise the limit, or start with a smaller model",
    )


def repeat_without_growth(span: Span) -> Diagnostic:
    """Passes and restarts that start from where they are."""
    return Diagnostic(
        code="repeat-without-growth",
        message="nothing grows, so the smallest model is the only one",
        span=span,
        help="add `grow by …` to `after … without progress`, or take this out",
    )


def cap_below_start(span: Span, cap: float, steps: int) -> Diagnostic:
    """A cap on roll-outs that they start beyond."""
    return Diagnostic(
        code="cap-below-start",
        message=f"roll-outs start with {steps} steps, beyond this cap of {cap:g}",
        span=span,
        help="raise the cap",
    )


# ---------------------------------------------------------------- a reviewer's questions


def may_not_stop(span: Span) -> Diagnostic:
    """A run that ends only if it succeeds."""
    return Diagnostic(
        code="may-not-stop",
        message="this run ends only if its aim is reached",
        span=span,
        severity="warning",
        help="add an end that always comes: `stop after 60 iterations or when …`",
    )


def rank_differs(accept: tree.Name, rank: Span, key: str) -> Diagnostic:
    """Candidates ranked by one thing and accepted by another."""
    return Diagnostic(
        code="rank-differs",
        message=f"candidates are ranked by `{key}` and accepted by `{accept.text}`",
        span=accept.span,
        severity="warning",
        labels=(Label(rank, "ranked by this"),),
        help="the search follows the ranking, so gains in the other come by chance",
    )


def schedule_short(span: Span, schedule: str, last: int, steps: int, total: int) -> Diagnostic:
    """A schedule that ends at zero inside the run."""
    return Diagnostic(
        code="schedule-short",
        message=(
            f"`{schedule}` is at 0 after {last} steps, in iteration {last // steps + 1}; the run "
            f"has {total} steps"
        ),
        span=span,
        severity="warning",
        help="from there on this candidate stands still: lengthen it, or `state reset`",
    )


def schedule_long(span: Span, schedule: str, peak: int, total: int) -> Diagnostic:
    """A warm-up that outlasts the run."""
    return Diagnostic(
        code="schedule-long",
        message=f"`{schedule}` still rises when the run ends: {peak} steps of {total}",
        span=span,
        severity="warning",
        help="the learning rate never gets where you want it: shorten the warm-up",
    )


def average_too_long(span: Span, count: int, iterations: int) -> Diagnostic:
    """An average of more models than there can be."""
    return Diagnostic(
        code="average-too-long",
        message=f"at most {iterations} models are accepted, so {count} are never averaged",
        span=span,
        severity="warning",
        help="average fewer",
    )


def wrong_direction(span: Span, function: str, wanted: str) -> Diagnostic:
    """An objective against what its metric means."""
    better = "higher" if wanted == "maximize" else "lower"
    return Diagnostic(
        code="wrong-direction",
        message=f"`{function}` is better the {better} it is",
        span=span,
        severity="warning",
        help=f"write `{wanted}`, or allow this with the reason",
    )


def untrained_model(name: tree.Name) -> Diagnostic:
    """A model with random weights that nothing changes."""
    return Diagnostic(
        code="untrained-model",
        message=f"nothing trains `{name.text}`: its weights stay random",
        span=name.span,
        severity="warning",
        help="explore it (in a group), give it `trained by …`, or `from checkpoint(…)`",
    )


def trained_twice(again: Span, first: Span) -> Diagnostic:
    """A model whose weights come from two places."""
    return Diagnostic(
        code="trained-twice",
        message="the weights of this model come from two places",
        span=again,
        labels=(Label(first, "the first one is here"),),
        help="keep one of them",
    )


def unnormalized_input(span: Span, field: str, data: str) -> Diagnostic:
    """Inputs whose columns differ in scale by orders of magnitude."""
    return Diagnostic(
        code="unnormalized-input",
        message=f"the numbers of `{field}` differ in scale a thousandfold",
        span=span,
        severity="warning",
        help=f"add `normalize {field}` to `data {data}`",
    )


def label_leak(span: Span, field: str, label: str) -> Diagnostic:
    """An input that tells the label."""
    made = "is the label itself" if field == label else f"is made of the label `{label}`"
    return Diagnostic(
        code="label-leak",
        message=f"the input `{field}` {made}",
        span=span,
        help="a model would read the answer off its input; use other fields",
    )


def sees_its_target(span: Span, model: str) -> Diagnostic:
    """A model that looks at the tokens which it is to foretell."""
    return Diagnostic(
        code="label-leak",
        message=f"`{model}` looks at the very tokens that it is to foretell",
        span=span,
        help="attend backwards only: `transformer(..., causal: true)`",
    )


def teacher_split_unknown(span: Span, field: str) -> Diagnostic:
    """Stored outputs of a teacher whose training set nobody knows."""
    return Diagnostic(
        code="teacher-split-unknown",
        message=f"nothing says which examples the teacher behind `{field}` was trained on",
        span=span,
        severity="warning",
        help="if it saw those of assess, adapt or report, what the report claims is too good",
    )


def stale_scores(span: Span, image: str, scores: str) -> Diagnostic:
    """Stored outputs of a teacher for examples that are augmented while exploring."""
    return Diagnostic(
        code="stale-scores",
        message=f"`{scores}` tells what a teacher made of `{image}` as it is stored, and this "
        "changes it in every step",
        span=span,
        severity="warning",
        help="store augmented copies with their outputs, or let the spec apply the teacher",
    )


def checkpoint_split_unknown(span: Span, model: str) -> Diagnostic:
    """Weights from a file that doesn't say what they were trained on."""
    return Diagnostic(
        code="teacher-split-unknown",
        message=f"nothing says which examples the weights of `{model}` were trained on",
        span=span,
        severity="warning",
        help="if they are those of assess, adapt or report, what the report claims is too good; "
        "the folder `accepted` of a run says it",
    )


def epochs_of_endless(span: Span, data: str) -> Diagnostic:
    """Training for passes over data that never end."""
    return Diagnostic(
        code="wrong-unit",
        message=f"`{data}` is endless, so that no epoch of it ends",
        span=span,
        help="count steps: `for 1000 steps`",
    )


def module_target(span: Span) -> Diagnostic:
    """A network of Python's whose place is no `package.module:Class`."""
    return Diagnostic(
        code="extern-target",
        message="a network of Python's has to say where its class is",
        span=span,
        help='write the module and the class: `from nnx("package.module:Class")`',
    )


def not_countable(span: Span, function: str, model: str) -> Diagnostic:
    """A count that needs the layers of a network whose layers are the user's own."""
    return Diagnostic(
        code="wrong-type",
        message=f"`{function}` counts the layers of a model, and `{model}` is a Python class",
        span=span,
        help="`parameters` and `l2` work for every model",
    )


def missing_target(name: tree.Name, declared: Span) -> Diagnostic:
    """An objective whose distance to a target is asked for, and that has none."""
    return Diagnostic(
        code="missing-target",
        message=f"`{name.text}` has no target to be distant from",
        span=name.span,
        labels=(Label(declared, "declared here"),),
        help=f"state one: `objective {name.text} target 97% = …`",
    )


def no_leading_objective(span: Span) -> Diagnostic:
    """`leading objective` where nothing leads."""
    return Diagnostic(
        code="no-leading-objective",
        message="no objective leads: assess ranks, it doesn't prioritize",
        span=span,
        help="name the objective, or write `prioritize … by distance to target` in assess",
    )


def mixed_directions(span: Span, first: Span, names: Sequence[str]) -> Diagnostic:
    """A weighted sum of what should rise and what should fall."""
    return Diagnostic(
        code="mixed-directions",
        message=f"{_listed(names, 'and')} point in different directions and can't be summed",
        span=span,
        labels=(Label(first, "this one is maximised"),),
        help="rank by one `then` the other, or subtract the one that should fall",
    )


# ---------------------------------------------------------------- allowances and sweeps


def unknown_code(code: tree.String, known: Sequence[str]) -> Diagnostic:
    """An allowance of a warning that doesn't exist."""
    near = nearest(code.value, known)
    return Diagnostic(
        code="unknown-name",
        message=f"no diagnostic has the code `{code.value}`",
        span=code.span,
        help=f"did you mean `{near}`?" if near else None,
        fixes=(_rename(code.span, f'"{near}"'),) if near else (),
    )


def cannot_allow(code: tree.String) -> Diagnostic:
    """An allowance of what is no mere warning."""
    return Diagnostic(
        code="cannot-allow",
        message=f"`{code.value}` can't be silenced",
        span=code.span,
        help="errors, leaks between splits and what can't be run yet stay visible: mend the cause",
    )


def no_reason(reason: tree.String) -> Diagnostic:
    """An allowance without a reason."""
    return Diagnostic(
        code="cannot-allow",
        message="an allowance needs its reason",
        span=reason.span,
        help="say to the next reader why the warning doesn't matter here",
    )


def unused_allowance(allowance: tree.Allow) -> Diagnostic:
    """An allowance that silences nothing; without it the spec means the same."""
    code = allowance.code
    return Diagnostic(
        code="unused-allowance",
        message=f"nothing gives the warning `{code.value}`",
        span=code.span,
        severity="warning",
        help="take out the line",
        fixes=(Fix("take out the allowance", (Edit(allowance.span, ""),), "safe"),),
    )


def unused_axis(name: tree.Name) -> Diagnostic:
    """An axis of a sweep that changes nothing."""
    return Diagnostic(
        code="unused-axis",
        message=f"nothing uses `{name.text}`, so every point of this axis is the same run",
        span=name.span,
        help="use the param in the experiment, or take out the axis",
    )


def empty_range(span: Span, why: str) -> Diagnostic:
    """A range or list without values."""
    return Diagnostic(code="empty-range", message=why, span=span)


def repeated_value(span: Span, first: Span) -> Diagnostic:
    """An axis with one value twice."""
    return Diagnostic(
        code="repeated-value",
        message=f"`{span.text}` stands twice on this axis, and would be run twice",
        span=span,
        severity="warning",
        labels=(Label(first, "the first one is here"),),
        help="take it out; for several seeds add `seed in 0 to 3`",
    )


def too_many_points(span: Span, count: int, most: int) -> Diagnostic:
    """A sweep of more runs than anyone wants."""
    return Diagnostic(
        code="too-many-points",
        message=f"this sweep has {count} runs, and at most {most} are taken",
        span=span,
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


def _count(value: float) -> str:
    """`200_000`; what is no whole number in short."""
    is_plain = abs(value) < 1e15 and value == int(value)
    return f"{int(value):_}" if is_plain else f"{value:.6g}"


def _percent(fraction: float) -> str:
    """`97.5%`, without the digits that binary fractions add."""
    return f"{100 * fraction:.10g}%"


def _article(type_: Type) -> str:
    words = {"ratio": "a fraction", "pp": "a difference of fractions", "real": "a real number"}
    return words.get(type_.kind, str(type_))
