"""What a run can hold at most, whatever device it is on: what is beyond is refused by the check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ev3lang.check import typed

MOST_COUNT = 2**31 - 1
"""Whatever a program counts, it counts in int32."""

MOST_LAYERS = 10_000
"""Layers of a model, those of blocks too: each is compiled, and these take hours."""

MOST_PARAMETERS = 2**40
"""Numbers that a model may learn: 4 TiB in float32, for each of its copies."""

MOST_DRAWS = 1_000
"""Candidates of one `perturb`: each is measured in every iteration, and in every event."""


def may_be_large(program: typed.TypedProgram) -> bool:
    """Whether any number of a program is such that its memory is worth a second look."""
    data, explore, adapt = program.data, program.explore, program.adapt
    numbers: list[object] = [
        explore.batch.size if explore.batch is not None else data.batch,
        adapt.evaluate,
        *data.rows.values(),
        *(value for _, value in data.options),
        *(size for info in data.fields.values() for size in info.type.dimensions),
        *(each.steps for each in explore.descents),
        *(each.generations for each in explore.evolutions),
        *(value for each in explore.evolutions for _, value in each.strategy.options),
        *explore.averages,
        None if adapt.patience is None else adapt.patience.most,
        *(size for model in program.models.values() for size in model.input),
        *_sizes(layer for model in program.models.values() for layer in model.layers),
    ]
    return any(isinstance(each, int) and each > UNREMARKABLE for each in numbers)


UNREMARKABLE = 2**13
"""A number that no machine minds, whatever it counts."""


def _sizes(infos: Iterable[typed.LayerInfo]) -> Iterator[object]:
    for info in infos:
        yield from info.output
        for _, value in info.options:
            yield from value if isinstance(value, tuple) else (value,)
        yield from _sizes(info.inner)


_OF_BASIC, _OF_BOTTLENECK, _OF_TRANSFORMER = 2, 3, 6
"""Layers with weights in a block."""


def layers(infos: Iterable[typed.LayerInfo]) -> int:
    """How many layers with weights a pipe has, written out."""
    return sum(map(_layers, infos))


def _layers(info: typed.LayerInfo) -> int:
    options = dict(info.options)
    match info.name, options:
        case "repeat", {"n": int(times)}:
            return times * layers(info.inner)
        case "residual", _:
            return layers(info.inner)
        case "resnet", {"stages": tuple(stages), "block": block}:
            each = _OF_BOTTLENECK if block == "bottleneck" else _OF_BASIC
            return each * sum(stage for stage in stages if isinstance(stage, int))
        case "transformer", {"layers": int(blocks)}:
            return _OF_TRANSFORMER * blocks
        case "mlp", {"hidden": tuple(hidden)}:
            return len(hidden) + 1
    return 1
