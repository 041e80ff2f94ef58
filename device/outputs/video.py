"""The annotated video: a WebM file (VP8) that every browser plays, written while the loop runs.

Encoding has a thread of its own and a short queue: a file source waits for it, a live one never does and
loses pictures instead. The `ffmpeg` program encodes where it is installed (in real time, one process
more); OpenCV's own encoder does otherwise, with settings for quality that cannot be changed: the same
file, ten times slower.

Pictures come at any times, the video has a constant rate: a slot without a picture of its own repeats the
one before. The file has its name only when it is complete.
"""

import glob
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.errors import DashgazeError, InputError

Image = NDArray[np.uint8]

LONGEST_GAP_S = 10.0
"""A longer time without pictures is cut to this in the video."""

_QUEUED_PICTURES = 4
_FFMPEG_WAIT_S = 60.0
_REALTIME_VP8 = (
    *("-c:v", "libvpx", "-pix_fmt", "yuv420p", "-b:v", "5M", "-g", "150", "-threads", "1"),
    *("-deadline", "realtime", "-cpu-used", "16", "-static-thresh", "500"),
)


class _Encoder(Protocol):
    """What turns pictures of one size into a file."""

    def write(self, picture: Image) -> None:
        """Add a picture."""

    def finish(self) -> None:
        """Complete the file."""


class AnnotatedVideo:
    """Writes pictures with their times to `path`, a `.webm` file, at a constant `fps`.

    Raises InputError for a place that cannot be written to. Nothing is created before the first picture. Left
    by an exception, it removes what it wrote.
    """

    def __init__(self, path: Path, fps: float, live: bool = False) -> None:
        """With `live`, pictures are dropped where the encoder falls behind; else `write` waits for it."""
        if path.suffix != ".webm":
            raise InputError(str(path), "is not a name for an annotated video", "end it in .webm")
        if not _is_text(str(path)):  # OpenCV crashes on such a name
            raise InputError(ascii(str(path)), "is not UTF-8", "use another name")
        if not path.absolute().parent.is_dir():
            raise InputError(str(path), "lies in a folder that does not exist", "create the folder")
        if path.is_dir():
            raise InputError(str(path), "is a folder", "name a file")
        self.path = path
        _clear_leftovers(path)
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.webm")
        self._fps, self._live = fps, live
        self._start_s: float | None = None
        self._slot = -1  # of the newest picture taken
        self._queue: queue.Queue[tuple[Image, int] | None] = queue.Queue(_QUEUED_PICTURES)
        self._thread: threading.Thread | None = None
        self._failure: DashgazeError | None = None
        self._discarded = False

    def wants(self, t_s: float) -> bool:
        """Whether the video has a slot left for this time; if live, also whether the encoder keeps up."""
        if self._live and self._queue.full():
            return False
        return self._slot_at(t_s) > self._slot

    def write(self, picture: Image, t_s: float) -> None:
        """Add the picture of time `t_s`; one that the video does not want is passed over.

        The picture must not be changed afterwards. Raises DashgazeError where encoding failed.
        """
        if self._failure is not None:
            raise self._failure
        if not self.wants(t_s):
            return
        if self._start_s is None:
            self._start_s = t_s
            self._thread = threading.Thread(target=self._encode, name="annotated video", daemon=True)
            self._thread.start()
        missed = self._slot_at(t_s) - self._slot - 1
        too_many = max(0, missed - round(LONGEST_GAP_S * self._fps))
        self._start_s += too_many / self._fps
        self._slot += missed - too_many + 1
        self._queue.put((picture, missed - too_many))

    def close(self) -> None:
        """Finish the file and give it its name; without any picture there is none.

        Raises DashgazeError where encoding failed; then nothing is left behind.
        """
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join()
        self._thread = None
        if self._failure is not None or self._discarded:
            self._partial.unlink(missing_ok=True)
        if self._failure is not None:
            raise self._failure
        if not self._discarded:
            self._publish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discarded = kind is not None
        try:
            self.close()
        except DashgazeError:
            if kind is None:
                raise

    def _slot_at(self, t_s: float) -> int:
        """Number of the video's picture that is shown at a time; rounding never costs a picture its slot."""
        return 0 if self._start_s is None else int(np.floor((t_s - self._start_s) * self._fps + 1e-3))

    def _encode(self) -> None:
        """Take pictures from the queue until the end; after a failure, only empty the queue."""
        encoder: _Encoder | None = None
        before: Image | None = None
        while (item := self._queue.get()) is not None:
            picture, missed = item
            if self._failure is not None or self._discarded:
                continue
            try:
                if encoder is None:
                    encoder = _open_encoder(self._partial, self._fps, (picture.shape[1], picture.shape[0]))
                if before is not None:
                    for _ in range(missed):
                        encoder.write(before)
                encoder.write(picture)
                before = picture
            except (OSError, cv2.error, DashgazeError) as error:
                self._failure = self._failed(error)
        try:
            if encoder is not None:
                encoder.finish()
        except (OSError, cv2.error, DashgazeError) as error:  # says more than a broken pipe
            self._failure = self._failed(error)

    def _failed(self, error: Exception) -> DashgazeError:
        return DashgazeError(str(self.path), f"could not be encoded: {error}", "is the disk full?")

    def _publish(self) -> None:
        """Check that the file plays to its end, and rename it."""
        capture = cv2.VideoCapture(str(self._partial), cv2.CAP_FFMPEG)
        pictures = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0.0
        capture.release()
        if pictures < self._slot:
            self._partial.unlink(missing_ok=True)
            raise DashgazeError(str(self.path), "could not be written completely", "is the disk full?")
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.replace(self.path)


class _FfmpegEncoder:
    """The `ffmpeg` program, fed with raw pictures."""

    def __init__(self, program: str, path: Path, fps: float, size_px: tuple[int, int]) -> None:
        raw = ("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{size_px[0]}x{size_px[1]}", "-r", f"{fps:.6f}")
        command = (
            program,
            "-v",
            "error",
            "-nostdin",
            "-y",
            *raw,
            "-i",
            "pipe:0",
            *_REALTIME_VP8,
            f"file:{path}",
        )
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `finish`
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            start_new_session=True,  # Ctrl-C stops the loop, which then completes the file
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin

    def write(self, picture: Image) -> None:
        self._stdin.write(np.ascontiguousarray(picture).data)

    def finish(self) -> None:
        with self._messages:
            try:
                self._stdin.close()
                code = self._process.wait(_FFMPEG_WAIT_S)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                code = self._process.wait()
            if code != 0:
                self._messages.seek(0)
                said = self._messages.read(4096).decode(errors="replace").strip()
                raise DashgazeError("ffmpeg", said.splitlines()[-1] if said else f"ended with exit code {code}")


class _OpencvEncoder:
    """OpenCV's own VP8 encoder."""

    def __init__(self, path: Path, fps: float, size_px: tuple[int, int]) -> None:
        with _quiet_stderr():
            fourcc = cv2.VideoWriter.fourcc(*"VP80")
            self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, size_px)
        if not self._writer.isOpened():
            raise DashgazeError("OpenCV", "cannot write VP8 here")

    def write(self, picture: Image) -> None:
        self._writer.write(picture)

    def finish(self) -> None:
        self._writer.release()


def _clear_leftovers(path: Path) -> None:
    """Remove what a killed run left of the same video: it shows a face, and nobody would find it."""
    for leftover in path.absolute().parent.glob(f".{glob.escape(path.stem)}.*.partial.webm"):
        pid = leftover.name.split(".")[-3]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            leftover.unlink(missing_ok=True)


def _open_encoder(path: Path, fps: float, size_px: tuple[int, int]) -> _Encoder:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))  # a face is nobody else's business
    program = shutil.which("ffmpeg")
    if program is not None and _encodes_vp8(program):
        return _FfmpegEncoder(program, path, fps, size_px)
    return _OpencvEncoder(path, fps, size_px)


def _encodes_vp8(program: str) -> bool:
    """Whether this build of ffmpeg has the encoder."""
    try:
        run = subprocess.run((program, "-v", "quiet", "-encoders"), capture_output=True, timeout=10.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b" libvpx " in run.stdout


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """OpenCV prints that WebM has no tag for VP8, though it needs none, and has no switch for that."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
