"""Diagnostics as documents for machines: JSON, and what GitHub, GitLab and JUnit's readers take."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import attrs

from ev3lang import __version__
from ev3lang.diagnostics.diagnostic import Diagnostic, Fix, count
from ev3lang.diagnostics.page import meaning, page
from ev3lang.printable import printable, printable_lines, written_json
from ev3lang.source import Source, Span

SARIF_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

# What XML 1.0 has no way to write, not even as a reference.
NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")

# What a name that is no file starts with: the text of an option.
OPTION = "--"


def fingerprint(diagnostic: Diagnostic) -> str:
    """64 hexadecimal digits that stay the same while the fault only moves to other lines."""
    span = diagnostic.span
    file = span.source.name if span else ""
    line = span.source.line(span.first.line).strip() if span else ""
    return _digest(diagnostic.code, file, line, diagnostic.message)


def fingerprints(diagnostics: Iterable[Diagnostic]) -> list[str]:
    """One for each, and no two alike: those that recur are told apart by their number."""
    seen: Counter[str] = Counter()
    unique = []
    for diagnostic in diagnostics:
        first = fingerprint(diagnostic)
        unique.append(_digest(first, str(seen[first])) if seen[first] else first)
        seen[first] += 1
    return unique


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _document(value: Any) -> str:
    return written_json(value) + "\n"


def _file(source: Source) -> str | None:
    """The path as every system's readers take it, or None for the text of an option."""
    return None if source.name.startswith(OPTION) else PurePath(source.name).as_posix()


def _home(diagnostic: Diagnostic, files: Sequence[str]) -> tuple[str | None, Span | None]:
    """The file to show a fault in, and where: what has no place stands in the first one checked."""
    span = diagnostic.span
    if span is not None and (file := _file(span.source)) is not None:
        return file, span
    return (PurePath(files[0]).as_posix() if files else None), None


def _words(diagnostic: Diagnostic) -> str:
    """What is wrong, the other places and what to do, a line each."""
    lines = [diagnostic.message]
    for label in diagnostic.labels:
        if label.text:
            first = label.span.first
            lines.append(f"{label.span.source.name}:{first.line}:{first.column}: {label.text}")
    if diagnostic.help:
        lines.append(f"help: {diagnostic.help}")
    return "\n".join(lines)


# ---------------------------------------------------------------- json


def _json(diagnostics: Sequence[Diagnostic], files: Sequence[str]) -> str:
    del files
    return _document(
        {
            "format_version": "1.0",
            "errors": count(diagnostics, "error"),
            "warnings": count(diagnostics, "warning"),
            "diagnostics": [
                _diagnostic_json(diagnostic, unique)
                for diagnostic, unique in zip(diagnostics, fingerprints(diagnostics), strict=True)
            ],
        }
    )


def _diagnostic_json(diagnostic: Diagnostic, unique: str) -> dict[str, Any]:
    span = diagnostic.span
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": span.source.name if span else None,
        "span": _span_json(span) if span else None,
        "labels": [
            {"file": label.span.source.name, "span": _span_json(label.span), "text": label.text}
            for label in diagnostic.labels
        ],
        "help": diagnostic.help,
        "fixes": [
            {
                "title": fix.title,
                "safety": fix.safety,
                "edits": [{"span": _span_json(edit.span), "text": edit.text} for edit in fix.edits],
            }
            for fix in diagnostic.fixes
        ],
        "fingerprint": unique,
    }


def _span_json(span: Span) -> dict[str, dict[str, int]]:
    return {"start": attrs.asdict(span.first), "end": attrs.asdict(span.last)}


# ---------------------------------------------------------------- GitHub


def _github(diagnostics: Sequence[Diagnostic], files: Sequence[str]) -> str:
    """A workflow command each. Source: GitHub, Workflow commands for GitHub Actions."""
    return "".join(f"{_command(diagnostic, files)}\n" for diagnostic in diagnostics)


def _command(diagnostic: Diagnostic, files: Sequence[str]) -> str:
    file, span = _home(diagnostic, files)
    properties: dict[str, object] = {} if file is None else {"file": file}
    if span is not None:
        first, last = span.first, span.last
        properties |= {"line": first.line, "endLine": last.line, "col": first.column}
        if last.line == first.line:
            # GitHub takes columns only within one line.
            properties["endColumn"] = last.column
    properties["title"] = diagnostic.code
    written = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{diagnostic.severity} {written}::{_data(_words(diagnostic))}"


def _data(text: str) -> str:
    return printable_lines(text).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")


# ---------------------------------------------------------------- GitLab


def _gitlab(diagnostics: Sequence[Diagnostic], files: Sequence[str]) -> str:
    """A Code Quality report. Source: GitLab, Code Quality report format."""
    return _document(
        [
            _issue(diagnostic, unique, files)
            for diagnostic, unique in zip(diagnostics, fingerprints(diagnostics), strict=True)
        ]
    )


def _issue(diagnostic: Diagnostic, unique: str, files: Sequence[str]) -> dict[str, Any]:
    file, span = _home(diagnostic, files)
    lines = (span.first.line, span.last.line) if span else (1, 1)
    description = diagnostic.message
    if diagnostic.help:
        description += f" ({diagnostic.help})"
    return {
        "type": "issue",
        "check_name": diagnostic.code,
        "description": description,
        "categories": ["Bug Risk"],
        "severity": "major" if diagnostic.severity == "error" else "minor",
        "fingerprint": unique,
        "location": {"path": file or ".", "lines": {"begin": lines[0], "end": lines[1]}},
    }


# ---------------------------------------------------------------- JUnit


def _junit(diagnostics: Sequence[Diagnostic], files: Sequence[str]) -> str:
    """A suite for each file and a case for each fault in it; a file without one is a passed case.

    A warning fails nothing: its case passes, with the words as its output.
    """
    by_file: dict[str, list[Diagnostic]] = {PurePath(file).as_posix(): [] for file in files}
    for diagnostic in diagnostics:
        file, _ = _home(diagnostic, files)
        by_file.setdefault(file or "ev3lang", []).append(diagnostic)
    suites = [_suite(file, found) for file, found in by_file.items()]
    root = ElementTree.Element("testsuites", {"name": "ev3lang check", **_totals(suites)})
    root.extend(suites)
    ElementTree.indent(root)
    body: bytes = ElementTree.tostring(root, encoding="us-ascii", xml_declaration=True)
    return body.decode("ascii") + "\n"


def _totals(suites: Iterable[ElementTree.Element]) -> dict[str, str]:
    suites = tuple(suites)
    return {
        name: str(sum(int(suite.attrib[name]) for suite in suites))
        for name in ("tests", "failures", "errors")
    }


def _suite(file: str, found: Sequence[Diagnostic]) -> ElementTree.Element:
    name = _xml(file)
    failures = count(found, "error")
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": name,
            "tests": str(max(1, len(found))),
            "failures": str(failures),
            "errors": "0",
        },
    )
    if not found:
        ElementTree.SubElement(suite, "testcase", {"name": "check", "classname": name})
    seen: Counter[str] = Counter()
    for diagnostic in found:
        # Without line numbers: a reader that compares two runs knows the case again.
        title = _xml(f"{diagnostic.code}: {diagnostic.message}")
        seen[title] += 1
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "name": title if seen[title] == 1 else f"{title} ({seen[title]})",
                "classname": name,
            },
        )
        _result(case, diagnostic)
    return suite


def _result(case: ElementTree.Element, diagnostic: Diagnostic) -> None:
    span = diagnostic.span
    place = f"{span.source.name}:{span.first.line}:{span.first.column}: " if span else ""
    words = _xml(f"{place}{_words(diagnostic)}")
    if diagnostic.severity == "error":
        message = {"type": diagnostic.code, "message": _xml(diagnostic.message)}
        ElementTree.SubElement(case, "failure", message).text = words
    else:
        ElementTree.SubElement(case, "system-out").text = f"warning: {words}"


def _xml(text: str) -> str:
    return NO_XML.sub("\ufffd", printable_lines(text))


# ---------------------------------------------------------------- SARIF


def _sarif(diagnostics: Sequence[Diagnostic], files: Sequence[str]) -> str:
    """One run. Source: OASIS, Static Analysis Results Interchange Format 2.1.0."""
    codes = sorted({diagnostic.code for diagnostic in diagnostics})
    return _document(
        {
            "$schema": SARIF_SCHEMA,
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {
                        "driver": {
                            "name": "ev3lang",
                            "semanticVersion": __version__,
                            "rules": [_rule(code) for code in codes],
                        }
                    },
                    "columnKind": "unicodeCodePoints",
                    "artifacts": [{"location": _artifact(file)} for file in files],
                    "results": [
                        {"ruleIndex": codes.index(diagnostic.code)}
                        | _result_sarif(diagnostic, unique, files)
                        for diagnostic, unique in zip(
                            diagnostics, fingerprints(diagnostics), strict=True
                        )
                    ],
                }
            ],
        }
    )


def _rule(code: str) -> dict[str, Any]:
    text, short = page(code), meaning(code)
    if text is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": short},
        "fullDescription": {"text": short},
        "help": {"text": text, "markdown": text},
    }


def _result_sarif(diagnostic: Diagnostic, unique: str, files: Sequence[str]) -> dict[str, Any]:
    file, span = _home(diagnostic, files)
    message = diagnostic.message
    if diagnostic.help:
        message += f"\n{diagnostic.help}"
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "level": diagnostic.severity,
        "message": {"text": message},
        "partialFingerprints": {"ev3lang/v1": unique},
    }
    if file is not None:
        region = _region(span) if span else {"startLine": 1}
        result["locations"] = [
            {"physicalLocation": {"artifactLocation": _artifact(file), "region": region}}
        ]
    related = [
        {
            "message": {"text": label.text},
            "physicalLocation": {"artifactLocation": _artifact(at), "region": _region(label.span)},
        }
        for label in diagnostic.labels
        if (at := _file(label.span.source)) is not None
    ]
    fixes = [change for fix in diagnostic.fixes if (change := _fix_sarif(fix)) is not None]
    return (
        result
        | ({"relatedLocations": related} if related else {})
        | ({"fixes": fixes} if fixes else {})
    )


def _fix_sarif(fix: Fix) -> dict[str, Any] | None:
    """The fix as replacements file by file, or None for one that edits the text of an option."""
    replacements: dict[str, list[dict[str, Any]]] = {}
    for edit in fix.edits:
        file = _file(edit.span.source)
        if file is None:
            return None
        replacements.setdefault(file, []).append(
            {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
        )
    changes = [
        {"artifactLocation": _artifact(file), "replacements": each}
        for file, each in replacements.items()
    ]
    return {"description": {"text": fix.title}, "artifactChanges": changes} if changes else None


def _artifact(file: str) -> dict[str, str]:
    path = PurePath(file)
    if path.is_absolute():
        return {"uri": path.as_uri()}
    return {"uri": quote(os.fsencode(path.as_posix())), "uriBaseId": "%SRCROOT%"}


def _region(span: Span) -> dict[str, int]:
    first, last = span.first, span.last
    return {
        "startLine": first.line,
        "startColumn": first.column,
        "endLine": last.line,
        "endColumn": last.column,
    }


REPORTS: dict[str, Callable[[Sequence[Diagnostic], Sequence[str]], str]] = {
    "json": _json,
    "github": _github,
    "gitlab": _gitlab,
    "junit": _junit,
    "sarif": _sarif,
}
