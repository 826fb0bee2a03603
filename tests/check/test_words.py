"""Words of the grammar as names: a spec says the same whatever its fields and models are called."""

from __future__ import annotations

import re

import pytest

from ev3lang.analysis import analyze
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.highlight import Ev3Lexer
from ev3lang.plan.lower import lower
from ev3lang.source import Source
from ev3lang.syntax.format import format_source
from ev3lang.syntax.layout import RESERVED
from ev3lang.syntax.tables import tables

WORDS = sorted({word for word in tables().words.values() if word.isidentifier()} - RESERVED)
PLAIN = "plain"

HEAD = "ev3 1\ndata d = sklearn.digits()\nmodel m: image -> logits(label) = mlp(hidden: [2])\n"
TAIL = """explore m { descend l with sgd(0.1) for 3 steps }
assess m { rank by o }
adapt m { accept when o improves; stop after 3 iterations }
"""
LOSS = "loss l = cross_entropy(m(image), label)\n"
OBJECTIVE = "objective o = maximize argmax(m(image)) == label\n"

SPECS = {
    "a field": """ev3 1
data d = csv("d.csv") {
  a: f32
  plain: f32
  kind: class[2]
  seen: bool
  rows 400
  derive both = plain + plain * 2 - a
  derive shown = kind as class[2]
  normalize plain, a
  normalize both mean 0 std 1
  shown known where seen
  split explore 60%, assess 15%, adapt 15%, report 10% ordered by plain in blocks of 5 examples
}
model m: [plain, a, both] -> logits(kind) = mlp(hidden: [4])
let guess = m(plain, a, both)
loss l = cross_entropy(guess, shown) * (1 + plain ^ 2) + plain * plain - (plain) / -plain
objective o = maximize argmax(m(d.plain, a, both)) == kind
metric p = (plain > 1 and plain < plain or not plain == 2) == kind
explore m { descend l with sgd(0.1) for 10 steps }
assess m { rank by o }
adapt m { accept when o improves; stop after 3 iterations }
report { show o, p, r2_score(plain mod 2, plain) }
""",
    "labels, a group and the part of a file": """ev3 1
data d = csv("d.csv") {
  a: f32[3] from columns 2 to 4
  plain: class[3]
  rows 400 in plain, 60 in test
  split explore from plain 70%, assess from plain 15%, adapt from plain 15%,
    report from test stratified by plain seed 3
}
model m: a -> logits(plain) = mlp(hidden: [4])
loss l = cross_entropy(m(a), plain)
objective o = maximize f1(argmax(m(a)), plain)
explore m { descend l with sgd(0.1) for 10 steps }
assess m { rank by o }
adapt m { accept when o improves; stop after 3 iterations }
""",
    "a param": f"""ev3 1
param plain: int = 3
data d = sklearn.digits() {{ batch plain }}
model m: image -> logits(label) = mlp(hidden: [plain, 2 * plain, plain])
loss l = cross_entropy(m(image), label) * plain
{OBJECTIVE}explore m {{ descend l with sgd(0.1) for plain steps; average last 2 accepted }}
assess m {{ rank by o }}
adapt m {{ accept when o improves; stop after plain iterations }}
sweep {{ plain in [3, 4] }}
""",
    "a model": """ev3 1
data d = sklearn.digits()
model plain: image -> logits(label) = mlp(hidden: [2])
loss l = cross_entropy(plain(image), label) + l2(plain)
objective o = maximize argmax(plain(image)) == label
explore plain { descend l with sgd(0.1) for 3 steps }
assess plain { rank by o; guard parameters(plain) <= 9000 }
adapt plain { accept when o improves; stop after 3 iterations }
""",
    "an objective": f"""{HEAD}{LOSS}
objective plain target 50% = maximize argmax(m(image)) == label
objective other target 0.5 = minimize log_loss(softmax(m(image)), label)
explore m {{
  descend l with sgd(0.1) for 3 steps
  evolve plain with evolution_strategy(population: 4) for 2 generations
}}
assess m {{
  prioritize plain, other by distance to target
  guard plain >= accepted - 1 pp
}}
adapt m {{
  accept when plain improves by 1 pp
  stop after 3 iterations or when plain >= 98%
}}
report {{ show plain, other }}
""",
    "a ranking": f"""{HEAD}{LOSS}
objective plain = maximize argmax(m(image)) == label
explore m {{ descend l with sgd(0.1) for 3 steps }}
assess m {{ rank by plain }}
adapt m {{ accept when plain improves; stop when plain >= 98% or after 9 iterations }}
""",
    "a loss and its parameter": f"""{HEAD}{OBJECTIVE}
loss plain(amount: real = 1) = cross_entropy(m(image), label) * amount
loss l(plain2: real = 1) = plain(amount: plain2) + plain
explore m {{ descend plain, plain(2), plain(amount: 3), l with sgd(0.1) for 3 steps }}
assess m {{ rank by o }}
adapt m {{ accept when o improves; stop after 3 iterations }}
report {{ baseline bare = descend plain with sgd(0.1) }}
""",
    "an optimizer and a let": f"""{HEAD}{OBJECTIVE}
let plain = m(image)
loss l = cross_entropy(plain, label)
optimizer plain2 = clip_by_global_norm(1.0) | sgd(0.1)
explore m {{ descend l with plain2 for 3 steps }}
assess m {{ rank by o }}
adapt m {{ accept when o improves; stop after 3 iterations }}
""",
    "an experiment and a baseline": f"""ev3 1
experiment plain {{ seed 3 }}
{HEAD.removeprefix("ev3 1")}{LOSS}{OBJECTIVE}{TAIL}
report {{ baseline plain = descend l with sgd(0.1) }}
""",
    "data": """ev3 1
data plain = sklearn.digits()
model m: plain.image -> logits(label) = mlp(hidden: [2])
loss l = cross_entropy(m(plain.image), plain.label)
objective o = maximize argmax(m(plain.image)) == plain.label
explore m { descend l with sgd(0.1) for 3 steps }
assess m { rank by o }
adapt m { accept when o improves; stop after 3 iterations }
""",
}


def renamed(text: str, word: str) -> str:
    return re.sub(rf"\b{PLAIN}\b", word, text)


@pytest.mark.parametrize("place", SPECS)
def test_the_specs_are_right_with_a_name_that_is_no_word(place: str) -> None:
    found = analyze(Source("s.ev3", SPECS[place])).refusals
    assert not has_errors(found), found


@pytest.mark.parametrize("place", SPECS)
def test_every_word_but_a_few_may_be_a_name(place: str) -> None:
    plain = SPECS[place]
    expected = analyze(Source("s.ev3", plain))
    for word in WORDS:
        text = renamed(plain, word)
        source = Source("s.ev3", text)
        found = analyze(source)
        assert [each.code for each in found.diagnostics] == [
            each.code for each in expected.diagnostics
        ], f"{word}: {found.diagnostics}"
        formatted = format_source(source)
        assert formatted is not None, word
        assert format_source(Source("s.ev3", formatted)) == formatted, word
        assert renamed(format_source(Source("s.ev3", plain)) or "", word).split() == (
            formatted.split()
        ), word


@pytest.mark.parametrize("word", ["target", "last", "up", "time", "group", "all", "decay"])
def test_a_plan_is_the_same_under_any_name(word: str) -> None:
    text = SPECS["a field"]
    plans = []
    for each in (text, renamed(text, word)):
        program = analyze(Source("s.ev3", each)).program
        assert program is not None
        plans.append(lower(program))
    assert repr(plans[1]) == renamed(repr(plans[0]), word)


def test_a_word_that_is_a_name_is_shown_as_one() -> None:
    text = (
        'ev3 1\ndata d = csv("d.csv") {\n  a: f32\n  target: f32\n  rows 9\n  normalize target\n}\n'
    )
    shown = list(Ev3Lexer().get_tokens_unprocessed(text))
    kinds = [str(kind) for _, kind, piece in shown if piece == "target"]
    assert kinds == ["Token.Name.Attribute", "Token.Name"]
    assert [str(kind) for _, kind, piece in shown if piece == "rows"] == ["Token.Keyword"]
