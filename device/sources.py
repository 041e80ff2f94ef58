"""Where the pictures come from: a video file, a folder of stills, a V4L2 camera, an RTSP or HTTP(S) stream.

`open_source(spec, settings)` opens any of them; a source is iterated once and yields `Frame`.

- Time. `Frame.t_s` of a file is the frame's presentation time less that of the first frame, as the
  container stamps them, so that a variable frame rate is honoured. Missing stamps, and stamps that do not
  rise, are repaired and counted. `Frame.t_s` of a live source is the monotonic clock when the picture was
  grabbed. It always rises.
- Files drop no frame: a packet that cannot be decoded is counted, and reading goes on behind it.
- Live sources: a thread reads, and only the latest picture is kept; those it replaced count as skipped. A
  source that falls silent is reopened until it answers. In the meantime iteration yields None every
  `tick_s`, so that the loop can raise its alerts.
- What happened on the way (`SourceEvent`) is fetched with `take_events()` in the thread that iterates.
"""

import re
import stat
from pathlib import Path

import cv2

from dashgaze.device import captures
from dashgaze.device.source_base import Source, SourceEvent, SourceEventKind, SourceSettings
from dashgaze.device.source_files import STILL_SUFFIXES, FileSource, StillsSource
from dashgaze.device.source_live import LiveSource
from dashgaze.errors import InputError

__all__ = ["Source", "SourceEvent", "SourceEventKind", "SourceSettings", "open_source"]


def open_source(spec: str, settings: SourceSettings | None = None) -> Source:
    """The source that `spec` names.

    `spec` is a video file, a picture or a folder of pictures, the number of a camera ("0") or its device
    ("/dev/video0"), or an rtsp, rtsps, http or https URL. A URL whose video has an end is read like a file.
    Raises InputError with the remedy if it does not open or gives no first picture.
    """
    settings = settings or SourceSettings()
    if "://" in spec:
        return _open_url(spec, settings)
    if re.fullmatch(r"[0-9]{1,3}", spec):
        return _open_camera(Path(f"/dev/video{int(spec)}"), settings)
    path = Path(spec)
    try:
        mode = path.stat().st_mode if spec else 0
    except (OSError, ValueError) as error:
        if spec.startswith("/dev/"):
            return _open_camera(path, settings)
        reason = (getattr(error, "strerror", None) or "not a path").lower()
        raise InputError(ascii(spec)[1:-1], f"cannot be opened ({reason})", "check the path") from None
    if stat.S_ISDIR(mode):
        return StillsSource(path, settings)
    if stat.S_ISCHR(mode):
        return _open_camera(path, settings)
    if not stat.S_ISREG(mode):
        raise InputError(spec or "source", "is no file", "name a video, a folder of pictures, a camera or a URL")
    if path.suffix.lower() in STILL_SUFFIXES:
        return StillsSource(path, settings)
    return FileSource("file", spec, captures.open_file(path), settings)


def _open_camera(device: Path, settings: SourceSettings) -> Source:
    def reopen() -> cv2.VideoCapture:
        return captures.open_camera(device, settings.camera_size_px, settings.camera_fps)

    return LiveSource("camera", str(device), reopen, reopen(), settings)


def _open_url(url: str, settings: SourceSettings) -> Source:
    name = captures.safe_name(url)
    if url.partition("://")[0].lower() not in captures.SCHEMES:
        raise InputError(name, "is of a kind that is not supported", f"use one of {', '.join(captures.SCHEMES)}")

    def reopen() -> cv2.VideoCapture:
        return captures.open_url(url, settings.connect_s, settings.stall_s)

    capture = reopen()
    if captures.frame_count(capture):
        return FileSource("stream", name, capture, settings)
    return LiveSource("stream", name, reopen, capture, settings)
