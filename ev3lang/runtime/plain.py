"""Plain training on the device, in parts: it tells how far it is, and a signal ends it between."""

from __future__ import annotations

import time
from functools import partial

from ev3lang.backend.plain import Course
from ev3lang.backend.state import Params
from ev3lang.runtime.events import Listener, Training
from ev3lang.runtime.interrupts import computed, unless_stopped
from ev3lang.signals import Stop

PART_S = 0.25
"""How long a part should last: about the time between two pictures of the terminal."""


def train(course: Course, steps: int, what: str, listen: Listener, stop: Stop) -> Params | None:
    """The weights after so many steps; None where a signal asked for an end before them.

    what     in words, for the listener
    """
    training = unless_stopped(partial(computed, course.begin), stop)
    done, count = 0, 1
    while done < steps and training is not None:
        began_s, until = time.monotonic(), min(done + count, steps)
        advance = partial(computed, partial(course.advance, training, until))
        training = unless_stopped(advance, stop)
        if training is not None:
            wall_s = time.monotonic() - began_s
            most = int(PART_S * (until - done) / max(wall_s, 1e-6))
            done, count = until, max(1, min(most, 4 * (until - done)))
            listen(Training(what, done, steps))
    if training is None:
        return None
    return unless_stopped(partial(computed, partial(course.ended, training)), stop)
