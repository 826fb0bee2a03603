"""How a run can end: each code beside the words and the exit status that belong to it."""

from __future__ import annotations

import enum


class Outcome(enum.IntEnum):
    """Why a run ended. The first reason is kept: a later one never replaces it."""

    RUNNING = 0
    ITERATIONS = 1
    CONDITION = 2
    TARGETS = 3
    TIME = 4
    ALL_LOST = 5
    INTERRUPTED = 6
    PASSES = 7

    @property
    def is_own_stop(self) -> bool:
        """Whether the spec itself asked for this end, so that the evidence may be closed."""
        return self in _OWN

    @property
    def words(self) -> str:
        return _WORDS[self]

    @property
    def exit_status(self) -> int:
        return _EXIT_STATUS.get(self, 0)


_OWN = frozenset(
    {Outcome.ITERATIONS, Outcome.CONDITION, Outcome.TARGETS, Outcome.TIME, Outcome.PASSES}
)

_WORDS = {
    Outcome.RUNNING: "still running",
    Outcome.ITERATIONS: "all its iterations are done",
    Outcome.CONDITION: "the condition of its stop is met",
    Outcome.TARGETS: "every target is met",
    Outcome.TIME: "the time of its stop is up",
    Outcome.ALL_LOST: "every candidate was lost fifty times in a row",
    Outcome.INTERRUPTED: "it was interrupted",
    Outcome.PASSES: "all its passes are done",
}

_EXIT_STATUS = {Outcome.ALL_LOST: 3, Outcome.INTERRUPTED: 130}
