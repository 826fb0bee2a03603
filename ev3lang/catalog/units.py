"""The units that a number may carry, what each measures, and how many of its base it is."""

from __future__ import annotations

import attrs


@attrs.frozen
class Unit:
    """`measures` names the quantity, which has a base unit.

    Base units: fractions for `ratio` and `difference`, seconds for `duration`, one for the rest.
    """

    measures: str
    numerator: int = 1
    denominator: int = 1

    def in_base(self, value: int | float) -> int | float:
        """A value of this unit in the base unit; whole numbers of a count stay whole.

        `57%` is 57 / 100, the float nearest to the fraction; 57 * 0.01 is not.
        """
        scaled = value * self.numerator
        return scaled if self.denominator == 1 else scaled / self.denominator


def _counted(singular: str, plural: str) -> dict[str, Unit]:
    return {singular: Unit(plural), plural: Unit(plural)}


UNITS: dict[str, Unit] = {
    "%": Unit("ratio", denominator=100),
    "pp": Unit("difference", denominator=100),
    "x": Unit("factor"),
    "px": Unit("pixels"),
    "ms": Unit("duration", denominator=1000),
    "s": Unit("duration"),
    "min": Unit("duration", 60),
    "h": Unit("duration", 3600),
    "d": Unit("duration", 86400),
    **_counted("step", "steps"),
    **_counted("iteration", "iterations"),
    **_counted("epoch", "epochs"),
    **_counted("generation", "generations"),
    **_counted("draw", "draws"),
    **_counted("example", "examples"),
    **_counted("batch", "batches"),
    **_counted("pass", "passes"),
    **_counted("part", "parts"),
    **_counted("group", "groups"),
}
