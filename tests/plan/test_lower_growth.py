"""What growth, archives and passes of a spec become in its plan."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from ev3lang.analysis import analyze
from ev3lang.catalog.index import GROWTH
from ev3lang.catalog.signature import Type
from ev3lang.diagnostics.diagnostic import NOT_BUILT
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import (
    Apply,
    Constant,
    Growing,
    Limit,
    Operation,
    Patience,
    Plan,
    Weights,
    models_of,
)
from ev3lang.plan.stages import fact, is_kept, steps
from ev3lang.source import Source

SPEC = """ev3 1
data digits = sklearn.digits()
model net: image -> logits(label) = mlp(hidden: [8])
loss entropy = cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label
metric size = parameters(net)
{more}
explore net {{ descend {losses} with adamw(1e-3) for 100 steps }}
assess net {{ rank by accuracy }}
adapt net {{
  accept when accuracy improves
  after 5 iterations without progress {{ {after} }}
  {passes}
  stop after 20 iterations
}}
"""


def planned(after: str, passes: str = "", losses: str = "entropy", more: str = "") -> Plan:
    text = SPEC.format(after=after, passes=passes, losses=losses, more=more)
    analysis = analyze(Source("grow.ev3", text))
    assert analysis.program is not None, analysis.diagnostics
    return lower(analysis.program)


def growing(plan: Plan) -> Growing:
    assert plan.patience is not None and plan.patience.growing is not None
    return plan.patience.growing


def operation(name: str, **given: float) -> Operation:
    """An operator with what a spec gives and the catalogue's defaults."""
    options = {each.name: each.default for each in GROWTH[name].options} | given
    return Operation(name, tuple(options.items()))


def spec(path: Path) -> Plan:
    analysis = analyze(Source(str(path), path.read_text(encoding="utf-8")))
    assert all(each.code != NOT_BUILT for each in analysis.diagnostics)
    assert analysis.program is not None
    return lower(analysis.program)


SIZE = Apply("parameters", (Weights("net"),), Type("int"), "model")


def test_operators_have_all_their_options() -> None:
    plan = planned("grow by widen(3x) or deepen; limit size <= 9_000")
    assert growing(plan) == Growing(
        (
            operation("widen", factor=3),
            operation("deepen", count=1),
        ),
        "or",
        (Limit("size <= 9000", SIZE, 9000, False),),
    )
    assert plan.grows


def test_fresh_holds_the_operator_whose_size_it_takes() -> None:
    (fresh,) = growing(planned("grow by fresh(widen(1.5x)); limit size <= 9_000")).operations
    assert fresh == Operation("fresh", (("operator", operation("widen", factor=1.5)),))


def test_the_sides_of_a_limit_may_change_places() -> None:
    left, right = (
        growing(planned(f"grow by widen(2x); limit {each}")).limits[0]
        for each in ("size < 9_000", "9_000 > size")
    )
    assert attrs.evolve(right, name=left.name) == left
    assert left.is_strict


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        # 64 inputs, 8 hidden units, 10 outputs
        ("size < 9_000", 64 * 8 + 8 + 8 * 10 + 10),
        ("parameters(net) + 10 * depth(net) ^ 2 < 9_000", 610 + 10),
        ("flops(net) <= 9_000", 2 * (64 * 8 + 8 * 10)),
        ("-(2 - size) / 2 <= 9_000", 304),
    ],
)
def test_a_limit_is_a_fact_of_shapes(limit: str, value: float) -> None:
    plan = planned(f"grow by widen(2x); limit {limit}", more="report { show size }")
    (kept,) = growing(plan).limits
    assert fact(kept.value, {each.name: each for each in plan.architecture}) == value


def test_growth_keeps_to_its_limits() -> None:
    plan = planned("grow by widen(2x) or deepen(1); limit size <= 1_300; limit depth(net) < 2")
    (wider,) = steps(plan, plan.architecture, 0)
    assert wider.operation.name == "widen"
    assert not steps(plan, wider.architecture, 1)
    assert all(is_kept(each, wider.architecture) for each in growing(plan).limits)


def test_passes_and_restarts() -> None:
    grow = "grow by widen(2x); limit size <= 9_000"
    assert planned(grow).passes is None
    assert planned(grow, "repeat 3 passes from smallest").passes == 3
    restarting = planned(f"{grow}; restart from smallest").patience
    assert restarting is not None and restarting.restarts


def test_a_plan_without_growth_has_none_of_it() -> None:
    plan = planned("lengthen exploration 2x up to 400 steps", more="report { show size }")
    assert plan.patience == Patience(5, 2.0)
    assert not plan.grows
    assert (plan.passes, plan.archives, plan.by_members, plan.elders) == (None, (), (), ())


ARCHIVES = """
archive peers of net { keep best accuracy per size }
archive layered of net { keep best log_loss per layers }
metric layers = depth(net) + 1
objective log_loss = minimize clip(entropy, 0, 5)
loss soft(T: real) = kl_divergence(softmax(peers(image) / T), softmax(net(image) / T)) * T ^ 2
loss both = soft(T: 2) + kl_divergence(softmax(layered(image)), softmax(net(image)))
"""


def test_descents_by_members_stand_apart_and_are_like_the_others() -> None:
    plan = planned(
        "grow by widen(2x); limit size <= 9_000; lengthen exploration 2x up to 400 steps",
        losses="soft(T: 3), entropy, both",
        more=ARCHIVES,
    )
    (plain,) = plan.descents
    soft, both = plan.by_members
    assert [each.name for each in plan.by_members] == [
        "soft(T: 3) with adamw(0.001)",
        "both with adamw(0.001)",
    ]
    for each in (soft, both):
        own = attrs.evolve(each, name=plain.name, loss=plain.loss, loss_name=plain.loss_name)
        assert own == plain
    assert models_of(soft.loss) == ("net", "peers")
    assert models_of(both.loss) == ("layered", "net", "peers")
    assert plain.most == 400


def test_archives_keep_the_best_of_a_model_for_each_value_of_a_fact() -> None:
    plan = planned("grow by widen(2x); limit size <= 9_000", losses="entropy, both", more=ARCHIVES)
    peers, layered = plan.archives
    assert (peers.name, peers.model, peers.per) == ("peers", "net", SIZE)
    assert peers.best == plan.objective("accuracy")
    assert layered.best == plan.objective("log_loss")
    depth = Apply("depth", (Weights("net"),), Type("int"), "model")
    assert layered.per == Apply("+", (depth, Constant(1, Type("int"))), Type("int"), "model")


def test_an_extern_that_members_alone_need_is_one_of_the_plan() -> None:
    plan = planned(
        "grow by widen(2x); limit size <= 9_000",
        losses="entropy, near",
        more="""
extern fn gap(logits[n], logits[n]) -> real from "gaps:gap"
archive peers of net { keep best accuracy per size }
loss near = gap(peers(image), net(image))
""",
    )
    assert [each.name for each in plan.externs] == ["gap"]


# ---------------------------------------------------------------- the specs


def test_a_student_that_grows_by_either_operator(repository: Path) -> None:
    plan = spec(repository / "specs/distill_and_grow.ev3")
    assert growing(plan).choice == "or"
    assert [each.name for each in growing(plan).operations] == ["widen", "deepen"]
    assert [(each.most, each.is_strict) for each in growing(plan).limits] == [(200_000, False)]
    assert [each.name for each in plan.architecture] == ["student"]
    assert plan.by_members == ()


def test_a_resnet_that_its_earlier_sizes_teach(repository: Path) -> None:
    plan = spec(repository / "specs/images_from_file.ev3")
    assert [each.name for each in growing(plan).operations] == ["deepen_every_stage"]
    (limit,) = growing(plan).limits
    assert fact(limit.value, {each.name: each for each in plan.architecture}) == 3
    assert plan.passes == 5
    assert [(each.name, each.model, each.best.name) for each in plan.archives] == [
        ("peers", "student", "accuracy")
    ]
    assert [each.name for each in plan.descents] == [
        "distill(T: 1) with adamw(0.001)",
        "distill(T: 4) with adamw(0.001)",
    ]
    assert [each.name for each in plan.by_members] == ["from_peers(T: 2) with adamw(0.001)"]


def test_a_transformer_that_tries_both_operators(repository: Path) -> None:
    plan = spec(repository / "specs/sentences.ev3")
    assert growing(plan).choice == "best of"
    widen, deepen = growing(plan).operations
    assert dict(widen.options)["factor"] == 1.5
    assert [each.operation for each in steps(plan, plan.architecture, 0)] == [widen, deepen]
