"""Writes pictures as H.264 in MP4, frame by frame, with their own times."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from dashgaze.tables import write_failure

_TICK = Fraction(1, 90_000)
"""Seconds, the time base of MP4 video: a frame's time is right to 11 microseconds."""


class FrameWriter(Protocol):
    """Takes the pictures of one video."""

    def write(self, picture: NDArray[np.uint8], t_s: float) -> None:
        """Add a picture (height, width, 3), BGR, shown from `t_s` on; times grow."""


class _H264:
    def __init__(
        self, path: Path, container: av.container.OutputContainer, size_px: tuple[int, int], frame_s: float, crf: int
    ) -> None:
        self._path = path
        self._container = container
        self._frame_ticks = round(frame_s / _TICK)
        # One thread, because the bytes of a video must not depend on the number of cores.
        self._stream = container.add_stream("libx264", options={"crf": str(crf), "preset": "veryfast", "threads": "1"})
        self._stream.width, self._stream.height = size_px
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TICK

    def write(self, picture: NDArray[np.uint8], t_s: float) -> None:
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = round(t_s / _TICK)
        frame.time_base = _TICK
        self._encode(frame)

    def finish(self) -> None:
        self._encode(None)
        self._guard(self._container.close)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        packets = self._stream.encode(frame)
        for packet in packets:
            packet.duration = self._frame_ticks  # or the last frame would have none
        self._guard(lambda: self._container.mux(packets))

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:  # av's own errors are OSErrors too
            raise write_failure(self._path, error) from error


@contextmanager
def write_video(path: Path, size_px: tuple[int, int], frame_s: float, crf: int = 23) -> Iterator[FrameWriter]:
    """Write a video of `size_px` (width, height, both even); a frame is shown for `frame_s`, or until the next.

    `crf` is x264's quality: 18 looks lossless, 23 is its default, 32 is a cheap dashcam. The file is complete when the
    block ends; after an error what is there cannot be used. Raises DashgazeError if the disk refuses.
    """
    try:
        container = av.open(str(path), "w", format="mp4")
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        writer = _H264(path, container, size_px, frame_s, crf)
        yield writer
        writer.finish()
    finally:
        with suppress(OSError):  # after an error: closing a full disk's file fails again
            container.close()
