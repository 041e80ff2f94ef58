"""Sources with an end: stills and video files. They drop nothing, and repair time stamps."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dashgaze.device import captures
from dashgaze.device.records import Frame
from dashgaze.device.source_base import Image, Kind, Source, SourceEventKind, SourceSettings, utc_ns
from dashgaze.errors import InputError

STILL_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_MAX_STILL_BYTES = 1 << 28
_BAD_PACKETS_IN_A_ROW = 300
_ENDS_EARLY_S = 0.5


class StillsSource(Source):
    """A picture, or those of a folder in natural order ("2.jpg" before "10.jpg"), `folder_fps` to the second.

    EXIF orientation is honoured. A picture that cannot be decoded is reported, counted and left out; its
    number and its time stay free.
    """

    def __init__(self, path: Path, settings: SourceSettings) -> None:
        super().__init__("folder", str(path), live=False)
        self._paths = _stills_of(path)
        self._settings = settings
        self.fps = settings.folder_fps
        self.frame_count = len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """Raises InputError at the end if not one picture could be decoded."""
        for index, path in enumerate(self._paths):
            if self._stopped.is_set():
                return
            t_s = index / self._settings.folder_fps
            image = _decode_still(path)
            if image is None:
                self.unreadable += 1
                self._report(SourceEventKind.UNREADABLE, t_s, f"{path}: is no picture that can be decoded")
                continue
            image = self._upright(image, self._settings.mirror)
            yield Frame(index, t_s, image, utc_ns(self._settings.start_utc, t_s))
        if self.unreadable == len(self._paths):
            raise InputError(self.name, "not one of its pictures can be decoded", "check that they are pictures")


def _stills_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    try:
        stills = [
            entry
            for entry in path.iterdir()
            if entry.suffix.lower() in STILL_SUFFIXES and entry.name[0] != "." and entry.is_file()
        ]
    except OSError as error:
        raise InputError(str(path), f"cannot be listed ({error.strerror})", "check its permissions") from None
    if not stills:
        kinds = " ".join(sorted(STILL_SUFFIXES))
        raise InputError(str(path), f"holds no pictures ({kinds})", "name a folder with pictures, or a video file")
    return sorted(stills, key=lambda still: (natural_key(still.name), still.name))


def natural_key(name: str) -> list[int | str]:
    """Sort key under which runs of digits compare as numbers and letters without their case."""
    return [int(part) if at % 2 else part for at, part in enumerate(re.split(r"([0-9]+)", name.casefold()))]


def _decode_still(path: Path) -> Image | None:
    try:
        if path.stat().st_size > _MAX_STILL_BYTES:
            return None
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, MemoryError, cv2.error):
        return None
    if image is None or image.shape[0] * image.shape[1] > captures.MAX_PIXELS:
        return None
    return np.asarray(image, np.uint8)


class FileSource(Source):
    """A video with an end, every frame of it."""

    def __init__(self, kind: Kind, name: str, capture: cv2.VideoCapture, settings: SourceSettings) -> None:
        """Raises InputError if `capture` gives no picture at all."""
        super().__init__(kind, name, live=False)
        self._capture = capture
        self._settings = settings
        self.fps = captures.nominal_fps(capture)
        self.frame_count = captures.frame_count(capture)
        self._first = self._read()
        if self._first is None:
            capture.release()
            raise InputError(
                name,
                "has a header, but no picture that can be decoded",
                "copy or record it again; download it first if it lies on the net",
            )

    def __iter__(self) -> Iterator[Frame]:
        clock = PresentationClock(self.fps)
        index, t_s = -1, 0.0
        decoded, self._first = self._first, None
        while decoded is not None and not self._stopped.is_set():
            image, stamp_s = decoded
            index, t_s = index + 1, clock.rise_to(stamp_s)
            self.stamps_repaired = clock.repaired
            image = self._upright(image, self._settings.mirror)
            yield Frame(index, t_s, image, utc_ns(self._settings.start_utc, t_s))
            del image, decoded  # so that no more than one picture is held while the next is decoded
            decoded = self._read()
        if not self._stopped.is_set():
            self._sum_up(index + 1, t_s)

    def close(self) -> None:
        """Stop and close the file."""
        super().close()
        self._capture.release()

    def _read(self) -> tuple[Image, float] | None:
        """The next picture and its container stamp in seconds; None at the end."""
        bad = 0
        # FFmpeg reports the end and a damaged packet alike, but goes on behind the latter. From the net, a
        # failure is the end of the connection, and each further try could block.
        tries = _BAD_PACKETS_IN_A_ROW if self.kind == "file" else 1
        while bad < tries and not self._stopped.is_set():
            if self._capture.grab():
                stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
                taken, image = self._capture.retrieve()
                if taken:
                    self.unreadable += bad
                    return np.asarray(image, np.uint8), stamp_s
            bad += 1
        return None

    def _sum_up(self, frames: int, t_s: float) -> None:
        if self.unreadable:
            message = f"{self.name}: {self.unreadable} packets could not be decoded"
            self._report(SourceEventKind.UNREADABLE, t_s, message)
        if self.stamps_repaired:
            message = f"{self.name}: {self.stamps_repaired} time stamps were missing or did not rise"
            self._report(SourceEventKind.STAMPS_REPAIRED, t_s, message)
        if self.fps is None or self.frame_count is None:
            return
        expected_s = self.frame_count / self.fps
        self.truncated = frames < 0.98 * self.frame_count and t_s < 0.98 * expected_s - _ENDS_EARLY_S
        if self.truncated:
            message = f"{self.name}: ends after {t_s:.1f} s, but its header promises {expected_s:.1f} s"
            self._report(SourceEventKind.TRUNCATED, t_s, message)


class PresentationClock:
    """Presentation times that start at 0 and always rise, from the stamps of a container.

    A stamp that is missing (0 after the first frame, or absurd) follows its predecessor by a nominal
    interval; one that does not rise, by half of it, so that true stamps take over again. Stamps that start
    anew (parts joined into one file) go on from where they were. All these count as repaired.
    """

    _ABSURD_S = 1e7
    _ANEW_S = 1.0

    def __init__(self, fps: float | None) -> None:
        self.repaired = 0
        self._interval_s = 1.0 / (fps or 30.0)
        self._last_s: float | None = None
        self._offset_s = 0.0

    def rise_to(self, stamp_s: float) -> float:
        """The time of the frame with this stamp, in seconds after the first."""
        known = math.isfinite(stamp_s) and abs(stamp_s) < self._ABSURD_S
        if self._last_s is None:
            self._offset_s = -stamp_s if known else 0.0
            self._last_s = 0.0
            return 0.0
        t_s = stamp_s + self._offset_s
        if not known or stamp_s == 0.0:
            self.repaired += 1
            t_s = self._last_s + self._interval_s
        elif t_s <= self._last_s:
            self.repaired += 1
            anew = t_s < self._last_s - self._ANEW_S
            t_s = self._last_s + self._interval_s / (1 if anew else 2)
            if anew:
                self._offset_s = t_s - stamp_s
        self._last_s = t_s
        return t_s
