"""What models are worth on a split: values with intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
import jax
import numpy as np

from ev3lang.backend.emit import Program
from ev3lang.backend.state import Params
from ev3lang.plan.plan import Expr, Plan
from ev3lang.runtime.intervals import Interval, bootstrap_interval, student, tango, wilson
from ev3lang.runtime.report import Better, Comparison, Quantity, kept_name

RESAMPLES = 1000

Values = Mapping[str, np.ndarray]
"""Each metric of one model: `[B]` per example, `[]` of the set or the model, or a table."""


@attrs.frozen
class Measured:
    """Every model by every metric on one split.

    tables   metrics that are tables, such as a confusion matrix, as rows
    notes    of values beyond the range that a claim keeps them in, in words
    """

    quantities: Mapping[str, Quantity]
    metrics: Mapping[str, Mapping[str, Interval]]
    tables: Mapping[str, Mapping[str, tuple[tuple[float, ...], ...]]]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


@attrs.frozen
class _Metric:
    name: str
    value: Expr
    better: Better | None

    @property
    def is_binary(self) -> bool:
        return self.is_per_example and self.value.type.kind == "bool"

    @property
    def is_per_example(self) -> bool:
        return self.value.level == "example"

    @property
    def is_of_set(self) -> bool:
        return self.value.level == "set"


@attrs.frozen(eq=False)
class Weighed:
    """A model's weights, with those of all others of the plan, and the program of its size."""

    program: Program
    params: Params

    def values(self, fields: Mapping[str, Any]) -> Values:
        """Everything shown and judged by, over a split."""
        found: Values = jax.device_get(self.program.measure(self.params, dict(fields)))
        return found


def measure(
    plan: Plan,
    weights: Mapping[str, Weighed],
    fields: Mapping[str, Any],
    delivered: str,
    beside: Collection[str] = (),
) -> Measured:
    """Accepted, current and baselines by everything shown and everything judged by.

    weights   under the name the report gives them
    fields    the split, `[B, *dimensions]` each
    delivered the name of the model that the run delivers; it is compared with each of the others
              on the same examples
    beside    models that it isn't compared with
    Proportions get Wilson's interval, means of reals Student's, values of a set the bootstrap's;
    differences Tango's, Student's and the bootstrap's, all of them paired.
    """
    metrics = _metrics(plan)
    values = {model: dict(each.values(fields)) for model, each in weights.items()}
    kept = _kept(plan, values)
    notes = tuple(_beyond(delivered, values[delivered], *each) for each in kept.items())
    metrics += kept.values()
    of_set = [each for each in metrics if each.is_of_set and values[delivered][each.name].ndim == 0]
    resampled = _resampled(weights, fields, [each.name for each in of_set], plan.seed)
    examples = len(next(iter(fields.values())))
    scalars = [
        each for each in metrics if each.is_per_example or values[delivered][each.name].ndim == 0
    ]
    return Measured(
        quantities={each.name: Quantity(each.better, each.is_binary) for each in scalars},
        metrics={
            model: {
                each.name: _interval(
                    each, values[model][each.name], resampled[model].get(each.name), examples
                )
                for each in scalars
            }
            for model in weights
        },
        tables={
            model: tables
            for model in weights
            if (
                tables := {
                    each.name: tuple(map(tuple, values[model][each.name].astype(float).tolist()))
                    for each in metrics
                    if each not in scalars
                }
            )
        },
        comparisons=tuple(
            Comparison(
                other,
                each.name,
                _difference(
                    each,
                    (values[delivered][each.name], values[other][each.name]),
                    (resampled[delivered].get(each.name), resampled[other].get(each.name)),
                    examples,
                ),
            )
            for other in weights
            if other != delivered and other not in beside
            for each in scalars
            if each.is_per_example or each.is_of_set
        ),
        notes=notes,
    )


def _metrics(plan: Plan) -> list[_Metric]:
    """What the report shows, then what else the run is judged by, each once."""
    directions: dict[str, Better] = {"maximize": "higher", "minimize": "lower"}
    found = {each.name: _Metric(each.name, each.value, each.better) for each in plan.shown}
    for each in plan.measures:
        found[each.name] = _Metric(each.name, each.value, directions[each.direction])
    return list(found.values())


def _kept(plan: Plan, values: Mapping[str, dict[str, np.ndarray]]) -> dict[str, _Metric]:
    """The means that bounded claims are about, by the value that some model has beyond its range.

    Adds each model's values to `values`, each kept in the range that its claim is about.
    """
    directions: dict[str, Better] = {"maximize": "higher", "minimize": "lower"}
    found: dict[str, _Metric] = {}
    for claim in (*plan.rule.claims, *plan.proven):
        measure, name = claim.measure, claim.measure.name
        if claim.clipped is None or name in found:
            continue
        kept = {model: np.clip(each[name], *claim.clipped) for model, each in values.items()}
        if all(np.array_equal(kept[model], each[name]) for model, each in values.items()):
            continue
        for model, each in values.items():
            each[kept_name(measure)] = kept[model]
        direction = directions[measure.direction]
        found[name] = _Metric(kept_name(measure), measure.value, direction)
    return found


def _beyond(model: str, values: Values, name: str, kept: _Metric) -> str:
    """What follows for a model from values beyond a claim's range, in words."""
    of = len(values[name])
    count = int(np.sum(values[name] != values[kept.name]))
    return (
        f"{count} of {of} values of {name} here lie beyond the range that its test keeps them in, "
        f"for {model}: what was tested is the mean `{kept.name}`, not that of the "
        "values as they are"
    )


def _resampled(
    weights: Mapping[str, Weighed],
    fields: Mapping[str, Any],
    names: list[str],
    seed: int,
) -> dict[str, dict[str, np.ndarray]]:
    """Values of a set on resampled sets, `[RESAMPLES]` each; the same sets for every model."""
    if not names:
        return {model: {} for model in weights}
    examples = len(next(iter(fields.values())))
    draw = np.random.Generator(np.random.PCG64(seed))
    rows = draw.integers(0, examples, (RESAMPLES, examples), dtype=np.int32)
    return {
        model: jax.device_get(each.program.resample(each.params, dict(fields), rows, tuple(names)))
        for model, each in weights.items()
    }


def _interval(
    metric: _Metric, value: np.ndarray, resampled: np.ndarray | None, examples: int
) -> Interval:
    if metric.is_binary:
        return wilson(int(value.sum()), len(value))
    if metric.is_per_example:
        return student(value)
    if resampled is not None:
        return bootstrap_interval(float(value), resampled, examples)
    return Interval(float(value), None, None, 0)


def _difference(
    metric: _Metric,
    values: tuple[np.ndarray, np.ndarray],
    resampled: tuple[np.ndarray | None, np.ndarray | None],
    examples: int,
) -> Interval:
    first, second = values
    if metric.is_binary:
        right, other = first.astype(bool), second.astype(bool)
        return tango(int((right & ~other).sum()), int((other & ~right).sum()), len(first))
    if metric.is_per_example:
        return student(first.astype(np.float64) - second)
    one, two = resampled
    assert one is not None, f"{metric.name} was not resampled"
    assert two is not None, f"{metric.name} was not resampled"
    return bootstrap_interval(float(first) - float(second), one - two, examples)
