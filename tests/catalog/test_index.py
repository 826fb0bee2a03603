"""The catalogue's entries agree with themselves, and cost nothing to load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from ev3lang.catalog.index import FUNCTIONS, LAYERS, OPTIMIZERS, SOURCES
from ev3lang.catalog.signature import SAME, Option, parse_type

TABLES = (FUNCTIONS, LAYERS, OPTIMIZERS, SOURCES)


def _options() -> Iterator[tuple[str, Option]]:
    for table in TABLES:
        for entry in table.values():
            for option in entry.options:
                yield f"{entry.name}.{option.name}", option


OPTIONS = dict(_options())


def test_loading_the_catalogue_loads_neither_jax_nor_numpy() -> None:
    script = (
        "import sys, ev3lang.catalog.index\n"
        "heavy = {'jax', 'numpy', 'optax', 'flax', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("table", TABLES, ids=["functions", "layers", "optimizers", "sources"])
def test_every_entry_says_what_it_is_and_where_it_is_from(table: dict) -> None:
    for name, entry in table.items():
        assert entry.name == name
        assert entry.summary
        assert not entry.summary.endswith(".")
        assert entry.source, name


@pytest.mark.parametrize("name", OPTIONS)
def test_a_default_keeps_its_own_bounds(name: str) -> None:
    option = OPTIONS[name]
    assert option.summary
    if option.is_required:
        assert option.default is None
    if isinstance(option.default, (int, float)) and not isinstance(option.default, bool):
        assert option.low is None or option.default >= option.low
        assert option.high is None or option.default <= option.high
        assert not (option.is_low_open and option.default == option.low)
    if option.kind == "name":
        assert option.default in option.choices


def test_arguments_of_an_entry_have_names_of_their_own() -> None:
    for table in TABLES:
        for entry in table.values():
            names = [option.name for option in entry.options]
            names += [each.name for each in getattr(entry, "inputs", ())]
            assert len(names) == len(set(names)), entry.name


def test_required_options_come_before_the_others() -> None:
    for table in TABLES:
        for entry in table.values():
            required = [option.is_required for option in entry.options]
            assert required == sorted(required, reverse=True), entry.name


def test_an_output_speaks_of_dimensions_that_the_inputs_have() -> None:
    for name, function in FUNCTIONS.items():
        if function.output == SAME:
            continue
        known = {d for each in function.inputs for type_ in each.types for d in type_.dimensions}
        named = {d for d in function.output.dimensions if isinstance(d, str)}
        assert named <= known, name


def test_probabilities_are_refused_where_unnormalised_scores_are_meant() -> None:
    for name in ("cross_entropy", "focal_loss"):
        assert parse_type("probs[C]") not in FUNCTIONS[name].inputs[0].types


def test_an_alias_stands_for_a_link_of_the_same_role() -> None:
    aliases = [entry for entry in OPTIMIZERS.values() if entry.alias_of is not None]
    assert {alias.name for alias in aliases} == {"cosine", "warmup", "warmup_cosine"}
    for alias in aliases:
        assert OPTIMIZERS[alias.alias_of].role == alias.role == "schedule"


def test_a_source_with_a_row_option_has_no_fixed_number_of_rows() -> None:
    known = {name: each for name, each in SOURCES.items() if not each.declares_fields}
    for name, source in known.items():
        assert (source.rows is None) == (source.rows_option is not None), name
        if source.rows_option is not None:
            assert source.rows_option in {option.name for option in source.options}
