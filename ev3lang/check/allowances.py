"""`allow "code" because "…"`: warnings that a spec silences, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from ev3lang.check import errors
from ev3lang.diagnostics.diagnostic import NOT_BUILT, Diagnostic
from ev3lang.syntax import tree

LEAKAGE = frozenset({"teacher-split-unknown", "label-leak", "id-as-input"})
"""What can't be silenced: a claim that rests on leaked data is false, whoever agrees to it."""


def silenced(
    declarations: Sequence[tree.Declaration], diagnostics: tuple[Diagnostic, ...]
) -> tuple[Diagnostic, ...]:
    """The diagnostics without the allowed warnings, and with what is wrong with an allowance."""
    allowances = [each for each in declarations if isinstance(each, tree.Allow)]
    if not allowances:
        return diagnostics
    # Needed by few specs, and it looks into a folder.
    from ev3lang.diagnostics.page import codes

    found: list[Diagnostic] = []
    silent: dict[str, tree.Allow] = {}
    known = codes()
    for allowance in allowances:
        code = allowance.code.value
        if code not in known:
            found.append(errors.unknown_code(allowance.code, known))
        elif code in LEAKAGE or code == NOT_BUILT:
            found.append(errors.cannot_allow(allowance.code))
        elif not allowance.reason.value.strip():
            found.append(errors.no_reason(allowance.reason))
        elif code in silent:
            found.append(
                errors.duplicate_statement(
                    allowance.span, silent[code].span, f'`allow "{code}"`', "this file"
                )
            )
        else:
            silent[code] = allowance
    kept = [each for each in diagnostics if each.severity == "error" or each.code not in silent]
    hit = {each.code for each in diagnostics if each.severity == "warning"}
    stays = {each.code for each in diagnostics if each.severity == "error"}
    for code, allowance in silent.items():
        if code in hit:
            continue
        if code in stays:
            found.append(errors.cannot_allow(allowance.code))
        else:
            found.append(errors.unused_allowance(allowance))
    return (*kept, *found)
