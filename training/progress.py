"""Progress of long work on the terminal: a bar on a screen, one line a drive in a log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class FrameBar:
    """Shows frames and drives done; `farm.Progress`."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar, self._console = bar, console
        self._task: TaskID | None = None
        self._drives, self._done = 0, 0

    def start(self, drives: int, done: int, frames: int) -> None:
        """Begin: so many drives, of which so many are there already; frames that are still to be rendered."""
        self._drives, self._done = drives, done
        self._task = self._bar.add_task("", total=frames, drives=self._text())

    def frame(self) -> None:
        """One more frame is rendered."""
        if self._task is not None:
            self._bar.advance(self._task)

    def drive(self) -> None:
        """One more drive is complete."""
        self._done += 1
        if self._task is not None:
            self._bar.update(self._task, drives=self._text())
        if not self._console.is_terminal:
            self._console.print(self._text())

    def _text(self) -> str:
        return f"{self._done} of {self._drives}"


@contextmanager
def frame_bar(unit: str) -> Iterator[FrameBar]:
    """Show a bar on stderr while the block runs; `unit` says what is counted, e.g. "drives"."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn(f"{{task.fields[drives]}} {unit}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield FrameBar(bar, console)
