"""The text of a first spec, with comments that teach."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs

from ev3lang.check.data import DEFAULT_BATCH, DEFAULT_SHARES
from ev3lang.new.choosing import Choice, Field
from ev3lang.new.names import Names, shown
from ev3lang.new.table import NewSpecError, Table
from ev3lang.source import Source
from ev3lang.syntax.format import format_source
from ev3lang.syntax.write import write_string

TRAIN = ("train", "training")
VALID = ("validation", "valid", "val", "dev")
TEST = ("test", "testing", "holdout", "eval", "evaluation")

PASSES = 5
FEWEST_STEPS, MOST_STEPS = 20, 100
"""A roll-out goes through the explore split so often, within these bounds."""

MOST_SHOWN = 20


@attrs.frozen
class Share:
    """What a use of the data gets: a fraction of a part, or of all."""

    use: str
    fraction: float
    part: str | None = None

    def __str__(self) -> str:
        of_part = "" if self.part is None else f" from {self.part}"
        return f"{self.use}{of_part} {100 * self.fraction:g}%"


def shares_of(parts: Mapping[str, int]) -> tuple[Share, ...]:
    """How the splits are drawn, so that no test example is ever trained on.

    Raises NewSpecError for a file whose parts have names that don't say what they are for.
    """
    if not parts:
        return tuple(Share(use, share) for use, share in DEFAULT_SHARES.items())
    known = {each.lower(): each for each in parts}
    train, valid, test = (
        next((known[name] for name in names if name in known), None)
        for names in (TRAIN, VALID, TEST)
    )
    if train is None or not all(part is None or part.isidentifier() for part in (valid, test)):
        listed = ", ".join(shown(each) for each in list(parts)[:6])
        raise NewSpecError(
            f"the data have parts of their own, {listed}, and none of them is called train",
            "call them train, validation and test, or rename the column `split` if it is no split",
        )
    if valid is not None and test is not None:
        return (
            Share("explore", 1.0, train),
            Share("assess", 0.5, valid),
            Share("adapt", 0.5, valid),
            Share("report", 1.0, test),
        )
    last = test or valid
    if last is None:
        return tuple(Share(use, share, train) for use, share in DEFAULT_SHARES.items())
    return (
        Share("explore", 0.7, train),
        Share("assess", 0.15, train),
        Share("adapt", 0.15, train),
        Share("report", 1.0, last),
    )


def written(name: str, table: Table, path: str | None, choice: Choice, names: Names) -> str:
    """The spec in the one layout.

    name   of the experiment
    path   of the data as the spec names it, None where the source has none
    names  all that are taken
    Raises NewSpecError as `shares_of` does.
    """
    formatted = format_source(Source("new.ev3", _text(name, table, path, choice, names)))
    assert formatted is not None, "what is written here has no mistakes of syntax"
    return formatted


def _text(name: str, table: Table, path: str | None, choice: Choice, names: Names) -> str:
    target = choice.target
    data, net, guess, loss, goal = map(
        names.new, ("examples", "net", "guess", "loss_of_net", "goal")
    )
    call = ", ".join(
        ([] if path is None else [write_string(path)]) + [table.options] * bool(table.options)
    )
    inputs = _wrapped(each.name for each in choice.inputs)
    input_ = f"[{inputs}]" if len(choice.inputs) > 1 else inputs
    shares = shares_of(table.parts)
    explored = int(shares[0].fraction * table.parts.get(shares[0].part or "", table.rows))
    batch = min(DEFAULT_BATCH, 2 ** max(0, int(math.log2(max(1, explored // 4)))))
    steps = min(MOST_STEPS, max(FEWEST_STEPS, round(PASSES * explored / batch)))
    if target.classes is not None:
        output = f"logits({target.label})"
        descended = f"cross_entropy({guess}, {target.label})"
        measured = f"maximize argmax({guess}) == {target.label}"
        chance = "5%"
    else:
        output = "real"
        descended = f"squared_error({guess}, {target.label})"
        # a mean of errors would need a known range: one example could outweigh all others
        measured = f"maximize r2_score({guess}, {target.label})"
        chance = "about 5%"
    block = "\n".join(_block(table, choice, shares, batch))
    learned = ", ".join(shown(each.name) for each in choice.inputs[:4])
    more = f" and {len(choice.inputs) - 4} more" if len(choice.inputs) > 4 else ""
    return f"""ev3 1

# Learns {target.label} from {learned}{more}.
# `ev3lang explain` of this file tells all of it in plain English.

experiment {name} {{ seed 0 }}

data {data} = {table.source}({call}) {{
{block}
}}

# `ev3lang explain mlp` shows what it takes; layers may be joined by hand: dense(64) | relu | dense
model {net}: {input_} -> {output} = mlp(hidden: [64, 64])

let {guess} = {net}({inputs})

# What gradients follow. Several losses compete: descend this, that with adamw(1e-3)
loss {loss} = {descended}

# What matters. It ranks candidates, decides on acceptance and needs no gradient.
objective {goal} = {measured}

# Two candidates an iteration, one for each optimizer.
explore {net} {{
descend {loss}
with adamw(1e-3), clip_by_global_norm(1.0) | sgd(0.03, momentum: 0.9) for {steps} steps
}}

assess {net} {{ rank by {goal} }}

# A model is accepted only on evidence; the chance of ever accepting a no better one is {chance}.
adapt {net} {{
accept when {goal} improves with confidence 95% over the run
stop after 20 iterations
}}

report {{ show {goal} }}
"""


def _block(table: Table, choice: Choice, shares: Sequence[Share], batch: int) -> Iterator[str]:
    """The statements of the data block."""
    target, group = choice.target, choice.group
    if table.path is not None:
        yield from (each.line for each in choice.inputs)
        if group is not None:
            yield f"{group.line} # no model sees it"
        yield target.field.line
        yield from _left_out(choice)
        used = dict.fromkeys(each.part for each in shares if each.part is not None)
        counts = [f"{table.parts[part]} in {part}" for part in used]
        yield f"rows {', '.join(counts) or table.rows}"
    if target.derived is not None:
        yield f"derive {target.label} = {target.derived} as class[{target.classes}]"
    normal = [each.name for each in choice.inputs if _is_numeric(each)]
    is_number = target.classes is None
    if is_number:
        yield (
            f"# {target.label} is brought to mean 0 and deviation 1 like the inputs: errors are\n"
            "# in its standard deviations, and R² is what it is in any unit."
        )
        normal.append(target.label)
    if normal:
        yield "# Statistics come of the explore split alone."
        yield f"normalize {_wrapped(normal, width=90)}"
    by = ""
    if group is not None:
        yield f"# All rows of one {group.name} are in one split: a model can't recognise it."
        by = f" grouped by {group.name}"
    elif target.classes is not None:
        by = f" stratified by {target.label}"
    yield "# Each part has one use, so that no claim rests on data it was chosen by."
    yield f"split {', '.join(map(str, shares))}{by}"
    yield f"batch {batch}"


def _left_out(choice: Choice) -> Iterator[str]:
    if not choice.left_out:
        return
    yield "# Left out:"
    for title, why in choice.left_out[:MOST_SHOWN]:
        yield f"# {shown(title)}: {shown_words(why)}"
    if len(choice.left_out) > MOST_SHOWN:
        yield f"# and {len(choice.left_out) - MOST_SHOWN} more"


def shown_words(text: str) -> str:
    """Words on one line, without control characters."""
    return "".join(each if each.isprintable() else " " for each in text)


def _is_numeric(field: Field) -> bool:
    return field.type.startswith(("f32", "u8", "real"))


def _wrapped(names: object, width: int = 90) -> str:
    """Names after commas, on lines that aren't endless."""
    lines = [""]
    for name in names:  # type: ignore[attr-defined]
        if len(lines[-1]) > width:
            lines.append("")
        lines[-1] += f"{name}, "
    return "\n".join(lines).rstrip(", ")
