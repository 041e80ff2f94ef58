"""Tables of sessions and drives: what a column is, what a status says, and Parquet that is written atomically.

One `Column` per column is the only definition of the schema: writers cast to it, readers check against it, and
`docs/schema.md` is tested against it.
"""

from enum import StrEnum


class Status(StrEnum):
    """Why a measured value is there, or is not. Values without a usable measurement are null, never zero."""

    OK = "ok"
    PROPAGATED = "propagated"
    OFF_VIEW = "off_view"
    EYES_CLOSED = "eyes_closed"
    NOT_WORN = "not_worn"
    NO_FACE = "no_face"
    BLOCKED = "blocked"
    NO_MATCH = "no_match"
    LOW_QUALITY = "low_quality"
    UNKNOWN = "unknown"
