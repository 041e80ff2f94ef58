import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tables import as_rows, largest_file

from dashgaze.device.records import Level
from dashgaze.drive import (
    OBSERVATIONS,
    PART_ROWS,
    BundleUsed,
    Clock,
    DriveCamera,
    DriveHeader,
    DriveWriter,
    Event,
    Versions,
    read_drive,
)
from dashgaze.errors import DashgazeError, InputError
from dashgaze.tables import Status
from dashgaze.zones import Zone

ROOT = Path(__file__).parents[1]
HEADER = DriveHeader(
    drive_id="d-1",
    vehicle_id="car-7",
    created=datetime(2026, 1, 2, tzinfo=UTC),
    camera=DriveCamera(source="driver.mp4", size_px=(1280, 720), mirrored=False, hand_of_drive="left"),
    bundle=BundleUsed(name="packaged", version="1.0", manifest_sha256="0" * 64),
    settings={"attention": {"long_s": 3.0}},
    clock=Clock(timebase="presentation"),
    versions=Versions(dashgaze="0.1.0", python="3.11.9"),
)
ROW = {
    "t_s": 0.0,
    "driver_frame": 0,
    "angle_status": Status.OK,
    "location_status": Status.UNKNOWN,
    "level": "none",
    "ray_z": 1.0,
    "azimuth_deg": math.nan,
    "zone": Zone.ROAD_AHEAD,
    "eyes_closed": False,
}


def row(t_s: float, **more: object) -> dict[str, object]:
    return ROW | {"t_s": t_s, "driver_frame": round(t_s * 30)} | more


def record(path: Path, seconds: int) -> Path:
    with DriveWriter(path, HEADER) as drive:
        for t_s in range(seconds):
            drive.append(row(t_s))
        drive.event({"t_s": 1.5, "kind": "no_face", "level": "notice", "rule": "r", "message": "m", "measured": 2})
        drive.event(Event(t_s=2.0, kind="stopped"))
        drive.close({"frames": seconds, "latency_ms": {"p50": 3.5}})
    return path


def test_a_drive_is_read_as_it_was_written(tmp_path) -> None:
    drive = read_drive(record(tmp_path / "new" / "d", 200))
    assert drive.header == HEADER
    table = drive.observations()
    assert list(table) == [column.name for column in OBSERVATIONS]
    assert table["t_s"].tolist() == list(range(200))
    assert as_rows(table)["azimuth_deg"] == [None] * 200
    assert (table["zone"] == "road_ahead").all()
    assert list(drive.observations(["zone", "t_s"])) == ["zone", "t_s"]
    first, last = drive.events()
    assert (first.kind, first.level, first.measured) == ("no_face", "notice", 2.0)
    assert (last.kind, last.level, last.measured) == ("stopped", "none", None)
    assert drive.torn_events == 0
    assert drive.summary is not None
    assert drive.summary.complete
    assert drive.summary.model_dump() == {
        "complete": True,
        "reason": None,
        "rows": 200,
        "frames": 200,
        "latency_ms": {"p50": 3.5},
    }


def _values(column):
    if column.type == "float":
        some = st.floats(column.low, column.high, allow_nan=False, allow_infinity=False)
    elif column.type == "int":
        some = st.integers(int(column.low or 0), 2**63 - 1)
    else:
        some = st.booleans() if column.type == "bool" else st.sampled_from(column.values)
    return st.none() | some if column.nullable else some


_rows = st.lists(st.fixed_dictionaries({column.name: _values(column) for column in OBSERVATIONS}), max_size=6)


@settings(max_examples=25, deadline=None)
@given(rows=_rows)
def test_every_observation_survives(rows) -> None:
    rows.sort(key=lambda observation: observation["t_s"])
    with tempfile.TemporaryDirectory() as folder:
        with DriveWriter(Path(folder, "d"), HEADER) as drive:
            for observation in rows:
                drive.append(observation)
            drive.close()
        table = as_rows(read_drive(Path(folder, "d")).observations())
    assert table == {name: [observation[name] for observation in rows] for name in table}


def test_a_part_is_closed_every_minute_of_time_and_before_memory_runs_out(tmp_path) -> None:
    def parts() -> list[str]:
        return sorted(os.listdir(tmp_path / "d" / "observations"))

    with DriveWriter(tmp_path / "d", HEADER) as drive:
        for t_s in (5.0, 64.9, 65.0, 65.0, 1000.0):
            drive.append(row(t_s))
        assert parts() == ["part-00000.parquet", "part-00001.parquet"]
        for _ in range(PART_ROWS):
            drive.append(row(1000.0))
        assert len(parts()) == 3
        drive.close()
    assert len(parts()) == 4
    table = read_drive(tmp_path / "d").observations()
    assert len(table["t_s"]) == 5 + PART_ROWS
    assert (np.diff(table["t_s"]) >= 0).all()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"t_s": 6.0}, "column t_s, row 2: goes backward, from 7.0 to 6.0"),
        ({"t_s": None}, "column t_s, row 2: is null"),
        ({"t_s": math.nan}, "column t_s, row 2: is null"),
        ({"level": "loud"}, "column level, row 2: 'loud' is none of none, notice"),
        ({"angle_status": None}, "column angle_status, row 2: is null"),
        ({"head_pitch_deg": 91.0}, "column head_pitch_deg, row 2: 91.0 is out of range, >= -90 and <= 90"),
        ({"latency_ms": 3.0}, "column latency_ms: is not a column of observations"),
    ],
)
def test_a_wrong_observation_is_refused_at_once_and_the_others_are_kept(tmp_path, wrong, problem) -> None:
    with DriveWriter(tmp_path / "d", HEADER) as drive:
        drive.append(row(1.0))
        drive.append(row(7.0))
        with pytest.raises(InputError, match=problem):
            drive.append(row(8.0) | wrong)
        drive.append(row(9.0))
        drive.close()
    assert read_drive(tmp_path / "d").observations()["t_s"].tolist() == [1.0, 7.0, 9.0]


def test_the_writer_copies_what_it_is_given(tmp_path) -> None:
    with DriveWriter(tmp_path / "d", HEADER) as drive:
        same = row(0.0)
        for t_s in (1.0, 2.0):
            same["t_s"] = np.float32(t_s)
            drive.append(same)
        drive.close()
    assert read_drive(tmp_path / "d").observations()["t_s"].tolist() == [1.0, 2.0]


def test_a_drive_is_only_for_its_owner(tmp_path) -> None:
    path = record(tmp_path / "d", 3)
    assert path.stat().st_mode & 0o077 == 0
    assert (path / "observations").stat().st_mode & 0o077 == 0


def test_a_used_folder_is_refused_and_left_alone(tmp_path) -> None:
    path = record(tmp_path / "d", 3)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="d: is there already; choose another folder"):
        DriveWriter(path, HEADER)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    with pytest.raises(InputError, match="is there already"):
        DriveWriter(path / "drive.json", HEADER)


def fail_while_recording(path: Path, failure: BaseException, header: DriveHeader = HEADER) -> None:
    with DriveWriter(path, header) as drive:
        drive.append(row(1.0))
        drive.event({"t_s": 1.0, "kind": "camera_lost", "message": str(failure)})
        raise failure


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError("gone")])
def test_a_failure_leaves_a_readable_drive_that_says_why(tmp_path, failure) -> None:
    with pytest.raises(type(failure)):
        fail_while_recording(tmp_path / "d", failure)
    drive = read_drive(tmp_path / "d")
    assert drive.observations()["t_s"].tolist() == [1.0]
    assert drive.summary is not None
    assert not drive.summary.complete
    assert drive.summary.reason in ("KeyboardInterrupt", "OSError: gone")


def test_no_credentials_reach_the_disk(tmp_path) -> None:
    secret = "rtsp://user:hunter2@10.0.0.4/live?token=hunter2"
    header = HEADER.model_dump() | {"settings": {"deep": [{"url": secret}]}}
    header["camera"]["source"] = secret
    with pytest.raises(RuntimeError):
        fail_while_recording(tmp_path / "d", RuntimeError(f"{secret} is gone"), DriveHeader(**header))
    for file in (tmp_path / "d").rglob("*.json*"):
        assert b"hunter2" not in file.read_bytes()
        assert b"10.0.0.4" in file.read_bytes()


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests")
from test_drive import *
drive = DriveWriter(Path(sys.argv[1]), HEADER)
for t_s in range(150):
    drive.append(row(t_s))
    if t_s % 10 == 0:
        drive.event({"t_s": t_s, "kind": "no_face"})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_power_cut_costs_the_open_minute_at_most(tmp_path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "d"], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / "d" / "observations" / ".part-00002.parquet.tmp").write_bytes(b"PAR1 half")
    drive = read_drive(tmp_path / "d")
    assert drive.summary is None
    assert drive.observations()["t_s"].tolist() == list(range(120))
    assert [event.t_s for event in drive.events()] == list(range(0, 150, 10))


def test_a_torn_last_event_is_left_out_and_counted(tmp_path) -> None:
    events = record(tmp_path / "d", 3) / "events.jsonl"
    whole = events.read_bytes()
    end_of_first = whole.index(b"\n") + 1
    for size in range(len(whole)):
        events.write_bytes(whole[:size])
        drive = read_drive(tmp_path / "d")
        assert len(drive.events()) == int(size >= end_of_first)
        assert drive.torn_events == int(size not in (0, end_of_first))
    events.write_bytes(whole + b"\0" * 512)
    assert len(read_drive(tmp_path / "d").events()) == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"t_s": 1.0', "line 2: Invalid JSON"),
        (b"", "line 2: Invalid JSON"),
        (b"\xff", "line 2: "),
        (b'{"t_s": NaN, "kind": "stopped"}', "line 2, t_s: "),
        (b'{"t_s": 1.0, "kind": "Stopped!"}', "line 2, kind: "),
        (b'{"t_s": 1.0, "kind": "stopped", "level": "loud"}', "line 2, level: "),
        (b'{"t_s": 1.0, "kind": "stopped", "who": 1}', "line 2, who: "),
    ],
)
def test_any_other_bad_event_is_an_error_that_names_its_line(tmp_path, line, problem) -> None:
    events = record(tmp_path / "d", 3) / "events.jsonl"
    first, second = events.read_bytes().splitlines()
    events.write_bytes(b"\n".join([first, line, second, b""]))
    with pytest.raises(InputError, match=rf"events.jsonl, {problem}"):
        read_drive(tmp_path / "d").events()


def test_an_event_that_is_none_writes_nothing(tmp_path) -> None:
    with DriveWriter(tmp_path / "d", HEADER) as drive:
        for wrong in ({}, {"t_s": math.inf, "kind": "x"}, {"t_s": 0.0, "kind": "a b"}):
            with pytest.raises(ValueError, match="Event"):
                drive.event(wrong)
        drive.event({"t_s": 0.0, "kind": "x", "measured": math.nan})
        drive.close()
    (event,) = read_drive(tmp_path / "d").events()
    assert event.measured is None


def read_all(path: Path) -> None:
    drive = read_drive(path)
    drive.observations()
    drive.events()


@pytest.mark.parametrize("name", ["drive.json", "summary.json", "observations/part-00000.parquet"])
def test_a_file_cut_anywhere_is_an_input_error_that_names_it(tmp_path, name) -> None:
    file = record(tmp_path / "d", 3) / name
    whole = file.read_bytes()
    for size in range(0, len(whole) - 2, 1 + len(whole) // 200):
        file.write_bytes(whole[:size])
        with pytest.raises(InputError, match=name):
            read_all(tmp_path / "d")


@pytest.mark.parametrize("name", ["drive.json", "events.jsonl", "observations"])
def test_a_missing_file_is_an_input_error_that_names_it(tmp_path, name) -> None:
    (record(tmp_path / "d", 3) / name).rename(tmp_path / "away")
    with pytest.raises(InputError, match=name):
        read_all(tmp_path / "d")


def test_parts_in_the_wrong_order_are_found(tmp_path) -> None:
    parts = record(tmp_path / "d", 130) / "observations"
    (parts / "part-00000.parquet").rename(parts / "part-00009.parquet")
    with pytest.raises(InputError, match=r"part-00009.parquet, column t_s, row 0: goes backward"):
        read_all(tmp_path / "d")


def test_a_full_disk_keeps_the_parts_before_and_no_half_part(tmp_path) -> None:
    with DriveWriter(tmp_path / "d", HEADER) as drive:
        for t_s in range(119):
            drive.append(row(t_s))
        full = pytest.raises(DashgazeError, match=r"part-00001.parquet: cannot be written.*free some space")
        with largest_file(4000), full as caught:
            drive.append(row(120.0))
        assert os.listdir(tmp_path / "d" / "observations") == ["part-00000.parquet"]
        drive.append(row(121.0))  # the disk has space again: nothing but the refused row is lost
        drive.close()
    assert caught.value.exit_code == 1
    assert read_drive(tmp_path / "d").observations()["t_s"].tolist() == [*range(119), 121]


def test_a_disk_that_stays_full_reports_the_first_failure(tmp_path) -> None:
    with DriveWriter(tmp_path / "d", HEADER) as drive:
        for t_s in range(61):
            drive.append(row(t_s))
        with largest_file(600), pytest.raises(DashgazeError, match=r"part-00001.parquet: cannot be written"):
            drive.close({"frames": 61})
    assert os.listdir(tmp_path / "d" / "observations") == ["part-00000.parquet"]
    drive = read_drive(tmp_path / "d")
    assert len(drive.observations()["t_s"]) == 60
    assert drive.summary is not None
    assert (drive.summary.complete, drive.summary.rows) == (False, 60)


def test_a_drive_that_cannot_begin_leaves_nothing(tmp_path) -> None:
    with largest_file(100), pytest.raises(DashgazeError, match=r"drive.json: cannot be written"):
        DriveWriter(tmp_path / "d", HEADER)
    assert not any(tmp_path.iterdir())


def test_a_full_disk_leaves_no_half_event(tmp_path) -> None:
    with DriveWriter(tmp_path / "d", HEADER) as drive:
        drive.event({"t_s": 0.0, "kind": "stopped"})
        with largest_file(150), pytest.raises(DashgazeError, match=r"events.jsonl: cannot be written"):
            drive.event({"t_s": 1.0, "kind": "stopped"})
        drive.event({"t_s": 2.0, "kind": "stopped"})
        drive.close()
    assert [event.t_s for event in read_drive(tmp_path / "d").events()] == [0.0, 2.0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", tmp_path]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def record_for_hours(path: Path) -> None:
    with DriveWriter(path, HEADER) as drive:
        for frame in range(100_000):
            drive.append(row(frame / 30, ray_x=math.sin(frame), head_x_mm=math.cos(frame)))


def test_a_drive_that_fills_its_disk_stays_readable(small_disk) -> None:
    with pytest.raises(DashgazeError, match="no space left on device; free some space"):
        record_for_hours(small_disk / "d")
    written = len(read_drive(small_disk / "d").observations()["t_s"])
    assert written > 0
    assert written % 1800 == 0
    assert not list((small_disk / "d").rglob("*.tmp"))


def test_the_summary_of_a_finished_drive_must_be_json(tmp_path) -> None:
    with DriveWriter(tmp_path / "d", HEADER) as drive:
        drive.append(row(0.0))
        with pytest.raises(ValueError, match="Summary"):
            drive.close({"frames": np.int64(3)})
    assert len(read_drive(tmp_path / "d").observations()["t_s"]) == 1
    assert json.loads((tmp_path / "d" / "drive.json").read_text())["drive_id"] == "d-1"


def test_levels_are_those_of_the_device() -> None:
    (level,) = (column for column in OBSERVATIONS if column.name == "level")
    assert level.values == tuple(each.name.lower() for each in Level)
