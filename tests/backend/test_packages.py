"""Whose Python code may run: what was allowed by name, what is installed, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ev3lang.backend import modules
from ev3lang.backend.modules import ModuleError
from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import Layers, ModelPlan, Module

SPEC = """\
ev3 1
extern host fn score(logits[n], class[n]) -> real from "{target}"
data flowers = csv("flowers.csv") {{
  size: real
  label: class[2]
}}
model net: size -> logits(label) = mlp(hidden: [2])
loss entropy = cross_entropy(net(size), label)
objective accuracy = maximize argmax(net(size)) == label
metric by_host = score(net(size), label)
explore net {{ descend entropy with sgd(0.1) for 1 steps }}
assess net {{ rank by accuracy }}
adapt net {{
  accept when accuracy improves
  stop after 1 iterations
}}
report {{ show accuracy, by_host }}
"""

SCORE = "def score(logits, label):\n    return float((logits.argmax(-1) == label).mean())\n"

DECOY = "open(__file__[:-3] + '.ran', 'w').close()\n"

OPTIONAL = {
    *("lz4", "uarray", "pandas", "cupy", "torch", "tensorflow", "bottleneck", "numexpr", "snappy"),
    *(
        "zstandard",
        "brotli",
        "jax_plugins",
        "jax_cuda12_plugin",
        "libtpu",
        "google_crc32c",
        "uvloop",
    ),
    *("sitecustomize", "usercustomize", "numpy_distutils", "mkl", "sklearnex", "simplejson"),
}
"""Names that libraries import where they are there, whether or not they are installed here."""


def loaded_by_python() -> set[str]:
    """What `python -m` itself imports from the current folder, before any line of ours is read."""
    program = "import runpy, sys; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(shown.stdout.decode().split())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A spec's folder with a decoy for every module that anything may import."""
    names = OPTIONAL | set(sys.stdlib_module_names) | set(packages_distributions())
    names -= {"ev3lang", *loaded_by_python()}
    for name in sorted(name for name in names if name.isidentifier()):
        (tmp_path / f"{name}.py").write_text(DECOY)
    (tmp_path / "own_score.py").write_text(SCORE)
    rows = [f"{number % 7},{number % 2}" for number in range(400)]
    (tmp_path / "flowers.csv").write_text("\n".join(["size,label", *rows]) + "\n")
    (tmp_path / "spec.ev3").write_text(SPEC.format(target="own_score:score"))
    described = tmp_path / "evil-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[ev3lang.functions]\nscore = evil:score\n[jax_plugins]\nevil = evil\n"
    )
    (tmp_path / "evil.py").write_text(DECOY + SCORE)
    return tmp_path


def command(
    folder: Path, *arguments: str, at: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m ev3lang` in a folder, with ev3lang found as if it were installed."""
    repository = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-m", "ev3lang", *arguments],
        cwd=at or folder,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def ran(folder: Path) -> set[str]:
    """The decoys that were imported."""
    return {path.stem for path in folder.rglob("*.ran")}


@pytest.mark.parametrize("where", ["in its folder", "elsewhere"])
def test_only_the_allowed_package_runs(project: Path, where: str) -> None:
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    at = project if where == "in its folder" else elsewhere
    spec = str(project / "spec.ev3")
    done = command(
        project, "run", spec, "--quiet", "--out", "done", "--allow-python", "own_score", at=at
    )
    assert done.returncode == 0, done.stderr
    assert (at / "done" / "report.json").is_file()
    assert ran(project) == set()


def test_a_description_beside_the_spec_lets_nothing_in(project: Path) -> None:
    (project / "spec.ev3").write_text(SPEC.format(target="evil:score"))
    for allowed in ((), ("--allow-python", "own_score")):
        done = command(project, "run", "spec.ev3", "--out", "done", *allowed)
        assert done.returncode == 1
        assert "a function of the package evil, whose code may not run" in done.stderr
        assert "--allow-python evil" in done.stderr
    assert ran(project) == set()


@pytest.mark.parametrize(
    "arguments",
    [("check", "spec.ev3"), ("fmt", "."), ("explain", "spec.ev3"), ("plan", "spec.ev3")],
)
def test_commands_that_run_nothing_import_nothing_of_the_folder(
    project: Path, arguments: tuple[str, ...]
) -> None:
    assert command(project, *arguments).returncode in (0, 1)
    assert ran(project) == set()


def test_a_module_beside_an_allowed_one_needs_permission_too(project: Path) -> None:
    (project / "own_score.py").write_text("import own_helper\nscore = own_helper.score\n")
    (project / "own_helper.py").write_text(DECOY + SCORE)
    done = command(project, "run", "spec.ev3", "--out", "done", "--allow-python", "own_score")
    assert done.returncode == 1
    assert "own_score:score needs own_helper, a module beside it whose code may" in done.stderr
    assert ran(project) == set()
    both = ("--allow-python", "own_score", "--allow-python", "own_helper")
    done = command(project, "run", "spec.ev3", "--quiet", "--out", "done", *both)
    assert done.returncode == 0, done.stderr
    assert ran(project) == {"own_helper"}


def test_submodules_of_an_allowed_package_are_found(tmp_path: Path) -> None:
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shapes.py").write_text("from own_package import sizes\nNet = sizes.Net\n")
    (package / "sizes.py").write_text(
        "from flax import nnx\n"
        "class Net(nnx.Module):\n"
        "    def __init__(self, *, rngs):\n"
        "        self.last = nnx.Linear(4, 3, rngs=rngs)\n"
        "    def __call__(self, x):\n"
        "        return self.last(x)\n"
    )
    before = list(sys.path)
    found = ModelPlan(
        name="net",
        input=(4,),
        output=Type("logits", (3,)),
        layers=Layers(()),
        is_explored=True,
        module=Module("own_package.shapes:Net", ()),
    )
    with pytest.raises(ModuleError, match="may not run"):
        modules.load([found], ["own_packag", "own_package.sizes"], [tmp_path])
    assert "own_package" not in sys.modules
    modules.load([found], ["own_package.shapes"], [tmp_path])
    assert sys.path == before


NETS = """\
from flax import nnx


class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.last = nnx.Linear(1, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(x)
"""

LOAD = """\
import sys
import ev3lang
from ev3lang.backend.modules import ModuleError

folder, allowed = sys.argv[1], sys.argv[2:]
try:
    print(ev3lang.load_model(folder, allow_python=allowed).params["last"]["kernel"].shape)
except ModuleError as error:
    print(error, "|", error.help)
"""


def forged(written: str) -> str:
    """A description of weights that names another class, with the digest that belongs to it."""
    document = json.loads(written.replace("own_nets:Net", "evil:Net"))
    del document["sha256"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return json.dumps({**document, "sha256": hashlib.sha256(text.encode()).hexdigest()})


def test_a_model_file_names_no_code_that_runs(tmp_path: Path) -> None:
    for name in ("own_nets", "evil"):
        (tmp_path / f"{name}.py").write_text(DECOY + NETS)
    text = SPEC.format(target="own_score:score").replace("mlp(hidden: [2])", "NET")
    text = "".join(line for line in text.splitlines(True) if "score" not in line)
    text = text.replace("= NET", 'from nnx("own_nets:Net")').replace(", by_host", "")
    (tmp_path / "spec.ev3").write_text(text)
    rows = [f"{number % 7},{number % 2}" for number in range(400)]
    (tmp_path / "flowers.csv").write_text("\n".join(["size,label", *rows]) + "\n")
    allow = ("--allow-python", "own_nets")
    done = command(tmp_path, "run", "spec.ev3", "--quiet", "--out", "done", *allow)
    assert done.returncode == 0, done.stderr
    saved = tmp_path / "done" / "accepted" / "models.json"
    written = saved.read_text()
    for path in tmp_path.glob("*.ran"):
        path.unlink()

    def loaded(*allowed: str) -> str:
        repository = Path(__file__).resolve().parents[2]
        done = subprocess.run(
            [sys.executable, "-P", "-c", LOAD, "done", *allowed],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(repository)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert loaded() == (
        "model net is a class of the package own_nets, whose code may not run | if you trust it, "
        "run with --allow-python own_nets; in Python, allow_python=['own_nets']\n"
    )
    saved.write_text(forged(written))
    assert "the package evil, whose code may not run" in loaded("own_nets")
    assert ran(tmp_path) == set()
    saved.write_text(written)
    assert loaded("own_nets") == "(1, 2)\n"
    assert ran(tmp_path) == {"own_nets"}
    # what reads the folder without calling the model imports nothing
    (tmp_path / "own_nets.ran").unlink()
    assert command(tmp_path, "report", "done").returncode == 0
    assert ran(tmp_path) == set()
