"""What a person sees of a run: its progress while it goes on, and its report."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import IO, Protocol

import attrs
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ev3lang.diagnostics.figures import chance, log_chance, share, share_cell
from ev3lang.plan.plan import ObjectivePlan, Plan
from ev3lang.plan.work import parameters
from ev3lang.printable import printable, printable_lines, without_commands
from ev3lang.runtime.events import (
    Closed,
    Compiled,
    Event,
    Grown,
    IterationDone,
    Measuring,
    PointEnded,
    PointStarted,
    RunEnded,
    RunStarted,
    SearchChanged,
    Training,
    Trial,
    Warned,
)
from ev3lang.runtime.intervals import Interval
from ev3lang.runtime.report import (
    Acceptance,
    Comparison,
    Proof,
    Quantity,
    Report,
    Stage,
    duration,
)
from ev3lang.runtime.sweep_report import PointResult, SweepReport, settings_words

REFRESH_S = 0.2
LINE_S = 0.5
LINE_SHARE = 0.02
"""A line in a log waits at least so long, and for this share of the time that has passed."""

BARS = "▁▂▃▄▅▆▇█"
NARROW, WIDE = 72, 100
LABELS_WIDTH, INTERVAL_CELL, NARROW_CELL = 28, 26, 12
"""Columns that a table of values needs: for models and steps, and for each value."""

GOOD, BAD, DIM, HEADING = "green", "red", "dim", "bold"


class Display(Protocol):
    """Something that shows events until it is closed."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


def display(stream: IO[str], *, is_quiet: bool) -> Display:
    """What suits the stream: nothing, a live table on a terminal, else lines."""
    if is_quiet:
        return _Silence()
    console = _console(stream)
    return _LiveDisplay(console) if console.is_terminal else _Lines(console)


def show_report(report: Report, folder: str, stream: IO[str]) -> None:
    """Writes the report so that it can be read without the spec."""
    console = _console(stream)
    _show(console, stream, _report_parts(report, printable(folder), console.width))


def _show(console: Console, stream: IO[str], parts: Iterable[RenderableType]) -> None:
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    # a cell that was wrapped may begin a line with any of its words
    lines = without_commands(capture.get()).splitlines()
    # cells are padded to their column's width, lines need not end so
    stream.writelines(line.rstrip() + "\n" for line in lines)


class _Console(Console):
    """A console that shows no text from outside as anything but text."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        if isinstance(renderable, str):
            renderable = printable_lines(renderable)
        elif isinstance(renderable, Text):
            renderable = renderable.copy()
            # as many characters as before: styles stay where they were
            renderable.plain = printable_lines(renderable.plain)
        return super().render(renderable, options)

    def on_broken_pipe(self) -> None:
        # rich would end the process, and hours of training with it
        raise BrokenPipeError


def _console(stream: IO[str]) -> Console:
    """Colours as the terminal and NO_COLOR have it; a log gets lines as long as they are."""
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    # off a terminal rich would guess 80 columns and wrap
    width = None if is_terminal else 120
    return _Console(
        file=stream,
        force_terminal=is_terminal,
        width=width,
        highlight=False,
        emoji=False,
        markup=False,
        no_color=bool(os.environ.get("NO_COLOR")) or None,
        soft_wrap=not is_terminal,
    )


# ---------------------------------------------------------------- progress


class _Silence:
    def __call__(self, event: Event) -> None:
        del event

    def close(self) -> None:
        pass


class _Lines:
    """A line for what matters, and for the rest one every half second, rarer in a long run."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._first_s = self._last_s = -math.inf
        self._has_reader = True
        self._training = _Pace(clock)
        self._has_accepted = False
        self._plan: Plan | None = None
        self._sizes: Mapping[str, int] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case PointStarted():
                self._say(_point_title(event))
            case PointEnded():
                self._say(_point_line(event))
            case RunStarted():
                self._plan = event.plan
                self._has_accepted = False
                self._sizes = _first_sizes(event.plan)
                self._first_s = self._last_s = -math.inf
                self._say(f"{event.plan.name} on {event.device}, writing to {event.folder}")
            case Compiled():
                self._say(f"compiled in {duration(event.wall_s)}")
            case IterationDone():
                now = self._clock()
                is_last = self._plan is not None and event.iteration == self._plan.stop.iterations
                if event.iteration == 1:
                    self._first_s = now
                pause_s = max(LINE_S, LINE_SHARE * (now - self._first_s))
                self._has_accepted |= event.decision == "accepted"
                if event.decision == "accepted" or is_last or now - self._last_s >= pause_s:
                    self._last_s = now
                    self._say(self._iteration(event))
            case SearchChanged():
                self._say(f"after iteration {event.iteration}: {event.what}")
            case Grown():
                assert self._plan is not None, "growth comes after the start"
                self._say(_growth_line(self._plan, event, self._sizes))
                self._sizes = event.parameters
            case Closed():
                if event.decision != "not_asked":
                    self._say(f"last query: {event.decision}")
            case Warned():
                self._say(f"warning: {event.what}")
            case RunEnded():
                self._say(f"ended after {_iterations(event.iterations)}: {event.outcome.words}")
            case Measuring():
                self._last_s = self._clock()
                self._say(event.what)
            case Training():
                text = self._training.text(event)
                pause_s = max(LINE_S, LINE_SHARE * self._training.wall_s)
                if event.step < event.steps and self._clock() - self._last_s >= pause_s:
                    self._last_s = self._clock()
                    self._say(text)

    def _iteration(self, done: IterationDone) -> str:
        assert self._plan is not None, "iterations come after the start"
        objective = _leading(self._plan, done)
        value = _objective_text(objective)
        best = "all candidates lost" if done.chosen is None else f"best {done.chosen}"
        accepted = "accepted" if self._has_accepted else "start"
        return (
            f"iteration {done.iteration}{_of(self._plan)}: {best}, {objective.name} on assess: "
            f"current {value(done.current[objective.name].value)}, "
            f"{accepted} {value(done.accepted[objective.name].value)}; "
            f"{done.decision.replace('_', ' ')}"
        )

    def _say(self, text: str) -> None:
        if not self._has_reader:
            return
        try:
            self._console.print(Text(printable(text)))
            self._console.file.flush()
        except OSError:
            # `ev3lang run … | head`, a terminal that was closed: the run goes on without a reader
            self._has_reader = False

    def close(self) -> None:
        pass


@attrs.define
class _Pace:
    """How fast plain training goes."""

    _clock: Callable[[], float]
    _first: Training | None = None
    _first_s: float = 0.0

    @property
    def wall_s(self) -> float:
        """What has passed since its first part."""
        return self._clock() - self._first_s

    def text(self, now: Training) -> str:
        """`training baseline plain: step 300 of 2,000, about 12 s left`."""
        if self._first is None or self._first.what != now.what:
            self._first, self._first_s = now, self._clock()
        text = f"{now.what}: step {now.step:,} of {now.steps:,}"
        done = now.step - self._first.step
        if not done > 0 or now.step == now.steps:
            return text
        left_s = (now.steps - now.step) * self.wall_s / done
        return f"{text}, about {duration(left_s)} left"


class _LiveDisplay:
    """A table that is drawn over itself, a few times a second."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._has_reader = True
        self._training = _Pace(clock)
        self._reset("")

    def _reset(self, title: str) -> None:
        """Begins a new picture, of a run of its own or of a point of a sweep."""
        self._title = title
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._started: RunStarted | None = None
        self._last: IterationDone | None = None
        self._status = ""
        self._chosen: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._history: list[float] = []
        self._accepted_in: list[int] = []
        self._sizes: Mapping[str, int] = {}
        self._pass = 1
        # the iteration from which on the pace is that of the size that the models have now
        self._paced_from: int | None = None
        self._first_s = self._drawn_s = self._start_s = 0.0

    def __call__(self, event: Event) -> None:
        if not self._has_reader:
            return
        try:
            self._show(event)
        except OSError:
            # the terminal was closed, and the run goes on without a reader
            self._has_reader = False

    def _show(self, event: Event) -> None:
        match event:
            case PointStarted():
                self._reset(_point_title(event))
            case PointEnded():
                self._live.stop()
                self._console.print(
                    Text(printable(_point_line(event)), BAD if event.is_failed else "")
                )
            case RunStarted():
                self._started = event
                self._sizes = _first_sizes(event.plan)
                self._start_s = self._clock()
                self._status = "compiling"
                self._live.start()
                self._draw()
            case Compiled():
                self._status = f"compiled in {duration(event.wall_s)}"
                self._draw()
            case IterationDone():
                self._note(event)
            case SearchChanged():
                self._status = event.what
            case Grown():
                self._grow(event)
            case Closed():
                pass
            case Warned():
                # above the table, where it stays
                self._console.print(Text(printable(f"warning: {event.what}"), style=BAD))
            case RunEnded():
                self._status = event.outcome.words
                self._draw()
            case Measuring():
                self._status = printable(event.what)
                self._draw()
            case Training():
                self._status = self._training.text(event)
                self._draw()

    def close(self) -> None:
        with suppress(OSError):
            self._live.stop()

    def _grow(self, grown: Grown) -> None:
        assert self._started is not None, "growth comes after the start"
        # above the table, where it stays
        self._console.print(Text(_growth_line(self._started.plan, grown, self._sizes)))
        self._sizes, self._pass = grown.parameters, grown.number_of_pass
        self._paced_from = None
        self._status = ""
        self._draw()

    def _note(self, done: IterationDone) -> None:
        assert self._started is not None, "iterations come after the start"
        now = self._clock()
        if self._paced_from is None:
            self._paced_from, self._first_s = done.iteration, now
        self._last = done
        if done.chosen is not None:
            self._chosen[done.chosen] = self._chosen.get(done.chosen, 0) + 1
        for candidate in done.candidates:
            if candidate.is_quarantined:
                self._lost[candidate.name] = self._lost.get(candidate.name, 0) + 1
        self._history.append(done.current[self._started.plan.ranking.keys[0].name].value)
        if done.decision == "accepted":
            self._accepted_in.append(done.iteration)
        if now - self._drawn_s >= REFRESH_S / 2:
            self._status = self._pace(done, now)
            self._draw()

    def _pace(self, done: IterationDone, now: float) -> str:
        """Iterations a second and what is left at that pace."""
        assert self._started is not None
        stop = self._started.plan.stop
        # the first iteration has no beginning to measure from
        if self._paced_from in (None, done.iteration) or now <= self._first_s:
            return ""
        rate = (done.iteration - self._paced_from) / (now - self._first_s)
        lefts = []
        if stop.iterations is not None:
            lefts.append((stop.iterations - done.iteration) / rate)
        if stop.seconds is not None:
            lefts.append(stop.seconds - (now - self._start_s))
        pace = f"{rate:.3g} a second"
        return f"{pace}, about {duration(max(0.0, min(lefts)))} left" if lefts else pace

    def _draw(self) -> None:
        self._drawn_s = self._clock()
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        assert self._started is not None
        plan, done = self._started.plan, self._last
        title = f"{self._title}  " if self._title else ""
        head = Text.assemble((title, DIM), (plan.name, HEADING), " on ", self._started.device)
        if plan.grows:
            head.append(f"  {_sizes_text(self._sizes)}")
            if self._pass > 1 or plan.passes is not None:
                head.append(f", {_pass_text(plan, self._pass)}")
        if done is None:
            return _one_line(head.append(f"  {self._status}", DIM))
        pace = Text(f"iteration {done.iteration}{_of(plan)}  ").append(self._status, DIM)
        objective = _leading(plan, done)
        return Group(
            _one_line(head),
            _one_line(pace),
            self._candidates(done),
            *self._standing(objective, done),
            # a terminal echoes ^C here; at the end of a full line it would move the picture
            Text(""),
        )

    def _candidates(self, done: IterationDone) -> Table:
        assert self._started is not None
        plan = self._started.plan
        is_narrow = self._console.width < NARROW
        table = _table("candidate", "best", *([] if is_narrow else ["lost"]))
        objectives = [_leading(plan, done)] if is_narrow else list(plan.objectives)
        for objective in objectives:
            table.add_column(objective.name, justify="right", no_wrap=True)
        # as many as fit on the screen with what stands around them
        room = max(1, self._console.height - 10)
        for candidate in done.candidates[:room]:
            is_chosen = candidate.name == done.chosen
            cells = [
                _interval_cell(candidate.scores[each.name], _objective_text(each), is_narrow)
                if not candidate.is_quarantined
                else Text("lost", BAD)
                for each in objectives
            ]
            lost = [] if is_narrow else [str(self._lost.get(candidate.name, 0))]
            table.add_row(
                _one_line(
                    Text(
                        ("› " if is_chosen else "  ") + candidate.name,
                        HEADING if is_chosen else "",
                    )
                ),
                str(self._chosen.get(candidate.name, 0)),
                *lost,
                *cells,
            )
        if len(done.candidates) > room:
            table.add_row(Text(f"  and {len(done.candidates) - room} more", DIM))
        return table

    def _standing(self, objective: ObjectivePlan, done: IterationDone) -> Iterable[Text]:
        """Current, accepted and how current came here."""
        value = _objective_text(objective)
        is_narrow = self._console.width < NARROW
        accepted = "accepted" if self._accepted_in else "start"
        for name, scores in (("current", done.current), (accepted, done.accepted)):
            line = _one_line(Text(f"{name:<9}", HEADING))
            line.append_text(_interval_cell(scores[objective.name], value, is_narrow))
            if name == "current":
                line.append("  " + sparkline(self._history, max(8, self._console.width // 3)))
            elif self._accepted_in:
                times = _counted(len(self._accepted_in), "acceptance")
                line.append(f"  {times}, the last in iteration {self._accepted_in[-1]}", GOOD)
            else:
                line.append("  none accepted so far", DIM)
            yield line
        left = done.evidence.budget_left
        budget = "" if left is None else f"; {share(left)} of the evidence budget left"
        yield _one_line(Text(f"{objective.name} on assess, 95% intervals{budget}", DIM))


def _first_sizes(plan: Plan) -> dict[str, int]:
    """The parameters of each explored model that may grow."""
    return {each.name: parameters(each) or 0 for each in plan.architecture} if plan.grows else {}


def _growth_line(plan: Plan, grown: Grown, before: Mapping[str, int]) -> str:
    """What changed: `after iteration 12: grown by widen(2x), student has 1,210 parameters …`."""
    sizes = ", ".join(
        f"{name} has {count:,} parameters ({before[name]:,} before)"
        if name in before
        else f"{name} has {count:,} parameters"
        for name, count in grown.parameters.items()
    )
    parts = [f"grown by {grown.operation}, {sizes}"]
    if grown.operation is None:
        parts = [f"{_pass_text(plan, grown.number_of_pass)} from the smallest, {sizes}"]
    if grown.max_output_change is None:
        parts.append("fresh weights")
    else:
        parts.append(_change_text(grown.max_output_change))
    if grown.trials:
        texts = {key.name: _objective_text(key) for key in plan.ranking.keys}
        tried = _tried_text(grown.trials, {name: texts[name] for name in grown.tried_by})
        parts.append(f"tried, {tried}")
    if grown.members:
        parts.append(f"archived: {', '.join(grown.members)}")
    return f"after iteration {grown.iteration}: {'; '.join(parts)}"


def _pass_text(plan: Plan, number: int) -> str:
    of = "" if plan.passes is None else f" of {plan.passes}"
    return f"pass {number}{of}"


def _sizes_text(sizes: Mapping[str, int]) -> str:
    """`student 1,210 parameters`."""
    return ", ".join(f"{name} {count:,} parameters" for name, count in sizes.items())


def _change_text(change: float) -> str:
    if change == 0:
        return "outputs are the same"
    return f"outputs agree to {_power_text(change)}"


def _power_text(value: float) -> str:
    """One digit and a power of ten: `3e-7`."""
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _tried_text(trials: Iterable[Trial], texts: Mapping[str, Callable[[float], str]]) -> str:
    """`accuracy on assess: widen(2x) 93.1%, deepen(1) 92.8%`.

    texts   how a value of each objective is written that they were ranked by
    """
    values = [
        f"{trial.operation} "
        + " and ".join(text(trial.scores[name].value) for name, text in texts.items())
        for trial in trials
    ]
    return f"{' and '.join(texts)} on assess: {', '.join(values)}"


def _point_title(started: PointStarted) -> str:
    """`point 3 of 12: seed 2, width 16`."""
    beside = f", and {started.beside} more side by side" if started.beside else ""
    return f"point {started.number} of {started.count}: {started.settings}{beside}"


def _point_line(ended: PointEnded) -> str:
    became = "failed: " if ended.is_failed else ""
    return f"point {ended.number} of {ended.count} ({ended.settings}): {became}{ended.words}"


def _leading(plan: Plan, done: IterationDone) -> ObjectivePlan:
    """What an iteration is told by: the objective that led it, or what the ranking begins with."""
    return next(
        (key for key in plan.ranking.keys if key.name == done.leading), plan.ranking.keys[0]
    )


def sparkline(values: Sequence[float], width: int) -> str:
    """The values as bars from their least to their greatest, averaged down to `width` of them."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    cells = min(width, len(finite))
    edges = [round(i * len(finite) / cells) for i in range(cells + 1)]
    # as parts of the largest: sums and differences of huge values would overflow
    size = max(map(abs, finite)) or 1.0
    means = [
        math.fsum(value / size for value in finite[start:end]) / (end - start)
        for start, end in pairwise(edges)
    ]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


# ---------------------------------------------------------------- the report


def _report_parts(report: Report, folder: str, width: int) -> Iterable[RenderableType]:
    is_narrow = width < NARROW
    yield Text.assemble("\n", (report.name, HEADING), f" on {report.device}, seed {report.seed}")
    yield Text(f"Ended after {_iterations(report.iterations)}: {report.outcome.words}.")
    yield _heading("What was asked")
    yield _pairs(report.asked)
    yield _heading("What was tried")
    yield from _tried(report)
    if report.stages:
        yield _heading("How it grew")
        yield from _grew(report, width)
    yield _heading("What was accepted")
    yield from _accepted(report)
    yield _heading("What it is worth")
    yield from _worth(report, width, is_narrow)
    yield _heading("Where the time went")
    yield Text(_timings(report))
    for warning in report.warnings:
        yield Text(f"\nwarning: {warning}", "yellow")
    yield Text.assemble("\nFiles are in ", (folder, HEADING))


def _heading(text: str) -> Text:
    return Text(f"\n{text}", HEADING)


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style=DIM, no_wrap=True)
    table.add_column()
    for heading, text in pairs:
        table.add_row(heading, text)
    return table


def _tried(report: Report) -> Iterable[RenderableType]:
    table = _table("candidate", "best", "moved", "lost", "typical gain")
    is_share = report.quantities[report.ranked_by].is_share
    for tried in report.tried:
        gain = "-" if tried.gain is None else _difference_text(tried.gain, is_share)
        table.add_row(
            tried.name,
            str(tried.best),
            str(tried.moved),
            str(tried.quarantined),
            gain + (" pp" if is_share and tried.gain is not None else ""),
        )
    yield table
    for change in report.changes:
        yield Text(change)
    yield Text(
        "best: iterations it ranked first; moved: it became current; lost: a loss, weight "
        "or value was not finite, or a set's value was out of its range; "
        f"typical gain: median change of {report.ranked_by} on assess in one iteration",
        DIM,
    )


def _grew(report: Report, width: int) -> Iterable[RenderableType]:
    """The sizes of the explored models one after the other, a line each."""
    if len(report.stages) == 1:
        yield Text(f"It didn't: {_sizes_text(report.stages[0].parameters)} from start to end.")
        return
    value = _quantity_text(report.quantities[report.ranked_by])
    legends = {
        "best": f"best, last: {report.ranked_by} of current on assess",
        "change": "change: the greatest of an output by growth alone, as a part of the largest",
    }
    headings = ["iterations", "parameters", "steps", "acceptances", "best", "last", "change"]
    if width < WIDE:
        headings = [each for each in headings if each not in ("steps", "change")]
    if width < NARROW:
        headings = [each for each in headings if each not in ("acceptances", "best")]
        legends = {"last": f"last: {report.ranked_by} of current on assess"}
    table = _table("size", *headings)
    for number, stage in enumerate(report.stages):
        is_accepted = number == report.accepted_stage
        name = ("› " if is_accepted else "  ") + _stage_name(report, stage)
        change = stage.max_output_change
        cells = {
            "iterations": f"{stage.first} to {stage.last}" if stage.first <= stage.last else "none",
            "parameters": f"{sum(stage.parameters.values()):,}",
            "steps": f"{stage.steps:,}",
            "acceptances": str(stage.acceptances),
            "best": "" if stage.best is None else value(stage.best),
            "last": "" if stage.final is None else value(stage.final),
            "change": "" if change is None else _power_text(change),
        }
        table.add_row(
            Text(name, HEADING if is_accepted else ""), *(cells[heading] for heading in headings)
        )
    yield table
    for stage in report.stages:
        if stage.trials:
            texts = {name: _quantity_text(report.quantities[name]) for name in stage.tried_by}
            yield Text(
                f"tried after iteration {stage.first - 1}, {_tried_text(stage.trials, texts)}"
            )
    if members := report.stages[-1].members:
        yield Text(f"archived: {', '.join(members)}")
    shown = [legend for heading, legend in legends.items() if heading in headings]
    yield Text("; ".join(("›: the size of the accepted model", *shown)), DIM)


def _stage_name(report: Report, stage: Stage) -> str:
    """How a size was come to."""
    has_passes = any(each.number_of_pass > 1 for each in report.stages)
    name = "start" if stage.operation is None else stage.operation
    return f"pass {stage.number_of_pass}: {name}" if has_passes else name


def _accepted(report: Report) -> Iterable[RenderableType]:
    times = _counted(len(report.acceptances), "acceptance")
    queries = _counted(report.queries, "decision")
    text = f"{times} in {queries}."
    if not report.outcome.is_own_stop and report.budget_left is not None:
        text += f" {share(report.budget_left)} of the evidence budget was left."
    yield Text(f"{text} {report.claim}")
    if not report.acceptances:
        yield Text("The folder `accepted` holds the model the run started with.", "yellow")
        return
    table = _table("accepted in", "improved", "on assess", "when deciding", "p", "level", "left")
    for acceptance in report.acceptances:
        table.add_row(
            "the last query" if acceptance.is_closing else f"iteration {acceptance.iteration}",
            acceptance.objective,
            _gained(acceptance, report.quantities.get(acceptance.objective)),
            _proof_text(acceptance),
            "" if acceptance.proof is None else _p_text(acceptance.proof),
            "" if acceptance.level is None else chance(acceptance.level),
            "" if acceptance.budget_left is None else share(acceptance.budget_left),
        )
    yield table
    yield Text(
        "on assess, when deciding: examples that only the new model got right to those that only "
        "the old one did, or the gain, turned so that more is better; p: p-value, or a bound on "
        "it, told now that nothing can be asked again; level: the chance to be wrong that the "
        "decision was allowed; left: of all that the run was allowed",
        DIM,
    )


def _gained(acceptance: Acceptance, quantity: Quantity | None) -> str:
    if acceptance.wins is not None:
        return f"{acceptance.wins} to {acceptance.losses}"
    if acceptance.gain is None:
        return ""
    is_share = quantity is not None and quantity.is_share
    unit = " pp" if is_share else ""
    error = "" if acceptance.error is None else f" ± {_size_text(acceptance.error, is_share)}"
    return f"{_difference_text(acceptance.gain, is_share)}{error}{unit}"


def _proof_text(acceptance: Acceptance) -> str:
    if acceptance.proof is not None and acceptance.proof.wins is not None:
        return f"{acceptance.proof.wins} to {acceptance.proof.losses}"
    if acceptance.age:
        return f"bets of {_iterations(acceptance.age)}"
    return ""


def _p_text(proof: Proof) -> str:
    return f"{proof.p:.2g}" if proof.log_p is None else log_chance(proof.log_p)


def _size_text(value: float, is_share: bool) -> str:
    return f"{100 * value:.1f}" if is_share else f"{value:.2g}"


def _worth(report: Report, width: int, is_narrow: bool) -> Iterable[RenderableType]:
    if report.split == "report":
        measured = report.metrics[report.delivered].values()
        examples = max((each.examples for each in measured), default=0)
        yield Text(
            f"Measured once, on the {examples} examples of the report split, which nothing was "
            "chosen by."
        )
    else:
        yield Text(
            "Measured on assess, which candidates were chosen by: these values flatter, and "
            "claim nothing. The report split stays unread.",
            "yellow",
        )
    names = [
        name for name in report.quantities if any(name in each for each in report.metrics.values())
    ]
    # a table of more values than the width holds would lose its models' names
    room = max(1, (width - LABELS_WIDTH) // (NARROW_CELL if is_narrow else INTERVAL_CELL))
    for start in range(0, len(names), room):
        yield _measured(report, names[start : start + room], is_narrow)
    for name, words in report.baselines:
        yield Text(f"{name}: {words}", DIM)
    for member in report.front:
        yield Text(f"{member.name}: on the front since iteration {member.iteration}", DIM)
    if report.archived:
        members = ", ".join(report.archived)
        yield Text(f"{members}: the best accepted model of each size, as the archive keeps it", DIM)
    for comparison in report.comparisons:
        yield Text(
            f"  {_comparison(comparison, report.quantities[comparison.metric], report.delivered)}"
        )
    for model, tables in report.tables.items():
        for name, rows in tables.items():
            yield Text(f"\n{name} of {model} (rows: true class, columns: predicted)", DIM)
            yield _matrix(rows)


def _measured(report: Report, names: Sequence[str], is_narrow: bool) -> Table:
    """Every model by some of the values."""
    table = _table("model", "gradient steps")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for model, values in report.metrics.items():
        table.add_row(
            model,
            str(report.steps.get(model, "")),
            *(
                _interval_cell(values[name], _quantity_text(report.quantities[name]), is_narrow)
                if name in values
                else ""
                for name in names
            ),
        )
    return table


def _comparison(comparison: Comparison, quantity: Quantity, delivered: str) -> str:
    difference = comparison.difference
    both = f"{delivered} minus {comparison.other}"
    if difference.value == difference.low == difference.high == 0:
        return f"{both}, {comparison.metric}: the same on every example"
    unit = " pp" if quantity.is_share else ""
    value = _difference_text(difference.value, quantity.is_share)
    unit = unit if math.isfinite(difference.value) else ""
    text = f"{both}, {comparison.metric}: {value}{unit}"
    if difference.low is None or difference.high is None:
        return text
    low = _difference_text(difference.low, quantity.is_share)
    high = _difference_text(difference.high, quantity.is_share)
    text += f" ({low} to {high}{unit})"
    if difference.low <= 0 <= difference.high:
        return f"{text}, no difference shown"
    is_better = (difference.value > 0) == (quantity.better != "lower")
    return text if quantity.better is None else f"{text}, {'better' if is_better else 'worse'}"


def _timings(report: Report) -> str:
    """What took long enough to be told; the first iteration is a moment, not a part."""
    parts = [
        f"{name.removesuffix('_s')} {duration(each)}"
        for name, each in report.timings.items()
        if each >= 0.001 and name != "first_iteration_s"
    ]
    first = report.timings.get("first_iteration_s")
    moment = "" if first is None else f"; the first iteration was done after {duration(first)}"
    return ", ".join(parts) + moment


def _matrix(rows: Sequence[Sequence[float]]) -> Table:
    table = Table.grid(padding=(0, 1))
    for _ in rows[0]:
        table.add_column(justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{value:g}" for value in row))
    return table


# ---------------------------------------------------------------- the report of a sweep


def show_sweep(report: SweepReport, folder: str, stream: IO[str]) -> None:
    """Writes the table over all points of a sweep."""
    console = _console(stream)
    _show(console, stream, _sweep_parts(report, printable(folder), console.width))


def _sweep_parts(report: SweepReport, folder: str, width: int) -> Iterable[RenderableType]:
    is_narrow = width < NARROW
    where = "" if report.device is None else f" on {report.device}"
    axes = " by ".join(_counted(len(values), name) for name, values in report.axes.items())
    count = _counted(len(report.points), "run")
    yield Text.assemble("\n", (report.name, HEADING), f"{where}, a sweep of {count}: {axes}")
    states = Counter(point.status for point in report.points)
    ended = ", ".join(f"{count} {status}" for status, count in states.items())
    yield Text(f"{ended}, after {duration(report.wall_s)}.")
    yield Text(f"{report.rule[0].upper()}{report.rule[1:]}.")
    yield _heading("What each run came to")
    yield from _points(report, is_narrow)
    if any(each.seeds for each in report.replicated):
        yield _heading("Over the seeds")
        yield from _over_seeds(report, is_narrow)
    yield Text.assemble("\nFiles are in ", (folder, HEADING))


def _points(report: SweepReport, is_narrow: bool) -> Iterable[RenderableType]:
    table = _table("point", "ended", "acceptances", *report.metrics)
    digits = len(str(len(report.points)))
    for point in report.points:
        is_done = point.status == "done"
        table.add_row(
            f"{point.number:>{digits}}  {settings_words(point.settings)}",
            Text(point.status, "" if is_done else BAD),
            "" if point.outcome is None else _acceptances(point),
            *(
                _interval_cell(
                    point.metrics[name], _quantity_text(report.quantities[name]), is_narrow
                )
                if is_done and name in point.metrics
                else ""
                for name in report.metrics
            ),
        )
    yield table
    if report.metrics:
        yield Text(
            "Values of the accepted models, each on the report split, with 95% intervals over its "
            "examples; (start): nothing was accepted, and they are those of the model it started "
            "with. Several runs are read off the same examples, so the best of them flatters.",
            DIM,
        )
    for point in report.points:
        if point.reason is not None:
            yield Text(f"point {point.number} failed: {point.reason}", BAD)
        elif point.status == "interrupted":
            yield Text(f"point {point.number} was interrupted, and claims nothing", "yellow")


def _acceptances(point: PointResult) -> str:
    return str(point.acceptances) + (" (start)" if point.delivered == "start" else "")


def _over_seeds(report: SweepReport, is_narrow: bool) -> Iterable[RenderableType]:
    table = _table("settings", "seeds", *report.metrics)
    for each in report.replicated:
        cells = []
        for name in report.metrics:
            text = _quantity_text(report.quantities[name])
            if name not in each.metrics:
                cells.append(Text(""))
                continue
            moments = each.metrics[name]
            cell = _interval_cell(moments.mean, text, is_narrow)
            if moments.deviation is not None:
                is_share = report.quantities[name].is_share
                unit = " pp" if is_share else ""
                cell.append(f"  ± {_size_text(moments.deviation, is_share)}{unit}")
            cells.append(cell)
        starts = f", {each.starts} accepted nothing" if each.starts else ""
        table.add_row(settings_words(each.settings) or "all", f"{each.seeds}{starts}", *cells)
    yield table
    yield Text(
        "Mean over the seeds with Student's 95% interval, and ± their standard deviation: how much "
        "the draw of weights and batches matters on these splits, not how other data would do.",
        DIM,
    )


# ---------------------------------------------------------------- numbers


def _table(first: str, *counts: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style=DIM)
    # the one column that gives way where the terminal is narrow
    table.add_column(first, overflow="fold", min_width=10)
    for name in counts:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _one_line(text: Text) -> Text:
    """Cut where the terminal ends, so that the picture keeps its height."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _interval_cell(interval: Interval, value: Callable[[float], str], is_narrow: bool) -> Text:
    text = Text(value(interval.value))
    if not is_narrow and interval.low is not None and interval.high is not None:
        text.append(f"  {value(interval.low)} to {value(interval.high)}", DIM)
    return text


def _objective_text(objective: ObjectivePlan) -> Callable[[float], str]:
    return _share_text if objective.is_binary else _real_text


def _quantity_text(quantity: Quantity) -> Callable[[float], str]:
    return _share_text if quantity.is_share else _real_text


def _share_text(value: float) -> str:
    return share_cell(value) if math.isfinite(value) else _no_number(value)


def _real_text(value: float) -> str:
    if not math.isfinite(value):
        return _no_number(value)
    return str(int(value)) if value == int(value) and abs(value) < 1e9 else f"{value:.4g}"


def _no_number(value: float) -> str:
    return "undefined" if math.isnan(value) else "not finite"


def _difference_text(value: float, is_share: bool) -> str:
    if not math.isfinite(value):
        return _no_number(value)
    text = f"{100 * value:+.1f}" if is_share else f"{value:+.3g}"
    return "0" + text[2:] if float(text) == 0 else text


def _of(plan: Plan) -> str:
    return "" if plan.stop.iterations is None else f" of {plan.stop.iterations}"


def _iterations(count: int) -> str:
    return _counted(count, "iteration")


def _counted(count: int, noun: str, nouns: str | None = None) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or noun + 's'}"
