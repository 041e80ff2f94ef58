"""Renders a set of drives in several processes: resumable, and the same whatever their number.

`OUT/set.json` says what the set is; each drive is a session folder beside it that appears when it is complete. A run
goes on where an earlier one ended, however it ended, and may make the set larger.
"""

import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Literal, Protocol

from dashgaze.errors import DashgazeError, InputError
from dashgaze.session import Record, read_record, write_record
from dashgaze.tables import write_failure
from dashgaze.training.synth.drives import MAX_SEED, DrivePlan, SetPlan, Style
from dashgaze.training.synth.records import LightKind

SET_FILE = "set.json"
ONE_THREAD = ("LP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Mesa's rasteriser and numpy: processes share the cores, threads on top of them only get in each other's way."""


class SetRecord(Record):
    """`set.json`: what must stay the same when a set is resumed or made larger."""

    schema_version: Literal[1] = 1
    seed: int
    duration_s: float
    rate_hz: float
    style: Style
    recurring: bool
    light: LightKind | None
    masks: bool


class Progress(Protocol):
    """Is told how a set comes along."""

    def start(self, drives: int, done: int, frames: int) -> None:
        """Begin: so many drives, of which so many are there already; frames that are still to be rendered."""

    def frame(self) -> None:
        """One more frame is rendered."""

    def drive(self) -> None:
        """One more drive is complete."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did."""

    drives: int
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


def render_set(plan: SetPlan, out: Path, workers: int, progress: Progress) -> Outcome:
    """Render what is missing of a set into `out/NUMBER/`, one session each.

    Raises InputError for a plan that makes no sense or an `out` that holds something else; DashgazeError if rendering
    is impossible here, the disk is full or a worker was killed. Complete drives stay in each case.
    """
    check_plan(plan, workers)
    _open_set(plan, out)
    places = [out / f"{number:05d}" for number in range(plan.sessions)]
    missing = [number for number, place in enumerate(places) if not place.exists()]
    frames = round(plan.duration_s * plan.rate_hz)
    progress.start(plan.sessions, plan.sessions - len(missing), frames * len(missing))
    started = time.monotonic()
    peaks_mb = []
    if missing:
        with _workers(min(workers, len(missing)), progress) as pool:
            jobs = [pool.submit(_render, plan.drive(number), places[number], plan.masks) for number in missing]
            for job in jobs:
                job.add_done_callback(
                    lambda ended: None if ended.cancelled() or ended.exception() else progress.drive()
                )
            done, waiting = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in waiting:
                job.cancel()
            peaks_mb = [job.result() for job in done]
    return Outcome(len(missing), frames * len(missing), time.monotonic() - started, max(peaks_mb, default=0.0))


def check_plan(plan: SetPlan, workers: int) -> None:
    """Raise InputError for the first value of a plan that makes no sense."""
    limits: dict[str, tuple[float, float, float]] = {
        "--sessions": (plan.sessions, 1, 100_000),
        "--seed": (plan.seed, 0, MAX_SEED),
        "--duration": (plan.duration_s, 1, 3600),
        "--rate": (plan.rate_hz, 0.1, 60),
        "--workers": (workers, 1, 1024),
    }
    for option, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise InputError(option, f"is {value:g}", f"use {low:g} to {high:g}")
    if plan.duration_s * plan.rate_hz < 1:
        raise InputError("--duration and --rate", "give less than one frame", "make one of them larger")


def _open_set(plan: SetPlan, out: Path) -> None:
    """Make `out` this plan's set, or see that it is already."""
    record = SetRecord(**{name: getattr(plan, name) for name in SetRecord.model_fields if name != "schema_version"})
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
    for name in SetRecord.model_fields:
        if getattr(there, name) != getattr(record, name):
            raise InputError(
                f"{file}, {name}",
                f"is {getattr(there, name)}, but {getattr(record, name)} is asked for",
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


def _render(plan: DrivePlan, place: Path, masks: bool) -> float:
    """Render one drive in a worker; returns the worker's peak of memory in MB."""
    from dashgaze.training.synth.film import write_drive

    def tick() -> None:
        if _ticks is not None:
            _ticks.put(1)

    write_drive(plan, place, masks, tick)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
