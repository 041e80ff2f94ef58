import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from dashgaze.bundle import Manifest, Part, Source, sha256_of, write_bundle
from dashgaze.device.doctor import Check, diagnose, time_network_ms, worst

NAMES = ["python", "processor", "onnxruntime", "models", "camera", "clock", "disk", "memory", "serial ports"]


def found(name: str, out: Path, root: Path = Path("/")) -> Check:
    return {check.name: check for check in diagnose(out, root=root)}[name]


def board(root: Path, files: dict[str, str]) -> Path:
    """A machine of our own making: the files under /proc and /sys that are looked at."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_this_machine_is_examined_without_a_traceback(tmp_path: Path) -> None:
    checks = diagnose(tmp_path)
    assert [check.name for check in checks] == [*NAMES, "temperature"]
    assert all(check.detail and "\n" not in check.detail for check in checks)
    assert all(check.remedy for check in checks if check.ok is False)
    assert {check.name for check in checks if check.ok} >= {"python", "onnxruntime", "disk"}


def test_a_machine_about_which_nothing_is_known_is_examined_too(tmp_path: Path) -> None:
    checks = {check.name: check for check in diagnose(tmp_path, root=tmp_path / "nowhere")}
    assert checks["processor"].ok is None
    assert checks["memory"].ok is None
    assert checks["camera"].ok is None
    assert checks["temperature"].ok is None


def test_only_a_failed_check_makes_the_exit_code_one() -> None:
    good, unknown, bad = (Check("x", ok, "y") for ok in (True, None, False))
    assert worst([]) == 0
    assert worst([good, unknown]) == 0
    assert worst([good, bad, unknown]) == 1


def test_a_folder_to_come_is_judged_by_the_disk_it_will_be_on(tmp_path: Path) -> None:
    check = found("disk", tmp_path / "drives" / "today")
    assert check.ok
    assert str(tmp_path) in check.detail
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_found() -> None:
    check = found("disk", Path("/proc/drives"))
    assert check.ok is False
    assert "not writable" in check.detail


@pytest.mark.parametrize(
    ("line", "ok"),
    [
        ("flags\t\t: fpu sse2 avx2 fma", True),
        ("Features\t: fp asimd crc32 asimddp", True),
        ("flags\t\t: fpu sse2 avx", None),
        ("\x00\xff", None),
    ],
)
def test_vector_instructions_decide_on_the_processor(tmp_path: Path, line: str, ok: bool | None) -> None:
    assert found("processor", tmp_path, board(tmp_path, {"proc/cpuinfo": line + "\n"})).ok is ok


@pytest.mark.parametrize(("available_kb", "ok"), [(4_000_000, True), (100_000, False)])
def test_little_memory_is_found(tmp_path: Path, available_kb: int, ok: bool) -> None:
    text = f"MemTotal:       8000000 kB\nMemAvailable:    {available_kb} kB\nHugePages_Total:       0\n"
    assert found("memory", tmp_path, board(tmp_path, {"proc/meminfo": text})).ok is ok


@pytest.mark.parametrize(
    ("milli", "throttled", "ok"),
    [("45000", "0", True), ("91000", "0", False), ("45000", "50005", False), ("rubbish", "50000", True)],
)
def test_heat_and_throttling_are_found(tmp_path: Path, milli: str, throttled: str, ok: bool) -> None:
    files = {
        "sys/class/thermal/thermal_zone0/temp": milli,
        "sys/devices/platform/soc/soc:firmware/get_throttled": throttled,
    }
    assert found("temperature", tmp_path, board(tmp_path, files)).ok is ok


@pytest.mark.parametrize("size", [3, "batch"])
def test_a_network_is_timed_by_running_it(tmp_path: Path, size: int | str) -> None:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "neg", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    data = model.SerializeToString()
    source = Source(name="neg", version="1", file="neg.onnx", sha256=sha256_of(data))
    part = Part(file="neg.onnx", sha256=sha256_of(data), licence="Apache-2.0", source=source)
    manifest = Manifest(name="neg", version="1", created=datetime(2026, 1, 1, tzinfo=UTC), parts={"neg": part})
    bundle = write_bundle(tmp_path / "bundle", manifest, {"neg.onnx": data})
    assert 0 < time_network_ms(bundle, "neg") < 100


def test_a_device_that_is_no_camera_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video0").symlink_to("/dev/null")
    check = found("camera", tmp_path, tmp_path)
    assert check.ok is False
    assert "video0: is no camera" in check.detail
    assert check.remedy


def test_a_check_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Check("x", True, "y").ok = False  # type: ignore[misc]
