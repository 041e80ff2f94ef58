"""What a training run shows of itself: a bar on the terminal, its curves as a table and as a picture."""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Row = Mapping[str, float]
"""One epoch: number from 1, mean losses `loss...`, mean validation errors by name."""


class EpochBar:
    """Shows batches on a screen, and a line for each epoch."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar, self._console = bar, console
        self._task = bar.add_task("", total=None, loss="")

    def start(self, epochs: int, batches: int, done: int) -> None:
        """Begin: so many epochs of so many batches, of which `done` batches are there already."""
        self._bar.update(self._task, total=epochs * batches, completed=done)

    def batch(self, loss: float) -> None:
        """One more batch is learned."""
        self._bar.update(self._task, advance=1, loss=f"loss {loss:.3f}")

    def epoch(self, row: Row) -> None:
        """One more epoch is complete."""
        parts = [f"{name} {value:.3f}" for name, value in row.items() if name != "epoch"]
        self._console.print(f"epoch {row['epoch']:.0f}: {', '.join(parts)}", highlight=False, soft_wrap=True)


@contextmanager
def epoch_bar() -> Iterator[EpochBar]:
    """Show a run's progress on stderr while the block runs."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.fields[loss]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("batches"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield EpochBar(bar, console)


def curves_csv(rows: Sequence[Row]) -> bytes:
    """Epochs as a table, numbers in full."""
    text = StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def curves_png(rows: Sequence[Row]) -> bytes:
    """Losses by part, and validation errors in degrees and pixels, over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in row if name != "epoch"))
    panels = {
        "mean loss of an epoch": [name for name in names if name.startswith("loss")],
        "mean validation error, deg": [name for name in names if name.endswith("_deg")],
        "mean validation error, px of a road view 1920 wide": [name for name in names if name.endswith("_px")],
    }
    panels = {title: members for title, members in panels.items() if members}
    figure = Figure(figsize=(5.5 * len(panels), 4))
    figure.subplots_adjust(left=0.04, right=0.99, top=0.92, bottom=0.12, wspace=0.12)
    FigureCanvasAgg(figure)
    epochs = [row["epoch"] for row in rows]
    for number, (title, members) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for name in members:
            axes.plot(epochs, [row.get(name, float("nan")) for row in rows], marker=".", label=name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()
