"""Tiny real media for tests: videos, stills, broken files, and an MJPEG camera on the loopback.

Every picture says which one it is: `picture(i)` has a grey level that `number_of` reads back through a lossy
codec, and a red block in its top left corner, so that flips and rotations show.
"""

import struct
import threading
import time
import wave
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
SIZE_PX = (160, 120)
# Neighbours differ by 90 grey levels, so that no codec takes them for the same.
_LEVELS, _LEVEL_STEP, _STRIDE = 12, 18, 5


def picture(index: int, size_px: tuple[int, int] = SIZE_PX) -> Image:
    """Picture number `index`; the grey level repeats after 12."""
    width, height = size_px
    image = np.full((height, width, 3), 30 + _LEVEL_STEP * (index * _STRIDE % _LEVELS), np.uint8)
    image[: height // 3, : width // 4] = (0, 0, 255)
    return image


def number_of(image: Image) -> int:
    """Number, modulo 12, of a picture made by `picture`, mirrored or turned as it may be."""
    height, width = image.shape[:2]
    middle = image[height // 2 :, width // 2 - width // 8 : width // 2 + width // 8 + 1]
    return round((float(middle.mean()) - 30) / _LEVEL_STEP) * pow(_STRIDE, -1, _LEVELS) % _LEVELS


def red_corner(image: Image) -> str:
    """Where the red block is: "top left", "top right", "bottom left" or "bottom right"."""
    red = image[:, :, 2].astype(int) - image[:, :, 1] > 60
    y, x = np.argwhere(red).mean(axis=0)
    vertical = "top" if y < image.shape[0] / 2 else "bottom"
    return f"{vertical} {'left' if x < image.shape[1] / 2 else 'right'}"


def write_video(
    path: Path,
    frames: int = 10,
    fps: float = 10.0,
    size_px: tuple[int, int] = SIZE_PX,
    fourcc: str = "mp4v",
    draw: Callable[[int, tuple[int, int]], Image] = picture,
) -> Path:
    """A video of `draw(0), draw(1), ...`; the suffix gives the container (.mp4 .avi .mkv with mp4v, MJPG)."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), fps, size_px)
    assert writer.isOpened(), f"OpenCV writes no {fourcc} in {path.suffix}"
    for index in range(frames):
        writer.write(draw(index, size_px))
    writer.release()
    return path


def write_gif(path: Path, delays_ms: Sequence[int], size_px: tuple[int, int] = SIZE_PX) -> Path:
    """An animation with a variable frame rate: picture i is shown for `delays_ms[i]`, a multiple of 10."""
    animation = cv2.Animation()
    animation.frames = [picture(index, size_px) for index in range(len(delays_ms))]
    animation.durations = list(delays_ms)
    assert cv2.imwriteanimation(str(path), animation)
    return path


def write_stills(folder: Path, names: Sequence[str], size_px: tuple[int, int] = SIZE_PX) -> Path:
    """Pictures 0, 1, ... under the given names; the suffix gives the format."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(index, size_px))
    return folder


def turn_jpeg(path: Path, orientation: int) -> Path:
    """Give a JPEG an EXIF orientation (1 to 8; 6 means: show it turned clockwise by 90 degrees)."""
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    return path


def turn_mp4(path: Path, degrees: int) -> Path:
    """Declare in the track header (ISO/IEC 14496-12, 8.3.2) that a video is to be shown turned clockwise."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    matrix = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    data = bytearray(path.read_bytes())
    body = data.index(b"tkhd") + 4
    at = body + (52 if data[body] == 1 else 40)
    data[at : at + 36] = matrix
    path.write_bytes(data)
    return path


def put_index_first(path: Path) -> Path:
    """Move the moov box of an MP4 before its mdat, as cameras that stream do."""
    data = path.read_bytes()
    at = data.index(b"moov") - 4
    size = int.from_bytes(data[at : at + 4])
    moov = bytearray(data[at : at + size])
    table = moov.index(b"stco") + 8
    entries = int.from_bytes(moov[table : table + 4])
    for entry in range(table + 4, table + 4 + 4 * entries, 4):
        moved = int.from_bytes(moov[entry : entry + 4]) + size
        moov[entry : entry + 4] = moved.to_bytes(4)
    start = 4 + data.index(b"ftyp") - 8 + int.from_bytes(data[:4])
    path.write_bytes(data[:start] + moov + data[start:at] + data[at + size :])
    return path


def silence_the_picture(path: Path) -> Path:
    """Turn the video track of an MP4 into a sound track: an MP4 without pictures."""
    data = path.read_bytes()
    for old, new in ((b"vide", b"soun"), (b"vmhd", b"smhd"), (b"mp4v", b"mp4a")):
        data = data.replace(old, new)
    path.write_bytes(data)
    return path


def write_wav(path: Path) -> Path:
    """A tenth of a second of silence."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    return path


def cut(path: Path, share: float) -> Path:
    """Keep only the first `share` of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


class MjpegCamera:
    """A network camera on the loopback that can be unplugged, plugged in again in its place, and frozen.

    Serves `multipart/x-mixed-replace`, as such cameras do, at `url`: pictures 0 to 11 in turn.
    """

    def __init__(self, fps: float = 50.0, size_px: tuple[int, int] = SIZE_PX) -> None:
        self.frozen = threading.Event()
        self._interval_s = 1.0 / fps
        self._jpegs = [cv2.imencode(".jpg", picture(index, size_px))[1].tobytes() for index in range(_LEVELS)]
        self._server: ThreadingHTTPServer | None = None
        self._unplugged = threading.Event()
        self._port = 0
        self.plug_in()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/stream.mjpg"

    def plug_in(self) -> None:
        camera, self._unplugged = self, threading.Event()
        unplugged = self._unplugged

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._serve(self, unplugged)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def unplug(self) -> None:
        self._unplugged.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _serve(self, request: BaseHTTPRequestHandler, unplugged: threading.Event) -> None:
        if not request.path.startswith("/stream.mjpg"):
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        request.end_headers()
        index = 0
        try:
            while not unplugged.is_set():
                if not self.frozen.is_set():
                    jpeg = self._jpegs[index % len(self._jpegs)]
                    head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    request.wfile.write(head.encode() + jpeg + b"\r\n")
                    index += 1
                time.sleep(self._interval_s)
        except OSError:  # the client went away
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unplug()
