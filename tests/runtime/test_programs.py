"""Entries of the compilation cache that can't be read are replaced, and nothing is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, pathlib, sys, warnings, zlib
import jax, jax.numpy as jnp
from ev3lang.runtime import programs

folder = pathlib.Path(sys.argv[1])
jax.config.update("jax_compilation_cache_dir", str(folder))

def halved(x):
    return x / 2

def run():
    jax.clear_caches()
    with programs.kept() as damaged:
        assert jax.jit(halved)(jnp.float32(3)) == 1.5
        warnings.warn("of something else")
    return damaged.count

found = {"whole": [run(), run()]}
(entry,) = folder.glob("jit_halved-*-cache")
content = entry.read_bytes()
for name, damage in {
    "empty": b"",
    "cut": content[: len(content) // 2],
    "junk": b"no program",
    "packed junk": zlib.compress(b"no program"),
}.items():
    entry.write_bytes(damage)
    found[name] = [run(), run()]
    zlib.decompress(entry.read_bytes())
entry.unlink()
entry.mkdir()
found["folder"] = [run(), run()]
print(json.dumps(found))
"""


def test_damaged_entries_are_replaced_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", SCRIPT, str(tmp_path)],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    kinds = ("empty", "cut", "junk", "packed junk", "folder")
    assert json.loads(done.stdout) == {"whole": [0, 0], **{kind: [1, 0] for kind in kinds}}
    # warnings of others go on being shown
    assert "of something else" in done.stderr
    assert "persistent compilation cache" not in done.stderr
