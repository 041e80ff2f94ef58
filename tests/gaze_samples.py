"""Sessions of samples without pictures worth seeing, whose truth is consistent: head, gaze, car, zone, place.

The device's own estimate of the head is the truth, so that what is left over is the predictor's doing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dashgaze.device.crops import CropPlan, view_angles, view_rotation
from dashgaze.device.records import HeadPose
from dashgaze.geometry import FACING, Camera, angles_from_rays, facing_rotation, rays_from_angles
from dashgaze.training.gaze.samples import SampleSet, SessionSamples, sample_type
from dashgaze.zones import ZoneMap

PLAN = CropPlan((32, 32), (32, 32))
LIGHTS = ("day", "overcast", "dusk", "night", "infrared")


def session(number: int, rows: int = 20, plan: CropPlan = PLAN) -> SessionSamples:
    """A session of a person of its own, all rows usable."""
    rng = np.random.default_rng(number)
    records = np.zeros(rows, sample_type(plan))
    driver_camera, road_camera = Camera.from_fov((1280, 720), 60), Camera.from_fov((1280, 720), 75)
    records["frame"], records["t_s"], records["usable"] = np.arange(rows), np.arange(rows) / 5, True
    records["eye_mid_mm"] = rng.normal((60, -30, 650), (25, 20, 40), (rows, 3))
    records["head_deg"] = rng.normal(0, (22, 8, 5), (rows, 3))
    records["face_deg"] = rng.normal(0, (18, 9), (rows, 2))
    records["openness"], records["visible"] = 1.0, 1.0
    car_from_camera = facing_rotation(rng.uniform(-25, 25), rng.uniform(-10, 10), 0)
    for record in records:
        rotation = facing_rotation(*record["head_deg"])
        record["head_rotation"], record["head_mm"] = rotation, record["eye_mid_mm"]
        record["ray"] = rotation @ rays_from_angles(*record["face_deg"])
        head = HeadPose(rotation, record["head_mm"], *record["head_deg"].tolist(), error_px=0.0)
        record["view"] = view_rotation(head)
        record["ray_deg"] = np.stack(view_angles(record["view"], record["ray"]), axis=-1)
    in_car = records["ray"] @ car_from_camera.T
    records["car_deg"] = np.stack(angles_from_rays(in_car), axis=-1)
    from_seat = records["head_mm"] - records["head_mm"].mean(axis=0)
    records["zone"] = ZoneMap.for_vehicle("left").zones_of(from_seat @ car_from_camera.T, in_car).astype(str)
    place = road_camera.project((records["eye_mid_mm"] + 30_000 * records["ray"]) @ FACING)
    outside = ~((place >= -0.5) & (place < (1279.5, 719.5))).all(axis=1)
    place[outside] = np.nan
    records["location_px"] = place
    records["road_deg"] = np.stack(angles_from_rays(road_camera.rays(place)), axis=-1)
    # What a linear map finds the gaze from: it is written on the face.
    records["mesh"] = rng.normal(0, 0.01, records["mesh"].shape)
    records["mesh"][:, :50] += records["ray_deg"][:, None] / 100
    records["pose"] = rng.normal(0, 0.3, records["pose"].shape)
    records["five"] = rng.normal(0, 0.1, records["five"].shape)
    for name in ("driver", "face", "right_eye", "left_eye"):
        records[name] = rng.integers(0, 256, records[name].shape)
    return SessionSamples(
        session_id=f"session-{number}",
        driver_id=f"person-{number}",
        path=f"session-{number}",
        light=LIGHTS[number % 5],  # type: ignore[arg-type]
        glasses=("none", "clear")[number % 2],  # type: ignore[arg-type]
        camera_position=("mirror", "corner")[number % 3 == 0],
        hand_of_drive="left",
        driver_camera=driver_camera,
        road_camera=road_camera,
        considered=rows,
        missed=0,
        arrays={name: records[name] for name in records.dtype.names},
    )


def sample_set(sessions: Sequence[SessionSamples], plan: CropPlan = PLAN) -> SampleSet:
    """A set of sessions."""
    return SampleSet(tuple(sessions), plan, "0" * 64)


def changed(samples: SessionSamples, **arrays: NDArray[np.generic]) -> SessionSamples:
    """A session with other arrays."""
    return replace(samples, arrays={**samples.arrays, **arrays})


def reordered(samples: SessionSamples, order: NDArray[np.intp]) -> SessionSamples:
    """A session with its rows in another order."""
    return replace(samples, arrays={name: values[order] for name, values in samples.arrays.items()})
