"""Configuration of the device: one TOML file, one section per stage, every key checked.

Sections are the settings classes that live beside each stage. What the command line says goes before the file.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from dashgaze.device.adaptation import AdaptationSettings
from dashgaze.device.attention import AttentionSettings
from dashgaze.device.eyes import EyeSettings
from dashgaze.device.faces import FaceSettings
from dashgaze.device.gaze import GazeSettings
from dashgaze.device.lens import LensSettings
from dashgaze.device.outputs.annotate import AnnotateSettings
from dashgaze.device.road import RoadSettings
from dashgaze.device.settings import Settings
from dashgaze.device.sources import SourceSettings
from dashgaze.errors import InputError
from dashgaze.geometry import Floats, facing_rotation
from dashgaze.zones import HandOfDrive, ZoneMap

_MAX_BYTES = 1_000_000


class VehicleSettings(Settings):
    """The vehicle and who drives it."""

    vehicle_id: str = Field("vehicle", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="pseudonym")
    driver_id: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="pseudonym")
    hand_of_drive: HandOfDrive = Field("left", description="side of the car the driver sits on")
    speed_mps: float | None = Field(None, ge=0, le=100, description="a known constant speed; unknown where not set")


class CameraSettings(LensSettings):
    """The driver camera: lens, and how it sits in the car."""

    yaw_deg: float = Field(
        0.0, gt=-90, lt=90, description="mount: turned to the driver's left, against a camera that looks straight back"
    )
    pitch_deg: float = Field(0.0, gt=-60, lt=60, description="mount: turned up")
    roll_deg: float = Field(0.0, gt=-90, lt=90, description="mount: turned clockwise, seen from behind the camera")
    mount_error_deg: float = Field(
        8.0, ge=0, le=45, description="standard deviation of the mount, until adaptation has found it"
    )

    def car_from_camera(self) -> Floats:
        """Rotation (3, 3) from the camera frame to the car frame."""
        return facing_rotation(self.yaw_deg, self.pitch_deg, self.roll_deg)


class WatchConfig(Settings):
    """Everything that `dashgaze watch` can be told."""

    vehicle: VehicleSettings = VehicleSettings()
    camera: CameraSettings = CameraSettings()
    source: SourceSettings = SourceSettings()
    faces: FaceSettings = FaceSettings()
    eyes: EyeSettings = EyeSettings()
    gaze: GazeSettings = GazeSettings()
    attention: AttentionSettings = AttentionSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    road: RoadSettings = RoadSettings()
    annotate: AnnotateSettings = AnnotateSettings()
    zones: dict[str, dict[str, tuple[float, ...]]] = Field(
        default={}, description="places that differ in this vehicle; keys and defaults are in dashgaze/zones.toml"
    )
    bundle_keys: tuple[Path, ...] = Field((), description="public keys (PEM) of those whose bundles are trusted")


def read_config(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> WatchConfig:
    """Configuration of a TOML file, with `overrides` (section to key to value) put over it.

    Raises InputError that names file and key.
    """
    where = str(path) if path else "command line"
    tables = _read_toml(path) if path else {}
    for section, values in (overrides or {}).items():
        tables[section] = {**tables.get(section, {}), **values}
    try:
        config = WatchConfig.model_validate(tables)
        ZoneMap.for_vehicle(config.vehicle.hand_of_drive, config.zones)
        return config
    except InputError as error:
        raise InputError(f"{where}, {error.where}", error.problem, error.remedy) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}, {key}", "unknown key", _known_keys(first["loc"])) from None
        raise InputError(f"{where}, {key}", first["msg"].removeprefix("Value error, ")) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(str(path), "is too large for a configuration", "name a TOML file")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "check the path") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "is not UTF-8 text", "name a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(str(path), f"is not TOML: {error}") from None


def _known_keys(location: tuple[int | str, ...]) -> str:
    settings: Any = WatchConfig
    for part in location[:-1]:
        settings = settings.model_fields[part].annotation
    return f"known keys: {', '.join(settings.model_fields)}"
