"""Progress of long work on the terminal: a bar on a screen, one line a session in a log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class FrameBar:
    """Shows frames and sessions done; `farm.Progress`."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar, self._console = bar, console
        self._task: TaskID | None = None
        self._sessions, self._done = 0, 0

    def start(self, sessions: int, done: int, frames: int) -> None:
        """Begin: so many sessions, of which so many are there already; frames that are still to be rendered."""
        self._sessions, self._done = sessions, done
        self._task = self._bar.add_task("", total=frames, sessions=self._text())

    def frame(self) -> None:
        """One more frame is rendered."""
        if self._task is not None:
            self._bar.advance(self._task)

    def session(self) -> None:
        """One more session is complete."""
        self._done += 1
        if self._task is not None:
            self._bar.update(self._task, sessions=self._text())
        if not self._console.is_terminal:
            self._console.print(self._text())

    def _text(self) -> str:
        return f"{self._done} of {self._sessions}"


@contextmanager
def frame_bar(unit: str) -> Iterator[FrameBar]:
    """Show a bar on stderr while the block runs; `unit` says what is counted, e.g. "sessions"."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn(f"{{task.fields[sessions]}} {unit}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield FrameBar(bar, console)
