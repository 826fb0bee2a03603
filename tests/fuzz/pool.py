"""Processes that stay warm, with a limit of processor time for each case."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

import attrs

from tests.conftest import FAST_TO_COMPILE
from tests.fuzz.part import Case, Part

WALL_S = 600.0
"""Time on the clock in which a case has to end that waits for something; the cores may be busy."""

MEMORY_BYTES = 12 * 2**30
"""Memory that a worker may map; more is an error of the case."""


_HANG = "HANG"
_STUCK = f"{_HANG}: nothing for {WALL_S:g} s"


@attrs.frozen
class Tried:
    """What came of a case; `failure` is the traceback, None where all is well.

    case   None where making it is what hangs
    """

    seed: int | None
    case: Case | None
    failure: str | None
    counts: Counter[str]

    @property
    def is_hang(self) -> bool:
        return self.failure is not None and self.failure.startswith(_HANG)

    @property
    def signature(self) -> str:
        """What failures share that have the same cause: the place, and the kind of exception."""
        lines = (self.failure or "").strip().split("\n")
        places = [line.strip() for line in lines if line.startswith("  File ")]
        return f"{places[-1] if places else ''} {lines[-1].split(':')[0]}"


@attrs.define
class Worker:
    """A process that tries one case after the other."""

    part: Part
    process: multiprocessing.Process = attrs.field(init=False)
    link: Connection = attrs.field(init=False)
    job: int | Case | None = None
    since_s: float = 0.0
    case: Case | None = None

    def __attrs_post_init__(self) -> None:
        # a server without jax, whose threads no fork survives
        context = multiprocessing.get_context("forkserver")
        self.link, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(self.part, other), daemon=True)
        self.process.start()
        other.close()

    def send(self, job: int | Case) -> None:
        """Have it try a case, or the case of a seed."""
        self.job, self.since_s = job, time.monotonic()
        self.link.send(job)

    def tried(self, case: Case) -> Tried:
        """What comes of one case."""
        self.send(case)
        while True:
            self.link.poll(WALL_S)
            tried = self.receive()
            if tried is not None:
                return tried

    def receive(self) -> Tried | None:
        """What came of the job, None where it is only the case that was made.

        A worker that ended, or waits for ever, is started anew.
        """
        job = self.job
        counts: Counter[str] = Counter()
        failure: str | None = _STUCK
        try:
            if self.link.poll(0):
                answer = self.link.recv()
                if isinstance(answer, Case):
                    self.case = answer
                    return None
                failure, counts = answer
        except (EOFError, ConnectionResetError):
            failure = f"{_HANG}: more than {self.part.limit_s:g} s of processor time, or killed"
        case, self.case, self.job = self.case, None, None
        tried = Tried(job if isinstance(job, int) else None, case, failure, counts)
        if tried.is_hang:
            self.stop()
            self.__attrs_post_init__()
        return tried

    def stop(self) -> None:
        self.link.close()
        self.process.kill()
        self.process.join()


def _serve(part: Part, link: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not part.is_heavy:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with open(os.devnull, "w") as nowhere, tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        os.environ.setdefault("XLA_FLAGS", FAST_TO_COMPILE)
        sys.stdout = sys.stderr = nowhere
        case, attempt = part.case, part.attempt
        case(0)  # what loads at the first case is none of its time
        while True:
            try:
                job = link.recv()
            except EOFError:
                return
            # The default action of this signal ends the process, inside of C code too.
            signal.setitimer(signal.ITIMER_PROF, part.limit_s)
            made = case(job) if isinstance(job, int) else job
            link.send(made)
            answer = _try(attempt, made)
            signal.setitimer(signal.ITIMER_PROF, 0)
            link.send(answer)


def _try(
    attempt: Callable[[Case, Path], Counter[str]], case: Case
) -> tuple[str | None, Counter[str]]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return None, attempt(case, Path(folder))
        except BaseException:
            # Whatever it is, it is what this suite looks for.
            return traceback.format_exc(), Counter()


def try_all(part: Part, seeds: Iterable[int], workers: int) -> Iterator[Tried]:
    """Tries the cases of the seeds, some at a time; the answers come in no order."""
    waiting = iter(seeds)
    pool = [Worker(part) for _ in range(workers)]
    try:
        for worker in pool:
            _give(worker, waiting)
        while busy := [worker for worker in pool if worker.job is not None]:
            ready = set(wait([worker.link for worker in busy], timeout=1.0))
            now = time.monotonic()
            for worker in busy:
                if worker.link in ready or now - worker.since_s > WALL_S:
                    tried = worker.receive()
                    if tried is not None:
                        yield tried
                        _give(worker, waiting)
    finally:
        for worker in pool:
            worker.stop()


def _give(worker: Worker, waiting: Iterator[int]) -> None:
    seed = next(waiting, None)
    if seed is not None:
        worker.send(seed)
