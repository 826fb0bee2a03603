"""What a run keeps on its device: weights, optimizers, data, and what a forward pass leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from ev3lang.catalog.signature import Type
from ev3lang.check.typed import SPLITS, split_sizes
from ev3lang.plan.plan import (
    Averaged,
    Challenger,
    DataPlan,
    Evolution,
    Link,
    ModelPlan,
    OptimizerPlan,
    Plan,
    fields_of,
)
from ev3lang.plan.work import activations, parameters, rows_at_once, summed, widest

NUMBER_BYTES = 4
"""Weights, optimizers and statistics stay float32, whatever the models compute in."""

CHALLENGERS = 2
"""Frozen models that rule `challenger` keeps beside current and accepted."""


@attrs.frozen
class Memory:
    """Bytes on the device; None where something that it depends on isn't known.

    weights      of current, accepted, the candidates, challengers, averaged, archived and frozen
                 models
    optimizers   of every descent, by the slots that `slots` counts
    data         the fields that are read, of all splits; 0 for an endless source
    activations  an estimate: the layers' results in the widest pass of an iteration; 0.2 MB for
                 one step of a small net, 2.4 MB for six, where XLA took 0.3 MB and 1.7 MB
    """

    weights: int | None
    optimizers: int | None
    data: int | None
    activations: int | None

    @property
    def total(self) -> int | None:
        """All together, None where a part is."""
        parts = (self.weights, self.optimizers, self.data, self.activations)
        return None if None in parts else sum(part for part in parts if part is not None)


def examples_of(data: DataPlan) -> dict[str, int] | None:
    """Examples of each split, or of an evaluation draw; None where the spec doesn't say."""
    if data.split is None:
        assert data.evaluate is not None, "an endless source has evaluation draws"
        return dict.fromkeys(("assess", "adapt"), data.evaluate * data.batch)
    known: dict[str | None, int | None] = {None: data.rows, **dict(data.rows_in)}
    if data.is_pooled and data.rows is None and data.rows_in:
        known[None] = sum(rows for _, rows in data.rows_in)
    sizes: dict[str, int] = {}
    shares = dict(zip(SPLITS, zip(data.split.parts, data.split.shares, strict=True), strict=True))
    for part in dict.fromkeys(data.split.parts):
        rows = known.get(part)
        if rows is None:
            return None
        sharing = {use: share for use, (of, share) in shares.items() if of == part}
        sizes |= zip(sharing, split_sizes(rows, list(sharing.values())), strict=True)
    return {use: sizes[use] for use in SPLITS}


def memory(plan: Plan, sizes: Mapping[str, int] | None) -> Memory:
    """What a run of a plan keeps on its device.

    sizes   examples of each split, or of an evaluation draw under `assess` and `adapt`; None
            where they are not known before the data are read
    """
    counts = {model.name: parameters(model) for model in plan.models}
    explored = [model for model in plan.models if model.is_explored]
    own = summed(counts[model.name] for model in explored)
    frozen = summed(counts[model.name] for model in plan.models if not model.is_explored)
    elders = summed(parameters(model) for elder in plan.elders for model in elder)
    # What may be of an elder's architecture has room for each of them.
    apart = 1 + (CHALLENGERS if isinstance(plan.rule, Challenger) else 0)
    copies = 1 + apart + len(plan.candidates) + len(plan.archives)
    copies += sum(each.count for each in plan.others if isinstance(each, Averaged))
    kept = sum(slots(each.optimizer) for each in plan.descents)
    return Memory(
        weights=None
        if own is None or frozen is None or elders is None
        else NUMBER_BYTES * (copies * own + apart * elders + frozen),
        optimizers=None if own is None else NUMBER_BYTES * kept * own,
        data=_data(plan, sizes),
        activations=_activations(plan, explored, sizes),
    )


def _data(plan: Plan, sizes: Mapping[str, int] | None) -> int | None:
    if plan.data.is_endless:
        return 0
    if sizes is None:
        return None
    return row_bytes(plan) * sum(sizes.values())


def row_bytes(plan: Plan) -> int:
    """What an example takes on the device, in the fields that are read."""
    types = {**dict(plan.data.fields), **{each.name: each.type for each in plan.data.derived}}
    return sum(_bytes(types[name]) for name in fields_of(*plan.values) if name in types)


def _bytes(type_: Type) -> int:
    """What an example's value takes; a size that only the data have counts as 1."""
    count = math.prod(size for size in type_.dimensions if isinstance(size, int))
    match type_.kind:
        case "class" | "id" | "text":
            return NUMBER_BYTES
        case "u8" | "bool":
            return count
        case "multi":
            return count
        case "tokens":
            length = type_.dimensions[-1]
            return NUMBER_BYTES * (length if isinstance(length, int) else 1)
        case _:
            return NUMBER_BYTES * count


def _activations(
    plan: Plan, explored: list[ModelPlan], sizes: Mapping[str, int] | None
) -> int | None:
    """The larger of a step of all descents side by side and one model on a whole split."""
    if any(model.module is not None for model in explored):
        return None
    if sizes is None and not plan.data.is_endless:
        return None
    number = NUMBER_BYTES if plan.precision == "f32" else NUMBER_BYTES // 2
    # A gradient keeps each result and makes another of its size.
    step = sum(each.batch // each.parts for each in plan.descents)
    step *= 2 * sum(activations(model) for model in explored)
    # At most: where members are large they are measured one after the other.
    members = [each.batch * each.population for each in plan.others if isinstance(each, Evolution)]
    counts = {} if sizes is None else sizes
    whole = max(counts.get("assess", 0), counts.get("adapt", 0), *members, 0)
    measured = [min(whole, rows_at_once(model)) * widest(model) for model in explored]
    return number * max(step, *measured, 0)


# ---------------------------------------------------------------- optimizers

SLOTS: Mapping[str, int] = {
    **dict.fromkeys(
        (
            "adafactor", "adagrad", "apply_every", "dog", "dowg", "ema", "lars", "lion", "muon",
            "novograd", "optimistic_gradient_descent", "params_ema", "rmsprop",
            "scale_by_distance_over_gradients", "scale_by_factored_rms", "scale_by_lion",
            "scale_by_novograd", "scale_by_optimistic_gradient", "scale_by_rms", "scale_by_rss",
            "scale_by_sm3", "signum", "sm3", "trace",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "acprop", "adabelief", "adadelta", "adam", "adamax", "adamaxw", "adamw", "adopt",
            "galore", "lamb", "nadam", "nadamw", "radam", "rprop", "scale_by_acprop",
            "scale_by_adadelta", "scale_by_adam", "scale_by_adamax", "scale_by_adopt",
            "scale_by_belief", "scale_by_galore", "scale_by_radam", "scale_by_rprop",
            "scale_by_simplified_ademamix", "scale_by_stddev", "scale_by_yogi",
            "simplified_ademamix", "yogi",
        ),
        2,
    ),
    **dict.fromkeys(
        (
            "ademamix", "amsgrad", "dadapt_adamw", "madgrad", "optimistic_adam_v2",
            "scale_by_ademamix", "scale_by_amsgrad", "scale_by_madgrad",
        ),
        3,
    ),
    **dict.fromkeys(("adan", "prodigy", "scale_by_adan"), 4),
    **dict.fromkeys(("cocob", "scale_by_cocob"), 5),
}  # fmt: skip
"""Numbers that a link keeps for each weight, as optax's own states have them with the defaults.

Links that are not here keep none. `adafactor`, `muon`, `sm3` and `galore` keep about so many.
"""

_MOMENTUM = frozenset({"sgd", "rmsprop", "adafactor"})
"""Links that keep another number for each weight where they are given a momentum."""


def slots(optimizer: OptimizerPlan) -> int:
    """How many numbers an optimizer keeps for each weight, over all links of its chain."""
    return sum(_slots(link) for link in optimizer.links)


def _slots(link: Link) -> int:
    options = dict(link.options)
    if link.name == "scale_by_lbfgs":
        # Differences of weights and of gradients, and the last of each.
        memory_size = options["memory_size"]
        assert isinstance(memory_size, int)
        return 2 * memory_size + 2
    more = link.name in _MOMENTUM and options.get("momentum") is not None
    return SLOTS.get(link.name, 0) + more + (options.get("centered") is True)
