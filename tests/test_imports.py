"""Who may import what: each room of ev3lang imports the rooms above it and what is named here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ev3lang"


@attrs.frozen
class Room:
    """A file or folder of ev3lang.

    outside  the libraries that any of its files may import
    alone    further libraries, each with the only file that may, or several in one text
    """

    name: str
    outside: frozenset[str] = attrs.field(converter=frozenset, default=())
    alone: dict[str, str] = attrs.Factory(dict)


# In order: a room imports itself and those above it.
ROOMS = (
    Room("source", {"attrs"}),
    Room("printable"),
    Room("outcome"),
    Room("regular"),
    Room("signals", {"attrs"}),
    Room("catalog", {"attrs"}),
    Room("diagnostics", {"attrs"}, {"rich": "render.py"}),
    Room("syntax", {"attrs"}, {"lark": "grammar.py", "platformdirs": "tables.py"}),
    Room("check", {"attrs"}),
    Room("project", {"attrs"}),
    Room("files", {"attrs"}),
    Room("plan", {"attrs"}),
    Room("backend", {"attrs", "flax", "jax", "numpy", "optax"}),
    Room(
        "runtime",
        {"attrs", "jax", "numpy", "platformdirs", "scipy"},
        {
            "PIL": "images.py",
            "datasets": "huggingface.py",
            "flax": "checkpoints.py",
            "grain": "streaming.py",
            "msgpack": "checkpoints.py",
            "orbax": "checkpoints.py",
            "pyarrow": "arrow.py csv.py huggingface.py parquet.py",
            "rich": "terminal.py",
            "sklearn": "data.py",
        },
    ),
    Room("analysis", {"attrs"}),
    Room("explain", {"attrs"}),
    Room("docs"),
    Room("highlight", {"pygments"}),
    Room("explicit", {"attrs"}),
    Room("new", {"attrs", "numpy", "pyarrow"}),
    Room("compile", {"attrs", "jax"}),
    Room("cli", {"attrs", "click"}),
    Room("__init__"),
    Room("__main__"),
)
ORDER = [room.name for room in ROOMS]

# What checking must not pay for.
HEAVY = {"flax", "jax", "jaxlib", "numpy", "optax", "scipy", "sklearn"}


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted module of every import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            if node.module == "ev3lang":
                # `from ev3lang import compile` names the room beside it.
                yield from ((node.lineno, f"ev3lang.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def _is_allowed(path: Path, module: str) -> bool:
    room = ROOMS[ORDER.index(_room(path))]
    top, _, rest = module.partition(".")
    if top == "ev3lang":
        other = rest.partition(".")[0]
        if other in ("", "__version__"):
            return True
        return other in ORDER and ORDER.index(other) <= ORDER.index(room.name)
    if top in sys.stdlib_module_names or top in room.outside:
        return True
    return path.name in room.alone.get(top, "").split()


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    assert _room(path) in ORDER, f"{path} is in no room of the table"
    broken = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {module}"
        for line, module in _imports(path)
        if not _is_allowed(path, module)
    ]
    assert broken == []


def test_the_rule_sees_imports_inside_functions_and_whole_packages(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text("import a.b\ndef f():\n    from ev3lang import cli\n    import jax\n")
    assert sorted(_imports(sample)) == [(1, "a.b"), (3, "ev3lang.cli"), (4, "jax")]


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("check/resolve.py", "jax"),
        ("check/resolve.py", "ev3lang.plan.plan"),
        ("catalog/losses.py", "numpy"),
        ("plan/plan.py", "lark"),
        ("syntax/recovery.py", "lark"),
        ("diagnostics/page.py", "rich"),
        ("runtime/run.py", "rich.console"),
        ("runtime/report.py", "sklearn.datasets"),
        ("analysis.py", "ev3lang.cli"),
        ("analysis.py", "click"),
        ("compile.py", "optax"),
    ],
)
def test_the_rule_refuses(file: str, module: str) -> None:
    assert not _is_allowed(PACKAGE / file, module)


CHECK = """
import sys
from ev3lang.cli import main
sys.argv = ["ev3lang", "check", *{arguments}]
try:
    main()
except SystemExit as end:
    assert end.code in {statuses}, end.code
"""


def _loaded(program: str, folder: Path) -> set[str]:
    """The heavy modules in memory after a program run in its own process."""
    ending = f"\nimport sys; print('loaded:', *sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program + ending],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("loaded:")
    return set(last.split()[1:])


@pytest.mark.parametrize("module", ["ev3lang", "ev3lang.analysis", "ev3lang.cli"])
def test_importing_loads_nothing_heavy(module: str, repository: Path) -> None:
    assert _loaded(f"import {module}", repository) == set()


@pytest.mark.parametrize("spec", ["first", "distill_and_grow"])
def test_checking_a_good_spec_loads_nothing_heavy(spec: str, repository: Path) -> None:
    program = CHECK.format(arguments=[f"specs/{spec}.ev3"], statuses=(0, None))
    assert _loaded(program, repository) == set()


def test_a_check_loads_plans_for_specs_that_grow_alone(repository: Path) -> None:
    for spec, is_loaded in (("first", False), ("distill_and_grow", True)):
        check = CHECK.format(arguments=[f"specs/{spec}.ev3"], statuses=(0, None))
        loaded = f"\nassert ('ev3lang.plan.plan' in sys.modules) == {is_loaded}"
        _loaded(check + loaded, repository)


@pytest.mark.parametrize("output_format", ["text", "concise", "json"])
def test_showing_faults_loads_nothing_heavy(
    output_format: str, repository: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "bad.ev3"
    spec.write_text("ev3 1\n\nobjective accuracy = maximize acuracy\n")
    arguments = [f"--output-format={output_format}", str(spec)]
    assert _loaded(CHECK.format(arguments=arguments, statuses=(1,)), repository) == set()


def test_the_package_says_its_version_and_what_it_lacks() -> None:
    import ev3lang

    assert ev3lang.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ev3lang.nothing  # noqa: B018
