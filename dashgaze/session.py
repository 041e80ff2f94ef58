"""Sessions: one recorded or rendered drive with ground truth, as a folder of Parquet, video and one JSON.

`docs/schema.md` names every column and field. A session is written in a temporary sibling folder and renamed
when it is complete, so that a folder under its final name is always whole. Reading checks `session.json` at
once and a table when it is asked for.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from dashgaze.errors import InputError
from dashgaze.tables import (
    Column,
    Status,
    Table,
    check_time,
    encode,
    read_table,
    sync_folder,
    write_atomically,
    write_batches,
    write_failure,
)
from dashgaze.zones import HandOfDrive, Zone

if TYPE_CHECKING:
    from arro3.core import RecordBatch

Stream = Literal["driver", "road", "ego"]
Clocked = Literal["driver", "road", "ego", "gaze", "imu", "gps"]
Glasses = Literal["none", "clear", "sunglasses"]
AgeBand = Literal["under_25", "25_to_44", "45_to_64", "65_and_over"]

MAX_JSON_BYTES = 16 * 2**20
"""No description of a session or drive comes near it; a larger file is not one."""

# --- columns ---


def _float(name: str, unit: str, meaning: str, low: float | None = None, high: float | None = None) -> Column:
    return Column(name, "float", unit, True, meaning, low, high)


def _int(name: str, unit: str, meaning: str, low: float | None = 0, high: float | None = None) -> Column:
    return Column(name, "int", unit, True, meaning, low, high)


def _bool(name: str, meaning: str) -> Column:
    return Column(name, "bool", "", True, meaning)


def _string(name: str, meaning: str, values: Sequence[str] | None = None) -> Column:
    return Column(name, "string", "", True, meaning, values=None if values is None else tuple(values))


def _vector(prefix: str, suffix: str, unit: str, meaning: str, limit: float | None = None) -> tuple[Column, ...]:
    low = None if limit is None else -limit
    return tuple(_float(f"{prefix}_{axis}{suffix}", unit, f"{meaning}, {axis}", low, limit) for axis in "xyz")


def _box(prefix: str, meaning: str) -> tuple[Column, ...]:
    ends = {"x0": "left edge", "y0": "top edge", "x1": "right edge", "y1": "bottom edge"}
    return tuple(_float(f"{prefix}_{end}_px", "px", f"{meaning}: {text}") for end, text in ends.items())


def _angles(prefix: str, meaning: str) -> tuple[Column, ...]:
    return (
        _float(f"{prefix}azimuth_deg", "deg", f"{meaning}, positive to the driver's right", -180, 180),
        _float(f"{prefix}elevation_deg", "deg", f"{meaning}, positive up", -90, 90),
    )


def required(column: Column) -> Column:
    """Return the column where it must not be null."""
    return replace(column, nullable=False)


TIME = (
    required(_float("t_s", "s", "Time from the start; never goes backward")),
    _int("timestamp_ns", "ns", "UTC since 1970"),
)
DRIVER_FRAME = _int("driver_frame", "", "Number of the picture in the driver video, from 0")
ROAD_FRAME = _int("road_frame", "", "Number of the picture in the road video, from 0")
EGO_FRAME = _int("ego_frame", "", "Number of the picture in the eye tracker's video, from 0")
STATUS = (
    required(_string("angle_status", "Why ray and angles are there, or are not", list(Status))),
    required(_string("location_status", "Why the location on the road view is there, or is not", list(Status))),
)
RAY = (
    *_vector("ray", "", "", "Gaze, unit vector in the driver-camera frame", 1),
    *_vector("eye_mid", "_mm", "mm", "Origin of the ray, midway between the eyeball centres, driver-camera frame"),
    _float("gaze_error_deg", "deg", "Standard deviation of the ray, isotropic", 0),
    *_angles("", "Gaze in the face frame"),
    *_angles("car_", "Gaze in the car frame, 0 straight ahead"),
)
LOCATION = (
    _float("road_x_px", "px", "Where the driver looks on the road view"),
    _float("road_y_px", "px", "Where the driver looks on the road view"),
    _float("gaze_error_px", "px", "Standard deviation of the location, isotropic", 0),
)
ZONE = _string("zone", "Zone of the car that the driver looks at", list(Zone))
LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
FACIAL_HAIR = ("none", "stubble", "moustache", "goatee", "beard")
ACCESSORIES = {
    "clear_glasses": "clear or tinted glasses",
    "sunglasses": "sunglasses",
    "hat": "a hat or cap",
    "headscarf": "a headscarf",
    "face_mask": "a mask over mouth and nose",
}
POSES = tuple(f"{row}_{column}" for row in ("up", "level", "down") for column in ("left", "centre", "right"))
FACE = (
    *_box("face", "Face on the driver frame"),
    _float("face_score", "", "Certainty that the box holds a face", 0, 1),
    _int("faces_visible", "", "Faces that the detector saw; null on frames on which it did not run"),
    *_box("left_eye", "Driver's left eye on the driver frame"),
    *_box("right_eye", "Driver's right eye on the driver frame"),
    *(
        _float(f"landmark_{name}_{axis}_px", "px", f"Landmark {name} (the driver's own side) on the driver frame")
        for name in LANDMARKS
        for axis in "xy"
    ),
)
HEAD = (
    _float("head_yaw_deg", "deg", "Head, 0 facing the camera, positive to the driver's right", -180, 180),
    _float("head_pitch_deg", "deg", "Head, positive up", -90, 90),
    _float("head_roll_deg", "deg", "Head, positive clockwise as the driver sees it", -180, 180),
    *_vector("head", "_mm", "mm", "Origin of the face frame in the driver-camera frame"),
    _float("head_error_px", "px", "Root mean square reprojection error of the fitted face", 0),
)
EYES = (
    _float("eye_openness_left_frac", "", "Left eye: 0 closed, 1 this driver's normal opening", 0),
    _float("eye_openness_right_frac", "", "Right eye: 0 closed, 1 this driver's normal opening", 0),
    _bool("eyes_closed", "The visible eyes are at least 80 % closed on the mean, with hysteresis"),
    _float("mouth_open_frac", "", "0 closed, 1 wide open", 0),
)
SPEED = _float("speed_mps", "m/s", "Speed of the vehicle, negative in reverse", -100, 200)
MEASURED = (*STATUS, *RAY, *LOCATION, ZONE, *FACE, *HEAD, *EYES)
"""What a session knows and a device measures of one driver frame; the same names in both."""

IMU = (
    *_vector("gyro", "_dps", "deg/s", "Angular rate"),
    *_vector("accel", "_g", "g", "Acceleration with gravity"),
)
EGO_POINT = (
    _float("gaze_ego_x_px", "px", "Gaze on the eye tracker's video, as recorded (distorted)"),
    _float("gaze_ego_y_px", "px", "Gaze on the eye tracker's video, as recorded (distorted)"),
)
PERSON = (
    _string("identity", "Pseudonym of the person"),
    _float("age_years", "years", "Age", 0, 130),
    _string("gender", "As it looks", ("female", "male")),
    *(
        _float(f"ancestry_{name}_frac", "", f"Share of {name} ancestry", 0, 1)
        for name in ("african", "asian", "european")
    ),
    _int("skin_tone", "", "Monk skin tone scale", 1, 10),
    _string("facial_hair", "Kind of facial hair", FACIAL_HAIR),
    _float("make_up_frac", "", "0 none, 1 strong", 0, 1),
    *(_bool(name, f"Wears {what}") for name, what in ACCESSORIES.items()),
    _string("expression", "Expression of the face, free text"),
    _float("valence", "", "-1 unpleasant, 1 pleasant", -1, 1),
    _string("pose", "Head against the camera in nine bins: row by elevation, column by the driver's side", POSES),
    _string("light", "What lights the face, free text"),
)

FRAMES = (
    *TIME,
    DRIVER_FRAME,
    ROAD_FRAME,
    EGO_FRAME,
    *EGO_POINT,
    *MEASURED,
    _int("hops", "", "Frames over which the location was propagated since the last direct match; 0 is direct"),
    *IMU,
    SPEED,
)


def _labels_of_eye(side: str) -> tuple[Column, ...]:
    return (
        *_vector(f"{side}_eye_ray", "", "", f"Gaze of the {side} eye (visual axis), unit, driver-camera frame", 1),
        *_vector(f"{side}_eyeball", "_mm", "mm", f"Centre of the {side} eyeball in the driver-camera frame"),
        *_angles(f"{side}_eye_in_head_", f"Gaze of the {side} eye in the face frame"),
        _float(
            f"{side}_eye_visible_frac",
            "",
            f"Share of the {side} eye's opening that nothing hides; null if closed",
            0,
            1,
        ),
        _float(f"{side}_iris_x_px", "px", f"Centre of the {side} iris on the driver frame, as the cornea refracts it"),
        _float(f"{side}_iris_y_px", "px", f"Centre of the {side} iris on the driver frame, as the cornea refracts it"),
        _float(f"{side}_pupil_mm", "mm", f"Diameter of the {side} pupil", 0, 15),
    )


LABELS = (
    *TIME,
    DRIVER_FRAME,
    *_labels_of_eye("left"),
    *_labels_of_eye("right"),
    *_vector("target", "_mm", "mm", "Point that the driver looks at, car frame"),
    _int("target_object_id", "", "Object of `objects` in this frame that the driver looks at; null for none"),
    _bool("saccade", "The eyes are on their way to the next fixation"),
    _string("state", "What the driver does, free text"),
    _float("vanishing_x_px", "px", "Where the road vanishes on the road view"),
    _float("vanishing_y_px", "px", "Where the road vanishes on the road view"),
    _float("face_visible_frac", "", "Share of the face towards the camera that nothing hides", 0, 1),
    _string("mask", "Image of what is seen where, path inside the session; docs/synth.md names its values"),
    *PERSON,
)
GAZE = (
    *TIME,
    *EGO_POINT,
    *_angles("ego_", "Gaze in the eye tracker's frame"),
    _bool("worn", "The eye tracker is worn"),
    _float("pupil_left_mm", "mm", "Diameter of the left pupil", 0, 15),
    _float("pupil_right_mm", "mm", "Diameter of the right pupil", 0, 15),
    _int("fixation_id", "", "Row of `fixations` it belongs to, by its `fixation_id`"),
    _int("blink_id", "", "Row of `blinks` it belongs to, by its `blink_id`"),
)
IMU_SAMPLES = (
    *TIME,
    required(_string("stream", "Device that the sensor is in", get_args(Stream))),
    *IMU,
)
DURATION = required(_float("duration_s", "s", "From its start, which is `t_s`", 0))
FIXATIONS = (
    *TIME,
    DURATION,
    required(_int("fixation_id", "", "Number of the fixation")),
    *EGO_POINT,
    *_angles("ego_", "Gaze in the eye tracker's frame"),
)
BLINKS = (*TIME, DURATION, required(_int("blink_id", "", "Number of the blink")))
EVENTS = (*TIME, required(_string("kind", "What happened, free text")), _string("source", "What reported it"))
GPS = (
    *TIME,
    required(_float("latitude_deg", "deg", "WGS 84", -90, 90)),
    required(_float("longitude_deg", "deg", "WGS 84", -180, 180)),
    _float("altitude_m", "m", "Above the WGS 84 ellipsoid"),
    _float("heading_deg", "deg", "Course over ground, clockwise from north", 0, 360),
    _float("accuracy_m", "m", "Horizontal standard deviation", 0),
    SPEED,
)
OBJECTS = (
    *TIME,
    ROAD_FRAME,
    _int("object_id", "", "The same for one object over the frames of a session"),
    required(_string("kind", "What it is, free text")),
    _float("score", "", "Certainty", 0, 1),
    *(required(column) for column in _box("object", "Object on the road view")),
)
ROLES = ("face", "original", "changed", "probe", "mate", "inpainted_nonmate")
STILLS = (
    required(_string("image", "Path of the picture inside the session, below faces/")),
    _string("source", "Name of the `sources` entry that it comes from"),
    _int("group", "", "Pictures that belong together: a pair, or a triplet"),
    _string("role", "What it is in its group", ROLES),
    _string("feature", "The one facial feature in which the pictures of a group differ, free text"),
    _string("mask", "Image of the region of that feature, 255 inside; path inside the session"),
    *RAY,
    *FACE,
    *HEAD,
    *EYES,
    *PERSON,
)

TABLES: dict[str, tuple[Column, ...]] = {
    "frames": FRAMES,
    "labels": LABELS,
    "gaze": GAZE,
    "imu": IMU_SAMPLES,
    "fixations": FIXATIONS,
    "blinks": BLINKS,
    "events": EVENTS,
    "gps": GPS,
    "objects": OBJECTS,
    "stills": STILLS,
}
"""Columns of each table of a session; `NAME.parquet` each, where known."""

# --- session.json ---

_CREDENTIALS = re.compile(r"([A-Za-z][\w+.-]*://)(?:\S*@)?([^\s?#]*)\S*")


def without_credentials(text: str) -> str:
    """Return text whose URLs have lost user, password, query and fragment."""
    return _CREDENTIALS.sub(r"\1\2", text)


def _check_rotation(matrix: "Matrix") -> "Matrix":
    rotation = np.array(matrix)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ValueError("is not a rotation (orthonormal, determinant 1)")
    return matrix


def _check_camera_matrix(matrix: "Matrix") -> "Matrix":
    if matrix[0][0] <= 0 or matrix[1][1] <= 0 or matrix[2] != (0, 0, 1):
        raise ValueError("is not a camera matrix (positive focal lengths, last row 0 0 1)")
    return matrix


def _check_distortion(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    if len(coefficients) not in (0, 4, 5, 8):
        raise ValueError("needs 0, 4, 5 or 8 coefficients (OpenCV k1 k2 p1 p2 k3 k4 k5 k6)")
    return coefficients


Triple = tuple[float, float, float]
Matrix = tuple[Triple, Triple, Triple]
Rotation = Annotated[Matrix, AfterValidator(_check_rotation)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Id or pseudonym; its pattern keeps out spaces and mail addresses."""
Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(without_credentials)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Pixels = Annotated[int, Field(gt=0, le=65536)]


class Record(BaseModel):
    """Base of what a JSON file holds: frozen; an unknown field, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Camera(Record):
    """A camera as its pictures are stored."""

    size_px: tuple[Pixels, Pixels] = Field(description="Width, height")
    K: Annotated[Matrix, AfterValidator(_check_camera_matrix)] | None = Field(
        default=None, description="Camera matrix, rows, px; null where not calibrated"
    )
    distortion: Annotated[tuple[float, ...], AfterValidator(_check_distortion)] | None = Field(
        default=None,
        description="OpenCV k1 k2 p1 p2 k3 k4 k5 k6, the first 0, 4, 5 or 8; empty is none, null unknown",
    )
    mirrored: bool = Field(description="Left and right are swapped, as in a selfie video")


class Cameras(Record):
    """Cameras of a session; null where there was none."""

    driver: Camera | None = Field(default=None, description="Looks at the driver")
    road: Camera | None = Field(default=None, description="Looks ahead")
    ego: Camera | None = Field(default=None, description="Scene camera of the eye tracker")


class DriverToRoad(Record):
    """X_road = R . X_driver + t_mm, camera frames."""

    R: Rotation = Field(description="Rotation, rows")
    t_mm: Triple = Field(description="Translation, mm")


class EgoToFace(Record):
    """Turns unit vectors of the eye tracker's frame into the face frame."""

    R: Rotation = Field(description="Rotation, rows")
    method: Text = Field(description="How it was found")
    residual_deg: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Root mean square angle left over"
    )


class Rig(Record):
    """How the devices sit to each other; null where unknown."""

    driver_to_road: DriverToRoad | None = Field(default=None, description="Driver camera to road camera")
    ego_to_face: EgoToFace | None = Field(default=None, description="Eye tracker to face frame")


class Source(Record):
    """A file that the session was made from."""

    name: Text = Field(description="File name without its folder")
    sha256: Sha256 = Field(description="SHA-256, lower-case hexadecimal")


class ClockFit(Record):
    """t_s = t_stream . (1 + drift_ppm / 1e6) + offset_s."""

    offset_s: float = Field(description="Offset, s")
    drift_ppm: float = Field(description="Drift, parts per million")
    method: Text = Field(description="How it was found, e.g. audio, motion, time echo")
    margin: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Best match over the runner-up, ratio"
    )
    residual_ms: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Root mean square residual of the fit, ms"
    )


class Versions(Record):
    """Software that wrote it."""

    dashgaze: Text = Field(description="Version of dashgaze")
    python: Text = Field(description="Version of Python")
    libraries: dict[str, str] = Field(default={}, description="Version of each library that matters, by name")


class Consent(Record):
    """What the driver agreed to."""

    form: Text = Field(description="Version of the form that was signed")
    reference: Name | None = Field(default=None, description="Number under which it is filed; never a name")
    uses: tuple[Literal["research", "training", "publication", "sharing"], ...] = Field(
        description="What the recording may be used for"
    )


class SessionHeader(Record):
    """`session.json`."""

    schema_version: Literal[1] = Field(default=1, description="Version of this schema")
    session_id: Name = Field(description="Unique id of the session")
    created: AwareDatetime = Field(description="When the session was written, ISO 8601 with time zone")
    driver_id: Name | None = Field(default=None, description="Pseudonym; the same for one driver everywhere")
    vehicle: Text | None = Field(default=None, description="Make and model; no number plate")
    hand_of_drive: HandOfDrive | None = Field(default=None, description="Side of the car the driver sits on")
    camera_position: Text | None = Field(default=None, description="Where the driver camera is mounted")
    weather: Text | None = Field(default=None, description="Weather")
    time_of_day: Literal["dawn", "day", "dusk", "night"] | None = Field(default=None, description="Time of day")
    traffic: Literal["light", "moderate", "dense"] | None = Field(default=None, description="Traffic")
    road_type: Text | None = Field(default=None, description="Kind of road")
    glasses: Glasses | None = Field(default=None, description="What the driver wears")
    age_band: AgeBand | None = Field(default=None, description="Age of the driver in years")
    passengers: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None, description="People in the car beside the driver"
    )
    cameras: Cameras = Field(default=Cameras(), description="Cameras")
    rig: Rig = Field(default=Rig(), description="How the devices sit to each other")
    sources: tuple[Source, ...] = Field(default=(), description="Files that the session was made from")
    clocks: dict[Clocked, ClockFit] = Field(
        default={}, description="Clock of each stream against that of the primary stream"
    )
    primary_stream: Stream | None = Field(
        default=None, description="`frames` has one row per picture of it; null where there are only stills"
    )
    versions: Versions = Field(description="Software that wrote the session")
    consent: Consent | None = Field(default=None, description="What the driver agreed to; null when rendered")


AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


def read_file(path: Path) -> bytes:
    """Read a small file whole. Raises InputError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > MAX_JSON_BYTES:
        raise InputError(str(path), f"is larger than {MAX_JSON_BYTES >> 20} MB", "restore it")
    return data


def read_record(path: Path, model: type[AnyRecord]) -> AnyRecord:
    """Read and check a JSON file. Raises InputError that names file and field."""
    return parse_record(str(path), read_file(path), model)


def parse_record(where: str, data: bytes, model: type[AnyRecord]) -> AnyRecord:
    """Check JSON that was read from `where`. Raises InputError that names the field."""
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    if field == "schema_version":
        raise InputError(f"{where}, schema_version", "is not 1", "read it with the dashgaze that wrote it")
    raise InputError(f"{where}, {field}" if field else where, problem, "correct or restore it")


def write_record(path: Path, record: BaseModel) -> None:
    """Write a JSON file atomically. Raises DashgazeError."""
    write_atomically(path, record.model_dump_json(indent=1).encode() + b"\n")


# --- reading and writing ---


@dataclass(frozen=True, slots=True)
class Session:
    """A session on disk; `read_session` opens it."""

    path: Path
    header: SessionHeader

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that are there, in the order of `TABLES`."""
        return tuple(name for name in TABLES if self._file(name).is_file())

    def table(self, name: str, only: Sequence[str] | None = None) -> Table:
        """Read and check one table, or those of its columns that `only` names.

        Raises InputError that names file, column and row.
        """
        if not self._file(name).is_file():
            raise InputError(str(self._file(name)), "is not part of this session")
        return read_table(self._file(name), choose(TABLES[name], only))

    def video(self, stream: Stream) -> Path | None:
        """Return the video of a stream, None where there is none."""
        path = self.path / f"{stream}.mp4"
        return path if path.is_file() else None

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.parquet"


def choose(columns: Sequence[Column], only: Sequence[str] | None) -> tuple[Column, ...]:
    """Return the columns named by `only`, all for None. KeyError for a name that is not in the schema."""
    if only is None:
        return tuple(columns)
    by_name = {column.name: column for column in columns}
    return tuple(by_name[name] for name in only)


def read_session(path: Path) -> Session:
    """Open a session: checks `session.json`; tables are checked when they are read. Raises InputError."""
    file = Path(path) / "session.json"
    if not file.is_file():
        raise InputError(str(path), "is not a session: it has no session.json")
    return Session(Path(path), read_record(file, SessionHeader))


def refuse_occupied(path: Path) -> None:
    """Raise InputError unless `path` can become a new folder: it is not there, or it is an empty folder."""
    try:
        occupied = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise write_failure(path, error) from error
    if occupied:
        raise InputError(str(path), "is there already", "choose another folder or remove it")


class SessionWriter:
    """Collects a session; `write_session` makes one.

    Rows are kept in memory in Arrow's layout until the end: about 0.6 kB per row of `frames`, 65 MB per hour
    at 30 Hz.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Temporary folder of the session: put videos, `faces/` and `masks/` there."""
        self._header: SessionHeader | None = None
        self._batches: dict[str, list[RecordBatch]] = {}
        self._rows: dict[str, int] = {}
        self._last_t_s: dict[str, float] = {}

    def describe(self, header: SessionHeader) -> None:
        """Set what goes into `session.json`; needed once before the end."""
        self._header = header

    def append(self, name: str, rows: Mapping[str, Any]) -> None:
        """Add rows to a table, given column by column.

        Raises InputError that names column and row; none of the rows is added then.
        """
        first_row = self._rows.get(name, 0)
        batch = encode(f"{name}.parquet", TABLES[name], rows, first_row)
        if batch.num_rows and "t_s" in batch.column_names:
            t_s = batch["t_s"].to_numpy()
            start = np.array([self._last_t_s.get(name, -np.inf), t_s[0]])
            check_time(f"{name}.parquet", start, first_row - 1)
            self._last_t_s[name] = float(t_s[-1])
        self._batches.setdefault(name, []).append(batch)
        self._rows[name] = first_row + batch.num_rows

    def finish(self) -> None:
        """Write tables and description into the folder."""
        if self._header is None:
            raise InputError("session.json", "was not described")
        for name, batches in self._batches.items():
            write_batches(self.folder / f"{name}.parquet", TABLES[name], batches)
        write_record(self.folder / "session.json", self._header)


@contextmanager
def write_session(path: Path) -> Iterator[SessionWriter]:
    """Write a session: append to its tables and describe it in the block; it is there when the block ends.

    It is built in the sibling `.NAME.partial` and renamed at the end of the block. Nothing is left when the
    block raises; what a killed process left is removed by the next that writes the same session. Raises
    InputError if `path` is not free or another process is writing it, DashgazeError if the disk refuses.
    """
    path = Path(path).absolute()
    refuse_occupied(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        _claim(lock, partial)
        try:
            writer = SessionWriter(partial)
            yield writer
            writer.finish()
            _publish(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _claim(lock: int, partial: Path) -> None:
    """Make this process the only one that builds the folder, and empty it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(str(partial), "is being written by another process") from None
    try:
        for entry in partial.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise write_failure(partial, error) from error


def _publish(partial: Path, path: Path) -> None:
    """Make everything in the folder survive a power cut, then give it its name."""
    try:
        for folder, _, names in os.walk(partial):
            for name in names:
                with open(Path(folder, name), "rb") as file:
                    os.fsync(file.fileno())
            sync_folder(Path(folder))
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise write_failure(path, error) from error
