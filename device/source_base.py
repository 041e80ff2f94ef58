"""What every source of pictures shares: its settings, what it reports, and how it is iterated."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from dashgaze.device.records import Frame
from dashgaze.device.settings import Settings

Image = NDArray[np.uint8]
Kind = Literal["file", "folder", "camera", "stream"]


class SourceSettings(Settings):
    """Section `source` of the configuration."""

    mirror: bool = Field(
        default=False, description="flip left and right: the video was stored mirrored, as selfies are"
    )
    start_utc: datetime | None = Field(
        default=None,
        description="when the first frame of a file was taken, ISO 8601; UTC where it names no zone",
    )
    folder_fps: float = Field(
        default=1.0, gt=0, le=1000, description="stills per second of `t_s`; below 2 they are too far apart for alerts"
    )
    camera_size_px: tuple[int, int] = Field(default=(1280, 720), description="width and height to ask a camera for")
    camera_fps: float = Field(default=30.0, gt=0, le=480, description="frames per second to ask a camera for")
    tick_s: float = Field(default=0.1, gt=0, le=1, description="longest wait of a live source before it yields None")
    connect_s: float = Field(default=10.0, gt=0, le=120, description="longest wait for a stream to open")
    stall_s: float = Field(
        default=5.0, gt=0, le=60, description="a live source without a picture for this long is lost"
    )
    reconnect_s: float | None = Field(
        default=None,
        gt=0,
        description="give up on a source that stays lost for this long; never where it is not set",
    )

    @field_validator("start_utc")
    @classmethod
    def _in_utc(cls, start: datetime | None) -> datetime | None:
        if start is None or start.tzinfo is None:
            return start.replace(tzinfo=UTC) if start else None
        return start.astimezone(UTC)


class SourceEventKind(StrEnum):
    """What a source reports beside its pictures."""

    CAMERA_LOST = "camera_lost"
    CAMERA_BACK = "camera_back"
    UNREADABLE = "unreadable"
    """Pictures that could not be decoded."""
    TRUNCATED = "truncated"
    """A file that ends before its header says."""
    STAMPS_REPAIRED = "stamps_repaired"


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """Something that happened to a source at `t_s`."""

    kind: SourceEventKind
    t_s: float
    message: str


class Source(ABC):
    """Pictures in order of time, to be iterated once; a context manager.

    Iteration yields `Frame`, and from a live source also None where nothing new came within `tick_s`.
    """

    def __init__(self, kind: Kind, name: str, live: bool) -> None:
        self.kind: Kind = kind
        self.name = name
        """Path, device, or URL without its secrets."""
        self.live = live
        self.size_px: tuple[int, int] | None = None
        """Width and height of the latest picture."""
        self.fps: float | None = None
        """As the source declares it."""
        self.frame_count: int | None = None
        """As a file declares or implies it, for progress only."""
        self.skipped = 0
        """Pictures of a live source that were replaced by a newer one before they were taken."""
        self.reconnects = 0
        """Times a live source was lost and came back."""
        self.unreadable = 0
        """Pictures or packets that could not be decoded."""
        self.stamps_repaired = 0
        self.truncated = False
        self._events: deque[SourceEvent] = deque()
        self._stopped = threading.Event()

    @abstractmethod
    def __iter__(self) -> Iterator[Frame | None]: ...

    def take_events(self) -> list[SourceEvent]:
        """What happened since the last call, oldest first."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def now_s(self) -> float:
        """The clock of a live source; a file's stands still between its frames."""
        return 0.0

    @property
    def lost(self) -> bool:
        """Whether a live source is silent at the moment."""
        return False

    def stop(self) -> None:
        """End the iteration after the frame at hand; safe in another thread and in a signal handler."""
        self._stopped.set()

    def close(self) -> None:
        """Stop, and free the device or file; takes less than a second."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _report(self, kind: SourceEventKind, t_s: float, message: str) -> None:
        self._events.append(SourceEvent(kind, t_s, message))

    def _upright(self, image: Image, mirror: bool) -> Image:
        self.size_px = (image.shape[1], image.shape[0])
        return np.asarray(cv2.flip(image, 1), np.uint8) if mirror else image


def utc_ns(start: datetime | None, t_s: float) -> int | None:
    """Nanoseconds since 1970 of the moment `t_s` after `start`; None where `start` is unknown."""
    if start is None:
        return None
    since_epoch = start - datetime(1970, 1, 1, tzinfo=UTC)
    return since_epoch // timedelta(microseconds=1) * 1000 + round(t_s * 1e9)
