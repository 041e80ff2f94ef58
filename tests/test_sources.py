import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import clips
import pytest
from clips import MjpegCamera, number_of, red_corner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dashgaze.device import captures
from dashgaze.device.records import Frame
from dashgaze.device.source_files import PresentationClock, natural_key
from dashgaze.device.sources import Source, SourceEventKind, SourceSettings, open_source
from dashgaze.errors import DashgazeError, InputError

DATA = Path(__file__).parents[2] / "shared" / "data"
LIVE = SourceSettings(tick_s=0.02, stall_s=0.5, connect_s=2.0)


def read(spec: Path | str, settings: SourceSettings | None = None) -> tuple[list[Frame], Source]:
    with open_source(str(spec), settings) as source:
        return [frame for frame in source if frame is not None], source


def kinds(source: Source) -> list[SourceEventKind]:
    return [event.kind for event in source.take_events()]


# Video files


@pytest.mark.parametrize(
    ("name", "fourcc"),
    [("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.mkv", "mp4v"), ("a.avi", "MJPG"), ("a.webm", "VP80")],
)
def test_a_file_gives_every_frame_at_its_time(tmp_path: Path, name: str, fourcc: str) -> None:
    frames, source = read(clips.write_video(tmp_path / name, frames=10, fps=10, fourcc=fourcc))
    assert [frame.index for frame in frames] == list(range(10))
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    assert [frame.t_s for frame in frames] == pytest.approx([i / 10 for i in range(10)])
    assert all(frame.timestamp_ns is None and frame.skipped == 0 for frame in frames)
    assert (source.kind, source.live, source.fps, source.frame_count) == ("file", False, 10.0, 10)
    assert source.size_px == clips.SIZE_PX
    assert source.take_events() == []


def test_a_variable_frame_rate_is_honoured(tmp_path: Path) -> None:
    frames, _ = read(clips.write_gif(tmp_path / "a.gif", [50, 200, 100, 700, 100]))
    assert [frame.t_s for frame in frames] == pytest.approx([0.0, 0.05, 0.25, 0.35, 1.05])


@pytest.mark.parametrize(
    ("degrees", "corner"), [(0, "top left"), (90, "top right"), (180, "bottom right"), (270, "bottom left")]
)
def test_a_video_filmed_sideways_is_shown_upright(tmp_path: Path, degrees: int, corner: str) -> None:
    width, height = clips.SIZE_PX
    frames, source = read(clips.turn_mp4(clips.write_video(tmp_path / "a.mp4"), degrees))
    assert {red_corner(frame.image) for frame in frames} == {corner}
    assert source.size_px == ((height, width) if degrees % 180 else (width, height))


def test_mirror_flips_left_and_right(tmp_path: Path) -> None:
    frames, _ = read(clips.write_video(tmp_path / "a.mp4"), SourceSettings(mirror=True))
    assert {red_corner(frame.image) for frame in frames} == {"top right"}


@pytest.mark.parametrize("start", ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00", "2026-03-01T13:00:00+01:00"])
def test_start_utc_stamps_every_frame(tmp_path: Path, start: str) -> None:
    settings = SourceSettings.model_validate({"start_utc": start})
    frames, _ = read(clips.write_video(tmp_path / "a.mp4", frames=3, fps=8), settings)
    noon_ns = 1_772_366_400 * 10**9
    assert [frame.timestamp_ns for frame in frames] == [noon_ns, noon_ns + 125_000_000, noon_ns + 250_000_000]


def test_frames_that_are_kept_do_not_change(tmp_path: Path) -> None:
    frames, _ = read(clips.write_video(tmp_path / "a.avi", fourcc="MJPG"))
    assert [number_of(frame.image) for frame in frames] == list(range(10))


def test_iteration_ends_when_stopped(tmp_path: Path) -> None:
    with open_source(str(clips.write_video(tmp_path / "a.mp4"))) as source:
        seen = []
        for frame in source:
            seen.append(frame)
            if len(seen) == 4:
                source.stop()
        assert len(seen) == 4
        assert list(source) == []


def test_a_file_of_which_the_end_is_missing_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = clips.put_index_first(clips.write_video(tmp_path / "a.mp4", frames=30))
    frames, source = read(clips.cut(path, 0.6))
    assert 5 < len(frames) < 28
    assert [number_of(frame.image) for frame in frames] == [i % 12 for i in range(len(frames))]
    assert source.truncated
    assert kinds(source) == [SourceEventKind.TRUNCATED]


def test_reading_goes_on_behind_a_damaged_packet(tmp_path: Path) -> None:
    path = clips.write_video(tmp_path / "a.avi", frames=30, fourcc="MJPG")
    data = bytearray(path.read_bytes())
    jpegs = [found.start() for found in re.finditer(rb"\xff\xd8\xff", data)]
    data[jpegs[11] : jpegs[12] - 8] = bytes(jpegs[12] - 8 - jpegs[11])
    path.write_bytes(data)
    frames, source = read(path)
    assert number_of(frames[-1].image) == 29 % 12
    assert len(frames) == 29
    assert source.unreadable == 1
    assert kinds(source) == [SourceEventKind.UNREADABLE]


def test_a_picture_of_8k_is_read(tmp_path: Path) -> None:
    path = clips.write_video(tmp_path / "a.avi", frames=1, size_px=(7680, 4320), fourcc="MJPG")
    frames, source = read(path)
    assert source.size_px == (7680, 4320)
    assert frames[0].image.shape == (4320, 7680, 3)


def test_a_video_of_two_by_two_pixels_is_read(tmp_path: Path) -> None:
    frames, source = read(clips.write_video(tmp_path / "a.avi", frames=2, size_px=(2, 2), fourcc="MJPG"))
    assert (len(frames), source.size_px) == (2, (2, 2))


def test_a_gif_of_one_pixel_is_read(tmp_path: Path) -> None:
    frames, source = read(clips.write_gif(tmp_path / "a.gif", [100, 100], size_px=(1, 1)))
    assert (len(frames), source.size_px) == (2, (1, 1))


@pytest.mark.parametrize(
    "name",
    [
        "face_videos_intel_preview/preview/head-pose-face-detection-male.gif",
        "face_videos_intel_preview/asl_gestures/yes.mkv",
        "incar_driver_video_intel/left_pane_5fps.mp4",
    ],
)
def test_recordings_from_the_field_are_read_in_order(name: str) -> None:
    if not (DATA / name).exists():
        pytest.skip("the recordings are not here")
    frames, source = read(DATA / name)
    assert source.frame_count is not None
    assert abs(len(frames) - source.frame_count) <= 1
    times = [frame.t_s for frame in frames]
    assert times[0] == 0.0
    assert all(a < b for a, b in pairwise(times))
    assert (source.stamps_repaired, source.unreadable, source.truncated) == (0, 0, False)


# What does not open


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _text(path: Path) -> Path:
    path.write_text("This is not a video.\n" * 300)
    return path


def _noise(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 64)
    return path


def _headless(path: Path) -> Path:
    return clips.cut(clips.write_video(path), 0.6)


def _soundless(path: Path) -> Path:
    return clips.silence_the_picture(clips.write_video(path))


def _wav(path: Path) -> Path:
    return clips.write_wav(path)


def _without_frames(path: Path) -> Path:
    data = clips.put_index_first(clips.write_video(path)).read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    return path


def _never_started(path: Path) -> Path:
    return clips.write_video(path, frames=0)


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path, "no such file"),
        (_empty, "is empty"),
        (_text, "is a text file"),
        (_noise, "is damaged, or not a video"),
        (_headless, "index .* is missing"),
        (_soundless, "has no video stream"),
        (_wav, "has no video stream"),
        (_without_frames, "no picture"),
        (_never_started, "no video stream|cannot be decoded"),
        (_fifo, "is no file"),
        (_loop, "symbolic links"),
        (_folder, "holds no pictures"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line_with_a_remedy(
    tmp_path: Path, make: Callable[[Path], Path], problem: str
) -> None:
    path = make(tmp_path / "drive.mp4")
    with pytest.raises(InputError, match=problem) as caught:
        open_source(str(path))
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("spec", ["", "0" * 400, "a\0b.mp4", "no\nsuch.mp4", "999", "/dev/video998", "/dev/null"])
def test_a_spec_that_names_nothing_is_refused(spec: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    clips.write_video(tmp_path / "a.mp4").rename(path)
    with pytest.raises(InputError, match="not UTF-8"):
        open_source(str(path))


def test_an_umlaut_in_a_name_is_no_obstacle(tmp_path: Path) -> None:
    path = clips.write_video(tmp_path / "a.mp4").rename(tmp_path / "Übung 1%02d.mp4")
    assert len(read(path)[0]) == 10


def test_nothing_but_the_error_is_written(tmp_path: Path) -> None:
    broken = [_headless(tmp_path / "a.mp4"), _noise(tmp_path / "b.mp4"), _empty(tmp_path / "c.mp4")]
    stills = clips.write_stills(tmp_path / "stills", ["1.png", "2.jpg"])
    for still in stills.iterdir():
        clips.cut(still, 0.5)
    code = (
        "import sys\n"
        "from dashgaze.device.sources import open_source\n"
        "from dashgaze.errors import InputError\n"
        "for spec in sys.argv[1:]:\n"
        "    try:\n"
        "        list(open_source(spec))\n"
        "    except InputError as error:\n"
        "        print(error)\n"
    )
    specs = [*map(str, broken), str(stills), "/dev/null"]
    done = subprocess.run([sys.executable, "-c", code, *specs], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(specs)


# Stills


def test_stills_come_in_natural_order_at_their_rate(tmp_path: Path) -> None:
    folder = clips.write_stills(tmp_path / "stills", ["f10.png", "f9.ppm", "F11.jpg"])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes((folder / "f10.png").read_bytes())
    frames, source = read(folder, SourceSettings(folder_fps=4))
    assert [number_of(frame.image) for frame in frames] == [1, 0, 2]
    assert [frame.t_s for frame in frames] == [0.0, 0.25, 0.5]
    assert (source.kind, source.live, source.frame_count) == ("folder", False, 3)


def test_a_single_still_is_a_source(tmp_path: Path) -> None:
    frames, _ = read(clips.write_stills(tmp_path, ["a.png"]) / "a.png")
    assert len(frames) == 1


def test_a_broken_still_is_named_and_left_out_and_keeps_its_place(tmp_path: Path) -> None:
    folder = clips.write_stills(tmp_path / "stills", ["0.png", "1.png", "2.png"])
    clips.cut(folder / "1.png", 0.5)
    frames, source = read(folder)
    assert [(frame.index, frame.t_s) for frame in frames] == [(0, 0.0), (2, 2.0)]
    assert source.unreadable == 1
    [event] = source.take_events()
    assert event.kind == SourceEventKind.UNREADABLE
    assert str(folder / "1.png") in event.message


def test_a_folder_of_broken_stills_is_an_error(tmp_path: Path) -> None:
    folder = clips.write_stills(tmp_path / "stills", ["0.png", "1.png"])
    for still in folder.iterdir():
        still.write_bytes(b"")
    with pytest.raises(InputError, match="not one of its pictures"):
        read(folder)


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, "top left"), (3, "bottom right"), (6, "top right"), (8, "bottom left")]
)
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, corner: str) -> None:
    clips.turn_jpeg(clips.write_stills(tmp_path, ["a.jpg"]) / "a.jpg", orientation)
    frames, _ = read(tmp_path)
    assert red_corner(frames[0].image) == corner


@given(st.lists(st.integers(0, 10**6), unique=True), st.text(st.characters(exclude_characters="0123456789")))
def test_natural_order_is_the_order_of_numbers(numbers: list[int], prefix: str) -> None:
    names = sorted((f"{prefix}{number}.png" for number in numbers), key=natural_key)
    assert names == [f"{prefix}{number}.png" for number in sorted(numbers)]


# Time stamps


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30), st.sampled_from([None, 25.0]))
def test_presentation_times_start_at_zero_and_rise_whatever_the_stamps(stamps: list[float], fps: float | None) -> None:
    clock = PresentationClock(fps)
    times = [clock.rise_to(stamp) for stamp in stamps]
    assert times[:1] in ([], [0.0])
    assert all(a < b for a, b in pairwise(times))


@given(st.floats(-1e3, 1e3), st.lists(st.floats(1e-3, 1e3), max_size=30), st.sampled_from([None, 25.0, 240.0]))
def test_sound_stamps_are_kept(start_s: float, steps_s: list[float], fps: float | None) -> None:
    stamps = [start_s]
    for step_s in steps_s:
        stamps.append(stamps[-1] + step_s)
    clock = PresentationClock(fps)
    times = [clock.rise_to(stamp) for stamp in stamps if stamp != 0.0 or stamp == stamps[0]]
    expected = [stamp - start_s for stamp in stamps if stamp != 0.0 or stamp == stamps[0]]
    assert times == pytest.approx(expected)
    assert clock.repaired == 0


def test_one_bad_stamp_does_not_shift_those_after_it() -> None:
    clock = PresentationClock(10.0)
    times = [clock.rise_to(stamp) for stamp in (0.0, 0.1, 0.1, 0.3, 0.0, 0.5, 0.6)]
    assert times == pytest.approx([0.0, 0.1, 0.15, 0.3, 0.4, 0.5, 0.6])
    assert clock.repaired == 2


def test_stamps_that_start_anew_go_on() -> None:
    clock = PresentationClock(10.0)
    times = [clock.rise_to(stamp) for stamp in (0.0, 2.0, 4.0, 0.5, 0.75, 1.0)]
    assert times == pytest.approx([0.0, 2.0, 4.0, 4.1, 4.35, 4.6])


# Network streams


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    with MjpegCamera() as camera:
        yield camera


def until(source: Source, wanted: Callable[[Frame | None], bool]) -> Frame | None:
    """The first item of a live source for which `wanted`; fails after 10 s."""
    end_s = time.monotonic() + 10
    for item in source:
        if wanted(item):
            return item
        assert time.monotonic() < end_s, "did not happen in time"
    raise AssertionError("the source ended")


def until_reported(source: Source, kind: SourceEventKind) -> None:
    """Iterate until exactly this is reported."""
    reported: list[SourceEventKind] = []

    def something(_: Frame | None) -> bool:
        reported.extend(kinds(source))
        return bool(reported)

    until(source, something)
    assert reported == [kind]


def test_a_stream_is_live_and_rises(camera: MjpegCamera) -> None:
    before_ns = time.time_ns()
    frames: list[Frame] = []
    with open_source(camera.url, LIVE) as source:
        for frame in source:
            frames += [frame] if frame is not None else []
            if len(frames) == 20:
                break
        assert (source.kind, source.live, source.frame_count) == ("stream", True, None)
    assert 0.0 <= frames[0].t_s < 1.0
    assert all(a.t_s < b.t_s for a, b in pairwise(frames))
    assert all(frame.timestamp_ns and before_ns < frame.timestamp_ns < time.time_ns() for frame in frames)
    assert source.take_events() == []


def test_a_slow_consumer_gets_the_latest_picture_and_the_count_of_those_it_missed(
    camera: MjpegCamera,
) -> None:
    with open_source(camera.url, LIVE) as source:
        frames = []
        for frame in source:
            if frame is not None:
                frames.append(frame)
                time.sleep(0.1)
            if len(frames) == 8:
                break
    assert source.skipped > 8
    for a, b in pairwise(frames):
        assert b.index == a.index + 1 + b.skipped
        assert number_of(b.image) == (number_of(a.image) + 1 + b.skipped) % 12
        assert 0.05 < b.t_s - a.t_s < 1.0


def test_a_camera_that_is_unplugged_is_missed_and_found_again(camera: MjpegCamera) -> None:
    with open_source(camera.url, LIVE) as source:
        last = until(source, lambda item: item is not None and item.index >= 5)
        camera.unplug()
        until_reported(source, SourceEventKind.CAMERA_LOST)
        assert next(iter(source)) is None
        camera.plug_in()
        until_reported(source, SourceEventKind.CAMERA_BACK)
        found = until(source, lambda item: item is not None)
        assert source.reconnects == 1
    assert last is not None
    assert found is not None
    assert found.index > last.index
    assert found.t_s > last.t_s


def test_a_frozen_camera_is_missed_within_the_stall_time(camera: MjpegCamera) -> None:
    with open_source(camera.url, LIVE) as source:
        until(source, lambda item: item is not None and item.index >= 5)
        camera.frozen.set()
        start_s = time.monotonic()
        until_reported(source, SourceEventKind.CAMERA_LOST)
        assert time.monotonic() - start_s < LIVE.stall_s + 0.5


def test_a_camera_that_stays_lost_ends_the_run_where_that_is_wished(camera: MjpegCamera) -> None:
    with open_source(camera.url, LIVE.model_copy(update={"reconnect_s": 0.3})) as source:
        camera.unplug()
        with pytest.raises(DashgazeError, match="did not return"):
            until(source, lambda item: False)


def test_stopping_from_another_thread_ends_the_iteration_at_once(camera: MjpegCamera) -> None:
    with open_source(camera.url, LIVE) as source:
        camera.frozen.set()
        threading.Timer(0.2, source.stop).start()
        start_s = time.monotonic()
        for _ in source:
            pass
        assert time.monotonic() - start_s < 0.8


def test_a_program_ends_promptly_and_soundly_while_its_camera_is_frozen(camera: MjpegCamera) -> None:
    code = (
        "import sys, time\n"
        "from dashgaze.device.sources import SourceSettings, open_source\n"
        "with open_source(sys.argv[1], SourceSettings(stall_s=30)) as source:\n"
        "    for frame in source:\n"
        "        if frame is None:\n"
        "            break\n"
        "        print(frame.index, flush=True)\n"
        "    start_s = time.monotonic()\n"
        "assert time.monotonic() - start_s < 1\n"
    )
    command = [sys.executable, "-c", code, camera.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        camera.frozen.set()
        errors = program.communicate(timeout=10)[1]
        assert program.returncode == 0
        assert errors == ""


def test_an_address_where_nobody_answers_is_refused_without_its_secrets(camera: MjpegCamera) -> None:
    camera.unplug()
    with pytest.raises(InputError, match="cannot be reached") as caught:
        open_source(camera.url.replace("//", "//driver:hunter2@") + "?token=hunter3", LIVE)
    assert "hunter" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_page_without_video_is_refused(camera: MjpegCamera) -> None:
    with pytest.raises(InputError, match="gives no video"):
        open_source(camera.url.replace("stream.mjpg", "nothing"), LIVE)


@pytest.mark.parametrize(
    "url", ["ftp://host/a.mp4", "rtsp://", "http://[::1", "rtsp://user:pa/ss@host/x", "http://" + "a" * 300]
)
def test_an_unusable_url_is_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(url, LIVE)
    assert "ss@" not in str(caught.value)


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1).map(lambda text: f"S{text}S"),
    st.text(min_size=1).map(lambda text: f"S{text}S"),
)
def test_a_name_for_messages_holds_no_password(password: str, token: str) -> None:
    assert "S" not in captures.safe_name(f"rtsp://u:{password}@host:554/live?token={token}")


def test_settings_refuse_what_makes_no_sense() -> None:
    for wrong in ({"folder_fps": 0}, {"stall_s": -1}, {"start_utc": "yesterday"}, {"fps": 3}):
        with pytest.raises(ValidationError):
            SourceSettings.model_validate(wrong)
