"""Lowering writes a program out: what is left are constants, fields and functions."""

from __future__ import annotations

from pathlib import Path

from ev3lang.analysis import analyze
from ev3lang.catalog.signature import Type
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import Apply, Constant, Field, Forward, Layers, Link, Plan, subexpressions
from ev3lang.source import Source

SPEC = """ev3 1
experiment tidy {{ seed 7 }}
param width: int = 8
data digits = sklearn.digits() {{ derive even = label mod 2 == 0 as class[2]; batch 64 }}
model net: image -> logits(label) =
  flatten | dense(width) | repeat(2, residual(tanh | dense)) | dense
let guess = net(image)
loss hard(smooth: ratio = 0%) = cross_entropy(guess, label, label_smoothing: smooth)
loss soft(T: real, share: ratio = 50%) =
  share * hard + (1 - share) * cross_entropy(guess / T, label) * T ^ 2
objective accuracy target 97% = maximize argmax(guess) == label
optimizer calm = clip_by_global_norm(1.0) | sgd(warmup(0.1, over: 50 steps), momentum: 0.9)
explore net {{ descend {losses} with {optimizers} for 100 steps }}
assess net {{ rank by accuracy }}
adapt net {{
  accept when accuracy improves with confidence 99% over the run
  stop after 60 iterations or after 20 min or when accuracy >= 98% and accuracy < 99%
}}
report {{ show accuracy, parameters(net); baseline plain = descend hard with calm same lineage }}
"""


def planned(losses: str = "hard, soft(T: 2)", optimizers: str = "calm, adamw(1e-3)") -> Plan:
    text = SPEC.format(losses=losses, optimizers=optimizers)
    analysis = analyze(Source("tidy.ev3", text))
    assert analysis.program is not None, analysis.diagnostics
    return lower(analysis.program)


def test_every_loss_meets_every_optimizer_under_a_name_of_its_own() -> None:
    assert [each.name for each in planned().descents] == [
        "hard with calm",
        "hard with adamw(0.001)",
        "soft(T: 2) with calm",
        "soft(T: 2) with adamw(0.001)",
    ]


def test_a_candidate_is_the_same_wherever_it_stands() -> None:
    first = {each.name: each for each in planned().descents}
    turned = {each.name: each for each in planned("soft(T: 2), hard", "adamw(1e-3), calm").descents}
    assert first == turned


def test_parameters_become_their_arguments_and_constants_are_worked_out() -> None:
    soft = planned().descents[2].loss
    constants = [each.value for each in subexpressions(soft) if isinstance(each, Constant)]
    # share and 1 - share are one number; T in `guess / T`, T ^ 2
    assert constants == [0.5, 2, 4]
    assert not any(
        isinstance(each, Apply) and each.function == "^" for each in subexpressions(soft)
    )
    smoothing = [
        dict(each.options)["label_smoothing"]
        for each in subexpressions(soft)
        if isinstance(each, Apply) and each.function == "cross_entropy"
    ]
    assert smoothing == [0.0, 0.0]


def test_a_let_is_written_out_as_one_value() -> None:
    plan = planned()
    guess = Forward("net", (Field("image", Type("f32", (8, 8, 1))),), Type("logits", (10,)))
    for candidate in plan.descents:
        assert guess in set(subexpressions(candidate.loss))
    assert guess in set(subexpressions(plan.objective("accuracy").value))


def test_layers_keep_their_pipes_and_their_shapes() -> None:
    (model,) = planned().models
    assert [(each.name, each.input, each.output) for each in model.layers.layers] == [
        ("flatten", (8, 8, 1), (64,)),
        ("dense", (64,), (8,)),
        ("repeat", (8,), (8,)),
        ("dense", (8,), (10,)),
    ]
    inner = dict(model.layers.layers[2].options)["layers"]
    assert isinstance(inner, Layers)
    assert [each.name for each in inner.layers] == ["residual"]


def test_a_chain_keeps_its_links_and_schedules_with_every_option() -> None:
    clip, sgd = planned().descents[0].optimizer.links
    assert clip == Link("clip_by_global_norm", (("max_norm", 1.0),))
    rate = dict(sgd.options)["learning_rate"]
    assert rate == Link("warmup", (("peak_value", 0.1), ("over", 50), ("init_value", 0.0)))
    assert dict(sgd.options)["nesterov"] is False


def test_the_end_and_the_rule_are_numbers() -> None:
    plan = planned()
    assert plan.rule.delta == 0.01
    assert (plan.stop.iterations, plan.stop.seconds) == (60, 1200)
    ((low, high),) = plan.stop.any_of
    assert (low.operator, low.value, high.operator, high.value) == (">=", 0.98, "<", 0.99)
    assert (plan.name, plan.seed, plan.data.batch) == ("tidy", 7, 64)
    assert plan.data.split is not None
    assert (plan.data.split.shares, plan.data.split.by) == ((0.6, 0.15, 0.15, 0.1), "label")
    assert plan.data.derived[0].type == Type("class", (2,))
    assert [each.name for each in plan.shown] == ["accuracy", "parameters(net)"]
    assert plan.baselines[0].is_same_lineage


def test_comments_and_layout_change_nothing(repository: Path) -> None:
    text = (repository / "specs" / "first.ev3").read_text(encoding="utf-8")
    airy = text.replace("{ ", "{\n\n  # why\n  ").replace("\n\n", "\n\n\n")
    plans = [analyze(Source("first.ev3", each)).program for each in (text, airy)]
    assert plans[0] is not None and plans[1] is not None
    assert lower(plans[0]) == lower(plans[1])
