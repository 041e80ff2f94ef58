"""Sources without an end: cameras and network streams. The latest picture wins; a lost source is reopened."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from dashgaze.device import captures
from dashgaze.device.records import Frame
from dashgaze.device.source_base import Image, Kind, Source, SourceEventKind, SourceSettings
from dashgaze.errors import DashgazeError, InputError

_CLOSE_S = 0.8
_BACKOFF_S = (0.25, 4.0)
"""First and longest pause between two attempts to reopen."""
_SILENCE_S = 1.0
"""Failed reads for this long mean that the source is gone; a damaged packet fails once."""


@dataclass(frozen=True, slots=True)
class _Shot:
    image: Image
    number: int
    t_s: float
    timestamp_ns: int


class LiveSource(Source):
    """A camera or an endless stream: its latest picture, reopened whenever it falls silent.

    One thread owns the capture and is the only one to touch it, because a capture must not be released
    while a grab blocks. It stamps each picture, and puts it where `__iter__` takes it from.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        reopen: Callable[[], cv2.VideoCapture],
        capture: cv2.VideoCapture,
        settings: SourceSettings,
    ) -> None:
        """Waits for the first picture; raises InputError if `capture` gives none."""
        super().__init__(kind, name, live=True)
        self._settings = settings
        self._reopen = reopen
        self.fps = captures.nominal_fps(capture)
        first = _first_picture(capture, settings.stall_s)
        if first is None:
            capture.release()
            raise InputError(name, "opens, but gives no picture", "name another camera; `dashgaze doctor` lists them")
        self._start_s = time.monotonic()
        self._changed = threading.Condition()
        self._shot: _Shot | None = _Shot(first, 0, 0.0, time.time_ns())
        self._shots = 1
        self._taken = -1
        self._last_s = 0.0
        self._lost_s: float | None = None
        self._failure: Exception | None = None
        self._reader = threading.Thread(target=self._run, args=(capture,), name=f"reader {name}", daemon=True)
        self._reader.start()

    def __iter__(self) -> Iterator[Frame | None]:
        """Raises DashgazeError if the source stays lost for `reconnect_s`."""
        while not self._stopped.is_set():
            with self._changed:
                if self._shot is None and self._failure is None:
                    self._changed.wait(self._settings.tick_s)
                shot, self._shot = self._shot, None
                self._check_silence()
            if shot is None:
                yield None
                continue
            skipped = shot.number - self._taken - 1
            self._taken = shot.number
            self.skipped += skipped
            image = self._upright(shot.image, self._settings.mirror)
            yield Frame(shot.number, shot.t_s, image, shot.timestamp_ns, skipped)

    @property
    def lost(self) -> bool:
        """No picture has come for so long that the camera counts as lost."""
        return self._lost_s is not None

    def close(self) -> None:
        """Stop the reader; one that is blocked frees its capture later, by itself."""
        super().close()
        self._reader.join(_CLOSE_S)

    def now_s(self) -> float:
        """The clock of `Frame.t_s`."""
        return time.monotonic() - self._start_s

    def _check_silence(self) -> None:
        """Within the lock: declare the source lost or given up, and pass on what broke the reader."""
        if self._failure is not None:
            raise self._failure
        now_s = self.now_s()
        if self._lost_s is None and now_s - self._last_s > self._settings.stall_s:
            self._lose(f"no picture for {self._settings.stall_s:g} s")
        limit_s = self._settings.reconnect_s
        if limit_s is not None and self._lost_s is not None and now_s - self._lost_s > limit_s:
            raise DashgazeError(self.name, f"was lost and did not return within {limit_s:g} s", "check its cable")

    def _lose(self, reason: str) -> None:
        with self._changed:
            if self._lost_s is None and not self._stopped.is_set():
                self._lost_s = self.now_s()
                self._report(SourceEventKind.CAMERA_LOST, self._lost_s, f"{self.name}: {reason}")

    def _run(self, capture: cv2.VideoCapture | None) -> None:
        try:
            backoff_s, longest_s = _BACKOFF_S
            while not self._stopped.is_set():
                if capture is None:
                    self._stopped.wait(backoff_s)
                    backoff_s = min(2 * backoff_s, longest_s)
                    capture = self._try_reopen()
                    continue
                if self._read_until_silent(capture):
                    backoff_s = _BACKOFF_S[0]
                capture.release()
                capture = None
                self._lose("gives no more pictures")
            if capture is not None:
                capture.release()
        except Exception as error:  # passed on to the thread that iterates
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _try_reopen(self) -> cv2.VideoCapture | None:
        try:
            return None if self._stopped.is_set() else self._reopen()
        except InputError:
            return None

    def _read_until_silent(self, capture: cv2.VideoCapture) -> bool:
        """Publish pictures until none came for a second; True if there was one."""
        last_s, some = time.monotonic(), False
        while not self._stopped.is_set():
            image: object = None
            if capture.grab():
                t_s, timestamp_ns = self.now_s(), time.time_ns()
                image = capture.retrieve()[1]
            if isinstance(image, np.ndarray):
                self._publish(np.asarray(image, np.uint8), t_s, timestamp_ns)
                last_s, some = time.monotonic(), True
            elif time.monotonic() - last_s > _SILENCE_S:
                return some
            else:  # a damaged packet, or the end
                self.unreadable += 1
                self._stopped.wait(0.02)
        return some

    def _publish(self, image: Image, t_s: float, timestamp_ns: int) -> None:
        with self._changed:
            self._shot = _Shot(image, self._shots, t_s, timestamp_ns)
            self._shots += 1
            self._last_s = t_s
            if self._lost_s is not None:
                self.reconnects += 1
                message = f"{self.name}: back after {t_s - self._lost_s:.1f} s"
                self._report(SourceEventKind.CAMERA_BACK, t_s, message)
                self._lost_s = None
            self._changed.notify_all()


def _first_picture(capture: cv2.VideoCapture, wait_s: float) -> Image | None:
    end_s = time.monotonic() + wait_s
    while time.monotonic() < end_s:
        taken, image = capture.read()
        if taken:
            return np.asarray(image, np.uint8)
        time.sleep(0.02)
    return None
