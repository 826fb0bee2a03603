"""Large numbers wherever one can stand: refused by the check, or their cost is known at once."""

from __future__ import annotations

import time

import pytest

from ev3lang.analysis import analyze
from ev3lang.catalog.index import (
    AUGMENTATIONS,
    FUNCTIONS,
    GROWTH,
    LAYERS,
    OPTIMIZERS,
    SOURCES,
    STRATEGIES,
)
from ev3lang.catalog.signature import LARGEST_SEED, Option
from ev3lang.check.arguments import bounds_of, is_within
from ev3lang.check.limits import MOST_COUNT
from ev3lang.plan.fuse import fuse
from ev3lang.plan.lower import lower
from ev3lang.plan.memory import examples_of
from ev3lang.plan.room import MOST_BYTES, need
from ev3lang.plan.show import preview
from ev3lang.source import Source

DIGITS = """ev3 1
data digits = sklearn.digits() { normalize image }
model net: image -> logits(label) = mlp(hidden: [64, 64])
loss entropy = cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label
explore net {
  descend entropy with adamw(1e-3) for 100 steps
}
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 20 iterations
}
"""
MOONS = (
    DIGITS.replace("sklearn.digits() { normalize image }", "two_moons() { batch 32 }")
    .replace("image", "point")
    .replace("[64, 64]", "[8]")
)
TOKENS = DIGITS.replace(
    "sklearn.digits() { normalize image }",
    'npz("reviews.npz") {\n  image: tokens[100, 20]\n  label: class[3]\n  rows 1000\n}',
).replace(
    "mlp(hidden: [64, 64])",
    "embed(16) | transformer(layers: 2, heads: 4, width: 16) | mean_pool | dense",
)
NET = "mlp(hidden: [64, 64])"
STEPS = "100 steps"


def after(text: str, inside: str) -> str:
    block = f"after 3 iterations without progress {{ {inside} }}\n  stop after"
    return text.replace("stop after", block)


def beside(statement: str) -> str:
    return DIGITS.replace(STEPS, f"{STEPS}\n  {statement}")


EVOLVE = "evolve accuracy with evolution_strategy({}) for {} generations"
RESNET = DIGITS.replace(NET, "resnet(stages: [1, 1, 1])")

PLACES = {
    "steps": DIGITS.replace("100 steps", "N steps"),
    "iterations": DIGITS.replace("20 iterations", "N iterations"),
    "minutes": DIGITS.replace("20 iterations", "N min"),
    "patience": after(DIGITS, "lengthen exploration 2x").replace("3 iterations", "N iterations"),
    "lengthen by": after(DIGITS, "lengthen exploration Nx"),
    "lengthen up to": after(DIGITS, "lengthen exploration 2x up to N steps"),
    "hidden widths": DIGITS.replace("64, 64", "N, N"),
    "param": DIGITS.replace("64, 64", "w").replace("loss ", "param w: int = N\nloss ", 1),
    "stages": DIGITS.replace(NET, "resnet(stages: [N])"),
    "channels": DIGITS.replace(NET, "resnet(stages: [1], width: N)"),
    "conv": DIGITS.replace(NET, "conv(N) | relu | flatten | dense"),
    "kernel": DIGITS.replace(NET, "conv(8, kernel: N) | flatten | dense"),
    "stride": DIGITS.replace(NET, "conv(8, stride: N) | flatten | dense"),
    "repeat": DIGITS.replace(NET, "flatten | dense(64) | repeat(N, dense(64) | relu) | dense"),
    "layers": TOKENS.replace("layers: 2", "layers: N"),
    "heads": TOKENS.replace("heads: 4", "heads: N"),
    "width of vectors": TOKENS.replace("width: 16", "width: N").replace("(16)", "(N)"),
    "vocabulary": TOKENS.replace("[100,", "[N,"),
    "length": TOKENS.replace(" 20]", " N]"),
    "classes": TOKENS.replace("class[3]", "class[N]"),
    "table of classes": TOKENS.replace("class[3]", "class[N]")
    + "report { show confusion_matrix(argmax(net(image)), label) }\n",
    "rows": TOKENS.replace("rows 1000", "rows N"),
    "batch": MOONS.replace("batch 32", "batch N"),
    "parts": DIGITS.replace("normalize image", "batch 64 in N parts"),
    "made-up examples": MOONS.replace("two_moons()", "two_moons(n: N)"),
    "dimensions": MOONS.replace("two_moons()", "gaussian_clusters(classes: 3, dimensions: N)"),
    "clouds": MOONS.replace("two_moons()", "gaussian_clusters(classes: N)"),
    "evaluate": MOONS.replace("stop after", "evaluate N batches\n  stop after"),
    "draws": beside("perturb with gaussian(0.01) for N draws"),
    "generations": beside(EVOLVE.format("population: 8", "N")),
    "population": beside(EVOLVE.format("population: N", "2")),
    "average": beside("average last N accepted"),
    "shift": DIGITS.replace("normalize image", "augment image with shift(N px)"),
    "padding": DIGITS.replace("normalize image", "augment image with random_crop(N px)"),
    "warm-up": DIGITS.replace("(1e-3)", "(warmup(1e-3, over: N steps))"),
    "growth by": after(DIGITS, "grow by widen(Nx)"),
    "growth to parameters": after(DIGITS, "grow by widen(2x)\n limit parameters(net) <= N"),
    "growth by layers": after(DIGITS, "grow by deepen(N)"),
    "growth by blocks": after(RESNET, "grow by deepen_every_stage(N)"),
    "growth to blocks": after(RESNET, "grow by deepen_every_stage(2)\n limit depth(net) <= N"),
    "passes": after(DIGITS, "grow by widen(2x)\n limit parameters(net) <= 100000").replace(
        "stop after", "repeat N passes from smallest\n  stop after", 1
    ),
    "size of a field": TOKENS.replace("label: class", "extra: f32[N]\n  label: class").replace(
        "loss entropy = ", "loss entropy = mean(extra) * "
    ),
    "top": DIGITS + "metric m = label in top_k(net(image), N)\nreport { show m }\n",
    "seeds": DIGITS + "sweep { seed in 0 to N }\n",
}

LARGE = ("10_000", "1_000_000", "3_000_000_000", "1" + "0" * 20, "1" + "0" * 300)


@pytest.mark.parametrize("place", PLACES)
def test_a_large_number_is_refused_or_its_cost_is_known_at_once(place: str) -> None:
    begin = time.process_time()
    for number in LARGE:
        text = PLACES[place].replace("N", number)
        analysis = analyze(Source("large.ev3", text))
        errors = {each.code for each in analysis.diagnostics if each.severity == "error"}
        assert errors <= {
            "out-of-range", "model-too-large", "run-too-large", "shape-mismatch", "uneven-parts",
            "batch-too-large", "too-many-points", "limit-below-start",
        }, (number, analysis.diagnostics)  # fmt: skip
        if not errors:
            assert analysis.program is not None
            plan = lower(analysis.program)
            assert need(plan, examples_of(plan.data)).total <= MOST_BYTES
            preview(plan)
            fuse(plan, "cpu")
    assert time.process_time() - begin < 15


COUNTED = [
    (entry.name, option)
    for table in (AUGMENTATIONS, FUNCTIONS, GROWTH, LAYERS, OPTIMIZERS, SOURCES, STRATEGIES)
    for entry in table.values()
    for option in entry.options
    if option.kind in ("int", "ints", "steps", "pixels") and option.high != LARGEST_SEED
]


@pytest.mark.parametrize(("name", "option"), COUNTED, ids=lambda each: getattr(each, "name", each))
def test_nothing_in_the_catalogue_counts_beyond_int32(name: str, option: Option) -> None:
    assert not is_within(option, MOST_COUNT + 1)
    assert str(option.high if option.high is not None else f"{MOST_COUNT:_}") in bounds_of(
        option, MOST_COUNT + 1
    )


def test_growth_ends_where_a_layer_would_have_a_million_units() -> None:
    one = DIGITS.replace("[64, 64]", "[64]")
    analysis = analyze(Source("growth.ev3", after(one, "grow by widen(2x)")))
    assert analysis.program is not None
    growth = preview(lower(analysis.program)).growth
    assert growth is not None
    # 64 doubles 14 times to 2^20
    assert len(growth.stages) == 15
    assert growth.ends == (
        "widen(2x) would come to 2_097_152 units in a layer, and growth makes 1_048_576 at most",
    )


def test_what_a_population_needs_grows_with_its_square() -> None:
    def needed(population: int) -> int:
        text = PLACES["population"].replace("N", str(population))
        analysis = analyze(Source("population.ev3", text))
        assert analysis.program is not None
        return dict(need(lower(analysis.program), None).parts)["populations"]

    assert needed(1000) == 1000**2
    assert needed(100_000) == 100_000**2


def test_batches_are_drawn_before_a_roll_out() -> None:
    analysis = analyze(Source("batches.ev3", DIGITS.replace("100 steps", "1_000_000 steps")))
    assert analysis.program is not None
    parts = dict(need(lower(analysis.program), None).parts)
    assert parts["batches"] == 1_000_000 * 128 * 4
