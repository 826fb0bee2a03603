"""Weights that models don't draw: trained once before the run, or read from a file."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import jax
import numpy as np
import platformdirs

from ev3lang.backend import models
from ev3lang.backend.descent import KNOWN
from ev3lang.backend.emit import emit, fields_read
from ev3lang.backend.keys import named
from ev3lang.plan.fuse import fuse
from ev3lang.plan.known import pool
from ev3lang.plan.plan import (
    Apply,
    BaselinePlan,
    Expr,
    FromCheckpoint,
    ModelPlan,
    Plan,
    TrainedBy,
    fields_of,
    models_of,
    subexpressions,
)
from ev3lang.runtime import checkpoints, folder, plain
from ev3lang.runtime.data import Dataset
from ev3lang.runtime.events import Listener, Measuring
from ev3lang.runtime.faults import WeightsError
from ev3lang.signals import Stop, raise_for


@attrs.frozen(eq=False)
class Given:
    """Weights before a run, by the name of their model.

    weights    on the host, as `models.init` gives them
    warnings   what a reader of the report should know of where they come from
    """

    weights: dict[str, models.Params]
    warnings: tuple[str, ...]


def given_weights(
    plan: Plan,
    dataset: Dataset,
    where: Path,
    *,
    platform: str,
    listen: Listener = lambda event: None,
    stop: Stop | None = None,
) -> Given:
    """The weights of every model with a start of its own.

    where      the folder of the spec, which paths of checkpoints are relative to
    platform   what training runs on: cpu, gpu or tpu
    listen     hears what is trained, or read from the cache instead
    stop       what signals have asked of the run, which raises at once here
    A model trained by the spec is kept in the user's cache, by all that its weights depend on.
    Raises WeightsError for a checkpoint that can't be read or doesn't fit, and for training that
    ends in no numbers.
    """
    weights: dict[str, models.Params] = {}
    warnings = [*of_stored_outputs(plan)]
    record = checkpoints.data_record(plan.data, dataset)
    for model in plan.models:
        if isinstance(model.start, FromCheckpoint):
            listen(Measuring(f"reading the weights of {model.name}"))
            restored = checkpoints.read(where / model.start.path, model, record)
            weights[model.name] = restored.params
            if not restored.says_its_split:
                warnings.append(
                    f"nothing says which examples the weights of {model.name} were trained on "
                    f"({model.start.path}): if they are those of assess, adapt or report, what is "
                    "claimed here is too good (teacher-split-unknown)"
                )
    for model in _in_order_of_training(plan):
        weights[model.name] = _trained(
            plan, model, dataset, weights, platform, listen, stop or Stop()
        )
    return Given(weights, tuple(warnings))


def of_stored_outputs(plan: Plan) -> tuple[str, ...]:
    """What a reader of the report should know of a teacher whose outputs are fields of the data."""
    read = fields_read(plan)
    return tuple(
        f"nothing says which examples the teacher behind {name} was trained on: if it saw those "
        "of assess, adapt or report, what is claimed here is too good (teacher-split-unknown)"
        for name, type_ in plan.data.fields
        if name in read and type_.kind in ("logits", "probs", "log_probs")
    )


def frozen_weights(plan: Plan, given: Mapping[str, models.Params]) -> dict[str, models.Params]:
    """The weights of models that nothing trains and nothing gives: drawn by the plan's seed.

    Known before the run, so that their outputs can be computed once.
    """
    key = jax.random.key(plan.seed)
    return {
        model.name: jax.device_get(
            jax.jit(partial(models.init, model))(named(key, "weights", model.name))
        )
        for model in plan.models
        if not model.is_explored and model.name not in given
    }


def _in_order_of_training(plan: Plan) -> Iterator[ModelPlan]:
    """The models that are trained before the run, each behind those that its loss reads."""
    waiting = {model.name: model for model in plan.models if isinstance(model.start, TrainedBy)}
    while waiting:
        for name, model in list(waiting.items()):
            assert isinstance(model.start, TrainedBy)
            if not (set(models_of(model.start.loss)) - {name}) & waiting.keys():
                yield waiting.pop(name)
                break
        else:
            raise AssertionError("models that need each other passed the checks")


# ---------------------------------------------------------------- training


def _trained(
    plan: Plan,
    model: ModelPlan,
    dataset: Dataset,
    weights: Mapping[str, models.Params],
    platform: str,
    listen: Listener,
    stop: Stop,
) -> models.Params:
    """A model's weights behind its training, or those that an equal training left earlier."""
    assert isinstance(model.start, TrainedBy)
    kept = _kept(plan, model, dataset, weights, platform)
    if kept is not None:
        try:
            found = checkpoints.read(kept, model, None).params
        except (WeightsError, OSError):
            # not there yet, or not whole any more
            shutil.rmtree(kept, ignore_errors=True)
            with suppress(OSError):
                # no folder at all
                kept.unlink(missing_ok=True)
        else:
            listen(Measuring(f"{model.name} read from cache"))
            return found
    steps = _steps(plan, model.start, dataset)
    what = f"training {model.name} before the run"
    listen(Measuring(f"{what}, {steps:,} steps"))
    lesson = _lesson(plan, model)
    program = emit(
        fuse(lesson, platform),
        _explore_alone(dataset),
        dataset.statistics,
        {name: each for name, each in weights.items() if name != model.name},
    )
    course = program.plain(jax.random.key(plan.seed), lesson.baselines[0])
    trained = plain.train(course, steps, what, listen, stop)
    if trained is None:
        assert stop.asked is not None, "it ends early by a signal alone"
        # one that Python has dropped where it came
        raise_for(stop.asked)
    params: models.Params = jax.device_get(trained)[model.name]
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
        raise WeightsError(
            f"training {model.name} by {model.start.loss_name} with {model.start.optimizer.name} "
            "ended in weights that are no finite numbers",
            "train it more gently: a smaller learning rate, or gradients that are clipped",
        )
    if kept is not None:
        _keep(kept, lesson, dataset, {model.name: params})
    return params


def _lesson(plan: Plan, model: ModelPlan) -> Plan:
    """The plan in which a model's training is a baseline: that trains from a start, once."""
    start = model.start
    assert isinstance(start, TrainedBy)
    baseline = BaselinePlan(
        name=model.name,
        loss=start.loss,
        loss_name=start.loss_name,
        optimizer=start.optimizer,
        is_same_lineage=False,
        batch=start.batch,
    )
    return attrs.evolve(
        plan,
        models=tuple(
            attrs.evolve(each, is_explored=each.name == model.name)
            for each in plan.models
            if each.name in models_of(start.loss)
        ),
        explored=model.name,
        descents=(),
        by_members=(),
        archives=(),
        patience=None,
        others=(),
        mutations=(),
        objectives=(),
        shown=(),
        baselines=(baseline,),
    )


def _steps(plan: Plan, start: TrainedBy, dataset: Dataset) -> int:
    """How many steps the training takes; an epoch ends where less than a batch is left of it."""
    if start.unit == "steps":
        return start.length
    explore = dataset.tables["explore"]
    count = len(next(iter(explore.values())))
    partly = pool(plan.data, start.loss)
    if partly:
        count = int(np.any([explore[f"{name} {KNOWN}"] for name in partly], axis=0).sum())
    return start.length * max(1, count // start.batch)


def _explore_alone(dataset: Dataset) -> dict[str, dict[str, np.ndarray]]:
    """The tables without the examples that no training may see."""
    return {
        split: table if split == "explore" else {name: each[:0] for name, each in table.items()}
        for split, table in dataset.tables.items()
    }


# ---------------------------------------------------------------- the cache


def _kept(
    plan: Plan,
    model: ModelPlan,
    dataset: Dataset,
    weights: Mapping[str, models.Params],
    platform: str,
) -> Path | None:
    """Where the weights are kept, named by all that they depend on; None where they can't be.

    Of a network from a Python class, or a function, nobody can tell whether its code is still the
    same.
    """
    assert isinstance(model.start, TrainedBy)
    start = model.start
    read = [each for each in plan.models if each.name in models_of(start.loss)]
    if any(each.module is not None for each in read) or _calls_externs(plan, start.loss):
        return None
    digest = hashlib.sha256()
    data = plan.data
    meaning = (
        [attrs.evolve(each, is_explored=False, start=None) for each in read],
        start,
        plan.seed,
        plan.precision,
        (data.name, data.source, data.options, data.derived, data.normalized),
        (data.augmented, data.known),
        platform,
        folder.versions(),
    )
    digest.update(repr(meaning).encode())
    explore = dataset.tables.get("explore", {})
    names = fields_of(start.loss)
    for name in (*names, *(f"{each} {KNOWN}" for each in names)):
        if name in explore:
            _add(digest, [(name, explore[name])])
    for name, scale in sorted(dataset.statistics.items()):
        if name in names:
            _add(digest, [(name, np.asarray(each)) for each in scale])
    for each in read:
        if each is not model and each.name in weights:
            _add(digest, checkpoints.arrays_by_path(weights[each.name]).items())
    cache = platformdirs.user_cache_path("ev3lang", appauthor=False) / "teachers"
    return cache / digest.hexdigest()


def _calls_externs(plan: Plan, loss: Expr) -> bool:
    functions = {each.function for each in plan.externs}
    return any(
        isinstance(part, Apply) and part.function in functions for part in subexpressions(loss)
    )


def _add(digest: Any, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    for name, array in arrays:
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))


def _keep(final: Path, lesson: Plan, dataset: Dataset, params: Mapping[str, models.Params]) -> None:
    """Puts the weights into the cache, at once; without one nothing is kept."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent) as new:
            written = Path(new) / "weights"
            alone = tuple(model for model in lesson.models if model.name in params)
            checkpoints.save(written, attrs.evolve(lesson, models=alone), dataset, params)
            written.replace(final)
    except OSError:
        # another run may have kept the same at the same time
        return
