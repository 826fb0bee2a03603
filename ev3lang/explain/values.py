"""Values of the language as a reader writes them: `10%`, `4 px`, `[64, 64]`, `"a.csv"`."""

from __future__ import annotations

from collections.abc import Iterable

from ev3lang.catalog.signature import Option, Value
from ev3lang.check.arguments import bounds_of

KINDS = {
    "real": "a number",
    "int": "a whole number",
    "ratio": "a ratio, such as 10%",
    "bool": "true or false",
    "text": 'a text, "…"',
    "ints": "a list of whole numbers, such as [64, 64]",
    "steps": "a count, such as 100 steps",
    "pixels": "a count, such as 4 px",
    "factor": "a factor, such as 2x",
    "schedule": "a number, or a schedule",
    "layers": "layers joined by |",
    "path": 'a path, "…", or a param of type path',
    "operator": "a growth operator, such as widen(2x)",
}


def written(value: Value | None, kind: str = "") -> str:
    """A value in the language's own words; None, which means off, as `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(written(each) for each in value)}]"
    if isinstance(value, str):
        return f'"{value}"' if kind in ("text", "path") else value
    match kind:
        case "ratio":
            return percent(value)
        case "pixels":
            return f"{value} px"
        case "factor":
            return f"{value:g}x"
        case "steps":
            return counted(int(value), "step", "steps")
    if isinstance(value, int) and value >= 10_000:
        return grouped(value)
    return f"{value:.12g}".replace("e-0", "e-")


def percent(fraction: float) -> str:
    """`0.95` as `95%`, `0.99999999` as `99.999999%`."""
    return f"{100 * fraction:.10g}%"


def counted(count: int, one: str, many: str) -> str:
    """`1 step`, `2_000 steps`."""
    return f"{grouped(count)} {one if count == 1 else many}"


def grouped(count: int) -> str:
    """A count as the language writes a long one: `1_797` stays `1797`, `200_000`."""
    return f"{count:_}" if count >= 10_000 else str(count)


def duration(seconds: float) -> str:
    """A time in the largest unit that leaves it whole: `20 min`, `90 s`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def listed(items: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; nothing of nothing."""
    *most, final = tuple(items) or ("",)
    return f"{', '.join(most)} {last} {final}" if most else final


def allowed(option: Option) -> str:
    """What may stand for an option, in words."""
    if option.kind == "name":
        return f"one of {', '.join(option.choices)}"
    what = KINDS.get(option.kind, option.kind)
    if option.low is not None or option.high is not None:
        what += f", {bounds_of(option)}"
    if option.most is not None:
        what += f", at most {option.most}"
    return what


def default(option: Option) -> str:
    """An option's default, in words."""
    if option.is_required:
        return "required"
    if option.default is None:
        return "off by default"
    return f"default {written(option.default, option.kind)}"
