"""Light that follows the car: the sun turns the other way, trees and lamps pass, lamps shine through windows alone."""

from typing import get_args

import numpy as np
import pytest

from dashgaze.geometry import angles_from_rays
from dashgaze.training.synth.light import Lighting, sky_of
from dashgaze.training.synth.records import Light, LightKind, RoadType, TimeOfDay
from dashgaze.training.synth.vehicle import Cabin, plan_car

KINDS: tuple[LightKind, ...] = get_args(LightKind)
PANORAMAS = {"city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset"}
CAMERA_MM = (340.0, 0.0, 560.0)
WINDOWS = Cabin(plan_car(np.random.default_rng(0), "left")).windows


def lighting(seed: int, kind: LightKind, road: RoadType = "urban") -> Lighting:
    return Lighting(seed, kind, road, "left", WINDOWS, CAMERA_MM)


def drive(seed: int, kind: LightKind, road: RoadType = "urban") -> list[Light]:
    light = lighting(seed, kind, road)
    return [light.at(0.5 * number) for number in range(80)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_light_is_finite_and_complete(kind: LightKind) -> None:
    for seed in range(6):
        for light in drive(seed, kind)[::8]:
            assert light.environment in PANORAMAS
            assert light.environment_gain > 0
            assert np.linalg.norm(light.sun_direction) == pytest.approx(1)
            assert light.sun_direction[1] < 0  # above the horizon
            assert (np.array(light.sun_rgb) >= 0).all()
            assert light.infrared == (kind == "infrared")
            for lamp in light.lamps:
                assert np.isfinite(lamp.position_mm).all()
                assert min(lamp.rgb) >= 0


def test_the_sun_and_the_panorama_turn_against_the_car() -> None:
    light = lighting(1, "day")
    before, after = light.at(3.0, 0.0), light.at(3.0, 25.0)
    azimuths = [float(angles_from_rays(np.array(v.sun_direction))[0]) for v in (before, after)]
    assert (azimuths[0] - azimuths[1]) % 360 == pytest.approx(25)
    assert (before.environment_yaw_deg - after.environment_yaw_deg) % 360 == pytest.approx(25)


def test_trees_make_the_sun_flicker_on_some_roads() -> None:
    shade = []
    for seed in range(10):
        sun = np.array([light.sun_rgb[0] for light in drive(seed, "day", "motorway")])
        shade.append(1 - sun.min() / sun.max())
    assert max(shade) > 0.5
    assert min(shade) < 0.1


def test_day_is_brighter_than_dusk_is_brighter_than_night() -> None:
    mean = {kind: np.mean([lighting(s, kind).at(0.0).environment_gain for s in range(20)]) for kind in KINDS}
    assert mean["day"] > mean["dusk"] > mean["night"]


def test_the_sun_often_reaches_the_face_and_comes_from_all_sides() -> None:
    azimuths = np.array(
        [angles_from_rays(np.array(lighting(s, "day").at(0.0).sun_direction))[0] for s in range(60)], dtype=float
    )
    assert (np.abs(azimuths) < 60).any()
    assert (np.abs(azimuths) > 120).any()


def test_street_lamps_pass_at_the_period_of_their_spacing() -> None:
    bright = 0
    for seed in range(10):
        light = lighting(seed, "night", "urban")
        level = np.array([light.at(0.1 * n, distance_m=1.0 * n).sun_rgb[0] for n in range(0, 280, 2)])
        if level.max() < 1e-3:
            continue
        bright += 1
        spectrum = np.abs(np.fft.rfft(level - level.mean()))
        assert spectrum[8:13].max() > 0.5 * spectrum[1:].max()  # 28 m apart on 280 m: ten
    assert bright >= 5


def test_lamps_outside_shine_through_windows_alone() -> None:
    for seed in range(10):
        for light in drive(seed, "night"):
            for lamp in light.lamps:
                x, y, z = lamp.position_mm
                if z > 2000:  # a car ahead: within the windscreen, not behind the dashboard
                    azimuth, elevation = angles_from_rays(np.array([x, y, z]))
                    assert -60 < azimuth < 70
                    assert -20 < elevation < 25


def test_infrared_diodes_are_beside_the_camera() -> None:
    for seed in range(10):
        light = lighting(seed, "infrared").at(0.0)
        assert 1 <= len(light.lamps) <= 2
        for lamp in light.lamps:
            assert np.linalg.norm(np.array(lamp.position_mm) - CAMERA_MM) < 40
            assert lamp.rgb[0] > 10 * light.environment_gain / np.pi * 0.3
    with pytest.raises(ValueError, match="camera_mm"):
        Lighting(0, "infrared", "urban")


def test_daylight_mixes_weakly_into_infrared() -> None:
    def infrared(seed: int, time_of_day: TimeOfDay) -> Light:
        return Lighting(seed, "infrared", "urban", "left", WINDOWS, CAMERA_MM, time_of_day).at(0.0)

    day, night = ([infrared(seed, time) for seed in range(40)] for time in ("day", "night"))
    outside = np.mean([light.environment_gain for light in day])
    assert outside > 4 * np.mean([light.environment_gain for light in night])
    assert outside < 0.3 * np.mean([lighting(seed, "day").at(0.0).environment_gain for seed in range(40)])
    assert any(max(light.sun_rgb) > 0.1 for light in day)
    for light in day:
        assert light.infrared
        assert light.lamps
        led_mm = np.linalg.norm(light.lamps[0].position_mm)
        shine = sum(lamp.rgb[0] for lamp in light.lamps) / (led_mm / 1000) ** 2
        assert max(light.sun_rgb) < 2.5 * shine
    assert all(max(light.sun_rgb) == 0 for light in night)


def test_clouds_are_the_sky_of_days_alone() -> None:
    assert [sky_of("day", weather) for weather in ("clear", "cloudy", "rain")] == ["day", "overcast", "overcast"]
    assert [sky_of(time, "rain") for time in ("dusk", "night")] == ["dusk", "night"]


def test_light_depends_on_seed_and_moment_alone() -> None:
    assert lighting(3, "night").at(17.25) == lighting(3, "night").at(17.25)
    assert lighting(3, "night").at(17.25) != lighting(4, "night").at(17.25)
    one = lighting(5, "day")
    later = one.at(9.0)
    one.at(2.0)
    assert one.at(9.0) == later


def test_an_unknown_light_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown light"):
        Lighting(0, "disco", "urban")  # type: ignore[arg-type]
