import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dashgaze.device.outputs import clock_words
from dashgaze.device.outputs.terminal import (
    PlainView,
    TerminalView,
    open_view,
    print_checks,
    render_summary,
)
from dashgaze.device.records import Alert, AlertKind, Attention, Eyes, Face, Frame, Gaze, Level
from dashgaze.tables import Status
from dashgaze.zones import Zone

IMAGE = np.zeros((1, 1, 3), np.uint8)
CALM = Attention(Level.NONE, buffer_s=2.0, perclos_frac=0.1)


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def console(terminal=True, **kwargs):
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, height=24, color_system="truecolor", **kwargs)


def gaze(az=30.0, el=0.0, zone=Zone.CONSOLE, status=Status.OK, **kwargs):
    values = {"car_azimuth_deg": az, "car_elevation_deg": el, "error_deg": 4.0, "zone": zone}
    return Gaze(status, **(values | kwargs))


def alert(t_s, message="Look at the road", level=Level.WARNING):
    return Alert(AlertKind.PHONE_DOWN, level, t_s, "rule", message)


def opened(frame_count=None, **kwargs):
    clock = Clock()
    view = TerminalView(console(**kwargs), clock)
    view.start("drive.mp4", frame_count)
    return view, clock


def send(view, gaze_=None, attention=CALM, index=0, t_s=0.0, fps=30.0, skipped=0, latency_ms=12.0):
    seen = gaze_ or gaze()
    view.update(Frame(index, t_s, IMAGE), Face(Status.OK), seen, attention, fps, skipped, latency_ms)


def text_of(view, no_color=False):
    page = Console(file=io.StringIO(), width=80, record=True, no_color=no_color)
    page.print(view.render())
    return page.export_text()


@settings(max_examples=60, deadline=None)
@given(
    az=st.one_of(st.none(), st.floats(-180, 180)),
    el=st.one_of(st.none(), st.floats(-90, 90)),
    status=st.sampled_from(Status),
    zone=st.one_of(st.none(), st.sampled_from(Zone)),
    level=st.sampled_from(Level),
    share=st.one_of(st.none(), st.floats(0, 1)),
    message=st.text(max_size=300),
    count=st.one_of(st.none(), st.integers(1, 10**7)),
)
def test_the_view_fits_into_80_columns_and_24_rows(az, el, status, zone, level, share, message, count):
    view, _ = opened(count)
    seen = gaze(az, el, zone, status, eyes=Eyes(share, share, None, None))
    attention = Attention(level, (AlertKind.SLEEP,), (alert(1.0, message, level),) * 7, 2.0, 3.0, share, share)
    with view:
        send(view, seen, attention, index=3, t_s=40_000.0)
        lines = text_of(view).splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80


def test_it_is_drawn_at_most_eight_times_a_second():
    view, clock = opened()
    with view:
        before = view._console.file.tell()
        draws = 0
        for k in range(300):
            clock.now_s += 1 / 100
            send(view, index=k, t_s=k / 100)
            draws += view._console.file.tell() > before
            before = view._console.file.tell()
    assert 22 <= draws <= 24


def test_an_alert_between_two_draws_is_not_lost():
    view, clock = opened()
    with view:
        send(view)
        send(view, attention=Attention(Level.WARNING, (), (alert(0.1, "Eyes on the phone"),)), t_s=0.1)
        clock.now_s += 1
        send(view, t_s=1.0)
        assert "Eyes on the phone" in text_of(view)


def test_the_last_five_alerts_stay():
    view, clock = opened()
    with view:
        for k in range(9):
            clock.now_s += 1
            send(view, attention=Attention(Level.NONE, (), (alert(k, f"alert {k}"),)), t_s=float(k))
        shown = [line for line in text_of(view).splitlines() if "alert " in line and "warning" in line]
    assert [line.split("alert ")[1][0] for line in shown] == ["4", "5", "6", "7", "8"]


def test_what_is_unknown_is_a_dash_and_not_zero():
    view, _ = opened()
    with view:
        send(view, Gaze(Status.NO_FACE), Attention(Level.NONE))
        text = text_of(view)
    for label in ("Attention", "PERCLOS", "Right eye", "Left eye"):
        line = next(line for line in text.splitlines() if label in line)
        assert line.rstrip("│ ").endswith(" -")
    assert "direction unknown" in text
    assert "No face found" in text


@pytest.mark.parametrize(
    ("az", "el", "arrow"),
    [(30, 0, "→"), (-30, 0, "←"), (0, 20, "↑"), (0, -40, "↓"), (30, -30, "↘"), (-20, 20, "↖"), (1, 1, "•")],
)
def test_the_arrow_points_where_the_driver_looks(az, el, arrow):
    view, _ = opened()
    with view:
        send(view, gaze(float(az), float(el)))
        assert f"{arrow}  Console" in text_of(view)


def test_without_colours_the_last_minute_is_letters():
    view, clock = opened(no_color=True)
    with view:
        for k in range(30):
            clock.now_s += 0.5
            send(view, gaze(zone=Zone.PHONE_LAP if k >= 20 else Zone.CONSOLE), t_s=k * 0.5)
        strip = next(line for line in text_of(view).splitlines() if "last minute" in line)
    assert "c" * 10 + "P" * 5 in strip


def test_a_pause_is_a_gap_in_the_last_minute():
    view, clock = opened(no_color=True)
    with view:
        for t_s in (0.0, 1.0, 6.0, 7.0):
            clock.now_s += 1.0
            send(view, t_s=t_s)
        strip = next(line for line in text_of(view).splitlines() if "last minute" in line)
    assert "cc    cc" in strip


def test_a_file_says_how_long_it_still_takes():
    view, clock = opened(frame_count=1000)
    with view:
        clock.now_s += 10
        send(view, index=249, t_s=8.0)
        text = text_of(view)
    assert "25 %" in text
    assert "0:30 left" in text


def test_a_silent_camera_is_said_and_the_view_goes_on():
    view, clock = opened()
    with view:
        send(view)
        clock.now_s += 1
        view.idle()
        assert "waiting for the camera" in view._console.file.getvalue()
        clock.now_s += 1
        send(view, t_s=2.0)


def test_closing_restores_the_cursor_even_before_the_first_frame():
    never_started = TerminalView(console())
    with never_started:
        never_started.idle()
    view, _ = opened()
    with view:
        send(view)
    written = view._console.file.getvalue()
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def plain_lines(*changes, name="drive.mp4"):
    page = console(terminal=False)
    with PlainView(page) as view:
        view.start(name, 10)
        for k, change in enumerate(changes):
            send(view, attention=Attention(change.level, (), (change,)), index=k, t_s=change.t_s)
        view.event(9.0, "camera_lost", "no picture for 5 s")
        view.idle()
    return page.file.getvalue().splitlines()


def test_plain_output_is_one_line_for_each_alert_that_starts_or_rises():
    lines = plain_lines(alert(1.0, "one"), alert(2.5, "two", Level.CRITICAL), alert(4.0, "", Level.NONE))
    assert lines == [
        "watching drive.mp4, 10 frames",
        "0:01.0 warning phone_down: one",
        "0:02.5 critical phone_down: two",
        "0:09.0 camera_lost: no picture for 5 s",
    ]


def test_names_and_messages_cannot_steer_the_terminal():
    lines = plain_lines(alert(1.0, "\x1b]0;owned\x07 [red]x[/red]\nforged line"), name="\x1b[2J.mp4")
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert "[red]x[/red]" in lines[1]
    view, _ = opened()
    with view:
        view.event(0.0, "kind", "\x1b[2J")
        send(view)
        assert "\x1b[2J" not in view._console.file.getvalue()


def test_a_long_line_is_not_folded_in_a_log():
    assert "x" * 150 in "\n".join(plain_lines(alert(1.0, "x" * 150)))


def test_the_live_view_needs_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(open_view(False, console()), TerminalView)
    assert isinstance(open_view(True, console()), PlainView)
    assert isinstance(open_view(False, console(terminal=False)), PlainView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_view(False, console()), PlainView)


def summary_text(summary, paths=(), finished=True):
    page = Console(file=io.StringIO(), width=80)
    page.print(render_summary(summary, paths, finished))
    return page.file.getvalue()


def test_the_summary_names_numbers_alerts_and_paths():
    summary = {
        "frames": 1200,
        "frames_with_face": 900,
        "fps": 29.97,
        "latency_ms": {"faces": None, "total": {"p50": 10.24, "p95": 12.0, "p99": 15.5, "max": 40.0}},
        "skipped_frames": 3,
        "alerts": {"phone_down": 2},
    }
    text = summary_text(json.loads(json.dumps(summary)), [Path("drives/a"), Path("a.webm")])
    for words in (
        "1,200",
        "75.0 %",
        "29.97",
        "p50 10.2",
        "p99 15.5",
        "max 40.0",
        "2 phone down",
        "drives/a",
        "a.webm",
    ):
        assert words in text
    assert "stopped" not in text
    assert "stopped before the end" in summary_text(summary, finished=False)


def test_a_summary_without_numbers_has_dashes():
    text = summary_text({"frames": 0, "frames_with_face": 0, "latency_ms": {"total": None}, "fps": None})
    assert "Latency  -" in text
    assert "Speed    - frames/s" in text
    assert "none" in text


def test_checks_say_what_mends_what_is_wrong():
    doctor = pytest.importorskip("dashgaze.device.doctor")
    page = Console(file=io.StringIO(), width=80)
    print_checks([doctor.Check("clock", False, "says 1970", "set it"), doctor.Check("camera", True, "fine")], page)
    text = page.file.getvalue()
    assert text.index("wrong") < text.index("set it") < text.index("camera")


@pytest.mark.parametrize(
    ("t_s", "words"),
    [(0.0, "0:00.0"), (59.97, "1:00.0"), (61.25, "1:01.2"), (3725.0, "1:02:05.0"), (-1.0, "0:00.0")],
)
def test_clock_words(t_s, words):
    assert clock_words(t_s) == words
