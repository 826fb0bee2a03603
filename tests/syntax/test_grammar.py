"""The grammar itself: no conflict, found where it is shipped, its tables kept safely."""

from __future__ import annotations

import os
import pickle
import shutil
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lark
import pytest

from ev3lang.source import Source
from ev3lang.syntax import grammar
from ev3lang.syntax import parse as parse_module
from ev3lang.syntax.grammar import build_parser
from ev3lang.syntax.parse import parse, parse_tree
from ev3lang.syntax.tables import grammar_text, read_tables, tables
from ev3lang.syntax.words import Tree
from tests.syntax.mutation import SPECS, mutants

ROOT = Path(__file__).parents[2]


def test_strict_mode_finds_no_conflict_and_no_colliding_lexemes() -> None:
    build_parser(grammar_text(), strict=True)


def test_strict_mode_would_find_a_conflict() -> None:
    ambiguous = grammar_text().replace(
        "lone_expression: expression END?", "lone_expression: word | name"
    )
    with pytest.raises(lark.exceptions.GrammarError, match="Reduce/Reduce"):
        build_parser(ambiguous, strict=True)


def test_the_grammar_of_a_checkout_is_the_one_at_its_top() -> None:
    assert grammar_text() == (ROOT / "grammars" / "ev3.lark").read_text(encoding="utf-8")


def test_the_grammar_in_a_package_is_preferred(tmp_path: Path) -> None:
    package = tmp_path / "ev3lang"
    shutil.copytree(ROOT / "ev3lang", package)
    shutil.copytree(ROOT / "grammars", package / "grammars", dirs_exist_ok=True)
    grammar = package / "grammars" / "ev3.lark"
    grammar.write_text("// shipped\n" + grammar.read_text(encoding="utf-8"), encoding="utf-8")
    script = "from ev3lang.syntax.tables import grammar_text; print(grammar_text()[:10])"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "// shipped\n"


# ---------------------------------------------------------------- beside Lark


def ours(node: Any) -> Any:
    """A tree of ours as nested tuples."""
    if isinstance(node, Tree):
        return node.data, *map(ours, node.children)
    return node and (node.type, str(node), node.start, node.end)


def theirs(node: Any) -> Any:
    """The same of a tree of Lark's."""
    if isinstance(node, lark.Tree):
        return str(node.data), *map(theirs, node.children)
    return node and (node.type, str(node), node.start_pos, node.end_pos)


def test_texts_are_read_as_lark_reads_them() -> None:
    parser = build_parser(grammar_text())
    texts = [path.read_text(encoding="utf-8") for path in SPECS]
    read = 0
    for text in [*texts, *mutants(200, seed=11)]:
        parsed = parse_tree(Source("a.ev3", text))
        if parsed is not None:
            assert ours(parsed) == theirs(parser.parse(text, start="file"))
            read += 1
    assert read >= len(texts) + 10


# ---------------------------------------------------------------- the cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, with nothing remembered from earlier tests."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: folder / name)
    _forget()
    yield folder
    _forget()


def _forget() -> None:
    tables.cache_clear()
    parse_module._grammar.cache_clear()


def _reads_a_spec() -> bool:
    _forget()
    tree, diagnostics = parse(Source("a.ev3", "ev3 1\nlet x = f(1) | g\n"))
    return len(tree.declarations) == 1 and not diagnostics


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_tables_are_built_once_and_then_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _reads_a_spec()
    (kept,) = _files(cache)
    assert kept.suffix == ".tables"
    monkeypatch.setattr(grammar, "build_tables", None)
    assert _reads_a_spec()


def test_reading_by_kept_tables_loads_no_lark() -> None:
    tables()
    script = (
        "import sys; from ev3lang.source import Source; from ev3lang.syntax.parse import parse;"
        "parse(Source('a.ev3', 'ev3 1')); assert 'lark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("damage", ["empty", "cut short", "one bit", "not tables"])
def test_damaged_tables_are_built_anew(cache: Path, damage: str) -> None:
    assert _reads_a_spec()
    (kept,) = _files(cache)
    whole = kept.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    damaged = {
        "empty": b"",
        "cut short": whole[:1000],
        "one bit": bytes(changed),
        "not tables": b"hello\n",
    }
    kept.write_bytes(damaged[damage])
    assert read_tables(kept) is None
    assert _reads_a_spec()
    assert read_tables(kept) is not None


def test_tables_can_name_no_code_to_run(cache: Path) -> None:
    assert _reads_a_spec()
    (kept,) = _files(cache)
    data = pickle.dumps(os.getcwd)
    kept.write_bytes(b"%08x\n" % zlib.crc32(data) + data)
    assert read_tables(kept) is None
    assert _reads_a_spec()


def test_a_cache_folder_that_takes_nothing_is_no_hindrance(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert _reads_a_spec()
    assert cache.read_text() == "a file where the folder should be"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere"
)
def test_a_read_only_cache_folder_is_no_hindrance(cache: Path) -> None:
    cache.mkdir(mode=stat.S_IREAD | stat.S_IEXEC)
    assert _reads_a_spec()
