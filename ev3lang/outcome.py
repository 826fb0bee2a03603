"""How a run can end: each code with its words and exit status, and what every fault has."""

from __future__ import annotations

import enum
from typing import Any


class Fault(Exception):
    """A fault that the user can mend; the message says what is wrong and where.

    help   what to do
    It can be pickled and copied, so that a pool of processes
    hands it on: `Exception` alone would call the class again with its message and nothing else.
    """

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.help = help

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """The exception without its attributes, which pickle and copy add."""
    return kind.__new__(kind, *args)


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
    TERMINATED = 8

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

    @property
    def is_by_signal(self) -> bool:
        """Whether somebody ended it from outside."""
        return self in (Outcome.INTERRUPTED, Outcome.TERMINATED)


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
    Outcome.TERMINATED: "a signal ended it (SIGTERM or SIGHUP)",
}

_EXIT_STATUS = {Outcome.ALL_LOST: 3, Outcome.TERMINATED: 4, Outcome.INTERRUPTED: 130}
