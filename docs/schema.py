"""Writes `schema.md` from the code: `python docs/schema.py > docs/schema.md`. A test compares the two."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from dashgaze.drive import OBSERVATIONS, DriveHeader, Event, Summary
from dashgaze.session import TABLES, SessionHeader
from dashgaze.tables import Column, Status
from dashgaze.zones import Zone

OPENING = """\
# Schema of sessions and drives, version 1

Written by `docs/schema.py` from the columns and fields in `dashgaze/session.py` and `dashgaze/drive.py`:
change those, not this page.

## Conventions

- **Time.** `t_s` is seconds from the start and never goes backward; `timestamp_ns` is UTC or null.
- **Pixels.** x right, y down, the centre of the top-left pixel is (0, 0). Names end in their unit: `_px`,
  `_deg`, `_mm`, `_s`; shares in `_frac`.
- **Camera frame.** x right, y down, z forward, mm. **Car frame.** The same axes along the car, origin at the
  midpoint of the driver's eyes in the normal posture. **Face frame.** x to the driver's right, y down, z out
  of the face, origin midway between the eyeball centres.
- **Gaze.** The ray in the driver-camera frame comes first: origin `eye_mid_*_mm`, unit vector `ray_*`. Angles
  follow from it: g = (cos el sin az, -sin el, cos el cos az), azimuth positive to the driver's right,
  elevation positive up.
- **Head pose.** R_camera_face = R0 . Ry(yaw) . Rx(pitch) . Rz(roll), zero when facing the camera.
- **Left and right** are the driver's own, also in a mirrored video.
- **Unknown is null**, never 0 and never the last good value. `angle_status` and `location_status` say why.
- **Files.** Parquet with Zstandard: float is DOUBLE, int INT64, bool BOOLEAN, string UTF-8. NaN and infinity
  are errors, null is a Parquet null. Rows count from 0. A range is inclusive, floats may miss it by 1e-6.
- **Versions.** Readers leave out columns that they do not know. A missing column, an unknown JSON field and
  another `schema_version` are errors.

In memory (`dashgaze.tables`) a float column is a float64 array with NaN for null; int and bool are masked
arrays if nullable, else plain; string is an object array with None for null.
"""

TABLE_NOTES = {
    "frames": "One row per picture of the primary stream.",
    "labels": "Rendered sessions: the truth of each picture, beside `frames` row by row.",
    "gaze": "Samples of the eye tracker.",
    "imu": "Samples of the inertial sensors.",
    "fixations": "Fixations of the eye tracker.",
    "blinks": "Blinks of the eye tracker.",
    "events": "What someone or something noted during the recording.",
    "gps": "Positions of the vehicle.",
    "objects": "Objects on the road view, one row per object and picture.",
    "stills": "Single pictures for face tasks, beside `faces/*.png`.",
}

SESSION_OPENING = """\
## Session

    SESSION/
      session.json
      driver.mp4 road.mp4 ego.mp4     each where there was such a camera
      NAME.parquet                    each table below, where known
      faces/*.png masks/*.png         pictures that stills.parquet and labels.parquet name

A session is built in the hidden sibling `.SESSION.partial` and renamed when it is complete.
"""

DRIVE_OPENING = """\
## Drive

    DRIVE/
      drive.json
      observations/part-00000.parquet ...
      events.jsonl
      summary.json

A part holds a minute of `t_s` and appears when it is complete. Where the power was cut, `summary.json` is
missing and the last line of `events.jsonl` may be torn; readers leave that line out and count it. A drive
holds no picture.
"""


def schema_markdown() -> str:
    """Return the whole page."""
    parts = [OPENING, statuses(), SESSION_OPENING, *model_sections("session.json", SessionHeader)]
    for name, columns in TABLES.items():
        parts.append(f"### {name}.parquet\n\n{TABLE_NOTES[name]}\n\n{column_table(columns)}")
    parts += [DRIVE_OPENING, *model_sections("drive.json", DriveHeader)]
    note = "One row per frame that was looked at. Nothing in it depends on how fast the device is."
    parts.append(f"### observations/part-*.parquet\n\n{note}\n\n{column_table(OBSERVATIONS)}")
    parts += model_sections("events.jsonl, one JSON object per line", Event)
    parts += model_sections("summary.json; other fields as counted", Summary)
    return "\n".join(parts)


def statuses() -> str:
    """Return what the two enums of every table can be."""
    return (
        f"`status`: {', '.join(f'`{status}`' for status in Status)}.\n\n"
        f"`zone`: {', '.join(f'`{zone}`' for zone in Zone)}.\n"
    )


def column_table(columns: Sequence[Column]) -> str:
    """Return one row per column."""
    head = "| column | type | unit | null | range | meaning |\n" + "| --- " * 6 + "|\n"
    return head + "".join(
        f"| `{c.name}` | {c.type} | {c.unit} | {yes_no(c.nullable)} | {allowed(c)} | {c.meaning} |\n" for c in columns
    )


def yes_no(answer: bool) -> str:
    """Return a table's word for a truth value."""
    return "yes" if answer else "no"


def allowed(column: Column) -> str:
    """Return a column's range or values."""
    enums = {tuple(Status): "status", tuple(Zone): "zone"}
    if column.values is not None:
        return enums.get(column.values) or ", ".join(column.values)
    if column.low is None or column.high is None:
        return "" if column.low is None else f">= {column.low:g}"
    return f"{column.low:g} to {column.high:g}"


def model_sections(title: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the tables of a JSON file: its own fields, nested ones with their path."""
    head = "| field | type | null | meaning |\n" + "| --- " * 4 + "|\n"
    yield f"### {title}\n\n{head}" + "".join(field_rows("", model))


def field_rows(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the rows of a model's fields and, below each, those of the models inside it."""
    for name, field in model.model_fields.items():
        yield field_row(f"{prefix}{name}", field)
        inner, path = inner_model(field.annotation)
        if inner is not None:
            yield from field_rows(f"{prefix}{name}{path}.", inner)


def field_row(path: str, field: FieldInfo) -> str:
    """Return one row of a field table."""
    null = yes_no(type(None) in get_args(field.annotation))
    return f"| `{path}` | {type_name(field.annotation)} | {null} | {field.description} |\n"


def inner_model(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the model inside a type, and how its place in the JSON is written."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    suffix = {tuple: "[]", dict: ".NAME"}.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        model, path = inner_model(argument)
        if model is not None:
            return model, suffix + path
    return None, ""


def type_name(annotation: Any) -> str:
    """Return a type in the words of JSON."""
    arguments = [argument for argument in get_args(annotation) if argument not in (type(None), Ellipsis)]
    origin = get_origin(annotation)
    if annotation is JsonValue:
        return "any"
    if origin is Annotated:
        return type_name(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is Literal:
        return ", ".join(str(argument) for argument in arguments)
    if origin is tuple:
        many = Ellipsis in get_args(annotation)
        return f"list of {'' if many else f'{len(arguments)} x '}{type_name(arguments[0])}"
    if origin is dict:
        return f"object of {type_name(arguments[1])}"
    if issubclass(annotation, BaseModel):
        return "object"
    return {"str": "string", "AwareDatetime": "string"}.get(annotation.__name__, annotation.__name__)


if __name__ == "__main__":
    print(schema_markdown(), end="")
