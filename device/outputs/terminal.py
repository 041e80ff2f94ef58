"""What a run says on the terminal: a live view on a screen, lines elsewhere, and the summary at its end.

The live view fits into 80 columns and 24 rows and is drawn at most eight times a second; in between, an
update costs microseconds. NO_COLOR is respected: the strip of the last minute then shows letters.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dashgaze.device.outputs import (
    LEVEL_RGB,
    LEVEL_WORDS,
    MUTED_RGB,
    Rgb,
    clock_words,
    gaze_rgb,
    gaze_words,
)
from dashgaze.device.records import AlertKind, Attention, Face, Frame, Gaze, Level
from dashgaze.tables import Status
from dashgaze.zones import ROAD_ZONES, Zone

if TYPE_CHECKING:
    from dashgaze.device.doctor import Check
    from dashgaze.device.watch import Outcome

_REFRESH_S = 0.125
_STRIP_S = 60
_ALERTS_SHOWN = 5
_BAR_CELLS = 16
_BUFFER_FULL_S = 2.0
_OFF_ROAD_FULL_S = 10.0
_PERCLOS_FULL = 0.3
_COLUMN = 40
_STRAIGHT_DEG = 4.0
_ARROWS = "→↗↑↖←↙↓↘"
_LETTERS: dict[Zone, str] = {
    Zone.ROAD_AHEAD: "·",
    Zone.ROAD_LEFT: "‹",
    Zone.ROAD_RIGHT: "›",
    Zone.MIRROR_LEFT: "m",
    Zone.MIRROR_RIGHT: "m",
    Zone.MIRROR_REAR: "m",
    Zone.CLUSTER: "i",
    Zone.CONSOLE: "c",
    Zone.PHONE_LAP: "P",
    Zone.PASSENGER: "p",
    Zone.OTHER: "o",
}
_CLOSED_LETTER = "-"


class View(AbstractContextManager["View"], Protocol):
    """What the loop tells the terminal."""

    def start(self, name: str, frame_count: int | None) -> None:
        """The first frame has come; `frame_count` is None where the source has no end."""

    def update(
        self,
        frame: Frame,
        face: Face,
        gaze: Gaze,
        attention: Attention,
        fps: float,
        skipped: int,
        latency_ms: float,
    ) -> None:
        """One frame went through the loop. `skipped` counts all stale frames so far."""

    def event(self, t_s: float, kind: str, message: str) -> None:
        """Something beside frames: a camera lost, a calibration found."""

    def idle(self) -> None:
        """A live source gives no picture at the moment."""


def open_view(headless: bool, console: Console | None = None) -> View:
    """The live view where there is a screen to show it on, else plain lines."""
    console = console or Console(highlight=False)
    if headless or not console.is_terminal or console.is_dumb_terminal or not console.encoding.startswith("utf"):
        return PlainView(console)
    return TerminalView(console)


class PlainView:
    """One line per alert and event, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, name: str, frame_count: int | None) -> None:
        """Says what is watched."""
        frames = "" if frame_count is None else f", {frame_count} frames"
        self._say(f"watching {name}{frames}")

    def update(
        self,
        frame: Frame,
        face: Face,
        gaze: Gaze,
        attention: Attention,
        fps: float,
        skipped: int,
        latency_ms: float,
    ) -> None:
        """Says which alerts started or changed their level."""
        for alert in attention.changes:
            if alert.level > Level.NONE:
                self._say(f"{clock_words(alert.t_s)} {LEVEL_WORDS[alert.level]} {alert.kind}: {alert.message}")

    def event(self, t_s: float, kind: str, message: str) -> None:
        """Says it."""
        self._say(f"{clock_words(t_s)} {kind}: {message}")

    def idle(self) -> None:
        """Says nothing."""

    def _say(self, line: str) -> None:
        self._console.print(Text(_harmless(line)), soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class TerminalView:
    """The live view. `clock` is a monotonic clock in seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._name = ""
        self._frame_count: int | None = None
        self._started_s = self._drawn_s = -np.inf
        self._strip = _Strip()
        self._log: deque[Text] = deque(maxlen=_ALERTS_SHOWN)
        self._messages: dict[AlertKind, str] = {}
        self._seen: _Seen | None = None

    def start(self, name: str, frame_count: int | None) -> None:
        """Open the view."""
        self._name, self._frame_count = _harmless(name), frame_count
        self._started_s = self._clock()
        self._live.start()

    def update(
        self,
        frame: Frame,
        face: Face,
        gaze: Gaze,
        attention: Attention,
        fps: float,
        skipped: int,
        latency_ms: float,
    ) -> None:
        """Take in one frame; draw if it is time to."""
        self._strip.add(frame.t_s, gaze)
        for alert in attention.changes:
            if alert.level > Level.NONE:
                self._messages[alert.kind] = _harmless(alert.message)
                self._log_line(alert.t_s, LEVEL_WORDS[alert.level], self._messages[alert.kind], LEVEL_RGB[alert.level])
        now_s = self._clock()
        if now_s - self._drawn_s >= _REFRESH_S:
            self._drawn_s = now_s
            self._seen = frame, gaze, attention, fps, skipped, latency_ms
            self._live.update(self.render(), refresh=True)

    def event(self, t_s: float, kind: str, message: str) -> None:
        """Put it among the alerts."""
        self._log_line(t_s, _harmless(kind).replace("_", " "), _harmless(message), MUTED_RGB)

    def idle(self) -> None:
        """Say that pictures are missing."""
        now_s = self._clock()
        if now_s - self._drawn_s >= _REFRESH_S and self._live.is_started:
            self._drawn_s = now_s
            waiting = Text("waiting for the camera", _style(LEVEL_RGB[Level.NOTICE]))
            self._live.update(Group(self.render(), waiting), refresh=True)

    def render(self) -> RenderableType:
        """The view as it is now."""
        if self._seen is None:
            return Text(f"opening {self._name}", "dim")
        frame, gaze, attention, fps, skipped, latency_ms = self._seen
        lines = [
            Text(),
            *map(_side_by_side, _gaze_lines(gaze, attention), _bar_lines(gaze, attention)),
            Text(),
            self._strip.render(self._console.no_color),
            Text(),
            _level_line(attention, self._messages.get(attention.active[0], "") if attention.active else ""),
            Text(),
            *self._log,
            *[Text()] * (_ALERTS_SHOWN - len(self._log)),
            Text(),
            self._progress_line(frame),
            _rate_line(fps, latency_ms, skipped),
        ]
        border = _style(LEVEL_RGB[attention.level]) if attention.level > Level.NONE else "dim"
        title = Text(f" {self._name[-50:]}  {clock_words(frame.t_s)} ")
        view = Text("\n", no_wrap=True, overflow="crop").join(lines)
        return Panel(view, box=box.ROUNDED, title=title, title_align="left", border_style=border, width=80)

    def _log_line(self, t_s: float, word: str, message: str, colour: Rgb) -> None:
        line = Text.assemble((f" {clock_words(t_s):>9}  ", "dim"), (f"{word:<18}", _style(colour)), message)
        line.truncate(76, overflow="ellipsis")
        self._log.append(line)

    def _progress_line(self, frame: Frame) -> Text:
        if not self._frame_count:
            return Text(" live", "dim")
        share = min((frame.index + 1) / self._frame_count, 1.0)
        elapsed_s = self._clock() - self._started_s
        left = clock_words(elapsed_s * (1 - share) / share).partition(".")[0] if frame.index > 5 else "-"
        bar = _bar(share, 44, _style((112, 164, 214)))
        return Text.assemble(" ", bar, f" {share * 100:3.0f} %", (f"   {left} left", "dim"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


_Seen = tuple[Frame, Gaze, Attention, float, int, float]


class _Strip:
    """Where the driver looked in each of the last seconds."""

    def __init__(self) -> None:
        self._past: deque[Gaze | None] = deque([None] * _STRIP_S, maxlen=_STRIP_S)
        self._second: int | None = None
        self._tally: Counter[tuple[Status, Zone | None]] = Counter()

    def add(self, t_s: float, gaze: Gaze) -> None:
        """Count one frame in its second; a second is closed when a later one begins."""
        second = int(t_s)
        if self._second is not None and second > self._second:
            self._past.append(self._mostly())
            self._past.extend([None] * min(second - self._second - 1, _STRIP_S))
            self._tally.clear()
        self._second = second
        self._tally[gaze.status, gaze.zone] += 1

    def render(self, letters: bool) -> Text:
        """The strip, oldest first."""
        text = Text(" ")
        cells = [_cell(gaze, letters) for gaze in (*list(self._past)[1:], self._mostly())]
        for (letter, style), run in groupby(cells):
            text.append(letter * len(list(run)), style)
        return text.append("  last minute", "dim")

    def _mostly(self) -> Gaze | None:
        if not self._tally:
            return None
        (status, zone), _ = self._tally.most_common(1)[0]
        return Gaze(status, zone=zone)


def _cell(gaze: Gaze | None, letters: bool) -> tuple[str, str]:
    """Character and style of one second."""
    if gaze is None:
        return " " if letters else "░", "dim"
    style = _style(gaze_rgb(gaze))
    if not letters:
        return "█", style
    if gaze.status is Status.EYES_CLOSED:
        return _CLOSED_LETTER, style
    return " " if gaze.zone is None else _LETTERS[gaze.zone], style


def _gaze_lines(gaze: Gaze, attention: Attention) -> list[Text]:
    """Where the driver looks: an arrow, the zone, the numbers."""
    style = _style(gaze_rgb(gaze))
    off = f"{attention.off_road_s:.1f} s off the road" if attention.off_road_s and gaze.zone not in ROAD_ZONES else ""
    block = Text.assemble(" ", (f"  {_arrow(gaze)}  {gaze_words(gaze):<22}", f"bold reverse {style}"))
    edge = Text.assemble(" ", (" " * 27, f"reverse {style}"))
    return [edge, block, edge, Text(" " + _angle_words(gaze)), Text(" " + off, "dim")]


def _arrow(gaze: Gaze) -> str:
    """Direction of the gaze as the driver sees it; a dot for straight ahead."""
    az, el = gaze.car_azimuth_deg, gaze.car_elevation_deg
    if az is None or el is None or gaze.status not in (Status.OK, Status.LOW_QUALITY):
        return " "
    if np.hypot(az, el) < _STRAIGHT_DEG:
        return "•"
    return _ARROWS[round(np.arctan2(el, az) / (np.pi / 4)) % 8]


def _angle_words(gaze: Gaze) -> str:
    az, el = gaze.car_azimuth_deg, gaze.car_elevation_deg
    if az is None or el is None:
        return "direction unknown"
    words = f"{abs(az):.0f}° {'right' if az >= 0 else 'left'}  {abs(el):.0f}° {'up' if el >= 0 else 'down'}"
    if gaze.error_deg is not None:
        words += f"  ±{gaze.error_deg:.1f}°"
    return words + ("  (head)" if gaze.status is Status.LOW_QUALITY else "")


def _bar_lines(gaze: Gaze, attention: Attention) -> list[Text]:
    buffer, perclos, eyes = attention.buffer_s, attention.perclos_frac, gaze.eyes
    right = None if eyes is None else eyes.openness_right_frac
    left = None if eyes is None else eyes.openness_left_frac
    off_s = attention.off_road_30s_s
    calm = _style((190, 226, 240))
    return [
        _bar_line(
            "Attention",
            None if buffer is None else buffer / _BUFFER_FULL_S,
            _seconds(buffer),
            _level_style(buffer),
        ),
        _bar_line("Off road/30s", off_s / _OFF_ROAD_FULL_S, _seconds(off_s), calm),
        _bar_line("PERCLOS", None if perclos is None else perclos / _PERCLOS_FULL, _percent(perclos), calm),
        _bar_line("Right eye", right, _percent(right), calm),
        _bar_line("Left eye", left, _percent(left), calm),
    ]


def _bar_line(label: str, share: float | None, value: str, style: str) -> Text:
    return Text.assemble((f"{label:<13}", "dim"), _bar(share, _BAR_CELLS, style), f" {value:>6}")


def _bar(share: float | None, cells: int, style: str) -> Text:
    known = 0.0 if share is None or not np.isfinite(share) else min(max(share, 0.0), 1.0)
    full = round(known * cells)
    return Text.assemble(("━" * full, style), ("─" * (cells - full), "bright_black"))


def _level_style(buffer_s: float | None) -> str:
    """Green, amber in the lower half, red when empty."""
    if buffer_s is None or buffer_s > 0.5 * _BUFFER_FULL_S:
        return _style(LEVEL_RGB[Level.NONE])
    return _style(LEVEL_RGB[Level.WARNING if buffer_s > 0 else Level.CRITICAL])


def _level_line(attention: Attention, message: str) -> Text:
    if attention.level is Level.NONE:
        return Text(" no alert", "dim")
    kind = str(attention.active[0]).replace("_", " ") if attention.active else ""
    words = f" {LEVEL_WORDS[attention.level].upper()}  {message or kind}"
    line = Text(f"{words:<76}", f"bold reverse {_style(LEVEL_RGB[attention.level])}")
    line.truncate(76, overflow="ellipsis")
    return line


def _rate_line(fps: float, latency_ms: float, skipped: int) -> Text:
    return Text(f" {fps:.1f} frames/s   {latency_ms:.1f} ms   {skipped} skipped", "dim")


def _side_by_side(left: Text, right: Text) -> Text:
    padded = left.copy()
    padded.truncate(_COLUMN, overflow="ellipsis", pad=True)
    return Text.assemble(padded, right)


def _seconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.1f} s"


def _percent(share: float | None) -> str:
    return "-" if share is None or not np.isfinite(share) else f"{share * 100:.0f} %"


def _style(colour: Rgb) -> str:
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def _harmless(text: str) -> str:
    """One line without control characters: names and messages may come from anywhere."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def render_summary(summary: Mapping[str, Any], paths: Sequence[Path], finished: bool = True) -> RenderableType:
    """The table at the end of a run: `summary` as in a drive's `summary.json`, and the paths written."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    frames, with_face = summary.get("frames"), summary.get("frames_with_face")
    share = f" ({with_face / frames * 100:.1f} %)" if frames and with_face is not None else ""
    table.add_row("Frames", f"{_number(frames)}, {_number(with_face)} with a face{share}")
    table.add_row("Speed", f"{_number(summary.get('fps'))} frames/s")
    table.add_row("Latency", _latency_words((summary.get("latency_ms") or {}).get("total")))
    table.add_row("Skipped", _number(summary.get("skipped_frames")))
    alerts = summary.get("alerts") or {}
    table.add_row("Alerts", ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in alerts.items()) or "none")
    for path in paths:
        table.add_row("Written", Text(_harmless(str(path))))
    if not finished:
        table.add_row("Note", Text("stopped before the end of the file", _style(LEVEL_RGB[Level.WARNING])))
    return table


def _latency_words(latency_ms: Mapping[str, float] | None) -> str:
    if not latency_ms:
        return "-"
    return "   ".join(f"{name} {value:.1f}" for name, value in latency_ms.items()) + " ms"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def print_outcome(outcome: "Outcome", console: Console | None = None) -> None:
    """Print what a run left behind."""
    paths = [outcome.drive] + ([outcome.annotated] if outcome.annotated else [])
    console = console or Console(highlight=False)
    console.print(render_summary(outcome.summary, paths, outcome.finished))
    if not outcome.summary["frames_with_face"]:
        console.print("No face on any frame: is this the camera that looks at the driver?")


def print_checks(checks: "Sequence[Check]", console: Console | None = None) -> None:
    """Print the findings of `dashgaze doctor`: a word, a colour, and what mends what is wrong."""
    words = {True: ("ok", Level.NONE), None: ("unknown", Level.NOTICE), False: ("wrong", Level.CRITICAL)}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        word, level = words[check.ok]
        finding = Text(_harmless(check.detail))
        if check.remedy:
            finding.append(f"\n{_harmless(check.remedy)}", "dim")
        table.add_row(Text(word, _style(LEVEL_RGB[level])), Text(check.name), finding)
    (console or Console(highlight=False)).print(table)
