"""Light and air outside, by time of day and weather, in units of a picture that is already exposed: 1 is white."""

from dataclasses import dataclass, replace

import numpy as np

from dashgaze.geometry import Floats, unit
from dashgaze.training.synth.light import sky_of
from dashgaze.training.synth.records import Rgb, Sky, TimeOfDay, Weather


@dataclass(frozen=True, slots=True)
class Atmosphere:
    """What the shaders know of the weather. Radiances are linear light."""

    sun_rgb: Rgb
    sun_elevation_deg: float
    ambient_rgb: Rgb
    zenith_rgb: Rgb
    horizon_rgb: Rgb
    cloud_rgb: Rgb
    clouds: float
    """0 clear, 1 covered."""
    fog_m: float
    """Distance at which the air lets 37 % of the light through."""
    lamps_on: float
    """0 by day, 1 at night."""
    wet: float = 0.0


_DAY = Atmosphere(
    sun_rgb=(1.55, 1.4, 1.2),
    sun_elevation_deg=42,
    ambient_rgb=(0.4, 0.47, 0.58),
    zenith_rgb=(0.05, 0.16, 0.45),
    horizon_rgb=(0.46, 0.6, 0.8),
    cloud_rgb=(0.95, 0.95, 0.97),
    clouds=0.1,
    fog_m=1500,
    lamps_on=0,
)
_OVERCAST = Atmosphere(
    sun_rgb=(0.12, 0.12, 0.12),
    sun_elevation_deg=50,
    ambient_rgb=(0.88, 0.92, 0.98),
    zenith_rgb=(0.5, 0.54, 0.6),
    horizon_rgb=(0.68, 0.71, 0.75),
    cloud_rgb=(0.68, 0.7, 0.74),
    clouds=0.95,
    fog_m=800,
    lamps_on=0,
)
_DUSK = Atmosphere(
    sun_rgb=(0.12, 0.06, 0.03),
    sun_elevation_deg=2,
    ambient_rgb=(0.16, 0.17, 0.24),
    zenith_rgb=(0.05, 0.08, 0.19),
    horizon_rgb=(0.42, 0.27, 0.2),
    cloud_rgb=(0.3, 0.2, 0.2),
    clouds=0.3,
    fog_m=900,
    lamps_on=0.35,
)
_NIGHT = Atmosphere(
    sun_rgb=(0, 0, 0),
    sun_elevation_deg=30,
    ambient_rgb=(0.013, 0.014, 0.021),
    zenith_rgb=(0.004, 0.005, 0.011),
    horizon_rgb=(0.022, 0.018, 0.016),
    cloud_rgb=(0.012, 0.011, 0.012),
    clouds=0.4,
    fog_m=700,
    lamps_on=1,
)
_SKIES: dict[Sky, Atmosphere] = {"day": _DAY, "overcast": _OVERCAST, "dusk": _DUSK, "night": _NIGHT}
_CLOUDY_SUN = 0.3
_RAIN_FOG_M = 260.0
_RAIN_LIGHT = 0.65


def atmosphere(time_of_day: TimeOfDay, weather: Weather) -> Atmosphere:
    """Light of a time of day, changed by the weather."""
    air = _SKIES[sky_of(time_of_day, weather)]
    if weather == "clear":
        return air
    grey = (0.3, 0.5, 0.2)
    level = float(np.dot(air.horizon_rgb, grey))
    veiled = tuple((0.35 * np.array(air.zenith_rgb) + 0.65 * level * np.array([0.78, 0.8, 0.84])).tolist())
    horizon = tuple((0.4 * np.array(air.horizon_rgb) + 0.6 * level).tolist())
    sun = tuple((np.array(air.sun_rgb) * _CLOUDY_SUN).tolist())
    ambient = tuple((np.array(air.ambient_rgb) + 0.35 * float(np.dot(air.sun_rgb, grey))).tolist())
    air = replace(
        air,
        sun_rgb=sun,
        ambient_rgb=ambient,
        zenith_rgb=veiled,
        horizon_rgb=horizon,
        clouds=max(air.clouds, 0.75),
        fog_m=min(air.fog_m, 900),
    )
    if weather == "cloudy":
        return air

    def dimmed(rgb: Rgb) -> Rgb:
        r, g, b = rgb
        return r * _RAIN_LIGHT, g * _RAIN_LIGHT, b * _RAIN_LIGHT

    return replace(
        air,
        sun_rgb=(0, 0, 0),
        ambient_rgb=dimmed(air.ambient_rgb),
        zenith_rgb=dimmed(air.zenith_rgb),
        horizon_rgb=dimmed(air.horizon_rgb),
        cloud_rgb=dimmed(air.cloud_rgb),
        clouds=1.0,
        fog_m=_RAIN_FOG_M,
        lamps_on=max(air.lamps_on, 0.2),
        wet=1.0,
    )


def sun_direction(air: Atmosphere, azimuth_rad: float) -> Floats:
    """Unit vector towards the sun in a frame whose z axis has azimuth 0."""
    up = np.radians(air.sun_elevation_deg)
    return unit([np.cos(up) * np.sin(azimuth_rad), -np.sin(up), np.cos(up) * np.cos(azimuth_rad)])
