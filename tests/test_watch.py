"""`dashgaze watch` as its user has it: a real clip in, a drive out; whatever goes wrong, one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import MjpegCamera, write_stills, write_video

from dashgaze.drive import read_drive
from dashgaze.tables import Status

ROOT = Path(__file__).parents[1]


def dashgaze(*arguments, **options):
    command = [sys.executable, "-m", "dashgaze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False, **options)


def start(*arguments):
    command = [sys.executable, "-m", "dashgaze", *map(str, arguments)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )


def slow_video(path, seconds=600):
    """A long film of nothing: tens of seconds of work."""
    return write_video(path, frames=seconds * 30, fps=30)


@pytest.fixture(scope="module")
def watched(carphone, tmp_path_factory):
    out = tmp_path_factory.mktemp("watch") / "drive"
    result = dashgaze("watch", carphone, "--out", out, "--annotate", "--headless")
    assert result.returncode == 0, result.stderr
    return out, result


def test_a_real_clip_leaves_a_drive_with_a_face_on_every_frame(watched):
    out, result = watched
    drive = read_drive(out)
    observations = drive.observations()
    assert len(observations["t_s"]) == 120
    assert drive.summary.complete
    extra = drive.summary.model_extra
    assert extra["frames"] == extra["frames_with_face"] == 120
    assert extra["latency_ms"]["total"]["p50"] > 0
    assert set(observations["angle_status"]) <= {Status.OK, Status.EYES_CLOSED, Status.LOW_QUALITY}
    lengths = np.sqrt(sum(observations[f"ray_{axis}"] ** 2 for axis in "xyz"))
    assert np.nanmax(abs(lengths - 1)) < 1e-6
    assert result.stderr == ""
    assert str(out) in result.stdout
    assert out.with_name("drive.annotated.webm").stat().st_mode & 0o077 == 0, "nobody else may look at the face"


def test_the_annotated_video_lies_beside_the_drive_and_plays(watched):
    out, _ = watched
    video = out.with_name("drive.annotated.webm")
    assert not list(out.rglob("*.webm")), "it shows a face: never inside the drive"
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == pytest.approx(60, abs=2), "15 pictures a second for 4 s"


def test_the_same_file_gives_the_same_observations_twice(watched, carphone, tmp_path):
    again = tmp_path / "again"
    assert dashgaze("watch", carphone, "--out", again, "--headless").returncode == 0
    first, second = (read_drive(folder).observations() for folder in (watched[0], again))
    for name, column in first.items():
        assert np.array_equal(np.ma.getdata(column), np.ma.getdata(second[name]), equal_nan=column.dtype.kind == "f"), (
            name
        )


def test_a_mirrored_video_is_seen_as_if_it_were_not(watched, carphone, tmp_path):
    mirrored = tmp_path / "mirrored"
    mirrored.mkdir()
    capture = cv2.VideoCapture(str(carphone))
    for i in range(10):
        cv2.imwrite(str(mirrored / f"{i}.png"), cv2.flip(capture.read()[1], 1))
    config = tmp_path / "fps.toml"
    config.write_text("[source]\nfolder_fps = 29.97\n")
    out = tmp_path / "drive"
    result = dashgaze("watch", mirrored, "--mirror", "--config", config, "--out", out, "--headless")
    assert result.returncode == 0, result.stderr
    drive = read_drive(out)
    assert drive.header.camera.mirrored
    upright = read_drive(watched[0]).observations()
    for name in ("azimuth_deg", "head_yaw_deg"):
        assert drive.observations()[name] == pytest.approx(upright[name][:10], abs=0.5)


def test_gaze_is_placed_on_the_road_view(carphone, tmp_path):
    road = write_video(tmp_path / "road.mp4", frames=130, fps=30, size_px=(640, 360))
    out = tmp_path / "drive"
    result = dashgaze("watch", carphone, "--road", road, "--annotate", "--out", out, "--headless")
    assert result.returncode == 0, result.stderr
    seen = read_drive(out).observations()
    placed = seen["location_status"] == Status.OK
    assert placed.sum() > 10
    assert seen["road_x_px"][placed].max() < 640
    assert np.isnan(seen["road_x_px"][~placed]).all()


def test_a_live_road_camera_does_not_hold_up_the_drivers(carphone, tmp_path):
    out = tmp_path / "drive"
    with MjpegCamera(fps=5) as road:
        result = dashgaze("watch", carphone, "--road", road.url, "--annotate", "--out", out, "--headless")
    assert result.returncode == 0, result.stderr
    assert read_drive(out).summary.model_extra["fps"] > 15, "120 frames would take 24 s at the road camera's pace"


def test_no_face_is_a_status_and_not_a_zero(tmp_path):
    film = write_video(tmp_path / "noise.mp4", frames=30)
    out = tmp_path / "drive"
    assert dashgaze("watch", film, "--out", out, "--headless").returncode == 0
    seen = read_drive(out).observations()
    assert set(seen["angle_status"]) <= {Status.NO_FACE, Status.BLOCKED}
    for name in ("ray_x", "azimuth_deg", "head_yaw_deg", "face_x0_px", "eye_openness_left_frac"):
        assert np.isnan(seen[name]).all(), name


def test_a_covered_camera_is_blocked_which_is_not_the_same_as_no_face(tmp_path):
    stills = tmp_path / "black"
    stills.mkdir()
    for i in range(5):
        cv2.imwrite(str(stills / f"{i}.png"), np.full((120, 160, 3), 9, np.uint8))
    out = tmp_path / "drive"
    assert dashgaze("watch", stills, "--out", out, "--headless").returncode == 0
    assert set(read_drive(out).observations()["angle_status"]) == {Status.BLOCKED}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_readable_drive(number, tmp_path):
    out = tmp_path / "drive"
    process = start("watch", slow_video(tmp_path / "long.mp4"), "--out", out, "--headless")
    process.stdout.readline()
    time.sleep(1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1, "the file was not seen to its end"
    assert "Traceback" not in errors
    drive = read_drive(out)
    assert not drive.summary.complete
    assert signal.Signals(number).name in drive.summary.reason
    assert len(drive.observations()["t_s"]) > 5
    assert drive.events()[-1].kind == "stopped"


def test_kill_costs_the_open_minute_at_most(tmp_path):
    out = tmp_path / "drive"
    stills = write_stills(tmp_path / "stills", [f"{i}.png" for i in range(200)])
    process = start("watch", stills, "--out", out, "--headless")  # one still a second: three minutes of drive
    parts = out / "observations"
    for _ in range(400):
        if parts.exists() and len(list(parts.glob("part-*.parquet"))) >= 2:
            break
        time.sleep(0.05)
    process.kill()
    process.communicate()
    drive = read_drive(out)
    assert drive.summary is None
    assert drive.observations()["t_s"][-1] >= 119


def test_a_camera_that_is_unplugged_in_mid_run_comes_back(tmp_path):
    out = tmp_path / "drive"
    with MjpegCamera() as camera:
        process = start("watch", camera.url, "--out", out, "--headless")
        process.stdout.readline()
        time.sleep(1)
        camera.unplug()
        time.sleep(2)
        camera.plug_in()
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    drive = read_drive(out)
    kinds = [event.kind for event in drive.events()]
    assert kinds.index("camera_lost") < kinds.index("camera_back")
    assert drive.summary.complete
    assert drive.summary.model_extra["reconnects"] >= 1


def test_half_the_frame_rate_gives_the_same_alerts(tmp_path):
    black = tmp_path / "black"
    black.mkdir()
    for i in range(160):
        cv2.imwrite(str(black / f"{i}.png"), np.full((60, 80, 3), 9, np.uint8))
    heard = {}
    for fps, step in ((20, 1), (10, 2)):
        folder = tmp_path / f"{fps}"
        folder.mkdir()
        for i in range(0, 160, step):
            (folder / f"{i}.png").symlink_to(black / f"{i}.png")
        config = tmp_path / f"{fps}.toml"
        config.write_text(f"[source]\nfolder_fps = {fps}\n")
        out = tmp_path / f"drive{fps}"
        assert dashgaze("watch", folder, "--config", config, "--out", out, "--headless").returncode == 0
        heard[fps] = [(event.kind, event.level, event.t_s) for event in read_drive(out).events()]
    assert [kind for kind, _, _ in heard[20]] == ["camera_blocked"]
    assert [e[:2] for e in heard[20]] == [e[:2] for e in heard[10]]
    assert [e[2] for e in heard[20]] == pytest.approx([e[2] for e in heard[10]], abs=0.1)


def test_the_button_is_a_signal(tmp_path):
    out = tmp_path / "drive"
    process = start("watch", slow_video(tmp_path / "long.mp4"), "--out", out, "--headless")
    process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.5)
    assert process.poll() is None, "it goes on"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert read_drive(out).summary is not None


def test_the_button_before_the_loop_is_up_kills_nothing(carphone, tmp_path):
    process = start("watch", carphone, "--out", tmp_path / "drive", "--headless")
    button = 1 << (signal.SIGUSR1 - 1)
    for _ in range(1000):  # until it ignores or handles the button: before that no program can
        masks = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        if (int(masks["SigIgn"], 16) | int(masks["SigCgt"], 16)) & button:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors


def test_a_lost_camera_is_an_alert(tmp_path):
    out = tmp_path / "drive"
    config = tmp_path / "car.toml"
    config.write_text("[attention.absence]\nblocked_s = 1\n")
    with MjpegCamera() as camera:
        process = start("watch", camera.url, "--config", config, "--out", out, "--headless")
        process.stdout.readline()
        time.sleep(0.5)
        camera.unplug()
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    lost_s = next(event.t_s for event in read_drive(out).events() if event.kind == "camera_lost")
    blocked = [event for event in read_drive(out).events() if event.kind == "camera_blocked" and event.level != "none"]
    assert blocked
    assert blocked[0].t_s >= lost_s


def test_a_drive_without_a_face_asks_whether_this_is_the_right_camera(tmp_path):
    film = write_video(tmp_path / "noise.mp4", frames=5)
    assert "is this the camera" in dashgaze("watch", film, "--out", tmp_path / "drive", "--headless").stdout


def one_line_error(result, *words):
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("dashgaze: error: ")
    for word in words:
        assert word in lines[0]


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path):
    out = tmp_path / "drive"
    empty = tmp_path / "empty.mp4"
    empty.touch()
    text = tmp_path / "text.mp4"
    text.write_text("this is no film\n" * 100)
    one_line_error(dashgaze("watch", tmp_path / "none.mp4", "--out", out), "none.mp4")
    one_line_error(dashgaze("watch", empty, "--out", out), "empty.mp4")
    one_line_error(dashgaze("watch", text, "--out", out), "text.mp4")
    config = tmp_path / "car.toml"
    config.write_text("[gaze]\nsmoothing = 3\n")
    one_line_error(dashgaze("watch", text, "--out", out, "--config", config), "car.toml", "gaze.smoothing")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["car.toml", "empty.mp4", "text.mp4"]


def test_a_drive_is_never_written_over(watched, carphone):
    out, _ = watched
    before = (out / "drive.json").read_bytes()
    one_line_error(dashgaze("watch", carphone, "--out", out, "--headless"), str(out))
    assert (out / "drive.json").read_bytes() == before
    assert read_drive(out).summary.complete


def test_a_bundle_with_a_flipped_byte_and_an_unsigned_one_are_refused(carphone, tmp_path):
    import shutil

    copy = tmp_path / "bundle"
    shutil.copytree(ROOT / "device" / "bundle", copy)
    result = dashgaze("watch", carphone, "--bundle", copy, "--out", tmp_path / "drive")
    one_line_error(result, "not signed", "--allow-unsigned")
    mesh = copy / "mesh.onnx"
    data = bytearray(mesh.read_bytes())
    data[1000] ^= 1
    mesh.write_bytes(data)
    result = dashgaze("watch", carphone, "--bundle", copy, "--allow-unsigned", "--out", tmp_path / "drive")
    one_line_error(result, "mesh.onnx", "SHA-256")
    assert not (tmp_path / "drive").exists()


@pytest.mark.skipif(os.geteuid() != 0 if hasattr(os, "geteuid") else True, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_what_was_written_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        stills = write_stills(tmp_path / "stills", [f"{i}.png" for i in range(400)])
        result = dashgaze("watch", stills, "--out", disk / "drive", "--headless")
        assert result.returncode == 1, result.stdout
        assert len(result.stderr.strip().splitlines()) == 1
        assert "disk" in result.stderr or "space" in result.stderr
        drive = read_drive(disk / "drive")
        drive.observations()
        assert all(p.name.endswith(".parquet") for p in (disk / "drive" / "observations").iterdir())
    finally:
        subprocess.run(["umount", disk], check=False)


def test_help_teaches_and_wrong_usage_is_named():
    assert dashgaze("--version").stdout.startswith("dashgaze ")
    assert "Traceback" in dashgaze("watch", "none.mp4", "--debug").stderr
    assert "dashgaze watch" in dashgaze("watch", "--help").stdout
    assert dashgaze("watch").returncode == 2
    assert dashgaze("watch", "x.mp4", "--gaze", "psychic").returncode == 2


def test_the_device_reaches_nothing_heavy():
    check = (
        "import sys, dashgaze.device.watch, dashgaze.device.doctor, dashgaze.cli\n"
        "heavy = {'torch', 'mediapipe', 'pandas', 'polars', 'matplotlib', 'pyarrow', 'scipy', 'onnx', 'tflite'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules)))) if (json := __import__('json')) else None\n"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(result.stdout) == []


def test_rooms_are_imported_by_one_name_alone():
    sources = [p for p in ROOT.rglob("*.py") if not {".venv", ".demo", "build"} & set(p.relative_to(ROOT).parts)]
    assert len(sources) > 40
    for path in sources:
        for line in path.read_text().splitlines():
            assert not line.startswith(("import device", "from device", "import export", "from export")), path
