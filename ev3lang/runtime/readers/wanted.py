"""Which of a file's own parts a spec draws from, and how many rows it states of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import attrs

from ev3lang.check.typed import SPLITS
from ev3lang.runtime.faults import DataError

POOLED = "all"
"""What a split writes as its part to draw from every part of the file as one."""

HELD_OUT = ("test", "eval", "evaluation", "holdout", "held_out")
VALIDATION = ("validation", "valid", "val", "dev")
"""What a part for the last measurement, and one for choices, is commonly called."""


@attrs.frozen
class Wanted:
    """What a spec asks of a file beside its fields.

    parts      that the splits are drawn from, in order; None for the file as a whole
    is_pooled  whether the spec says that the whole is all of the file's parts
    rows       the examples that it states: of a part, and of the whole under None
    method     the words of a split after its shares, as in `stratified by label`
    """

    parts: tuple[str | None, ...] = (None,)
    is_pooled: bool = False
    rows: Mapping[str | None, int] = MappingProxyType({})
    method: str = ""

    def chosen(self, file: object, found: Collection[str | None]) -> tuple[str | None, ...]:
        """The parts of the file that are read: no other has to be whole, or labelled.

        found   what the file has; None where examples are of no part
        Raises DataError where the spec names a part that the file lacks, and where it names none
        and the file has several: a test part would be drawn from to learn.
        """
        if not found:
            raise DataError(f"{file} has no parts and no rows", "write the examples into it")
        named = [str(each) for each in found if each is not None]
        for part in (*self.parts, *self.rows):
            if part is not None and part not in found:
                has = f"it has {', '.join(named)}" if named else "it has no parts"
                raise DataError(
                    f"{file} has no part `{part}`: {has}",
                    "draw the splits from a part that the file has, or from the whole",
                    is_spec_fault=True,
                )
        if None not in self.parts or None in found:
            return tuple(dict.fromkeys(self.parts))
        if len(set(self.parts)) > 1:
            raise DataError(
                f"every row of {file} is in a part ({', '.join(named)}), and only some of the "
                "splits say from which",
                f"say for each split what it is drawn `from`: `{proposed(named, self.method)}`",
                is_spec_fault=True,
            )
        if len(found) > 1 and not self.is_pooled:
            raise DataError(
                f"{file} has parts of its own ({', '.join(named)}), and the split doesn't say "
                "which it draws from",
                f"write `{proposed(named, self.method)}`; `from {POOLED}` in each of the four "
                "mixes the parts",
                is_spec_fault=True,
            )
        uncounted = [each for each in named if each not in self.rows]
        if uncounted and self.rows and None not in self.rows:
            counted = ", ".join(f"{rows} in {part}" for part, rows in self.rows.items())
            raise DataError(
                f"{file} has rows in {', '.join(uncounted)} too, and the split draws from all "
                "parts",
                f"write `rows {counted}, … in {uncounted[0]}`, or count the whole",
                is_spec_fault=True,
            )
        return tuple(found)

    def counted(self, chosen: Iterable[str | None], found: Iterable[str | None]) -> set[str | None]:
        """The parts whose rows have to be known: those that are read, and those with a count."""
        return {*chosen, *(found if None in self.rows else self.rows)}

    def check_rows(self, file: object, counts: Mapping[str | None, int]) -> None:
        """Raises DataError where parts have other numbers of rows than the spec states.

        counts   of examples, by part: of those `counted` at least
        """
        for part, stated in self.rows.items():
            # without a part's name the rows of all are meant, unless some are of no part
            found = counts[part] if part in counts else sum(counts.values())
            if stated != found:
                of_part = "" if part is None else f" in {part}"
                raise DataError(
                    f"{file} has {found:,} rows{of_part}, and the spec says {stated:,}",
                    f"write `rows {found}{of_part}` if the file is whole",
                )

    def check_not_beyond(self, file: object, counts: Mapping[str | None, int]) -> None:
        """Raises DataError where parts have more rows than the spec states, before all are counted.

        counts   of the examples so far, by part
        """
        for part, stated in self.rows.items():
            found = counts.get(part, 0) if part is not None else sum(counts.values())
            if found > stated:
                of_part = "" if part is None else f" in {part}"
                raise DataError(
                    f"{file} has more than {stated:,} rows{of_part}, which is what the spec says",
                    f"state how many it has{of_part}, or take `rows` out",
                )


def proposed(parts: Collection[str], method: str = "") -> str:
    """The split of a spec that leaves a file's own parts apart, as its four shares are written.

    parts    what the file calls them
    method   the words after the shares, as in `stratified by label`
    The part for the last measurement is left to it, one for choices to assess and adapt.
    """
    report = _first(HELD_OUT, parts)
    rest = [each for each in parts if each != report] or list(parts)
    choices = _first(VALIDATION, rest)
    rest = [each for each in rest if each != choices] or rest
    explore = _first(("train", "training"), rest) or rest[0]
    shares = {"explore": 70, "assess": 15, "adapt": 15}
    if report is None:
        shares |= {"explore": 60, "report": 10}
    of = {use: f"{use} from {explore} {share}%" for use, share in shares.items()}
    if report is not None:
        of["report"] = f"report from {report}"
    if choices is not None and choices != explore:
        of["explore"] = (
            f"explore from {explore} 90%" if report is None else f"explore from {explore}"
        )
        of |= {use: f"{use} from {choices} 50%" for use in ("assess", "adapt")}
    words = f"split {', '.join(of[use] for use in SPLITS)}"
    return f"{words} {method}" if method else words


def _first(names: Iterable[str], parts: Iterable[str]) -> str | None:
    """The first part that has one of these names, whatever its case."""
    by_name = {part.lower(): part for part in reversed(list(parts))}
    return next((by_name[name] for name in names if name in by_name), None)
