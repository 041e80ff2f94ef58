"""The report of an evaluation, for people and for programs, and the command that makes one.

    OUT/report.html        one file, pictures inside
    OUT/report.md          the same, pictures beside it
    OUT/evaluation.json    every number, `evaluate.Summary`
    OUT/*.png

The folder appears when it is complete. Contact sheets show faces: of rendered people always, of real ones only when
they are asked for.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as TerminalTable

from dashgaze.errors import InputError
from dashgaze.session import read_session
from dashgaze.tables import replace_folder, write_failure
from dashgaze.training.gaze.baselines import Constant, Geometric, HeadOnly, Means
from dashgaze.training.gaze.evaluate import (
    AXES,
    FEW_ROWS,
    FEW_SESSIONS,
    Evaluation,
    NetworkPredictor,
    Predictor,
    PredictorResult,
    Quantity,
    Summary,
    evaluate,
)
from dashgaze.training.gaze.metrics import LAPLACE_WITHIN, NORMAL_WITHIN, Interval, Ratio, Statistics
from dashgaze.training.gaze.pictures import draw_all, draw_faces, main_quantity
from dashgaze.training.gaze.runs import RunRecord, fingerprint, load_run, read_metrics
from dashgaze.training.gaze.samples import SessionSamples, prepare
from dashgaze.training.gaze.splits import Described, read_headers

RESULT = "evaluation.json"
_FACES = 24
_TABLE_WIDTH = 132
_NONE = "–"
_TITLES: dict[Quantity, str] = {"ray": "Ray", "face": "Angles in the face frame", "location": "Place on the road view"}


def evaluate_run(run: Path, sets: Sequence[Path], out: Path | None = None, workers: int = 1) -> Evaluation:
    """Evaluate a run on sets it was not trained on, beside the baselines; writes a report and prints a summary.

    The report goes into `out`, or into `evaluation` in the run's folder; an older report there is replaced. Raises
    InputError that names sessions or people of the training or validation set.
    """
    config, network, record = load_run(run)
    folder = run / "evaluation" if out is None else out
    _refuse_other(folder)
    _refuse_known(record, read_headers(sets))
    sample_set = prepare(sets, config.model.crops, workers)
    metrics = read_metrics(run)
    predictors: list[Predictor] = [NetworkPredictor(record.name, network, metrics.error_factor or 1.0)]
    means = _training_means(record)
    if means is not None:
        predictors.append(Constant(means))
    predictors += [HeadOnly(), Geometric()]
    references = [predictor.name for predictor in predictors if predictor.name in ("constant", "geometric")]
    evaluation = evaluate(predictors, sample_set, references)
    evaluation = replace(evaluation, summary=evaluation.summary.model_copy(update={"run": fingerprint(run)}))
    write_report(evaluation, sample_set.sessions, folder)
    print_summary(evaluation.summary, Console(width=max(_TABLE_WIDTH, Console().width)))
    print(folder / "report.html")
    return evaluation


def write_report(
    evaluation: Evaluation, sessions: Sequence[SessionSamples], out: Path, faces: bool | None = None
) -> None:
    """Write the report's folder; `sessions` are those that were evaluated.

    `faces` puts contact sheets in: True of everybody, False of nobody, None of rendered people. Raises InputError if
    `out` holds something else, DashgazeError where it cannot be written.
    """
    _refuse_other(out)
    pictures = draw_all(evaluation) | _contact_sheets(evaluation, sessions, faces)
    document = list(_document(evaluation.summary, pictures))
    contents = {
        RESULT: evaluation.summary.model_dump_json(indent=1).encode() + b"\n",
        "report.md": to_markdown(document).encode(),
        "report.html": to_html(document).encode(),
        **pictures,
    }
    replace_folder(out, contents)


def print_summary(summary: Summary, console: Console) -> None:
    """A short table for the terminal."""
    table = _overview(summary)
    shown = TerminalTable(title=table.caption)
    for number, name in enumerate(table.header):
        shown.add_column(name, justify="left" if number == 0 else "right")
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def _training_means(record: RunRecord) -> Means | None:
    return Means(record.training_mean_ray, record.training_mean_face_deg, record.training_mean_location_frac)


def _refuse_known(record: RunRecord, sessions: Sequence[Described]) -> None:
    """Raise InputError if a session, or its driver, is or may be one that the run has seen."""
    nameless = [session.session_id for session in sessions if session.driver_id is None]
    for purpose, data in (("trained on", record.train), ("chosen by", record.validation)):
        same = sorted({session.session_id for session in sessions} & set(data.sessions))
        if same:
            raise InputError(_some(same), f"the run was {purpose} these sessions", "evaluate it on others")
        people = sorted({session.driver_id for session in sessions if session.driver_id} & set(data.drivers))
        if people:
            raise InputError(_some(people), f"the run was {purpose} other sessions of these drivers", "use others")
        if nameless and None in data.drivers:
            problem = f"no driver_id here, nor in sessions the run was {purpose}: they may show one driver"
            raise InputError(_some(nameless), problem, "write driver_id into session.json")


def _some(names: Sequence[str | None], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


# --- faces ---


def _contact_sheets(evaluation: Evaluation, sessions: Sequence[SessionSamples], faces: bool | None) -> dict[str, bytes]:
    """Random and worst rows of the judged predictor, of those people who may be shown."""
    shown = [faces if faces is not None else _is_rendered(samples) for samples in sessions]
    rows, measured = evaluation.rows, next(iter(evaluation.measured.values()))
    errors = measured.errors["ray"]
    allowed = np.flatnonzero(np.isfinite(errors) & np.array(shown, bool)[rows.session])
    if not len(allowed):
        return {}
    name, by_error = next(iter(evaluation.measured)), allowed[np.argsort(-errors[allowed], kind="stable")]
    drawn = np.sort(np.random.default_rng(0).permutation(allowed)[:_FACES])
    sheets: dict[str, tuple[NDArray[np.intp], str]] = {
        "faces-random.png": (drawn, f"{name}: frames drawn at random"),
        "faces-worst.png": (by_error[:_FACES], f"{name}: the largest errors"),
    }
    return {file: draw_faces(evaluation, sessions, chosen, title) for file, (chosen, title) in sheets.items()}


def _is_rendered(samples: SessionSamples) -> bool:
    """Nobody real is in it: it has a renderer's labels, and nobody had to consent."""
    session = read_session(Path(samples.path))
    return session.header.consent is None and "labels" in session.tables


# --- the document ---


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 or 2."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the first column names the row. A long one is folded away."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A file beside the report."""

    file: str
    caption: str
    png: bytes


Block = Heading | Paragraph | Table | Picture
_CAPTIONS = {
    "subsets.png": "Mean error by subset with 95 % intervals over sessions; hollow where frames or sessions are few.",
    "cumulative.png": "How many estimates have at most so large an error; up to the 95th percentile of the worst.",
    "head-turn.png": "Mean error over the turn of the head, in steps of 10 degrees with at least 10 frames.",
    "angles.png": "Found over true angles; on the line they agree.",
    "uncertainty.png": "Predicted standard deviations against measured ones; each point is a tenth of the estimates.",
    "zones.png": "Where people looked and where they were found to look. The mount of the camera is the true one.",
    "locations.png": "Places on the road view: a line joins what was looked at with what was found.",
    "faces-random.png": "Frames at random: true gaze green, found gaze orange; short arrows come towards the camera.",
    "faces-worst.png": "The largest errors.",
}
_SECTIONS: dict[str, tuple[str, ...]] = {
    "Subsets": ("subsets.png", "head-turn.png"),
    "Errors": ("cumulative.png", "angles.png", "locations.png"),
    "Uncertainty": ("uncertainty.png",),
    "Zones": ("zones.png",),
    "Faces": ("faces-random.png", "faces-worst.png"),
}


def _document(summary: Summary, pictures: Mapping[str, bytes]) -> Iterator[Block]:
    yield Heading(f"Gaze of {summary.predictors[0].name}", 1)
    yield Paragraph(_what_was_evaluated(summary))
    yield _overview(summary)
    yield _axes_table(summary)
    if any(quantity.ratios for result in summary.predictors for quantity in result.quantities.values()):
        yield _ratio_table(summary)
    tables: dict[str, list[Block]] = {
        "Subsets": list(_subset_tables(summary)),
        "Errors": [Paragraph(_LOCATIONS_NOTE)],
        "Uncertainty": [_doubt_table(summary)],
        "Zones": [Paragraph(_zones_note(summary)), _zone_table(summary)],
    }
    for section, files in _SECTIONS.items():
        shown = [Picture(file, _CAPTIONS[file], pictures[file]) for file in files if file in pictures]
        if shown:
            yield Heading(section)
            yield from shown
            yield from tables.get(section, [])


_LOCATIONS_NOTE = (
    "Location errors are pixels of a road view 1920 wide, over the frames whose gaze meets the road view. A predictor "
    "without a location of its own gets it by the pair of cameras being one rigid body."
)


def _what_was_evaluated(summary: Summary) -> str:
    missed = f"{100 * summary.missed / summary.considered:.1f} %" if summary.considered else _NONE
    text = (
        f"{summary.rows} frames of {len(summary.sessions)} sessions and {len(summary.drivers)} drivers. Of "
        f"{summary.considered} frames with a known gaze and an open, visible eye, the device did not find the driver's "
        f"face on {summary.missed} ({missed}); errors are over the others. Intervals are 95 %, from drawing whole "
        f"sessions with replacement. Subsets marked * have fewer than {FEW_ROWS} frames or {FEW_SESSIONS} sessions."
    )
    if summary.location_ceiling is not None and summary.location_ceiling.mean is not None:
        text += (
            f" The true rays, put on the road view by the rigid pair, are {summary.location_ceiling.mean:.0f} px off "
            "on the mean: what the road camera's own mount and parallax cost."
        )
    return text


def _overview(summary: Summary) -> Table:
    header = (
        *("", "ray, deg", "median", "90 %", "face angles, deg", "road view, px"),
        *("zones, balanced", "on road, balanced", "no estimate"),
    )

    def row(result: PredictorResult) -> tuple[str, ...]:
        totals = {name: quantity.total for name, quantity in result.quantities.items()}
        main = next(iter(result.quantities.values()), None)
        zones = result.zones
        return (
            result.name,
            _mean(totals.get("ray"), 2),
            _number(totals["ray"].median if "ray" in totals else None, 2),
            _number(totals["ray"].p90 if "ray" in totals else None, 2),
            _mean(totals.get("face"), 2),
            _mean(totals.get("location"), 0),
            _percent(zones.balanced_accuracy if zones else None),
            _percent(zones.road_balanced_accuracy if zones else None),
            str(main.missing) if main else _NONE,
        )

    return Table("Mean errors", header, tuple(map(row, summary.predictors)))


def _axes_table(summary: Summary) -> Table:
    header = ("", "angle", "mean absolute error, deg", "bias, deg", "rmse, deg", "slope")
    rows = tuple(
        (
            result.name,
            axis.replace("_", " "),
            *(_number(value, 2) for value in (of_axis.mean_absolute, of_axis.bias, of_axis.rmse, of_axis.slope)),
        )
        for result in summary.predictors
        for axis in AXES
        if (of_axis := result.axes.get(axis)) is not None
    )
    return Table("Angles one by one; a slope below 1 says that large angles come out too small", header, rows)


def _ratio_table(summary: Summary) -> Table:
    rows = tuple(
        (result.name, _TITLES[name].lower(), other, _ratio(ratio), str(ratio.rows))
        for result in summary.predictors
        for name, quantity in result.quantities.items()
        for other, ratio in quantity.ratios.items()
    )
    header = ("", "error of", "against", "ratio", "frames")
    return Table("Error over that of a reference, on the frames that both answer, paired by session", header, rows)


def _subset_tables(summary: Summary) -> Iterator[Table]:
    main = main_quantity(summary)
    for quantity, title in _TITLES.items():
        results = [result for result in summary.predictors if quantity in result.quantities]
        digits = 0 if quantity == "location" else 2
        if not results:
            continue
        for group, names in results[0].quantities[quantity].subsets.items():
            ordered = list(names)
            if group == "driver":
                ordered.sort(key=lambda name: -(names[name].mean or 0.0))
            rows = []
            for name in ordered:
                found = [result.quantities[quantity].subsets[group][name] for result in results]
                mark = " *" if found[0].few and group != "driver" else ""
                rows.append((name + mark, str(found[0].rows), *(_mean(statistics, digits) for statistics in found)))
            header = ("", "frames", *(result.name for result in results))
            unit = results[0].quantities[quantity].unit
            folded = quantity != main or group == "driver"
            yield Table(f"{title} by {group}: mean error, {unit}", header, tuple(rows), folded)


def _doubt_table(summary: Summary) -> Table:
    header = ("", "within 1 sd", "within 2 sd", "sparsification error", "without knowledge")
    rows = [
        (
            result.name,
            _percent(doubt.within_one_sd),
            _percent(doubt.within_two_sd),
            _number(doubt.sparsification_error, 3),
            _number(doubt.blind_sparsification_error, 3),
        )
        for result in summary.predictors
        if (doubt := result.doubt) is not None
    ]
    expected: list[tuple[str, ...]] = []
    for name, within in (("round normal density", NORMAL_WITHIN), ("density exp(-r/b)", LAPLACE_WITHIN)):
        expected.append((f"expected of a {name}", *map(_percent, within), _NONE, _NONE))
    caption = "Predicted standard deviations; the sparsification error is 0 for an oracle"
    return Table(caption, header, (*rows, *expected))


def _zones_note(summary: Summary) -> str:
    ceiling = summary.zone_ceiling.balanced_accuracy if summary.zone_ceiling else None
    return (
        "Zones are those of the packaged geometry, seen from where the device finds the eyes, with the true mount of "
        f"the camera; the true rays reach a balanced accuracy of {_percent(ceiling)}."
    )


def _zone_table(summary: Summary) -> Table:
    header = ("", "frames", "zones, balanced", "zones, accuracy", "on road, balanced")
    rows = tuple(
        (
            result.name,
            str(zones.rows),
            *map(_percent, (zones.balanced_accuracy, zones.accuracy, zones.road_balanced_accuracy)),
        )
        for result in summary.predictors
        if (zones := result.zones) is not None
    )
    return Table("Zones; balanced is the mean over the true classes", header, rows)


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # never -0.00


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"


def _mean(statistics: Statistics | None, digits: int) -> str:
    if statistics is None or statistics.mean is None:
        return _NONE
    return _number(statistics.mean, digits) + _between(statistics.interval, digits)


def _ratio(ratio: Ratio) -> str:
    return _number(ratio.value, 2) + _between(ratio.interval, 2)


def _between(interval: Interval | None, digits: int) -> str:
    return "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


# --- its two forms ---


def to_markdown(document: Sequence[Block]) -> str:
    """The document in Markdown, its pictures beside it."""

    def cells(row: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"

    def write(block: Block) -> str:
        if isinstance(block, Heading):
            return "#" * block.level + " " + block.text
        if isinstance(block, Paragraph):
            return block.text
        if isinstance(block, Picture):
            return f"![{block.caption}]({block.file})\n\n{block.caption}"
        rule = "| --- |" + " ---: |" * (len(block.header) - 1)
        return "\n".join([block.caption + ":", "", cells(block.header), rule, *map(cells, block.rows)])

    return "\n\n".join(map(write, document)) + "\n"


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; margin: 2.5rem 0 1rem; }
.wide { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid #8886; }
td { white-space: nowrap; }
thead th { vertical-align: bottom; font-weight: 600; }
th[scope=row], td:first-child { text-align: left; font-weight: 400; white-space: nowrap; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; background: white; border-radius: 4px; }
figcaption, summary { font-size: 0.9rem; opacity: 0.85; }
summary { cursor: pointer; margin: 0.4rem 0; }
"""


def to_html(document: Sequence[Block]) -> str:
    """The document as one HTML file, pictures and style inside."""
    title = next(escape(block.text) for block in document if isinstance(block, Heading))
    body = "\n".join(map(_html, document))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    caption = escape(block.caption)
    if isinstance(block, Picture):
        data = b64encode(block.png).decode()
        image = f'<img src="data:image/png;base64,{data}" alt="{caption}">'
        return f"<figure>\n{image}\n<figcaption>{caption}</figcaption>\n</figure>"
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in block.header)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in block.rows
    )
    title = "" if block.folded else f"<caption>{caption}</caption>"
    table = f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    return f"<details>\n<summary>{caption}</summary>\n{table}\n</details>" if block.folded else table


# --- the folder ---


def _refuse_other(folder: Path) -> None:
    """Raise InputError if `folder` holds something other than an older report."""
    try:
        other = folder.exists() and not (folder / RESULT).is_file() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise write_failure(folder, error) from error
    if other:
        raise InputError(str(folder), "is there already and is not a report", "choose another folder")
