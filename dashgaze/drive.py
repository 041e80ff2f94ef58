"""Drives: what a device records of one trip, as a folder that a power cut costs at most its open minute.

    DRIVE/
      drive.json                          ids, camera, bundle, settings, clock
      observations/part-00000.parquet     one row per frame that was looked at; a part holds a minute
      events.jsonl                        one line per event, on the disk before `event` returns
      summary.json                        written at the end; missing where the power was cut

Parts and JSON files are written under a temporary name and renamed when complete. Columns have the names that
sessions use; `docs/schema.md` says what they mean.
"""

import errno
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, JsonValue

from dashgaze.errors import DashgazeError, InputError
from dashgaze.session import (
    DRIVER_FRAME,
    MEASURED,
    SPEED,
    TIME,
    Camera,
    Name,
    Record,
    Sha256,
    Text,
    Versions,
    choose,
    parse_record,
    read_file,
    read_record,
    refuse_occupied,
    required,
    without_credentials,
    write_record,
)
from dashgaze.tables import (
    Cell,
    Column,
    Table,
    acceptor,
    batch,
    check_time,
    concatenate,
    read_table,
    sync_folder,
    write_batches,
    write_failure,
)
from dashgaze.zones import HandOfDrive

PART_S = 60.0
"""Length of a part."""
PART_ROWS = 7200
"""A part is closed earlier where time stands still or frames are many: bounds memory."""

_PART = re.compile(r"part-([0-9]{5,9})\.parquet")

Level = Literal["none", "notice", "warning", "critical"]

OBSERVATIONS = (
    *TIME,
    required(DRIVER_FRAME),
    Column("skipped_frames", "int", "", True, "Stale pictures dropped since the row before, live sources only", 0),
    *MEASURED,
    SPEED,
    Column("level", "string", "", False, "Highest level among the active alerts", values=get_args(Level)),
    Column("off_road_s", "float", "s", True, "Length of the current glance off the road, 0 on the road", 0),
    Column("off_road_30s_s", "float", "s", True, "Time off the road within the last 30 s", 0),
    Column("attend_buffer_s", "float", "s", True, "AttenD buffer, 2 s when full"),
    Column("perclos_frac", "float", "", True, "Share of the last minute with eyes at least 80 % closed", 0, 1),
    Column("blink_rate_per_min", "float", "1/min", True, "Blinks per minute", 0),
)
"""Columns of `observations/`. Nothing in them depends on how fast the device is: one file gives one drive."""


def _scrub(value: Any) -> Any:
    """Take the credentials out of every URL inside a JSON value."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, dict):
        return {key: _scrub(item) for key, item in value.items()}
    return [_scrub(item) for item in value] if isinstance(value, list) else value


def _null_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


class DriveCamera(Camera):
    """Camera of a drive."""

    source: Text = Field(description="Where the pictures come from; a URL without credentials")
    hand_of_drive: HandOfDrive = Field(description="Side of the car the driver sits on")


class BundleUsed(Record):
    """Bundle that the device ran."""

    name: Text = Field(description="Name of the bundle")
    version: Text = Field(description="Version of the bundle")
    manifest_sha256: Sha256 = Field(description="SHA-256 of its manifest.json")


class Clock(Record):
    """What `t_s` counts from."""

    timebase: Literal["presentation", "monotonic"] = Field(
        description="`presentation`: time stamps of a file; `monotonic`: the device's clock since the start"
    )
    start_utc_ns: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="UTC at `t_s` = 0, ns since 1970; null where unknown"
    )


class DriveHeader(Record):
    """`drive.json`."""

    schema_version: Literal[1] = Field(default=1, description="Version of this schema")
    drive_id: Name = Field(description="Unique id of the drive")
    vehicle_id: Name = Field(description="Pseudonym of the vehicle")
    driver_id: Name | None = Field(default=None, description="Pseudonym of the driver; null where unknown")
    created: AwareDatetime = Field(description="When the drive was started, ISO 8601 with time zone")
    camera: DriveCamera = Field(description="Driver camera")
    bundle: BundleUsed = Field(description="Bundle that the device ran")
    settings: Annotated[dict[str, JsonValue], AfterValidator(_scrub)] = Field(
        default={}, description="Settings of every stage, URLs without credentials"
    )
    clock: Clock = Field(description="What `t_s` counts from")
    versions: Versions = Field(description="Software of the device")


class Event(Record):
    """One line of `events.jsonl`: an alert that starts, changes or ends, or something the device did."""

    t_s: float = Field(description="Time from the start, s")
    timestamp_ns: int | None = Field(default=None, description="UTC, ns since 1970; null where unknown")
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = Field(
        description="Kind of alert, or e.g. adaptation_ready, camera_lost, camera_back, stopped"
    )
    level: Level = Field(default="none", description="none when an alert ends, and for what is no alert")
    rule: str = Field(default="", description="Rule that the alert follows, with its source")
    message: Annotated[str, AfterValidator(without_credentials)] = Field(
        default="", description="What to tell the driver, or what happened"
    )
    measured: Annotated[float | None, BeforeValidator(_null_if_nan)] = Field(
        default=None, description="Value that crossed the rule's threshold, in the rule's unit"
    )


class Summary(Record):
    """`summary.json`. Whoever closes a drive adds what was counted: frames, latencies, alerts, versions."""

    model_config = Record.model_config | {"extra": "allow"}
    __pydantic_extra__: dict[str, JsonValue]

    complete: bool = Field(description="The drive ended as it should")
    reason: Annotated[str, AfterValidator(without_credentials)] | None = Field(
        default=None, description="Why it is not complete"
    )
    rows: Annotated[int, Field(ge=0)] = Field(description="Rows of `observations/`")


class DriveWriter:
    """Writes a drive; a context manager that leaves a readable drive however the block ends.

    The folder is created at once, with mode 0700, since a drive holds personal data. Raises InputError where
    `path` is not free, DashgazeError where it cannot be written.
    """

    def __init__(self, path: Path, header: DriveHeader) -> None:
        self.path = Path(path)
        self._acceptors = tuple((column.name, acceptor(column)) for column in OBSERVATIONS)
        self._names = frozenset(column.name for column in OBSERVATIONS)
        self._open: list[list[Cell]] = []
        self._open_since_s = 0.0
        self._last_t_s = float("-inf")
        self._parts = 0
        self._rows_in_parts = 0
        self._events_bytes = 0
        self._closed = False
        refuse_occupied(self.path)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / "observations").mkdir(mode=0o700)
            self._events = open(self.path / "events.jsonl", "xb", buffering=0)  # noqa: SIM115
            sync_folder(self.path.absolute().parent)
        except OSError as error:
            raise write_failure(self.path, error) from error
        try:
            write_record(self.path / "drive.json", header)  # last: with it the folder becomes a drive
        except BaseException:
            self._events.close()
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one observation, column name to value; None, NaN and columns not given are null.

        Writes a part every minute of `t_s`. Raises InputError that names column and row for a value that the
        schema does not allow, and adds nothing then; DashgazeError where the part cannot be written.
        """
        if not self._names.issuperset(row):
            unknown = min(row.keys() - self._names)
            raise InputError(f"{self.path}, column {unknown}", "is not a column of observations")
        cells = self._accept(row)
        t_s = float(row["t_s"])
        if self._open and (t_s - self._open_since_s >= PART_S or len(self._open) >= PART_ROWS):
            self._close_part()
        if not self._open:
            self._open_since_s = t_s
        self._last_t_s = t_s
        self._open.append(cells)

    def event(self, event: Event | Mapping[str, Any]) -> None:
        """Add one event; it is on the disk when this returns.

        Raises ValueError for what is no event, DashgazeError where it cannot be written.
        """
        line = Event.model_validate(event).model_dump_json().encode() + b"\n"
        try:
            if self._events.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._events.fileno())
        except OSError as error:
            with suppress(OSError):
                self._events.truncate(self._events_bytes)  # half a line would make the next one unreadable
                self._events.seek(self._events_bytes)
            raise write_failure(self.path / "events.jsonl", error) from error
        self._events_bytes += len(line)

    def close(self, summary: Mapping[str, Any] | None = None) -> None:
        """Write the last part and `summary.json`.

        The drive is complete unless `summary` has `complete` False, and a `reason`.
        Raises DashgazeError where a file cannot be written; a summary is written all the same, if it can be.
        """
        self._closed = True
        fields = {"complete": True, **(summary or {})}
        try:
            self._close_part()
        except DashgazeError as error:
            fields |= {"complete": False, "reason": str(error)}
            raise
        finally:
            self._events.close()
            record = Summary.model_validate(fields | {"rows": self._rows_in_parts})
            write_record(self.path / "summary.json", record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closed:
            return
        reason = "closed without a summary" if kind is None else f"{kind.__name__}: {error}"
        try:
            self.close({"complete": False, "reason": " ".join(reason.split()).rstrip(": ")})
        except DashgazeError:
            if error is None:
                raise  # else the first failure is the one to report

    def _accept(self, row: Mapping[str, Any]) -> list[Cell]:
        number = self._rows_in_parts + len(self._open)
        cells: list[Cell] = []
        for name, accept in self._acceptors:
            try:
                cells.append(accept(row.get(name)))
            except ValueError as error:
                raise InputError(f"{self.path}, column {name}, row {number}", str(error)) from None
        if row["t_s"] < self._last_t_s:
            problem = f"goes backward, from {self._last_t_s} to {row['t_s']}"
            raise InputError(f"{self.path}, column t_s, row {number}", problem)
        return cells

    def _close_part(self) -> None:
        if not self._open:
            return
        path = self.path / "observations" / f"part-{self._parts:05d}.parquet"
        write_batches(path, OBSERVATIONS, [batch(OBSERVATIONS, tuple(zip(*self._open, strict=True)))])
        self._rows_in_parts += len(self._open)
        self._parts += 1
        self._open = []


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive on disk; `read_drive` opens it."""

    path: Path
    header: DriveHeader
    summary: Summary | None
    """None where the power was cut, or the device still records."""

    def observations(self, only: Sequence[str] | None = None) -> Table:
        """Read and check the observations in their order, or those columns that `only` names.

        Unfinished parts are left out. Raises InputError that names file, column and row.
        """
        columns = choose(OBSERVATIONS, only)
        parts = _parts(self.path / "observations")
        tables = [read_table(part, columns) for part in parts]
        if "t_s" in (column.name for column in columns):
            for part, before, after in zip(parts[1:], tables, tables[1:], strict=False):
                check_time(str(part), np.concatenate([before["t_s"][-1:], after["t_s"][:1]]), -1)
        return concatenate(columns, tables)

    def events(self) -> tuple[Event, ...]:
        """Read and check the events, in the order in which they were written.

        A torn line at the end is left out, see `torn_events`. Raises InputError that names the line.
        """
        where = f"{self.path / 'events.jsonl'}, line"
        *lines, _ = self._event_lines()
        return tuple(parse_record(f"{where} {number}", line, Event) for number, line in enumerate(lines, 1))

    @property
    def torn_events(self) -> int:
        """1 where the power was cut while the last event was written, else 0."""
        return int(self._event_lines()[-1] != b"")

    def _event_lines(self) -> list[bytes]:
        """Return the complete lines, and last what follows them."""
        return read_file(self.path / "events.jsonl").split(b"\n")


def read_drive(path: Path) -> Drive:
    """Open a drive: checks `drive.json` and `summary.json`. Raises InputError that names file and field."""
    path = Path(path)
    if not (path / "drive.json").is_file():
        raise InputError(str(path), "is not a drive: it has no drive.json")
    header = read_record(path / "drive.json", DriveHeader)
    summary = path / "summary.json"
    return Drive(path, header, read_record(summary, Summary) if summary.exists() else None)


def _parts(folder: Path) -> list[Path]:
    """Return the finished parts in their order."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise InputError(str(folder), f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    numbered = sorted((int(match[1]), name) for name in names if (match := _PART.fullmatch(name)))
    return [folder / name for _, name in numbered]
