"""What a run should say of its data before the first step: what can't be learned or measured there.

Everything here can be used, or reading would have refused it. But a split without an example of a
class, a target that never varies or rows that are in two splits make a run's figures mean less than
they seem to, and a person would rather know it before the run than in its last line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np

from ev3lang.catalog.index import FUNCTIONS
from ev3lang.catalog.signature import Type
from ev3lang.check.typed import SPLITS
from ev3lang.plan.plan import (
    Apply,
    Expr,
    Field,
    Forward,
    Plan,
    Split,
    fields_of,
    parts_of,
    subexpressions,
)
from ev3lang.runtime import data

FEW = 5
"""Examples of a class, or groups, with fewer of which in a split hardly anything can be shown: five
that all go one way are the least that an exact test at 5% is passed by."""

MOST_NAMED = 3

OF_CORRELATION = ("r2_score", "pearson_correlation", "spearman_correlation")


@attrs.frozen
class _Class:
    """A class of a label, or one label of a `multi`.

    name      as messages have it: `label 1`, `tags 3`
    counts    its examples in each split, of those that show the label
    rows      all of those
    is_multi  whether the examples without it are a class of their own
    """

    name: str
    counts: tuple[int, ...]
    rows: tuple[int, ...]
    is_multi: bool

    @property
    def fewest(self) -> tuple[int, ...]:
        """In each split its examples, of a `multi` those without it where they are fewer."""
        if not self.is_multi:
            return self.counts
        pairs = zip(self.counts, self.rows, strict=True)
        return tuple(min(count, rows - count) for count, rows in pairs)

    @property
    def is_absent(self) -> bool:
        return not all(self.fewest)

    @property
    def is_rare(self) -> bool:
        """Whether a split that measures has few of it."""
        return min(self.fewest[1:]) < FEW

    def __str__(self) -> str:
        held = ", ".join(f"{use} {count:,}" for use, count in zip(SPLITS, self.counts, strict=True))
        return f"{self.name} has {sum(self.counts):,} of {sum(self.rows):,} examples ({held})"


def warnings(plan: Plan, tables: data.Tables) -> tuple[str, ...]:
    """Each a sentence on the data of a run and the line of the spec that would mend it.

    tables   as they were read; nothing is said of an endless source, which has none
    """
    if not tables or plan.data.split is None:
        return ()
    return (
        *_labels(plan, tables),
        *_groups(plan, tables),
        *_targets(plan, tables),
        *_inputs(plan, tables),
        *_duplicates(plan, tables),
    )


# ---------------------------------------------------------------- labels


def _labels(plan: Plan, tables: data.Tables) -> Iterator[str]:
    types = _types(plan)
    for name in _learned(plan):
        type_ = types.get(name)
        if type_ is None or type_.kind not in ("class", "bool", "multi"):
            continue
        classes = _classes(plan, name, type_, tables)
        if type_.kind != "multi" and len(classes) == 1:
            yield (
                f"{classes[0].name} is the only class of {name} in all "
                f"{sum(classes[0].rows):,} examples: there is nothing to tell apart; take another "
                "field for the label, or add examples of other classes"
            )
            continue
        yield from _odd_classes(plan, name, classes)


def _classes(plan: Plan, name: str, type_: Type, tables: data.Tables) -> list[_Class]:
    """The classes that occur; of a `multi` all labels."""
    columns = [np.asarray(tables[use][name]) for use in SPLITS]
    known = tables["explore"].get(f"{name} known")
    if known is not None:
        columns[0] = columns[0][known]
    rows = tuple(len(column) for column in columns)
    if type_.kind == "multi":
        counted = [column.reshape(len(column), -1).sum(axis=0) for column in columns]
        return [
            _Class(f"{name} {place}", tuple(int(each[place]) for each in counted), rows, True)
            for place in range(len(counted[0]))
        ]
    flat = [column.astype(np.int64) for column in columns]
    most = 1 + max(int(column.max(initial=0)) for column in flat)
    counted = [np.bincount(column, minlength=most) for column in flat]
    shown = (lambda place: str(bool(place)).lower()) if type_.kind == "bool" else str
    return [
        _Class(f"{name} {shown(place)}", tuple(int(each[place]) for each in counted), rows, False)
        for place in range(most)
        if any(each[place] for each in counted)
    ]


def _odd_classes(plan: Plan, name: str, classes: Sequence[_Class]) -> Iterator[str]:
    """What is said of classes that a split lacks, or has too few of for what is measured."""
    measured = _set_measures(plan, name)
    absent = [each for each in classes if each.is_absent]
    odd = absent or ([each for each in classes if each.is_rare] if measured else [])
    if not odd:
        return
    # what can't be learned at all comes first
    odd = sorted(odd, key=lambda each: (each.fewest[0] > 0, sum(each.fewest)))
    listed = "; ".join(map(str, odd[:MOST_NAMED]))
    more = f"; and {len(odd) - MOST_NAMED} more like it" if len(odd) > MOST_NAMED else ""
    if measured and absent:
        why = f"{_either(measured)} says little or nothing on a split without it"
    elif measured:
        why = f"{_either(measured)} rests on these few, and hardly any gain can be shown by them"
    elif any(not each.fewest[0] for each in odd):
        why = "what explore lacks can't be learned"
    else:
        why = "a split says nothing of what it lacks"
    yield f"{listed}{more}: {why}; {_mended(plan, name, odd[0])}"


def _set_measures(plan: Plan, name: str) -> list[str]:
    """Measures of a whole set that a label decides, by their names."""
    return [
        measure.name
        for measure in plan.measures
        if any(
            isinstance(part, Apply)
            and part.level == "set"
            and part.function not in OF_CORRELATION
            and name in fields_of(part)
            and not (part.function in FUNCTIONS and FUNCTIONS[part.function].output.kind != "real")
            for part in subexpressions(measure.value)
        )
    ]


def _mended(plan: Plan, name: str, odd: _Class) -> str:
    """The line to write, or that there are too few examples for any."""
    split = plan.data.split
    assert split is not None
    used = sum(share > 0 for share in split.shares)
    fewest = sum(odd.fewest)
    if fewest < used:
        return f"add examples: {fewest:,} are too few for {used} splits"
    if split.by != name and not odd.is_multi and split.method == "stratified":
        return f"write `split … stratified by {name}`"
    if split.method == "grouped":
        return (
            f"groups by {split.by} stay whole: give the split a larger share, or draw it anew, "
            f"`split … grouped by {split.by} seed {split.seed + 1}`"
        )
    if split.method == "ordered":
        return (
            f"`ordered by {split.by}` keeps it apart: give the split a larger share, or draw it "
            f"plainly, without `ordered by`, if the order means nothing"
        )
    if any(part is not None for part in split.parts):
        return "draw the split from a part of the file that has more of it"
    return f"give the split a larger share, so that {FEW} of it are there, or add examples"


# ---------------------------------------------------------------- groups, targets, inputs


def _groups(plan: Plan, tables: data.Tables) -> Iterator[str]:
    """Splits of few groups, and groups of a measure that a split lacks."""
    split = plan.data.split
    assert split is not None
    if split.method == "grouped" and split.by is not None:
        counts = {use: len(np.unique(tables[use][split.by])) for use in SPLITS}
        few = [use for use in SPLITS[1:] if counts[use] < FEW]
        if few:
            held = ", ".join(f"{use} {count:,}" for use, count in counts.items())
            yield (
                f"{_and(few)} {'has' if len(few) == 1 else 'have'} fewer than {FEW} groups by "
                f"{split.by} ({held}): rows of one group count as one, so that hardly any gain can "
                f"be shown there; give {_and(few)} a larger share, or add groups"
            )
    for measure in plan.measures:
        for part in subexpressions(measure.value):
            if isinstance(part, Apply) and part.function == "group_gap":
                yield from _missing_groups(measure.name, part, tables, split)


def _missing_groups(measure: str, gap: Apply, tables: data.Tables, split: Split) -> Iterator[str]:
    for name in fields_of(gap.inputs[-1]):
        columns = {use: np.asarray(tables[use][name]) for use in SPLITS if name in tables[use]}
        every = np.unique(np.concatenate(list(columns.values()))) if columns else np.empty(0)
        few = {
            int(each): {use: int((column == each).sum()) for use, column in columns.items()}
            for each in every
        }
        few = {
            each: counts
            for each, counts in few.items()
            if any(counts[use] < FEW for use in SPLITS[1:])
        }
        if few:
            each, counts = min(few.items(), key=lambda item: sum(item[1].values()))
            held = ", ".join(f"{use} {count:,}" for use, count in counts.items())
            others = f", and {len(few) - 1} more like it" if len(few) > 1 else ""
            is_stratified = split.by == name
            line = (
                "give the split a larger share, or add examples"
                if is_stratified
                else f"write `split … stratified by {name}`, or give the split a larger share"
            )
            yield (
                f"group {each} by {name} has few examples ({held}){others}: {measure} compares its "
                f"mean with the others'; {line}"
            )


def _targets(plan: Plan, tables: data.Tables) -> Iterator[str]:
    """Numbers to be predicted that never vary."""
    types = _types(plan)
    of_correlation = {
        name
        for measure in plan.measures
        for part in subexpressions(measure.value)
        if isinstance(part, Apply) and part.function in OF_CORRELATION
        for name in fields_of(part)
    }
    for name in _learned(plan):
        type_ = types.get(name)
        if type_ is None or type_.dimensions or type_.kind in ("class", "bool", "text", "id"):
            continue
        constant = [use for use in SPLITS if _is_constant(tables[use][name])]
        if len(constant) == len(SPLITS) and _is_constant(
            np.concatenate([tables[use][name] for use in SPLITS])
        ):
            yield (
                f"{name} is the same in all examples: there is nothing to predict; take another "
                "field"
            )
        elif constant and (name in of_correlation or "explore" in constant):
            yield (
                f"{name} is the same in all examples of {_and(constant)}: nothing can be learned "
                "or correlated there; give it a larger share, or see whether the split by order or "
                "group cuts off all others"
            )


def _inputs(plan: Plan, tables: data.Tables) -> Iterator[str]:
    """Inputs that never vary in explore, so that a model learns nothing of them."""
    constant = [
        name
        for name in _read(plan)
        if name in tables["explore"] and _is_constant(tables["explore"][name])
    ]
    if not constant:
        return
    varies = [
        name
        for name in constant
        if not _is_constant(np.concatenate([np.asarray(tables[use][name]) for use in SPLITS]))
    ]
    listed = ", ".join(constant[:MOST_NAMED])
    listed += f" and {len(constant) - MOST_NAMED} more" if len(constant) > MOST_NAMED else ""
    verb = "is" if len(constant) == 1 else "are"
    if varies:
        yield (
            f"{listed} {verb} the same in all examples of explore, and {_and(varies[:MOST_NAMED])} "
            "not elsewhere: models have learned nothing of other values; draw the splits otherwise"
        )
    else:
        yield f"{listed} {verb} the same in all examples: leave it out of the model's inputs"


def _duplicates(plan: Plan, tables: data.Tables) -> Iterator[str]:
    """Rows that are in two splits, so that what measures a model has been seen by it."""
    inputs = _read(plan)
    if not inputs:
        return
    counts = data.examples_in_two_splits(tables, inputs)
    total = sum(counts.values())
    if not total:
        return
    held = ", ".join(
        f"{count:,} of {data.rows_of(tables[use]):,} in {use}"
        for use, count in counts.items()
        if count
    )
    examples = "1 example has" if total == 1 else f"{total:,} examples have"
    ids = [name for name, type_ in plan.data.fields if type_.kind == "id"]
    split = plan.data.split
    assert split is not None
    if split.method == "grouped":
        line = "remove the copies from the data"
    else:
        by = ids[0] if ids else "FIELD"
        line = (
            "remove the copies, or write "
            f"`split … grouped by {by}`"
            + ("" if ids else " with a field that copies share")
            + ", which keeps them in one split"
        )
    yield f"{examples} the same inputs as one in another split ({held}): {line}"


# ---------------------------------------------------------------- what a plan reads


def _types(plan: Plan) -> Mapping[str, Type]:
    return {**dict(plan.data.fields), **{each.name: each.type for each in plan.data.derived}}


def _read(plan: Plan) -> tuple[str, ...]:
    """The fields that models take."""
    values = [each.loss for each in plan.descents] or [each.value for each in plan.objectives]
    return fields_of(
        *(part for value in values for part in subexpressions(value) if isinstance(part, Forward))
    )


def _learned(plan: Plan) -> tuple[str, ...]:
    """The fields that losses and measures read beside the models' outputs."""
    found: dict[str, None] = {}
    for value in plan.values:
        found.update(dict.fromkeys(_outside_models(value)))
    return tuple(found)


def _outside_models(value: Expr) -> Iterator[str]:
    """The fields of an expression that stand outside of models, but for a measure's groups."""

    def inside(expr: Expr) -> tuple[Expr, ...]:
        if isinstance(expr, Forward):
            return ()
        is_gap = isinstance(expr, Apply) and expr.function == "group_gap"
        return parts_of(expr)[:1] if is_gap else parts_of(expr)

    for part in subexpressions(value, inside=inside):
        if isinstance(part, Field):
            yield part.name


def _is_constant(column: np.ndarray) -> bool:
    """Whether all rows are the same; a few at a time, as a column may take most of the memory."""
    values = np.asarray(column)
    return all(bool((block == values[:1]).all()) for block in data.blocks(values))


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"each of {_and(names[:MOST_NAMED])}"
