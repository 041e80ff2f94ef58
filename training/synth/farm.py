"""Renders a set of sessions in several processes: resumable, and the same whatever their number.

`OUT/set.json` says what the set is; each session is a folder beside it that appears when it is complete. A run
goes on where an earlier one ended, however it ended, and may make the set larger.
"""

import fcntl
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Literal, Protocol

from dashgaze.errors import DashgazeError, InputError
from dashgaze.session import Record, read_record, write_record
from dashgaze.tables import write_failure
from dashgaze.training.synth.drives import check_limits

SET_FILE = "set.json"
ONE_THREAD = ("LP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Mesa's rasteriser and numpy: processes share the cores, threads on top of them only get in each other's way."""


class Plan(Protocol):
    """A set to be rendered: `drives.SetPlan` or `stills.StillsPlan`."""

    @property
    def kind(self) -> str:
        """What the set holds."""

    @property
    def sessions(self) -> int:
        """How many sessions."""

    def settings(self) -> dict[str, Any]:
        """What must stay the same when the set is resumed or made larger."""

    def check(self) -> None:
        """Raise InputError for the first value that makes no sense."""

    def frames(self, number: int) -> int:
        """Frames of a session."""

    def write(self, number: int, path: Path, tick: Callable[[], None]) -> None:
        """Render a session; `tick` is called after each frame."""


class SetRecord(Record):
    """`set.json`: what must stay the same when a set is resumed or made larger."""

    schema_version: Literal[1] = 1
    kind: str
    settings: dict[str, int | float | str | bool | None]


class Progress(Protocol):
    """Is told how a set comes along."""

    def start(self, sessions: int, done: int, frames: int) -> None:
        """Begin: so many sessions, of which so many are there already; frames that are still to be rendered."""

    def frame(self) -> None:
        """One more frame is rendered."""

    def session(self) -> None:
        """One more session is complete."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did."""

    sessions: int
    """Rendered in this run."""
    frames: int
    seconds: float
    peak_rss_mb: float
    """Of the largest worker."""

    def text(self) -> str:
        """Say it in a line."""
        if not self.frames:
            return "nothing was missing"
        rate = f"{self.frames / self.seconds:.1f} frames/s"
        return f"{self.frames} frames in {self.seconds:.0f} s, {rate}, {self.peak_rss_mb:.0f} MB a worker"


def render_set(plan: Plan, out: Path, workers: int, progress: Progress) -> Outcome:
    """Render what is missing of a set into `out/NUMBER/`, one session each.

    Raises InputError for a plan that makes no sense or an `out` that holds something else; DashgazeError if rendering
    is impossible here, the disk is full or a worker was killed. Complete sessions stay in each case.
    """
    plan.check()
    check_limits({"--workers": (workers, 1, 1024)})
    _open_set(plan, out)
    with _alone(out):
        return _render_missing(plan, out, workers, progress)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a set while this one renders it. Raises InputError."""
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        remedy = "wait until it is done, or choose another folder"
        raise InputError(str(out), "is being rendered by another run", remedy) from None
    finally:
        os.close(folder)


def _render_missing(plan: Plan, out: Path, workers: int, progress: Progress) -> Outcome:
    places = [out / f"{number:05d}" for number in range(plan.sessions)]
    missing = [number for number, place in enumerate(places) if not place.exists()]
    frames = sum(plan.frames(number) for number in missing)
    progress.start(plan.sessions, plan.sessions - len(missing), frames)
    started = time.monotonic()
    peaks_mb = []
    if missing:
        with _workers(min(workers, len(missing)), progress) as pool:
            jobs = [pool.submit(_render, plan, number, places[number]) for number in missing]
            for job in jobs:
                job.add_done_callback(lambda ended: _count(ended, progress))
            done, waiting = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in waiting:
                job.cancel()
            peaks_mb = [job.result() for job in done]
    return Outcome(len(missing), frames, time.monotonic() - started, max(peaks_mb, default=0.0))


def _count(job: "Future[float]", progress: Progress) -> None:
    if not job.cancelled() and job.exception() is None:
        progress.session()


def _open_set(plan: Plan, out: Path) -> None:
    """Make `out` this plan's set, or see that it is already."""
    settings = plan.settings()
    record = SetRecord(kind=plan.kind, settings=settings)
    file = out / SET_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            if any(out.iterdir()):
                raise InputError(str(out), "holds something else", "choose a new or empty folder")
            write_record(file, record)
    except OSError as error:
        raise write_failure(out, error) from error
    there = read_record(file, SetRecord)
    if there.kind != plan.kind:
        raise InputError(f"{file}, kind", f"is {there.kind}, not {plan.kind}", "choose another folder")
    for name, value in settings.items():
        if there.settings.get(name) != value:
            raise InputError(
                f"{file}, {name}",
                f"is {there.settings.get(name)}, but {value} is asked for",
                "use the same settings to go on, or another folder",
            )


# --- processes ---

_ticks: "Queue[int] | None" = None
"""In a worker: where it tells of each frame."""


@contextmanager
def _workers(count: int, progress: Progress) -> Iterator[ProcessPoolExecutor]:
    """Processes that render; their frames reach `progress` while the block runs."""
    context = multiprocessing.get_context("spawn")
    ticks: Queue[int] = context.Queue()
    listener = threading.Thread(target=_listen, args=(ticks, progress), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker, initargs=(ticks,))
    try:
        with _one_thread_each():
            yield pool
    except KeyboardInterrupt:  # sessions in work take a minute: their folders are removed when the set is resumed
        for process in multiprocessing.active_children():
            process.kill()
        raise
    except BrokenProcessPool:
        remedy = "run it again, with fewer --workers"
        raise DashgazeError("a worker", "was killed, perhaps for want of memory", remedy) from None
    finally:
        pool.shutdown(cancel_futures=True)
        ticks.put(0)
        listener.join()


def _listen(ticks: "Queue[int]", progress: Progress) -> None:
    while ticks.get():
        progress.frame()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started in the block read this; set before they load the libraries that look at it."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker(ticks: "Queue[int]") -> None:
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    global _ticks
    _ticks = ticks
    cv2.setNumThreads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this worker when the run that started it was killed: nobody would ever give it work again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _render(plan: Plan, number: int, place: Path) -> float:
    """Render one session in a worker; returns the worker's peak of memory in MB."""

    def tick() -> None:
        if _ticks is not None:
            _ticks.put(1)

    plan.write(number, place, tick)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
