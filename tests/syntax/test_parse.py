"""What each construct of the language reads as."""

from __future__ import annotations

from pathlib import Path

import pytest

from ev3lang.source import Source, Span
from ev3lang.syntax import tree
from ev3lang.syntax.layout import RESERVED
from ev3lang.syntax.parse import parse, parse_expression
from ev3lang.syntax.tree import SyntaxTree, children, walk
from tests.syntax.mutation import SPECS

NOWHERE = Span(Source("-", ""), 0, 0)


def read(body: str) -> SyntaxTree:
    """The tree of statements that must be without a mistake."""
    parsed, diagnostics = parse(Source("a.ev3", f"ev3 1\n{body}\n"))
    assert [d.message for d in diagnostics] == []
    return parsed


def one(statement: str) -> tree.Declaration:
    (declaration,) = read(statement).declarations
    return declaration


def item(block: str, statement: str) -> tree.Node:
    """The one statement of a block."""
    declaration = one(f"{block} {{ {statement} }}")
    items = [node for node in children(declaration) if not isinstance(node, tree.Name | tree.Call)]
    return items[-1]


def expression(text: str) -> tree.Expression:
    parsed, diagnostics = parse_expression(Source("-", text))
    assert parsed is not None, diagnostics
    return parsed


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in parse(Source("a.ev3", text))[1]]


def name(text: str) -> tree.Name:
    return tree.Name(text, span=NOWHERE)


def number(value: float, unit: str | None = None) -> tree.Number:
    return tree.Number(value, unit, span=NOWHERE)


def call(function: str, *values: tree.Expression, **named: tree.Expression) -> tree.Call:
    arguments = [tree.Argument(None, value, span=NOWHERE) for value in values]
    arguments += [tree.Argument(name(k), value, span=NOWHERE) for k, value in named.items()]
    return tree.Call(name(function), tuple(arguments), span=NOWHERE)


def type_(head: str, *dimensions: tree.Number | tree.Name) -> tree.TypeExpression:
    return tree.TypeExpression(name(head), dimensions or None, span=NOWHERE)


def binary(left: tree.Expression, operator: str, right: tree.Expression) -> tree.Binary:
    return tree.Binary(operator, left, right, operator_span=NOWHERE, span=NOWHERE)


# ---------------------------------------------------------------- whole specs


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_spec_is_without_a_mistake(path: Path) -> None:
    parsed, diagnostics = parse(Source(path.name, path.read_text(encoding="utf-8")))
    assert diagnostics == ()
    assert parsed.edition == number(1)
    assert {type(d).__name__ for d in parsed.declarations} >= {"Explore", "Assess", "Adapt"}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_node_lies_in_its_parent_and_every_word_is_its_text(path: Path) -> None:
    parsed, _ = parse(Source(path.name, path.read_text(encoding="utf-8")))
    for node in walk(parsed):
        for child in children(node):
            assert node.span.start <= child.span.start <= child.span.end <= node.span.end
        if isinstance(node, tree.Name):
            assert node.span.text == node.text
        if isinstance(node, tree.Number) and node.unit_span is not None:
            assert node.unit_span.text == node.unit
            assert node.span.text.endswith(node.unit_span.text)
        if isinstance(node, tree.Binary):
            assert node.operator_span.text == node.operator
        if isinstance(node, tree.Declaration):
            assert node.keyword_span.text == type(node).__name__.lower()


def test_parentheses_belong_to_what_they_are_a_part_of() -> None:
    product = expression("(a + (b)) * 2")
    assert isinstance(product, tree.Binary)
    assert product.span.text == "(a + (b)) * 2"
    assert product.left.span.text == "a + (b)"
    assert isinstance(product.left, tree.Binary)
    assert product.left.right.span.text == "b"


# ---------------------------------------------------------------- declarations


def test_experiment() -> None:
    declared = one("experiment run_one { seed 7; precision bf16 }")
    assert isinstance(declared, tree.Experiment)
    assert declared.settings == (
        tree.Setting(name("seed"), number(7), span=NOWHERE),
        tree.Setting(name("precision"), name("bf16"), span=NOWHERE),
    )


def test_param() -> None:
    declared = one('param images: path = "a/b.npz"')
    assert isinstance(declared, tree.Param)
    assert (declared.type, declared.default) == (
        type_("path"),
        tree.String("a/b.npz", span=NOWHERE),
    )
    bare = one("param width: int")
    assert isinstance(bare, tree.Param)
    assert bare.default is None


def test_data() -> None:
    declared = one("data digits = sklearn.digits()")
    assert isinstance(declared, tree.Data)
    assert declared.origin == call("sklearn.digits")
    assert declared.items == ()
    bare = one("data moons = two_moons { }")
    assert isinstance(bare, tree.Data)
    assert bare.origin == name("two_moons")


def test_models_of_layers() -> None:
    declared = one("model net: [age, d.income] -> logits(label) = flatten | dense { frozen }")
    assert isinstance(declared, tree.Model)
    assert declared.input.is_list
    assert declared.input.fields == (
        name("age"),
        tree.Member(name("d"), name("income"), span=NOWHERE),
    )
    assert declared.output == tree.TypeExpression(name("logits"), of=name("label"), span=NOWHERE)
    assert declared.layers == tree.Pipe((name("flatten"), name("dense")), span=NOWHERE)
    assert declared.items == (tree.Frozen(span=NOWHERE),)
    assert declared.module is None


def test_models_of_a_tensor_and_of_a_class() -> None:
    declared = one('model m: f32[time, 64] -> f32[8] from nnx("pkg.mod:Class", width: 3)')
    assert isinstance(declared, tree.Model)
    assert declared.input == tree.ModelInput(
        type=type_("f32", name("time"), number(64)), span=NOWHERE
    )
    assert declared.layers is None
    assert declared.module == call(
        "nnx", tree.String("pkg.mod:Class", span=NOWHERE), width=number(3)
    )


def test_model_statements() -> None:
    trained = item(
        "model m: x -> logits(y) = mlp()", "trained by descend teach with adamw(1e-3) for 30 epochs"
    )
    assert trained == tree.TrainedBy(
        name("teach"), call("adamw", number(1e-3)), number(30, "epochs"), span=NOWHERE
    )
    loaded = item("model m: x -> logits(y) = mlp()", 'from checkpoint("t.ckpt")')
    assert loaded == tree.FromCheckpoint(tree.String("t.ckpt", span=NOWHERE), span=NOWHERE)


def test_group_and_let() -> None:
    group = one("group net = trunk, head")
    assert isinstance(group, tree.Group)
    assert group.members == (name("trunk"), name("head"))
    let = one("let x = 1 to 3")
    assert isinstance(let, tree.Let)
    assert let.value == tree.Range(number(1), number(3), span=NOWHERE)


def test_loss() -> None:
    declared = one("loss soft(T: real, smooth: ratio = 0%) = a / T")
    assert isinstance(declared, tree.Loss)
    assert declared.parameters == (
        tree.Parameter(name("T"), type_("real"), None, span=NOWHERE),
        tree.Parameter(name("smooth"), type_("ratio"), number(0, "%"), span=NOWHERE),
    )


def test_objective_and_metric() -> None:
    declared = one("objective loss_ target -1.5 in 0 to 5 = minimize x")
    assert isinstance(declared, tree.Objective)
    assert declared.direction == "minimize"
    assert declared.target == number(-1.5)
    assert declared.range == tree.Range(number(0), number(5), span=NOWHERE)
    measured = one("metric m in 0 to 1 = parameters(net)")
    assert isinstance(measured, tree.Metric)
    assert measured.range == tree.Range(number(0), number(1), span=NOWHERE)


def test_optimizer() -> None:
    declared = one("optimizer calm = clip(1.0) | sgd(0.1, momentum: 0.9) | decay only matrices")
    assert isinstance(declared, tree.Optimizer)
    assert declared.chain == tree.Pipe(
        (
            call("clip", number(1.0)),
            call("sgd", number(0.1), momentum=number(0.9)),
            tree.DecayOnly(name("matrices"), span=NOWHERE),
        ),
        span=NOWHERE,
    )


def test_archive() -> None:
    declared = one("archive peers of student { keep best accuracy per blocks }")
    assert isinstance(declared, tree.Archive)
    assert (declared.model, declared.best, declared.per) == (
        name("student"),
        name("accuracy"),
        name("blocks"),
    )
    assert codes("ev3 1\narchive peers of student { }") == ["syntax-error"]


def test_use_extern_and_allow() -> None:
    use, extern, host, allow = read(
        'use "common.ev3"\n'
        'extern fn focal(logits[n], class[n]) -> real from "p.m:focal"\n'
        'extern host fn score() -> f32 from "p:f"\n'
        'allow "schedule-short" because "it is a test"'
    ).declarations
    assert isinstance(use, tree.Use)
    assert use.path.value == "common.ev3"
    assert isinstance(extern, tree.Extern)
    assert extern.inputs == (type_("logits", name("n")), type_("class", name("n")))
    assert (extern.output, extern.target.value, extern.is_host) == (
        type_("real"),
        "p.m:focal",
        False,
    )
    assert isinstance(host, tree.Extern)
    assert host.is_host
    assert host.inputs == ()
    assert isinstance(allow, tree.Allow)
    assert (allow.code.value, allow.reason.value) == ("schedule-short", "it is a test")


# ---------------------------------------------------------------- statements in blocks

DATA = "data d = npz()"
EXPLORE, ASSESS, ADAPT = "explore net", "assess net", "adapt net"
AFTER = "after 5 iterations without progress"


@pytest.mark.parametrize(
    ("block", "text", "expected"),
    [
        (
            DATA,
            "image: u8[32, 32, 3]",
            tree.FieldItem(
                name("image"), type_("u8", number(32), number(32), number(3)), span=NOWHERE
            ),
        ),
        (
            DATA,
            'a: f32 from "batch"',
            tree.FieldItem(
                name("a"), type_("f32"), tree.String("batch", span=NOWHERE), span=NOWHERE
            ),
        ),
        (
            DATA,
            "a: f32[30] from columns 1 to 30",
            tree.FieldItem(
                name("a"),
                type_("f32", number(30)),
                tree.Columns(tree.Range(number(1), number(30), span=NOWHERE), span=NOWHERE),
                span=NOWHERE,
            ),
        ),
        (
            DATA,
            "rows 50_000 in train, 10 in test",
            tree.RowsItem(
                (
                    tree.RowCount(number(50_000), name("train"), span=NOWHERE),
                    tree.RowCount(number(10), name("test"), span=NOWHERE),
                ),
                span=NOWHERE,
            ),
        ),
        (DATA, "rows 9", tree.RowsItem((tree.RowCount(number(9), span=NOWHERE),), span=NOWHERE)),
        (
            DATA,
            "split explore from train 90%, report from test grouped by patient seed 3",
            tree.SplitItem(
                (
                    tree.Share(name("explore"), name("train"), number(90, "%"), span=NOWHERE),
                    tree.Share(name("report"), name("test"), None, span=NOWHERE),
                ),
                "grouped",
                name("patient"),
                number(3),
                span=NOWHERE,
            ),
        ),
        (
            DATA,
            "split assess 5% ordered by date",
            tree.SplitItem(
                (tree.Share(name("assess"), None, number(5, "%"), span=NOWHERE),),
                "ordered",
                name("date"),
                span=NOWHERE,
            ),
        ),
        (
            DATA,
            "normalize a, b mean [0.5] std [0.2]",
            tree.NormalizeItem(
                (name("a"), name("b")),
                tree.ListOf((number(0.5),), span=NOWHERE),
                tree.ListOf((number(0.2),), span=NOWHERE),
                span=NOWHERE,
            ),
        ),
        (
            DATA,
            "augment image with shift(1 px), flip",
            tree.AugmentItem(
                name("image"), (call("shift", number(1, "px")), name("flip")), span=NOWHERE
            ),
        ),
        (
            DATA,
            "derive even = label mod 2 == 0 as class[2]",
            tree.DeriveItem(
                name("even"),
                binary(binary(name("label"), "mod", number(2)), "==", number(0)),
                type_("class", number(2)),
                span=NOWHERE,
            ),
        ),
        (
            DATA,
            "shown known for 100 examples",
            tree.KnownItem(name("shown"), number(100, "examples"), span=NOWHERE),
        ),
        (
            DATA,
            "shown known where has_label",
            tree.KnownItem(name("shown"), None, name("has_label"), span=NOWHERE),
        ),
        (DATA, "batch 512 in 4 parts", tree.Batch(number(512), number(4, "parts"), span=NOWHERE)),
        (
            EXPLORE,
            "descend hard, soft(T: 4) with calm, eager for 100 steps",
            tree.Descend(
                (name("hard"), call("soft", T=number(4))),
                (name("calm"), name("eager")),
                number(100, "steps"),
                span=NOWHERE,
            ),
        ),
        (
            EXPLORE,
            "evolve f1 with es(sigma: 0.05) for 10 generations",
            tree.Evolve(
                name("f1"), call("es", sigma=number(0.05)), number(10, "generations"), span=NOWHERE
            ),
        ),
        (
            EXPLORE,
            "perturb with gaussian(0.01) for 2 draws",
            tree.Perturb(call("gaussian", number(0.01)), number(2, "draws"), span=NOWHERE),
        ),
        (
            EXPLORE,
            "mutate learning_rate by 0.8x or 1.25x",
            tree.Mutate(name("learning_rate"), (number(0.8, "x"), number(1.25, "x")), span=NOWHERE),
        ),
        (EXPLORE, "average last 5 accepted", tree.Average(number(5), span=NOWHERE)),
        (EXPLORE, "batches fresh", tree.Batches("fresh", span=NOWHERE)),
        (EXPLORE, "batches shared", tree.Batches("shared", span=NOWHERE)),
        (EXPLORE, "state reset", tree.OptimizerState("reset", span=NOWHERE)),
        (EXPLORE, "state lasting", tree.OptimizerState("lasting", span=NOWHERE)),
        (EXPLORE, "batch 64", tree.Batch(number(64), span=NOWHERE)),
        (
            ASSESS,
            "rank by accuracy then size",
            tree.RankBy((name("accuracy"), name("size")), span=NOWHERE),
        ),
        (
            ASSESS,
            "rank by 70% * a + 30% * b",
            tree.RankBy(
                (
                    binary(
                        binary(number(70, "%"), "*", name("a")),
                        "+",
                        binary(number(30, "%"), "*", name("b")),
                    ),
                ),
                span=NOWHERE,
            ),
        ),
        (
            ASSESS,
            "rank by pareto(a, b)",
            tree.RankBy((call("pareto", name("a"), name("b")),), span=NOWHERE),
        ),
        (
            ASSESS,
            "prioritize a, b by distance to target",
            tree.Prioritize((name("a"), name("b")), span=NOWHERE),
        ),
        (
            ASSESS,
            "guard top3 >= accepted - 1 pp",
            tree.Guard(
                binary(name("top3"), ">=", binary(name("accepted"), "-", number(1, "pp"))),
                span=NOWHERE,
            ),
        ),
        (
            ASSESS,
            "guard a <= 3 proven",
            tree.Guard(binary(name("a"), "<=", number(3)), True, span=NOWHERE),
        ),
        (ADAPT, "accept when a improves", tree.Accept(name("a"), span=NOWHERE)),
        (
            ADAPT,
            "accept when leading objective improves each time",
            tree.Accept(None, scope="each time", span=NOWHERE),
        ),
        (
            ADAPT,
            "accept when a improves by 0.5 pp with confidence 95% over the run",
            tree.Accept(
                name("a"), number(0.5, "pp"), number(95, "%"), "over the run", span=NOWHERE
            ),
        ),
        (ADAPT, "rule gate", tree.Rule(name("gate"), span=NOWHERE)),
        (
            ADAPT,
            "rule reference(assess: 0.5, decide: 1.96)",
            tree.Rule(call("reference", assess=number(0.5), decide=number(1.96)), span=NOWHERE),
        ),
        (ADAPT, "evaluate 8 batches", tree.Evaluate(number(8, "batches"), span=NOWHERE)),
        (ADAPT, "move unless worse", tree.Move("unless worse", span=NOWHERE)),
        (ADAPT, "move when better", tree.Move("when better", span=NOWHERE)),
        (ADAPT, "move always", tree.Move("always", span=NOWHERE)),
        (
            ADAPT,
            f"{AFTER} {{ restart from smallest }}",
            tree.After(number(5, "iterations"), (tree.Restart(span=NOWHERE),), span=NOWHERE),
        ),
        (
            ADAPT,
            f"{AFTER} {{ grow by widen(2x) or deepen(1) }}",
            tree.After(
                number(5, "iterations"),
                (
                    tree.Grow(
                        (call("widen", number(2, "x")), call("deepen", number(1))),
                        "or",
                        span=NOWHERE,
                    ),
                ),
                span=NOWHERE,
            ),
        ),
        (
            ADAPT,
            f"{AFTER} {{ grow by best of widen(2x), deepen(1) }}",
            tree.After(
                number(5, "iterations"),
                (
                    tree.Grow(
                        (call("widen", number(2, "x")), call("deepen", number(1))),
                        "best of",
                        span=NOWHERE,
                    ),
                ),
                span=NOWHERE,
            ),
        ),
        (
            ADAPT,
            f"{AFTER} {{ grow by deepen(1) }}",
            tree.After(
                number(5, "iterations"),
                (tree.Grow((call("deepen", number(1)),), "only", span=NOWHERE),),
                span=NOWHERE,
            ),
        ),
        (
            ADAPT,
            f"{AFTER} {{ limit size <= 9 }}",
            tree.After(
                number(5, "iterations"),
                (tree.Limit(binary(name("size"), "<=", number(9)), span=NOWHERE),),
                span=NOWHERE,
            ),
        ),
        (
            ADAPT,
            f"{AFTER} {{ lengthen exploration 1.5x up to 400 steps }}",
            tree.After(
                number(5, "iterations"),
                (tree.Lengthen(number(1.5, "x"), number(400, "steps"), span=NOWHERE),),
                span=NOWHERE,
            ),
        ),
        (
            ADAPT,
            f"{AFTER} {{ lengthen exploration 2x }}",
            tree.After(
                number(5, "iterations"),
                (tree.Lengthen(number(2, "x"), span=NOWHERE),),
                span=NOWHERE,
            ),
        ),
        (ADAPT, "repeat 5 passes from smallest", tree.Repeat(number(5, "passes"), span=NOWHERE)),
        (
            ADAPT,
            "stop after 60 iterations or after 20 min or when a >= 98% or when all targets met",
            tree.Stop(
                (
                    tree.StopAfter(number(60, "iterations"), span=NOWHERE),
                    tree.StopAfter(number(20, "min"), span=NOWHERE),
                    tree.StopWhen(binary(name("a"), ">=", number(98, "%")), span=NOWHERE),
                    tree.StopTargets(span=NOWHERE),
                ),
                span=NOWHERE,
            ),
        ),
        (
            "report",
            "show a, confusion_matrix(argmax(b), c)",
            tree.Show(
                (name("a"), call("confusion_matrix", call("argmax", name("b")), name("c"))),
                span=NOWHERE,
            ),
        ),
        (
            "report",
            "baseline plain = descend hard with eager",
            tree.Baseline(name("plain"), name("hard"), name("eager"), span=NOWHERE),
        ),
        (
            "report",
            "baseline plain = descend hard with eager same lineage",
            tree.Baseline(name("plain"), name("hard"), name("eager"), True, span=NOWHERE),
        ),
        (
            "sweep",
            "seed in 0 to 3",
            tree.Axis(name("seed"), tree.Range(number(0), number(3), span=NOWHERE), span=NOWHERE),
        ),
        (
            "sweep",
            "width in [16, 32]",
            tree.Axis(
                name("width"), tree.ListOf((number(16), number(32)), span=NOWHERE), span=NOWHERE
            ),
        ),
    ],
)
def test_statement(block: str, text: str, expected: tree.Node) -> None:
    assert item(block, text) == expected


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c mod d", "((a / b) * c) mod d"),
        ("-a ^ b", "-(a ^ b)"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("a ^ -b", "a ^ (-b)"),
        ("-a * b", "(-a) * b"),
        ("a == b + c", "a == (b + c)"),
        ("not a == b", "not (a == b)"),
        ("not a and b or c", "((not a) and b) or c"),
        ("a or b and c", "a or (b and c)"),
        ("a in b and c", "(a in b) and c"),
        ("a in 0 to b + 1", "a in (0 to (b + 1))"),
        ("a or b | c", "(a or b) | c"),
    ],
)
def test_operators_bind_as_in_mathematics(text: str, grouped: str) -> None:
    assert expression(text) == expression(grouped)


def test_comparisons_stand_alone() -> None:
    assert codes("ev3 1\nlet x = a < b < c") == ["syntax-error"]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("10", 10, None),
        ("0.1", 0.1, None),
        ("1e-3", 0.001, None),
        ("1E3", 1000.0, None),
        ("200_000", 200_000, None),
        ("95%", 95, "%"),
        ("97.5%", 97.5, "%"),
        ("2x", 2, "x"),
        ("1.25x", 1.25, "x"),
        ("1 pp", 1, "pp"),
        ("20 min", 20, "min"),
        ("007", 7, None),
        ("0" * 5000 + "1", 1, None),
    ],
)
def test_number(text: str, value: float, unit: str | None) -> None:
    read_number = expression(text)
    assert read_number == number(value, unit)
    assert isinstance(read_number, tree.Number)
    assert type(read_number.value) is type(value)


def test_a_sign_belongs_to_the_digit_before_it() -> None:
    assert codes("ev3 1\nlet x = 95%") == []
    assert "unexpected-character" in codes("ev3 1\nlet x = 95 %")
    assert expression("2xy") == number(2, "xy")


def test_a_number_beyond_a_float_is_a_mistake_of_its_own() -> None:
    assert codes("ev3 1\nlet x = 1e999") == ["number-too-large"]
    assert codes("ev3 1\nlet x = " + "9" * 9000) == ["number-too-large"]
    parsed, diagnostics = parse_expression(Source("-", "1e999"))
    assert parsed is None
    assert [d.code for d in diagnostics] == ["number-too-large"]


def test_strings() -> None:
    text = r'"a\"b\\c\n\t\u00e9 # no comment"'
    assert expression(text) == tree.String('a"b\\c\n\té # no comment', span=NOWHERE)
    parsed, diagnostics = parse(Source("a.ev3", 'ev3 1\nuse "data\\images"'))
    (wrong,) = diagnostics
    assert wrong.span is not None
    assert (wrong.span.text, wrong.fixes[0].edits[0].text) == ("\\i", "\\\\i")
    assert len(parsed.declarations) == 1


def test_words_of_the_grammar_are_free_in_expressions() -> None:
    assert expression("resnet(norm: batch, target: 3)") == call(
        "resnet", norm=name("batch"), target=number(3)
    )
    assert expression("mean(decay(1), decay)") == call(
        "mean", call("decay", number(1)), name("decay")
    )
    assert expression("f(not: 1)") == call("f", **{"not": number(1)})
    assert expression("within + orb") == binary(name("within"), "+", name("orb"))


@pytest.mark.parametrize("word", sorted(RESERVED))
@pytest.mark.parametrize(
    "statement",
    ["let {} = 1", "loss {} = 1", "model {}: x -> f32 = mlp", "data d = f() {{ {}: u8 }}",
     "data d = f() {{\n a: u8\n {}: u8\n}}", "data d = f() {{ derive {} = 1 }}",
     "report {{ baseline {} = descend a with b }}"],
)  # fmt: skip
def test_a_few_words_name_no_declaration_and_no_field(statement: str, word: str) -> None:
    assert codes("ev3 1\n" + statement.format(word)) == ["reserved-word"]


@pytest.mark.parametrize(
    ("field", "mended"),
    [
        ("with: f32", 'with_: f32 from "with"'),
        ("with: f32[2, 3] # metres", 'with_: f32[2, 3] from "with" # metres'),
        ('or: class[2] from "either"', 'or_: class[2] from "either"'),
        ("not: f32[3] from columns 1 to 3", "not_: f32[3] from columns 1 to 3"),
    ],
)
def test_the_fix_of_a_reserved_field_keeps_its_column(field: str, mended: str) -> None:
    text = f"ev3 1\ndata d = csv(p) {{\n  a: f32\n  {field}\n  rows 9\n}}\n"
    _, (found,) = parse(Source("s.ev3", text))
    (fix,) = found.fixes
    for edit in sorted(fix.edits, key=lambda each: -each.span.start):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    assert f"\n  {mended}\n" in text
    assert codes(text) == []
    assert found.help is not None and mended.partition(" #")[0] in found.help


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(
    "text",
    [
        "let x = f(1,\n  2\n\n  )",
        "let x = [1,\n2]",
        "let x =\n  1",
        "let x = 1 +\n  2",
        "let x = a and\n not\n b",
        "let x = a\n  | b\n  # between\n\n  | c",
        "let x = a |\n b",
        "let x = a\n  or b",
        "let x = a ==\n b",
        "group g = a,\n  b",
        "explore n {\n descend a,\n b\n with c,\n d for 1 steps\n}",
        "explore n {\n descend a with\n c for 1 steps\n}",
        "assess n {\n rank by a\n then b\n}",
        "let x = 1;;\n;let y = 2;",
        "assess n {\n\n  # note\n  rank by a # trailing\n\n}",
        "assess n { rank by a; guard b; }",
        "let x = 1  \t \nlet y = 2",
        "let x = 1\r\nlet y = f(\r\n2)\r\n",
        "let\tx\t=\t1",
    ],
)
def test_line_breaks_that_end_nothing(text: str) -> None:
    read(text)


@pytest.mark.parametrize(
    "text", ["let x = 1\n+ 2", "let x\n= 1", "let x = f\n(1)", "let x = f(1; 2)", "let x = a;| b",
             "let x = 1 let y = 2", "assess n { rank by a } let x = 1"],
)  # fmt: skip
def test_line_breaks_that_end_a_statement(text: str) -> None:
    assert codes(f"ev3 1\n{text}") == ["syntax-error"]


def test_names_that_begin_with_a_joining_word_begin_a_statement() -> None:
    parsed = read("data d = f() {\n batch 1\n orders: f32\n within: f32\n thence: f32\n}")
    (data,) = parsed.declarations
    assert isinstance(data, tree.Data)
    assert len(data.items) == 4


# ---------------------------------------------------------------- comments and editions


def test_comments_are_kept_in_order() -> None:
    parsed = read('# one\nlet x = "#" # two\nassess n { # three\n  # four\n  rank by a\n}# five')
    assert [(c.text, c.is_trailing) for c in parsed.comments] == [
        ("# one", False),
        ("# two", True),
        ("# three", True),
        ("# four", False),
        ("# five", True),
    ]
    assert all(comment.span.text == comment.text for comment in parsed.comments)


def test_comment_lines_directly_above_a_declaration_document_it() -> None:
    parsed = read("# no\n\n#one\n#  two\nlet x = 1 # not this\n# three\nlet y = 2\nlet z = 3")
    assert [d.documentation for d in parsed.declarations] == ["one\n two", "three", None]


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "\ufeff", "let x = 1\n"])
def test_a_missing_edition_can_be_put_in(text: str) -> None:
    source = Source("a.ev3", text)
    parsed, (diagnostic,) = parse(source)
    assert diagnostic.code == "missing-edition"
    assert parsed.edition is None
    (fix,) = diagnostic.fixes
    assert fix.safety == "safe"
    (edit,) = fix.edits
    mended = text[: edit.span.start] + edit.text + text[edit.span.end :]
    again, diagnostics = parse(Source("a.ev3", mended))
    assert diagnostics == ()
    assert again.declarations == parsed.declarations


def test_another_edition_is_told_and_the_rest_read() -> None:
    parsed, (diagnostic,) = parse(Source("a.ev3", "ev3 2\nlet x = 1\n"))
    assert diagnostic.code == "unknown-edition"
    assert parsed.edition == number(2)
    assert len(parsed.declarations) == 1


@pytest.mark.parametrize("text", ["ev3", "ev3 one", "evv3 1", "1", "ev3 1 1"])
def test_a_damaged_edition_is_one_mistake(text: str) -> None:
    assert codes(f"{text}\nlet x = 1\n") == ["syntax-error"]


def test_an_edition_stands_first_and_once() -> None:
    assert codes("let x = 1\nev3 1\n") == ["syntax-error"]
    assert codes("ev3 1\nlet x = 1\nev3 1\n") == ["syntax-error"]


def test_a_byte_order_mark_is_no_mistake() -> None:
    parsed, diagnostics = parse(Source("a.ev3", "\ufeffev3 1\r\n# why\r\nlet x = 1\r\n"))
    assert diagnostics == ()
    assert parsed.declarations[0].documentation == "why"


def test_an_expression_by_itself() -> None:
    assert expression("32") == number(32)
    assert expression("accuracy >= 95%") == binary(name("accuracy"), ">=", number(95, "%"))
    for text in ("", "1 +", "a b", "let x = 1", "(", "é"):
        parsed, diagnostics = parse_expression(Source("-", text))
        assert parsed is None
        assert len(diagnostics) == 1
