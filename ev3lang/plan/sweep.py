"""The points of a sweep: what is set, and the plan that comes of it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ev3lang.plan.plan import Plan


@attrs.frozen(eq=False)
class Point:
    """A run of a sweep, or the one run of a spec without: `settings` is empty then.

    settings   each axis's value as `--set` and `--seed` take it, in the order of the axes
    """

    settings: Mapping[str, str]
    plan: Plan
