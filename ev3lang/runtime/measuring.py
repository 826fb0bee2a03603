"""What models are worth on a split: values with intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs
import jax
import numpy as np

from ev3lang.backend import expressions
from ev3lang.backend import units as units_of
from ev3lang.backend.emit import Program
from ev3lang.backend.state import Params
from ev3lang.backend.units import Sample, Units
from ev3lang.plan.plan import (
    Expr,
    Forward,
    ObjectivePlan,
    Plan,
    fields_of,
    holding,
    is_token_mean,
    parts_of,
    subexpressions,
)
from ev3lang.runtime import sequences
from ev3lang.runtime.intervals import (
    Interval,
    bootstrap_interval,
    grouped_mean,
    grouped_share,
    student,
    tango,
    unvaried,
    wilson,
)
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
class Metric:
    name: str
    value: Expr
    better: Better | None
    range: tuple[float, float] | None

    @classmethod
    def of(cls, objective: ObjectivePlan) -> Metric:
        """An objective as the report shows it."""
        better: Better = "higher" if objective.direction == "maximize" else "lower"
        return cls(objective.name, objective.value, better, objective.range)

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
    units: Units | None = None,
) -> Measured:
    """Accepted, current and baselines by everything shown and everything judged by.

    weights   under the name the report gives them
    fields    the split, `[B, *dimensions]` each
    delivered the name of the model that the run delivers; it is compared with each of the others
              on the same examples
    beside    models that it isn't compared with
    units     the groups or blocks of the split's examples that count as one each
    Proportions get Wilson's interval, means of reals Student's, values of a set the bootstrap's;
    differences Tango's, Student's and the bootstrap's, all of them paired. With units all of them
    are over units.
    """
    sample = MeasuredSplit(Sample(dict(fields), units))
    metrics = _metrics(plan)
    values = {model: dict(each.values(fields)) for model, each in weights.items()}
    kept = _kept(plan, values)
    notes = tuple(_beyond(delivered, values[delivered], *each) for each in kept.items())
    for metric in metrics:
        if is_token_mean(metric.value):
            for each in values.values():
                each[metric.name] = sequences.over_tokens(metric.value, each[metric.name], fields)
    metrics += kept.values()
    of_set = [each for each in metrics if each.is_of_set and values[delivered][each.name].ndim == 0]
    resampled = _resampled(weights, sample, [each.name for each in of_set], plan.seed)
    scalars = [
        each for each in metrics if each.is_per_example or values[delivered][each.name].ndim == 0
    ]
    return Measured(
        quantities={each.name: Quantity(each.better, each.is_binary) for each in scalars},
        metrics={
            model: {
                each.name: sample.interval(
                    each, values[model][each.name], resampled[model].get(each.name)
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
                sample.difference(
                    each,
                    (values[delivered][each.name], values[other][each.name]),
                    (resampled[delivered].get(each.name), resampled[other].get(each.name)),
                ),
            )
            for other in weights
            if other != delivered and other not in beside
            for each in scalars
            if each.is_per_example or each.is_of_set
        ),
        notes=notes,
    )


def _metrics(plan: Plan) -> list[Metric]:
    """What the report shows, then what else the run is judged by, each once."""
    found = {
        each.name: Metric(each.name, each.value, each.better, each.range) for each in plan.shown
    }
    for each in plan.measures:
        found[each.name] = Metric.of(each)
    return list(found.values())


def _kept(plan: Plan, values: Mapping[str, dict[str, np.ndarray]]) -> dict[str, Metric]:
    """The means that bounded claims are about, by the value that some model has beyond its range.

    Adds each model's values to `values`, each kept in the range that its claim is about.
    """
    found: dict[str, Metric] = {}
    for claim in (*plan.rule.claims, *plan.proven):
        measure, name = claim.measure, claim.measure.name
        if claim.clipped is None or name in found:
            continue
        kept = {model: np.clip(each[name], *claim.clipped) for model, each in values.items()}
        if all(np.array_equal(kept[model], each[name]) for model, each in values.items()):
            continue
        for model, each in values.items():
            each[kept_name(measure)] = kept[model]
        found[name] = attrs.evolve(Metric.of(measure), name=kept_name(measure), range=claim.clipped)
    return found


def _beyond(model: str, values: Values, name: str, kept: Metric) -> str:
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
    split: MeasuredSplit,
    names: list[str],
    seed: int,
) -> dict[str, dict[str, np.ndarray]]:
    """Values of a set on resampled sets, `[RESAMPLES]` each; the same sets for every model."""
    if not names:
        return {model: {} for model in weights}
    rows, fields = split.resampled(seed), split.sample.fields
    return {
        model: jax.device_get(each.program.resample(each.params, fields, rows, tuple(names)))
        for model, each in weights.items()
    }


@attrs.frozen(eq=False)
class MeasuredSplit:
    """The examples that everything is measured on, and the intervals over them."""

    sample: Sample

    def interval(self, metric: Metric, value: np.ndarray, resampled: np.ndarray | None) -> Interval:
        """A model's value with its interval."""
        if metric.is_binary:
            return self._share(value)
        if metric.is_per_example:
            return self._mean(metric, value.astype(np.float64), metric.range)
        if resampled is not None:
            return self._of_set(metric, float(value), resampled, metric.range)
        return Interval(float(value), None, None, 0)

    def difference(
        self,
        metric: Metric,
        values: tuple[np.ndarray, np.ndarray],
        resampled: tuple[np.ndarray | None, np.ndarray | None],
    ) -> Interval:
        """The first model's value less the second's, on the same examples."""
        first, second = values
        bounds = None
        if metric.range is not None:
            width = metric.range[1] - metric.range[0]
            bounds = (-width, width)
        if metric.is_binary and (self.sample.units is None or np.array_equal(first, second)):
            right, other = first.astype(bool), second.astype(bool)
            won, lost = int((right & ~other).sum()), int((other & ~right).sum())
            found = tango(won, lost, self.sample.count)
            return attrs.evolve(found, examples=self.sample.examples)
        if metric.is_per_example:
            return self._mean(metric, first.astype(np.float64) - second, bounds)
        one, two = resampled
        assert one is not None, f"{metric.name} was not resampled"
        assert two is not None, f"{metric.name} was not resampled"
        return self._of_set(metric, float(first) - float(second), one - two, bounds)

    def resampled(self, seed: int) -> np.ndarray:
        """Rows of resampled sets, `[RESAMPLES, examples]` int32: whole units."""
        if self.sample.units is not None:
            key = jax.random.key(seed)
            return np.asarray(units_of.resampled(self.sample, key, RESAMPLES))
        draw, examples = np.random.Generator(np.random.PCG64(seed)), self.sample.examples
        return draw.integers(0, examples, (RESAMPLES, examples), dtype=np.int32)

    def _share(self, value: np.ndarray) -> Interval:
        if self.sample.units is None:
            return wilson(int(value.sum()), len(value))
        return grouped_share(*self._sums(value))

    def _mean(
        self, metric: Metric, values: np.ndarray, bounds: tuple[float, float] | None
    ) -> Interval:
        if len(values) > 1 and np.ptp(values) == 0:
            return self._unvaried(metric, float(values[0]), bounds)
        if self.sample.units is None:
            return student(values)
        return grouped_mean(*self._sums(values), bounds)

    def _of_set(
        self,
        metric: Metric,
        value: float,
        resampled: np.ndarray,
        bounds: tuple[float, float] | None,
    ) -> Interval:
        if np.isfinite(resampled).all() and np.ptp(resampled) == 0:
            return self._unvaried(metric, value, bounds)
        units = None if self.sample.units is None else float(self.sample.effective)
        return bootstrap_interval(value, resampled, self.sample.examples, units)

    def _unvaried(
        self, metric: Metric, value: float, bounds: tuple[float, float] | None
    ) -> Interval:
        if bounds is None or not np.isfinite(bounds).all():
            return Interval(value, None, None, self.sample.examples)
        counting = self.sample.count
        if metric.is_of_set:
            counting = min([counting, *self._rarest(metric.value)])
        return unvaried(value, bounds, self.sample.examples, counting)

    def _sums(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each unit, and how many examples it has: [U] each."""
        units = self.sample.units
        assert units is not None, "single examples have no sums"
        of, sizes = np.asarray(units.of), np.asarray(units.sizes)
        return np.bincount(of, values.astype(np.float64), len(sizes)), sizes

    def _rarest(self, expr: Expr) -> Iterator[int]:
        """For each label that a value reads, how many units have its rarest class."""
        modelled = holding(expr, wanted=lambda part: isinstance(part, Forward))

        def is_label(part: Expr) -> bool:
            is_of_example = part.level == "example" and part not in modelled
            return is_of_example and part.type.kind in ("class", "bool", "multi")

        def inside(part: Expr) -> tuple[Expr, ...]:
            return () if is_label(part) or isinstance(part, Forward) else parts_of(part)

        for part in filter(is_label, subexpressions(expr, inside=inside)):
            fields = {name: self.sample.fields[name] for name in fields_of(part)}
            yield self._units_of_rarest(np.asarray(expressions.evaluate(part, fields)))

    def _units_of_rarest(self, labels: np.ndarray) -> int:
        """How many units have the rarest label.

        labels   [B] of a class or a bool, or `[B, L]` of which any may hold
        """
        units = self.sample.units
        of = np.arange(len(labels)) if units is None else np.asarray(units.of)
        columns = labels.reshape(len(labels), -1).T
        return min(
            len(np.unique(of[column == label])) for column in columns for label in np.unique(column)
        )
