"""Writes docs/configuration.md from the settings classes: python docs/configuration.py > docs/configuration.md."""

import re
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dashgaze.device.config import WatchConfig
from dashgaze.training.gaze.config import GazeConfig

INTRODUCTION = """# Configuration

Written by `docs/configuration.py` from the settings classes: change those, not this page.

`dashgaze watch --config FILE.toml`. Every key has a default, an unknown key is an error, and options of the command
line go before the file. A section is a table: `[camera]`, `[attention.long]`.

```toml
[vehicle]
hand_of_drive = "right"

[camera]
fov_deg = 78
yaw_deg = -20      # the camera is turned to the driver's right, against one that looks straight back

[zones.console]    # as in dashgaze/zones.toml: mm from the driver's eyes, x right, y down, z forward
centre_mm = [-350, 400, 600]
```
"""

TRAINING = """# Training configuration

`dashgaze train gaze FILE.toml --out RUN`, or the name of a recipe in `training/gaze/recipes`. `base = "edge"` at the
top takes over another file or recipe, and only what differs need be said.
"""


def sections(name: str, settings: type[BaseModel]) -> list[str]:
    """Markdown of one section and of those inside it."""
    rows, inner = [], []
    for key, field in settings.model_fields.items():
        section = section_of(field)
        if section is not None:
            inner += sections(f"{name}.{key}".strip("."), section)
        else:
            rows.append(f"| `{key}` | {kind(field)} | {default(field)} | {field.description or ''} |")
    if not rows:
        return inner
    title = [f"## `[{name}]`", ""] if name else ["## Top level", ""]
    purpose = [(settings.__doc__ or "").strip().split("\n\n")[0], ""]
    return [
        *title,
        *purpose,
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        *inner,
    ]


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The settings class of a field that is a section."""
    found = field.annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def kind(field: FieldInfo) -> str:
    """A field's type and bounds, for people."""
    annotation: Any = field.annotation
    text = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    for long, short in (
        ("typing.", ""),
        ("pathlib._local.", ""),
        ("pathlib.", ""),
        ("datetime.", ""),
        (" | None", ""),
    ):
        text = text.replace(long, short)
    text = re.sub(r"Annotated\[(\w+), FieldInfo\([^\]]*\]\)\]", r"\1", text)
    text = text.replace("Literal[", "one of ").rstrip("]") if text.startswith("Literal") else text
    signs = {"Gt": ">", "Ge": ">=", "Lt": "<", "Le": "<="}
    bounds = [
        f"{signs[type(m).__name__]} {getattr(m, type(m).__name__.lower()):g}"
        for m in field.metadata
        if type(m).__name__ in signs
    ]
    return " ".join([text, ", ".join(bounds)]).strip().replace("|", "\\|")


def default(field: FieldInfo) -> str:
    """A field's default as TOML has it."""
    value = field.default
    if value is PydanticUndefined or value is None:
        return "not set"
    if isinstance(value, tuple) and any(isinstance(part, Path) for part in value):
        value = tuple(str(part) for part in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:.6g}`" if isinstance(value, float) else f"`{value!r}`".replace("'", '"')


def page() -> str:
    """The whole page."""
    watch, training = sections("", WatchConfig), sections("", GazeConfig)
    return "\n".join([INTRODUCTION, *watch, TRAINING, *training]).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
