"""One frame's records as one row of a drive's observations (`dashgaze.drive.OBSERVATIONS`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashgaze.device.mesh import LEFT_CORNERS, LEFT_IRIS, RIGHT_CORNERS, RIGHT_IRIS
from dashgaze.device.records import Attention, Box, Face, Frame, Gaze

_FIVE = {"right_eye": RIGHT_IRIS, "left_eye": LEFT_IRIS, "nose": 1, "mouth_right": 61, "mouth_left": 291}
_EYE_CORNERS = {"right": RIGHT_CORNERS, "left": LEFT_CORNERS}
_EYE_MARGIN = 0.3  # of the eye's width, on every side of a box twice as wide as high


def observation(frame: Frame, face: Face, gaze: Gaze, attention: Attention) -> dict[str, Any]:
    """Column name to value; what is unknown is left out."""
    row: dict[str, Any] = {
        "t_s": frame.t_s,
        "timestamp_ns": frame.timestamp_ns,
        "driver_frame": frame.index,
        "skipped_frames": frame.skipped,
        "speed_mps": frame.speed_mps,
        "angle_status": gaze.status,
        "location_status": gaze.location_status,
        "gaze_error_deg": gaze.error_deg,
        "azimuth_deg": gaze.azimuth_deg,
        "elevation_deg": gaze.elevation_deg,
        "car_azimuth_deg": gaze.car_azimuth_deg,
        "car_elevation_deg": gaze.car_elevation_deg,
        "gaze_error_px": gaze.road_error_px,
        "zone": gaze.zone,
        "face_score": face.score,
        "faces_visible": face.faces_visible,
        "level": attention.level.name.lower(),
        "off_road_s": attention.off_road_s,
        "off_road_30s_s": attention.off_road_30s_s,
        "attend_buffer_s": attention.buffer_s,
        "perclos_frac": attention.perclos_frac,
        "blink_rate_per_min": attention.blink_rate_per_min,
    }
    if gaze.ray is not None:
        row |= zip(("ray_x", "ray_y", "ray_z"), gaze.ray.tolist(), strict=True)
    if gaze.eye_mid_mm is not None:
        row |= zip(("eye_mid_x_mm", "eye_mid_y_mm", "eye_mid_z_mm"), gaze.eye_mid_mm.tolist(), strict=True)
    if gaze.road_px is not None:
        row |= zip(("road_x_px", "road_y_px"), gaze.road_px, strict=True)
    if face.box_px is not None and face.landmarks_px is not None:
        row |= _box("face", face.box_px)
        row |= _landmarks(face.landmarks_px)
    if gaze.head is not None:
        head = gaze.head
        row |= {
            "head_yaw_deg": head.yaw_deg,
            "head_pitch_deg": head.pitch_deg,
            "head_roll_deg": head.roll_deg,
            "head_error_px": head.error_px,
        }
        row |= zip(("head_x_mm", "head_y_mm", "head_z_mm"), head.position_mm.tolist(), strict=True)
    if gaze.eyes is not None:
        row |= {
            "eye_openness_left_frac": gaze.eyes.openness_left_frac,
            "eye_openness_right_frac": gaze.eyes.openness_right_frac,
            "eyes_closed": gaze.eyes.closed,
            "mouth_open_frac": gaze.eyes.mouth_open_frac,
        }
    return row


def _landmarks(landmarks_px: NDArray[np.float32]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, index in _FIVE.items():
        x, y = landmarks_px[index, :2].tolist()
        values |= {f"landmark_{name}_x_px": x, f"landmark_{name}_y_px": y}
    for side, corners in _EYE_CORNERS.items():
        a, b = landmarks_px[list(corners), :2].astype(float)
        x, y = ((a + b) / 2).tolist()
        half = float(np.hypot(*(a - b))) * (0.5 + _EYE_MARGIN)
        values |= _box(f"{side}_eye", (x - half, y - half / 2, x + half, y + half / 2))
    return values


def _box(name: str, box: Box) -> dict[str, float]:
    return {f"{name}_{corner}_px": value for corner, value in zip(("x0", "y0", "x1", "y1"), box, strict=True)}
