"""How growth is told: the tally of a run that grows, its report, and lines on a terminal."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ev3lang.catalog.signature import Type
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import (
    Apply,
    ArchivePlan,
    Claim,
    Descent,
    Forward,
    Growing,
    LayerPlan,
    Layers,
    Limit,
    ModelPlan,
    Operation,
    Patience,
    Plan,
    Reference,
    Weights,
)
from ev3lang.runtime import records, terminal
from ev3lang.runtime import report as reports
from ev3lang.runtime.events import (
    CandidateDone,
    Closed,
    Compiled,
    Event,
    Grown,
    IterationDone,
    RunEnded,
    RunStarted,
    SearchChanged,
    Trial,
    line,
)
from ev3lang.runtime.intervals import wilson
from ev3lang.runtime.report import Report, Stage, Tally
from tests.runtime.examples import ACCURACY, FEATURES, LOGITS, PLAN, SGD, SPLITS, evidence

WIDEN = Operation("widen", (("factor", 2.0), ("noise", 0.5)))
DEEPEN = Operation("deepen", (("count", 1),))
SIZE = Apply("parameters", (Weights("net"),), Type("real"), "model")
GROWING = Growing((WIDEN, DEEPEN), "or", (Limit("size <= 200", SIZE, 200, False),))


def mlp(width: int) -> ModelPlan:
    layer = LayerPlan(
        "mlp", (("hidden", (width,)), ("activation", "relu"), ("width", 3)), (4,), (3,)
    )
    return ModelPlan("net", (4,), LOGITS.type, Layers((layer,)), is_explored=True)


TAUGHT = Descent(
    "taught with sgd(0.1)",
    Apply(
        "kl_divergence",
        (Forward("peers", (FEATURES,), LOGITS.type), LOGITS),
        Type("real"),
        "example",
    ),
    "taught",
    SGD,
    10,
    16,
)
PLAIN, OTHER = (each.name for each in PLAN.descents)
MEMBER = f"{TAUGHT.name} from peers at 43"

SMALL = attrs.evolve(
    PLAN,
    models=(mlp(5),),
    objectives=(ACCURACY,),
    patience=Patience(5, 2.0, GROWING),
    passes=2,
    archives=(ArchivePlan("peers", "net", ACCURACY, SIZE),),
    by_members=(TAUGHT,),
)
"""An mlp 4-5-3, of 4 x 5 + 5 + 5 x 3 + 3 = 43 parameters, that grows."""


def iteration(
    number: int, right: int, *names: str, steps: int = 10, decision: str = "not_asked"
) -> IterationDone:
    scores = {"accuracy": wilson(right, 23)}
    return IterationDone(
        iteration=number,
        candidates=tuple(
            CandidateDone(name, scores, is_quarantined=False, steps=steps) for name in names
        ),
        chosen=names[-1],
        has_moved=True,
        decision=decision,  # type: ignore[arg-type]
        why="assess shows no gain yet",
        evidence=evidence(5, 1, 0.93, 0.0025, 0.9),
        current=scores,
        accepted=scores,
    )


WIDENED = Grown(
    2,
    "widen(2x)",
    {"net": 83},
    2.6e-7,
    trials=(
        Trial("widen(2x)", 83, {"accuracy": wilson(15, 23)}),
        Trial("deepen(1)", 73, {"accuracy": wilson(13, 23)}),
    ),
    tried_by=("accuracy",),
    members=("peers at 43",),
)
AGAIN = Grown(4, None, {"net": 43}, None, number_of_pass=2, members=("peers at 43", "peers at 83"))


def events(folder: Path) -> Iterator[Event]:
    """Two iterations small, two large with a teacher from the archive, one small again."""
    yield RunStarted(SMALL, "cpu", folder, SPLITS)
    yield Compiled(0.62)
    yield iteration(1, 12, PLAIN, OTHER, decision="accepted")
    yield iteration(2, 11, PLAIN, OTHER)
    yield WIDENED
    yield iteration(3, 15, PLAIN, OTHER, MEMBER, steps=20)
    yield SearchChanged(2, "roll-outs lengthened to at most 20 steps", {PLAIN: 20, OTHER: 20})
    yield iteration(4, 14, PLAIN, OTHER, MEMBER, steps=20)
    yield AGAIN
    yield iteration(5, 9, PLAIN, OTHER)
    yield Closed("accepted", "the last query passed", evidence(3, 1, 0.5, 0.04, 0.0))
    yield RunEnded(Outcome.PASSES, 5)


def tallied(plan: Plan = SMALL) -> Tally:
    tally = Tally(plan)
    for event in events(Path("runs/flowers-1234-1")):
        match event:
            case IterationDone():
                tally.add(event)
            case SearchChanged():
                tally.change(event)
            case Grown():
                tally.grow(event)
            case Closed():
                tally.close(event)
    return tally


@pytest.fixture(scope="module")
def report() -> Report:
    return grown_report()


def grown_report() -> Report:
    """The report of a run whose model grew twice."""
    tally = tallied()
    values = {"accuracy": wilson(14, 15)}
    return Report(
        name=SMALL.name,
        spec="flowers.ev3",
        device="cpu",
        seed=SMALL.seed,
        asked=reports.asked(SMALL, SPLITS),
        outcome=Outcome.PASSES,
        iterations=tally.iterations,
        rule=reports.rule_words(SMALL),
        ranked_by="accuracy",
        tried=tally.tried(),
        changes=tuple(tally.changes),
        acceptances=tuple(tally.acceptances),
        claim=reports.claim_words(SMALL, 2, Outcome.PASSES, 22),
        front=(),
        queries=tally.queries,
        budget_left=tally.budget_left,
        split="report",
        quantities={"accuracy": reports.Quantity("higher", True)},
        steps={"accepted": 20, "current": 60},
        baselines=(),
        metrics={"accepted": values, "current": values},
        tables={},
        comparisons=(),
        timings={},
        warnings=(),
        stages=tally.stages(),
        accepted_stage=1,
    )


def drawn(report: Report, monkeypatch: pytest.MonkeyPatch, columns: int) -> str:
    stream = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal.show_report(report, "runs/flowers-1234-1", stream)
    return plain(stream.getvalue())


class Screen(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


# ---------------------------------------------------------------- the tally


def test_each_size_has_its_own_iterations_steps_and_acceptances() -> None:
    first, second, third = tallied().stages()
    assert first == Stage(
        operation=None,
        number_of_pass=1,
        parameters={"net": 43},
        first=1,
        last=2,
        steps=2 * 2 * 10,
        acceptances=1,
        best=12 / 23,
        final=11 / 23,
    )
    assert second == Stage(
        operation="widen(2x)",
        number_of_pass=1,
        parameters={"net": 83},
        first=3,
        last=4,
        steps=2 * 3 * 20,
        acceptances=0,
        best=15 / 23,
        final=14 / 23,
        max_output_change=2.6e-7,
        members=("peers at 43",),
        trials=WIDENED.trials,
        tried_by=("accuracy",),
    )
    # The last query of all belongs to the last size.
    assert (third.number_of_pass, third.first, third.last, third.acceptances) == (2, 5, 5, 1)
    assert third.parameters == {"net": 43}


def test_the_best_of_a_loss_is_the_least() -> None:
    loss = attrs.evolve(ACCURACY, direction="minimize")
    ranking = attrs.evolve(SMALL.ranking, keys=(loss,))
    assert [each.best for each in tallied(attrs.evolve(SMALL, ranking=ranking)).stages()] == [
        11 / 23,
        14 / 23,
        9 / 23,
    ]


def test_a_run_that_stays_as_it_is_has_no_stages() -> None:
    assert Tally(PLAN).stages() == ()


def test_a_growth_without_iterations_behind_it_is_told_so() -> None:
    tally = Tally(SMALL)
    tally.add(iteration(1, 12, PLAIN))
    tally.grow(attrs.evolve(WIDENED, iteration=1))
    (_, grown) = tally.stages()
    assert (grown.first, grown.last, grown.best, grown.final) == (2, 1, None, None)


def test_accepted_has_the_size_that_it_was_explored_at() -> None:
    tally = Tally(SMALL)
    tally.add(iteration(1, 12, PLAIN))
    tally.grow(attrs.evolve(WIDENED, iteration=1))
    assert tally.accepted_stage == 0
    tally.add(iteration(2, 13, PLAIN, decision="accepted"))
    tally.grow(attrs.evolve(AGAIN, iteration=2))
    tally.add(iteration(3, 9, PLAIN))
    assert tally.accepted_stage == 1
    # A challenger that had gathered evidence for two iterations was frozen in the first.
    old = iteration(3, 9, PLAIN, decision="accepted")
    tally.add(attrs.evolve(old, evidence=attrs.evolve(old.evidence, age=2)))
    assert tally.accepted_stage == 0
    assert tallied().accepted_stage == 2
    rule = Reference((Claim(ACCURACY, 1.0, 0.0, "mcnemar"),), 0.5, 1.96, None)
    published = Tally(attrs.evolve(SMALL, rule=rule))
    published.grow(attrs.evolve(WIDENED, iteration=0))
    assert published.accepted_stage == 1
    assert Tally(PLAN).accepted_stage == 0


def test_candidates_that_join_later_are_counted() -> None:
    tried = {each.name: each for each in tallied().tried()}
    assert list(tried) == [PLAIN, OTHER, MEMBER]
    assert (tried[MEMBER].best, tried[MEMBER].moved) == (2, 2)
    assert tried[MEMBER].what == (
        "10 steps of taught by sgd(0.1), 16 examples each, from peers at 43"
    )


def test_what_fresh_weights_gain_is_not_measured_from_the_old_ones() -> None:
    tally = Tally(SMALL)
    tally.add(iteration(1, 20, PLAIN))
    tally.grow(attrs.evolve(AGAIN, iteration=1))
    tally.add(iteration(2, 5, PLAIN))
    assert [each.gain for each in tally.tried()] == [None, None]
    tally.add(iteration(3, 6, PLAIN))
    assert tally.tried()[0].gain == pytest.approx(1 / 23)


def test_a_candidate_that_joins_is_no_change_of_the_search() -> None:
    before, after = iteration(2, 11, PLAIN, OTHER), iteration(3, 11, PLAIN, OTHER, MEMBER)
    assert records.changed(before, after) is None
    longer = records.changed(before, iteration(3, 11, PLAIN, OTHER, MEMBER, steps=20))
    assert longer is not None
    assert "lengthened to at most 20 steps" in longer.what
    shorter = records.changed(iteration(3, 11, PLAIN, steps=20), iteration(4, 11, PLAIN))
    assert shorter is not None
    assert shorter.what == "roll-outs of at most 10 steps again, as the search starts anew"


# ---------------------------------------------------------------- the report


def test_stages_survive_json_and_are_written_as_events_are(report: Report) -> None:
    told = json.loads(json.dumps(reports.to_json(report)))
    assert reports.from_json(told) == report
    written = line(WIDENED)
    assert written is not None
    assert told["stages"][1]["trials"] == json.loads(json.dumps(written["trials"]))
    assert told["stages"][1]["operation"] == "widen(2x)"
    assert told["accepted_stage"] == 1


def table_of(text: str) -> list[list[str]]:
    """The cells of the table of sizes."""
    lines = text.split("How it grew\n")[1].splitlines()[:4]
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def test_the_report_has_a_line_for_each_size(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = drawn(report, monkeypatch, 100)
    assert table_of(text) == [
        ["size", "iterations", "parameters", "steps", "acceptances", "best", "last", "change"],
        ["pass 1: start", "1 to 2", "43", "40", "1", "52.2%", "47.8%"],
        ["› pass 1: widen(2x)", "3 to 4", "83", "120", "0", "65.2%", "60.9%", "3e-7"],
        ["pass 2: start", "5 to 5", "43", "20", "1", "39.1%", "39.1%"],
    ]
    table = text.split("How it grew\n")[1].split("What was accepted")[0]
    assert "tried after iteration 2, accuracy on assess: widen(2x) 65.2%, deepen(1) 56.5%" in table
    assert "archived: peers at 43, peers at 83" in table


@pytest.mark.parametrize(("columns", "kept"), [(40, 4), (71, 4), (80, 6), (100, 8)])
def test_a_narrow_report_leaves_columns_out(
    report: Report, monkeypatch: pytest.MonkeyPatch, columns: int, kept: int
) -> None:
    text = drawn(report, monkeypatch, columns)
    assert max(map(len, text.splitlines())) <= columns
    if columns > 40:
        assert [len(row) for row in table_of(text)[:1]] == [kept]


def test_a_report_without_growth_says_nothing_of_it(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "How it grew" not in drawn(attrs.evolve(report, stages=()), monkeypatch, 100)


def test_a_run_that_could_have_grown_says_that_it_did_not(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = attrs.evolve(report, stages=report.stages[:1], accepted_stage=0)
    text = drawn(still, monkeypatch, 100)
    assert "How it grew\nIt didn't: net 43 parameters from start to end.\n" in text


def asked(plan: Plan) -> str:
    return " ".join(text for _, text in reports.asked(plan, SPLITS))


def test_what_was_asked_names_operators_limits_passes_and_archives() -> None:
    words = asked(SMALL)
    for part in (
        "after 5 iterations with neither an acceptance nor a new best of current, net grows by "
        "widen(2x) or deepen(1), one drawn by the seed, while size <= 200",
        "and roll-outs become 2 times as long, up to 10 steps",
        "at the largest size a pass ends, and of 2 passes each starts from the smallest size",
        "peers: the accepted net with the best accuracy for each of its sizes",
    ):
        assert part in words


def test_what_was_asked_follows_the_spec() -> None:
    assert SMALL.patience is not None

    def words(growing: Growing | None, *, restarts: bool = False) -> str:
        patience = attrs.evolve(SMALL.patience, lengthen=None, growing=growing, restarts=restarts)
        return asked(attrs.evolve(SMALL, patience=patience, passes=None))

    only = words(attrs.evolve(GROWING, operations=(WIDEN,), choice="only"))
    assert "net grows by widen(2x) while size <= 200; it goes on at the largest size" in only
    best = words(attrs.evolve(GROWING, choice="best of"), restarts=True)
    assert "the best of widen(2x) and deepen(1), each tried for one iteration, while" in best
    assert "it starts again from the smallest" in best
    assert "nothing happens" in words(None)
    rule = Reference((Claim(ACCURACY, 1.0, 0.0, "mcnemar"),), 0.5, 1.96, None)
    published = asked(attrs.evolve(SMALL, rule=rule))
    assert "without an acceptance" in published
    assert "accepted is replaced each time, untested" in published


# ---------------------------------------------------------------- while it goes on


def test_a_log_has_a_line_for_each_growth() -> None:
    stream = io.StringIO()
    shown = terminal.display(stream, is_quiet=False)
    for event in events(Path("runs/flowers-1234-1")):
        shown(event)
    lines = stream.getvalue().splitlines()
    assert (
        "after iteration 2: grown by widen(2x), net has 83 parameters (43 before); outputs agree "
        "to 3e-7; tried, accuracy on assess: widen(2x) 65.2%, deepen(1) 56.5%; archived: peers at "
        "43"
    ) in lines
    assert (
        "after iteration 4: pass 2 of 2 from the smallest, net has 43 parameters (83 before); "
        "fresh weights; archived: peers at 43, peers at 83"
    ) in lines


def test_a_terminal_keeps_growth_above_the_table_and_the_size_in_its_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    screen = Screen()
    shown = terminal.display(screen, is_quiet=False)
    for event in events(Path("runs/flowers-1234-1")):
        shown(event)
    shown.close()
    text = plain(screen.getvalue())
    assert "grown by widen(2x), net has 83 parameters (43 before)" in text
    assert "net 83 parameters, pass 1 of 2" in text
    assert "net 43 parameters, pass 2 of 2" in text


def test_a_function_that_is_kept_to_the_bit_is_told_so() -> None:
    same = attrs.evolve(WIDENED, max_output_change=0.0)
    assert "outputs are the same" in terminal._growth_line(SMALL, same, {"net": 43})
