"""Whether this machine can run the loop: processor, models, camera, clock, disk, memory, ports, temperature.

Every check looks at the real thing (opens the camera, runs a network, writes a file) and never raises; what
cannot be found out is said so. It reads the files of Linux: proc(5), thermal and cpufreq of sysfs,
`get_throttled` of the Raspberry Pi firmware.
"""

import ctypes
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from serial.tools import list_ports

from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device.runtime import start_session
from dashgaze.device.source_files import natural_key
from dashgaze.device.sources import SourceSettings, open_source
from dashgaze.errors import DashgazeError

_GIB = 1 << 30
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""No drive was recorded before; a clock that says so lost its battery."""
_MIN_FREE_BYTES, _MIN_FREE_FRAC = 5 * _GIB, 0.1
_MIN_MEMORY_BYTES = 512 << 20
_HOT_C = 80.0
"""Boards of this class begin to throttle at 80 to 85 degrees."""
_CAMERA_S = 1.0
_TIME_ERROR = 5
_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one thing."""

    name: str
    ok: bool | None
    """None: cannot be found out, or is absent and not always needed."""
    detail: str
    remedy: str = ""


def diagnose(out: Path, settings: SourceSettings | None = None, root: Path = Path("/")) -> list[Check]:
    """Every check, in the order to read them; raises nothing. Takes two seconds, more where a camera hangs.

    `out` is the folder that drives go to, existing or not; `settings` say how the camera is opened;
    `/proc`, `/sys` and `/dev` are looked for under `root`.
    """
    settings = settings or SourceSettings()
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", _check_python),
        ("processor", lambda: _check_processor(root)),
        ("onnxruntime", _check_onnxruntime),
        ("models", _check_models),
        ("camera", lambda: _check_camera(root, settings)),
        ("clock", _check_clock),
        ("disk", lambda: _check_disk(out)),
        ("memory", lambda: _check_memory(root)),
        ("serial ports", _check_serial_ports),
        ("temperature", lambda: _check_temperature(root)),
    ]
    return [_never_raise(name, check) for name, check in checks]


def worst(checks: Sequence[Check]) -> int:
    """Exit code: 1 if any check failed, else 0."""
    return int(any(check.ok is False for check in checks))


def _never_raise(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except DashgazeError as error:
        return Check(name, False, f"{error.where}: {error.problem}", error.remedy)
    except Exception as error:  # a doctor who faints helps nobody
        return Check(name, None, f"cannot be checked ({type(error).__name__}: {error})")


def _check_python() -> Check:
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return Check("python", True, f"Python {platform.python_version()}, OpenCV {cv2.__version__}, {system}")


def _check_processor(root: Path) -> Check:
    """Vector instructions that ONNX Runtime's kernels are written for: AVX2 with FMA, or Neon (`asimd`)."""
    flags: set[str] = set()
    for line in (root / "proc/cpuinfo").read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            flags.update(value.split())
    known = [flag for flag in ("avx2", "fma", "avx512f", "avx_vnni", "neon", "asimd", "asimddp") if flag in flags]
    detail = f"{len(os.sched_getaffinity(0))} cores, {' '.join(known) or 'no vector instructions found'}"
    if {"avx2", "fma"} <= flags or "asimd" in flags:
        return Check("processor", True, detail)
    return Check("processor", None, detail, "networks run, but slowly: use a board with AVX2 or 64-bit Arm")


def _check_onnxruntime() -> Check:
    return Check("onnxruntime", True, f"{ort.__version__}: {', '.join(ort.get_available_providers())}")


def _check_models() -> Check:
    bundle = packaged_bundle()
    bundle.verify()
    manifest = bundle.manifest
    detail = f"{manifest.name} {manifest.version}, {len(manifest.parts)} parts verified"
    networks = [name for name, part in manifest.parts.items() if part.file.endswith(".onnx")]
    if networks:
        part = "mesh" if "mesh" in networks else networks[0]
        detail += f"; {part} takes {time_network_ms(bundle, part):.1f} ms on one core"
    return Check("models", True, detail)


def time_network_ms(bundle: Bundle, part: str) -> float:
    """Median time of one run on zeros, after one to warm up."""
    session = start_session(bundle, part)
    feeds: dict[str, NDArray[Any]] = {
        tensor.name: np.zeros(
            [size if isinstance(size, int) and size > 0 else 1 for size in tensor.shape],
            _NUMPY_TYPES[tensor.type],
        )
        for tensor in session.get_inputs()
    }
    session.run(None, feeds)
    times_s = []
    for _ in range(11):
        start_s = time.perf_counter()
        session.run(None, feeds)
        times_s.append(time.perf_counter() - start_s)
    return float(np.median(times_s)) * 1e3


def _check_camera(root: Path, settings: SourceSettings) -> Check:
    """The first V4L2 device that gives a picture; the others are often metadata nodes of the same camera."""
    devices = sorted((root / "dev").glob("video[0-9]*"), key=lambda device: natural_key(device.name))
    if not devices:
        return Check("camera", None, "no V4L2 camera", "plug one in; video files and streams work without one")
    failures: list[DashgazeError] = []
    for device in devices:
        try:
            return Check("camera", True, _try_camera(device, settings))
        except DashgazeError as error:
            failures.append(error)
    return Check(
        "camera",
        False,
        "; ".join(f"{error.where}: {error.problem}" for error in failures),
        failures[0].remedy,
    )


def _try_camera(device: Path, settings: SourceSettings) -> str:
    with open_source(str(device), settings) as source:
        start_s = time.monotonic()
        frames = 0
        for frame in source:
            frames += 0 if frame is None else 1 + frame.skipped
            if time.monotonic() - start_s >= _CAMERA_S:
                break
        rate = (frames - 1) / (time.monotonic() - start_s)
        width, height = source.size_px or (0, 0)
    return f"{device}: {width} x {height}, {rate:.0f} frames/s"


def _check_clock() -> Check:
    now = datetime.now(UTC)
    detail = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < _EARLIEST:
        return Check("clock", False, f"{detail} is past", "timedatectl set-ntp true, or a new battery for the clock")
    synchronised = _is_synchronised()
    if synchronised:
        return Check("clock", True, f"{detail}, synchronised")
    state = "unknown whether synchronised" if synchronised is None else "not synchronised"
    return Check("clock", None, f"{detail}, {state}", "times of drives may be off: timedatectl set-ntp true")


def _is_synchronised() -> bool | None:
    """Whether the kernel takes its clock for disciplined: adjtimex(2); None where it refuses to tell."""
    timex = ctypes.create_string_buffer(512)  # all zero: `modes` 0 reads and sets nothing
    state = ctypes.CDLL(None).adjtimex(timex)
    return None if state < 0 else state != _TIME_ERROR


def _check_disk(out: Path) -> Check:
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    total, _, free = shutil.disk_usage(folder)
    detail = f"{folder}: {free / _GIB:.1f} GiB free of {total / _GIB:.1f}"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"dashgaze")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        problem = f"{detail}, but not writable ({(error.strerror or '').lower()})"
        return Check("disk", False, problem, "name another folder, or give this user write permission")
    if free < _MIN_FREE_BYTES and free < _MIN_FREE_FRAC * total:
        return Check("disk", False, detail, "free some space: 5 GiB or a tenth of the disk are enough")
    return Check("disk", True, detail)


def _check_memory(root: Path) -> Check:
    lines = (root / "proc/meminfo").read_text().splitlines()
    kilobytes = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in lines)}
    available, total = kilobytes["MemAvailable"] << 10, kilobytes["MemTotal"] << 10
    detail = f"{available / _GIB:.1f} GiB available of {total / _GIB:.1f}"
    if available < _MIN_MEMORY_BYTES:
        return Check("memory", False, detail, "close other programs: half a GiB is needed")
    return Check("memory", True, detail)


def _check_serial_ports() -> Check:
    ports = sorted(f"{port.device} ({port.description})" for port in list_ports.comports())
    if not ports:
        return Check("serial ports", None, "none", "none is needed yet")
    return Check("serial ports", True, ", ".join(ports))


def _check_temperature(root: Path) -> Check:
    zones = (root / "sys/class/thermal").glob("thermal_zone*/temp")
    hottest_c = max((milli / 1000 for zone in zones if (milli := _number_in(zone)) is not None), default=None)
    throttled = _is_throttled(root)
    if hottest_c is None and throttled is None:
        return Check("temperature", None, "this machine does not tell")
    parts = [] if hottest_c is None else [f"{hottest_c:.0f} degrees Celsius"]
    parts += ["throttled"] if throttled else []
    hot = throttled or (hottest_c is not None and hottest_c >= _HOT_C)
    remedy = "cool the board, and use a power supply that is strong enough" if hot else ""
    return Check("temperature", not hot, ", ".join(parts) or "not throttled", remedy)


def _is_throttled(root: Path) -> bool | None:
    """On a Raspberry Pi: under-voltage, capped, throttled or at the soft limit now (bits 0 to 3)."""
    bits = _number_in(root / "sys/devices/platform/soc/soc:firmware/get_throttled", base=16)
    return None if bits is None else bool(bits & 0xF)


def _number_in(file: Path, base: int = 10) -> int | None:
    try:
        return int(file.read_text().strip(), base)
    except (OSError, ValueError):
        return None
