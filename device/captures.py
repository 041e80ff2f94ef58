"""Opening OpenCV captures: video files, V4L2 cameras and network streams, and saying why one does not open.

Files and streams go through the FFmpeg that OpenCV carries, with one decoding thread: a device has one core
for it, and a second thread decodes no more frames per processor second. FFmpeg and OpenCV are kept from
writing to the terminal, because `InputError` says it all; OPENCV_FFMPEG_LOGLEVEL=40 and
OPENCV_LOG_LEVEL=DEBUG bring their messages back.
"""

import os
import re
import socket
import stat
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import cv2

from dashgaze.errors import InputError

SCHEMES = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""Network streams that are opened, and their usual ports."""

MAX_PIXELS = 1 << 26
"""Largest picture, 67 million pixels: 8K (7680 x 4320, 100 MB as BGR) is in, a decompression bomb is out."""

_MAX_FPS = 480.0
_MAX_FRAMES = 1e9
_MAX_MOOV_BYTES = 1 << 28
_AUDIO_MAGIC = (b"ID3", b"fLaC", b"OggS", b"\xff\xfb", b"\xff\xf1")

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read at each open
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")  # seconds; a hung driver blocks no longer
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def open_file(path: Path) -> cv2.VideoCapture:
    """A capture of the video file at `path`, upright (its rotation is applied).

    Raises InputError naming what is wrong with the file.
    """
    name = str(path)
    if not name.isprintable() and not _is_utf8(name):  # OpenCV crashes on such a name
        raise InputError(ascii(name), "has a name that is not UTF-8", "rename it")
    if not os.access(path, os.R_OK):
        raise InputError(name, "may not be read", "give this user read permission")
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        raise InputError(name, *why_closed(path))
    refuse_oversize(capture, name)
    return capture


def open_camera(device: Path, size_px: tuple[int, int], fps: float) -> cv2.VideoCapture:
    """A capture of the V4L2 camera at `device`, asked for `size_px` and `fps`.

    The device's driver gives the nearest that it has. Raises InputError if the device is absent, forbidden,
    busy or not a camera.
    """
    name = str(device)
    if not _is_device(device):
        raise InputError(name, "there is no such camera", "plug it in; `dashgaze doctor` lists the cameras")
    if not os.access(device, os.R_OK | os.W_OK):
        raise InputError(name, "may not be opened", "add this user to the group `video` and log in again")
    width, height = size_px
    # The format first: most USB cameras reach 30 frames/s at 1280 x 720 as MJPEG only.
    wanted = {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: width,
        cv2.CAP_PROP_FRAME_HEIGHT: height,
        cv2.CAP_PROP_FPS: round(fps),
    }
    capture = cv2.VideoCapture(name, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise InputError(
            name,
            "is no camera, or another program uses it",
            "close the other program, or name another camera",
        )
    for prop, value in wanted.items():
        capture.set(prop, value)
    refuse_oversize(capture, name)
    return capture


def open_url(url: str, connect_s: float, stall_s: float) -> cv2.VideoCapture:
    """A capture of the RTSP or HTTP(S) stream at `url`.

    Connecting takes `connect_s` at most, and waiting for a picture `stall_s`. Raises InputError, which names
    the URL without its credentials.
    """
    name = safe_name(url)
    _reach(url, connect_s)
    options = {
        cv2.CAP_PROP_N_THREADS: 1,
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: round(connect_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: round(stall_s * 1000),
    }
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [number for pair in options.items() for number in pair])
    if not capture.isOpened():
        raise InputError(name, "answers, but gives no video", "check the path, the user name and the password")
    refuse_oversize(capture, name)
    return capture


def safe_name(url: str) -> str:
    """`url` without user name, password, query and fragment, any of which may be a secret."""
    scheme, _, rest = url.partition("://")
    authority, path = re.fullmatch(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    if "@" in path:  # perhaps a password with an unescaped / ? or #
        return f"{scheme}://(hidden)"
    return f"{scheme}://{authority.rpartition('@')[2]}{re.split('[?#]', path)[0]}"


def nominal_fps(capture: cv2.VideoCapture) -> float | None:
    """Frames per second as the source declares them; None where it declares nothing plausible."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0.0 < fps <= _MAX_FPS else None


def frame_count(capture: cv2.VideoCapture) -> int | None:
    """Frames of a file, estimated from its header; None for a stream without an end."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 0.0 < count <= _MAX_FRAMES and nominal_fps(capture) else None


def refuse_oversize(capture: cv2.VideoCapture, name: str) -> None:
    """Close `capture` and raise InputError if its pictures exceed MAX_PIXELS."""
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if width * height > MAX_PIXELS:
        capture.release()
        raise InputError(name, f"its pictures are {width:.0f} x {height:.0f} pixels, too large", "scale it down")


def why_closed(path: Path) -> tuple[str, str]:
    """Problem and remedy of a video file that FFmpeg does not open."""
    copy_again = "copy or record it again"
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if not head:
                return "is empty", copy_again
            if head[4:8] == b"ftyp":
                return _why_mp4_closed(file)
    except OSError as error:
        return f"cannot be read ({error.strerror})", copy_again
    if head.startswith(_AUDIO_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
        return "has no video stream, only sound", "name the file with the pictures"
    if b"\0" not in head and _is_text(head):
        return "is a text file, not a video", "name a video file"
    return "is damaged, or not a video that FFmpeg knows", "re-encode it: ffmpeg -i IN -c:v libx264 OUT.mp4"


def _why_mp4_closed(file: BinaryIO) -> tuple[str, str]:
    moov = _find_moov(file)
    if moov is None:
        return (
            "its index (the moov box) is missing: the recording was cut off",
            "copy it again, or rebuild the index with a repair tool such as untrunc",
        )
    if not re.search(rb"hdlr.{8}vide", moov, re.DOTALL):
        return "has no video stream, only sound or data", "name the file with the pictures"
    return "its video stream cannot be decoded", "re-encode it: ffmpeg -i IN -c:v libx264 OUT.mp4"


def _find_moov(file: BinaryIO) -> bytes | None:
    """Body of the top-level `moov` box (ISO/IEC 14496-12, 4.2 and 8.2); None where absent or cut off."""
    end = file.seek(0, os.SEEK_END)
    at = 0
    while at + 8 <= end:
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4])
        if size == 1:
            size = int.from_bytes(header[8:16])
        elif size == 0:
            size = end - at
        if size < 8:
            return None
        if header[4:8] == b"moov":
            file.seek(at)
            return file.read(min(size, _MAX_MOOV_BYTES)) if at + size <= end else None
        at += size
    return None


def _reach(url: str, connect_s: float) -> None:
    """Raise InputError with the reason if nothing listens at `url`: FFmpeg gives none."""
    name = safe_name(url)
    try:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or SCHEMES[parts.scheme])
    except ValueError:  # its message may quote the password
        raise InputError(
            name,
            "is no valid address",
            "write rtsp://HOST:PORT/PATH, with %-escapes in user name and password",
        ) from None
    try:
        socket.create_connection(address, timeout=connect_s).close()
    except (OSError, UnicodeError) as error:  # a host name that IDNA cannot encode raises UnicodeError
        reason = "timed out" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
        raise InputError(
            name, f"cannot be reached ({reason.lower()})", "check the address and that the camera is on"
        ) from None


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # cut within a character
    return True
