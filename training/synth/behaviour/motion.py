"""How eyes and head carry out the looks: one course of gaze, head and eye midpoint at `RATE_HZ`.

Gaze leads. A gaze shift is a saccade of 21 ms + 2.2 ms/deg (main sequence: Bahill, Clark & Stark 1975, Collewijn et al.
1988) along the great circle, with a minimum-jerk profile. The head follows 30 to 60 ms later and more slowly
(Zangemeister & Stark 1982, Guitton & Volle 1987), if the target is eccentric enough for this person; meanwhile the
vestibulo-ocular reflex keeps gaze where it is: gaze is computed in the car frame, eyes in the head are what remains.
They never turn beyond the person's limit; a target further out is reached with the head.

During fixations gaze drifts by about 0.1 deg and makes microsaccades (Martinez-Conde et al. 2004). Head and torso sway,
shake with the car, and turn about a pivot in the neck, which moves the eyes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Floats, angle_between_deg, angles_from_rays, rays_from_angles
from dashgaze.training.synth.behaviour.curves import ease, wander
from dashgaze.training.synth.behaviour.scanpath import Look
from dashgaze.training.synth.behaviour.styles import Habits

Follow = Callable[[Look, float], Floats | None]
"""Where the thing of a look is at a time, None where it cannot be followed: `scanpath.follower`."""

RATE_HZ = 500.0
TRACK_S = 0.1
"""How often the position of a thing that is followed is asked for."""

SACCADE_S, SACCADE_S_PER_DEG = 0.021, 0.0022
HEAD_S, HEAD_S_PER_DEG = 0.22, 0.0062
HEAD_LAG_S = (0.030, 0.060)
NECK_TO_EYES_MM = np.array([0.0, -80.0, 90.0])
MOST_YAW_DEG, MOST_PITCH_DEG = 78.0, 40.0
EYES_DOWN_DEG, EYES_UP_DEG = -36.0, 28.0
SPARE_DEG = 4.0
"""Heads turn so far that the eyes stay off their limits by so much."""
SMALL_SHIFT_DEG = 12.0
"""The head does not move for less, unless the eyes are far out."""
DRIFT_SD_DEG, DRIFT_PERIOD_S = 0.035, 0.5
MICROSACCADES_HZ, MICROSACCADE_SD_DEG = 1.2, 0.06
OFF_TARGET_DEG = 0.5
"""Gaze that the eyes' limits hold back by more has not arrived."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """The movement of a drive, sampled: n samples, `RATE_HZ`, from 0 on."""

    t_s: Floats
    head_deg: Floats
    """(n, 3) yaw, pitch, roll."""
    eye_mid_mm: Floats
    """(n, 3)"""
    gaze_mm: Floats
    """(n, 3) point on which both eyes meet."""
    saccade: NDArray[np.bool_]
    """(n,) from the beginning of each look until gaze has arrived for good."""
    look: NDArray[np.int64]
    """Which look each sample belongs to."""


def carry_out(
    rng: np.random.Generator,
    looks: tuple[Look, ...],
    habits: Habits,
    follow: Follow,
    speed_mps: Callable[[Floats], Floats],
    head_extra_deg: Callable[[Floats], Floats],
    duration_s: float,
) -> Course:
    """Compute the course of a drive. `head_extra_deg` gives what nods and yawns add to the pitch."""
    t_s = np.arange(0.0, duration_s + 1.5 / RATE_HZ, 1.0 / RATE_HZ)
    moving = np.clip(speed_mps(t_s) / 5.0, 0.05, 1.0)
    head_deg = _head(rng, looks, habits, t_s, moving)
    head_deg[:, 1] += head_extra_deg(t_s)
    rotation = rotations(head_deg)
    torso_mm = _torso(rng, looks, t_s, moving)
    eye_mid_mm = torso_mm - NECK_TO_EYES_MM + rotation @ NECK_TO_EYES_MM
    look = np.searchsorted([each.onset_s for each in looks], t_s, side="right") - 1
    look = np.maximum(look, 0)
    gaze, distance_mm, saccade = _gaze(looks, look, eye_mid_mm, t_s, follow)
    reached, held_back = _within_reach(gaze, rotation, habits, _unrest(rng, t_s))
    gaze_mm = eye_mid_mm + reached * distance_mm[:, None]
    return Course(t_s, head_deg, eye_mid_mm, gaze_mm, _until_landed(saccade | held_back, look), look)


def rotations(head_deg: Floats) -> Floats:
    """R_car_face (n, 3, 3) = Ry(yaw) . Rx(pitch) . Rz(roll) of angles (n, 3)."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians(head_deg)).T, np.sin(np.radians(head_deg)).T
    rows = [
        [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _head(rng: np.random.Generator, looks: tuple[Look, ...], habits: Habits, t_s: Floats, moving: Floats) -> Floats:
    """Yaw, pitch, roll (n, 3) of the head, in degrees."""
    wished = _head_wishes(looks, habits)
    steps = np.diff(wished, axis=0, prepend=wished[:1])
    sizes = np.linalg.norm(steps, axis=1)
    lag_s = rng.uniform(*HEAD_LAG_S, len(looks))
    onsets_s = np.array([look.onset_s for look in looks]) + lag_s
    durations_s = habits.head_pace * (HEAD_S + HEAD_S_PER_DEG * sizes) * rng.uniform(0.9, 1.1, len(looks))
    turned = wished[0] + _sum_of_steps(t_s, onsets_s, durations_s, steps)
    sway = np.column_stack([wander(rng, t_s, 4.0, 0.5) + wander(rng, t_s, 30.0, 0.9) for _ in range(3)])
    shake = np.column_stack([wander(rng, t_s, 0.3, 0.07) for _ in range(3)]) * moving[:, None]
    roll = habits.rest_deg[2] + habits.roll_per_yaw * turned[:, 0]
    return np.column_stack([turned, roll]) + sway + shake


def _head_wishes(looks: tuple[Look, ...], habits: Habits) -> Floats:
    """Yaw and pitch (looks, 2) that the head makes for, look by look."""
    aims = np.column_stack(angles_from_rays([look.point_mm for look in looks]))
    wished = np.empty_like(aims)
    yaw, pitch = habits.rest_deg[:2]
    previous = np.zeros(2)
    for i, (look, aim) in enumerate(zip(looks, aims, strict=True)):
        azimuth, elevation = aim
        within = abs(azimuth - yaw) < 26.0 and -22.0 < elevation - pitch < 16.0
        if i == 0 or not within or np.abs(aim - previous).max() > SMALL_SHIFT_DEG:
            yaw, pitch = _head_for(azimuth, elevation, look.glance_s, habits)
        wished[i] = yaw, pitch
        previous = aim
    return wished


def _head_for(azimuth: float, elevation: float, glance_s: float, habits: Habits) -> tuple[float, float]:
    effort = min(1.0, 0.6 + 0.4 * glance_s)  # short glances are left to the eyes
    reach_deg = habits.eye_limit_deg - SPARE_DEG
    aside = abs(azimuth)
    turn = effort * habits.head_share * max(0.0, aside - habits.head_threshold_deg)
    yaw = np.copysign(min(max(turn, aside - reach_deg), MOST_YAW_DEG), azimuth)
    steep = max(0.0, abs(elevation) - habits.nod_threshold_deg)
    nod = np.copysign(effort * habits.nod_share * steep, elevation)
    low, high = elevation - EYES_UP_DEG + SPARE_DEG, elevation - EYES_DOWN_DEG - SPARE_DEG
    pitch = np.clip(np.clip(habits.rest_deg[1] + nod, low, high), -MOST_PITCH_DEG, MOST_PITCH_DEG)
    rest_yaw = habits.rest_deg[0] * max(0.0, 1.0 - aside / 30.0)
    return float(yaw + rest_yaw), float(pitch)


def _torso(rng: np.random.Generator, looks: tuple[Look, ...], t_s: Floats, moving: Floats) -> Floats:
    """(n, 3) by how many mm the neck is off its normal place."""
    leans = np.array([look.lean_mm for look in looks])
    steps = np.diff(leans, axis=0, prepend=leans[:1])
    onsets_s = np.array([look.onset_s for look in looks]) - 0.05
    leaning = leans[0] + _sum_of_steps(t_s, onsets_s, np.full(len(looks), 0.55), steps)
    settled = rng.normal(0.0, (5.0, 3.0, 8.0))
    sway = np.column_stack([wander(rng, t_s, 18.0, sd) for sd in (5.0, 2.0, 8.0)])
    shake = np.column_stack([wander(rng, t_s, 0.25, sd) for sd in (0.4, 0.8, 0.3)])
    return np.asarray(leaning + settled + sway + shake * moving[:, None])


def _sum_of_steps(t_s: Floats, onsets_s: Floats, durations_s: Floats, steps: Floats) -> Floats:
    """Course (n, d) of movements (m, d) that may overlap: what each has done by then, added up."""
    course, done = np.zeros((2, len(t_s) + 1, steps.shape[1]))
    for onset_s, duration_s, step in zip(onsets_s, durations_s, steps, strict=True):
        first, last = np.searchsorted(t_s, (onset_s, onset_s + duration_s))
        course[first:last] += ease((t_s[first:last] - onset_s) / duration_s)[:, None] * step
        done[last] += step
    return np.asarray((course + done.cumsum(axis=0))[:-1])


def _gaze(
    looks: tuple[Look, ...], look: NDArray[np.int64], eye_mid_mm: Floats, t_s: Floats, follow: Follow
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Direction (n, 3) and distance (n) of gaze as it is meant, and where it is on its way."""
    direction, distance_mm = np.empty_like(eye_mid_mm), np.empty(len(t_s))
    saccade = np.zeros(len(t_s), dtype=np.bool_)
    before: tuple[Floats, float] | None = None
    for index, each in enumerate(looks):
        first, last = np.searchsorted(look, (index, index + 1))
        if first == last:
            continue
        part = slice(first, last)
        points = _followed(each, t_s[part], follow)
        direction[part], distance_mm[part] = _rays(points - eye_mid_mm[part], each.beyond_mm)
        if before is not None:
            old_ray, _ = _rays(before[0] - eye_mid_mm[first : first + 1], before[1])
            duration_s = SACCADE_S + SACCADE_S_PER_DEG * float(angle_between_deg(old_ray[0], direction[first]))
            part = slice(first, min(last, int(np.searchsorted(t_s, each.onset_s + duration_s))))
            old_rays, old_mm = _rays(before[0] - eye_mid_mm[part], before[1])
            progress = ease((t_s[part] - each.onset_s) / duration_s)
            # Vergence, not distance, runs evenly.
            distance_mm[part] = 1.0 / ((1.0 - progress) / old_mm + progress / distance_mm[part])
            direction[part] = _between(old_rays, direction[part], progress[:, None])
            saccade[part] = True
        before = points[-1], each.beyond_mm
    return direction, distance_mm, saccade


def _rays(offsets_mm: Floats, beyond_mm: float) -> tuple[Floats, Floats]:
    lengths = np.linalg.norm(offsets_mm, axis=1)
    return offsets_mm / lengths[:, None], lengths + beyond_mm


def _followed(look: Look, t_s: Floats, follow: Follow) -> Floats:
    """Where the point of a look is at each time (n, 3): things move, and stay where they were last seen."""
    if look.thing is None:
        return np.broadcast_to(look.point_mm, (len(t_s), 3))
    times_s = np.append(np.arange(t_s[0], t_s[-1], TRACK_S), t_s[-1] + 1e-3)
    track = [look.point_mm]
    for time_s in times_s[1:]:
        seen = follow(look, float(time_s))
        track.append(track[-1] if seen is None else seen)
    return np.column_stack([np.interp(t_s, times_s, column) for column in np.array(track).T])


def _between(start: Floats, end: Floats, progress: Floats) -> Floats:
    """Directions (n, 3) on the great circles from `start` to `end` (n, 3); `progress` is (n, 1)."""
    turned = np.radians(angle_between_deg(start, end))[:, None] * progress
    across = end - start * (start * end).sum(axis=1, keepdims=True)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    return np.asarray(np.cos(turned) * start + np.sin(turned) * across)


def _unrest(rng: np.random.Generator, t_s: Floats) -> Floats:
    """Drift and microsaccades (n, 2): azimuth and elevation in degrees."""
    columns = []
    steps_s = np.cumsum(rng.exponential(1.0 / MICROSACCADES_HZ, int(t_s[-1] * MICROSACCADES_HZ * 2) + 10))
    for _ in range(2):
        # Each microsaccade goes to a new place near the target; 16 ms long, like a saccade of that size.
        places = rng.normal(0.0, MICROSACCADE_SD_DEG, len(steps_s) + 1)
        size = int(0.016 * RATE_HZ)
        jumps = np.pad(places[np.searchsorted(steps_s, t_s)], size, mode="edge")
        smooth = np.convolve(jumps, np.ones(size) / size, mode="same")[size:-size]
        columns.append(smooth + wander(rng, t_s, DRIFT_PERIOD_S, DRIFT_SD_DEG))
    return np.column_stack(columns)


def _within_reach(
    gaze: Floats, rotation: Floats, habits: Habits, unrest_deg: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Directions (n, 3) that the eyes can turn to in the head, and which of them fall short of the target."""
    azimuth, elevation = angles_from_rays(np.einsum("nji,nj->ni", rotation, gaze))
    azimuth, elevation = azimuth + unrest_deg[:, 0], elevation + unrest_deg[:, 1]
    held_azimuth = np.clip(azimuth, -habits.eye_limit_deg, habits.eye_limit_deg)
    held_elevation = np.clip(elevation, EYES_DOWN_DEG, EYES_UP_DEG)
    short_deg = np.hypot(azimuth - held_azimuth, elevation - held_elevation)
    reached = np.einsum("nij,nj->ni", rotation, rays_from_angles(held_azimuth, held_elevation))
    return reached, short_deg > OFF_TARGET_DEG


def _until_landed(moving: NDArray[np.bool_], look: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Samples (n,) up to the last one of their look in which gaze was still moving."""
    samples = np.arange(len(look))
    starts = np.append(0, np.flatnonzero(np.diff(look)) + 1)
    lasts = np.maximum.reduceat(np.where(moving, samples, -1), starts)
    return np.asarray(samples <= np.repeat(lasts, np.diff(np.append(starts, len(look)))))
