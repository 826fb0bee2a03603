"""What every test needs: the checkout's folder, one device, and a cache that is nobody's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import hypothesis
import pytest

# A shell starts what runs in its background with Ctrl-C ignored, and a run leaves what is ignored
# at that: tests of signals need them as at a terminal, in this process and in those that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for each in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, signal.SIG_DFL)

# Before anyone imports jax; a suite for another device names it in the environment.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Most tests compile a program and run it for a moment. So it is there in half the time, and a last
# bit may differ between two programs. `XLA_FLAGS= make test` compiles as a user's runs are. Another
# release of XLA may not know these options, and would end the process.
FAST_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
if version("jax").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", FAST_TO_COMPILE)

# The same examples every time, and no deadline: the cores are shared with other tests.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds `ev3lang/`, `specs/` and `grammars/`."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for this session alone, so that nothing depends on an earlier one."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield cache


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs() -> Iterator[None]:
    """Drops what a file's tests compiled: kept to the end, programs take gigabytes."""
    yield
    jax = sys.modules.get("jax")
    if jax is not None:
        jax.clear_caches()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves equality to the last bit to a session that compiles as a user's runs are."""
    if os.environ.get("XLA_FLAGS") != FAST_TO_COMPILE:
        return
    for item in items:
        if item.get_closest_marker("exact"):
            item.add_marker(pytest.mark.skip(reason="compiled in a hurry: XLA_FLAGS= runs it"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-cases",
        action="store_true",
        help="write what the checker says into tests/check/*.md; review the diff",
    )
