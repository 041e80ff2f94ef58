"""One driver in one drive: plans everything from a seed, then tells any instant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Floats, angle_between_deg
from dashgaze.training.synth.behaviour.episodes import Episode, plan_episodes
from dashgaze.training.synth.behaviour.face import Face
from dashgaze.training.synth.behaviour.hands import plan_hands, wheel_angles_deg
from dashgaze.training.synth.behaviour.motion import RATE_HZ, carry_out
from dashgaze.training.synth.behaviour.places import MIRRORED, Places
from dashgaze.training.synth.behaviour.scanpath import Outlook, Salient, ScanPath, follower
from dashgaze.training.synth.behaviour.styles import BehaviourStyle, Habits
from dashgaze.training.synth.records import LightKind, Moment, Person
from dashgaze.zones import HandOfDrive, Zone

SHORTEST_S = 1.0
WHEEL_STEP_S = 0.1
STATES: tuple[tuple[str, str], ...] = (
    ("yawn", "yawning"),
    ("phone", "distracted"),
    ("console", "distracted"),
    ("drowsy", "drowsy"),
    ("talk", "talking"),
    ("call", "talking"),
)
"""Which episode makes which state; the first that applies."""


@dataclass(frozen=True, slots=True)
class Fixation:
    """A row of the table: from landing to the next saccade."""

    start_s: float
    duration_s: float
    fixation_id: int
    zone: Zone


@dataclass(frozen=True, slots=True)
class Blink:
    """A row of the table: from the first movement of the lids to the last."""

    start_s: float
    duration_s: float
    blink_id: int


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the table."""

    t_s: float
    kind: str
    source: str = "script"


class Behaviour:
    """What a person does in one drive, from 0 to `duration_s`.

    `speed` is what `speed_profile` returns. `salient(t_s)` names the things on the road that are worth a look: a number
    that stays with each, and its position (3,) in the car frame in mm. `curvature(t_s)` is the road's in 1/m, positive
    to the right. Both are asked from 0 to `duration_s` only. Raises ValueError for a duration below `SHORTEST_S`.

    `fixations`, `blinks` and `events` are the drive's tables, by time; `course` its whole movement, sampled.
    """

    def __init__(
        self,
        person: Person,
        hand_of_drive: HandOfDrive,
        seed: int,
        speed: tuple[Floats, Floats],
        salient: Salient,
        duration_s: float,
        style: BehaviourStyle,
        *,
        light: LightKind = "day",
        passenger: bool = True,
        curvature: Callable[[float], float] = lambda t_s: 0.0,
    ) -> None:
        if not SHORTEST_S <= duration_s < float("inf"):
            raise ValueError(f"a drive must last at least {SHORTEST_S} s, not {duration_s}")
        plan, gaze, body, face, hands, wheel = (np.random.default_rng([seed, person.seed, part]) for part in range(6))
        habits = Habits.of(person)
        places = Places(gaze, hand_of_drive)
        near_mirror = Zone.MIRROR_LEFT if hand_of_drive == "left" else MIRRORED[Zone.MIRROR_LEFT]
        self.duration_s = duration_s
        self._episodes = plan_episodes(plan, style, duration_s, near_mirror, passenger, sunny=light == "day")

        def bend(t_s: float) -> float:
            return curvature(min(max(t_s, 0.0), duration_s))

        def things(t_s: float) -> Sequence[tuple[int, NDArray[np.float64]]]:
            return salient(t_s) if 0.0 <= t_s <= duration_s else ()

        outlook = Outlook(
            speed_mps=lambda t_s: float(np.interp(t_s, *speed)),
            curvature=bend,
            salient=things,
            night=light in ("night", "infrared"),
            drowsy=lambda t_s: "drowsy" in self._during(t_s),
        )
        fixed = [glance for episode in self._episodes for glance in episode.glances]
        looks = ScanPath(gaze, style, habits, places, outlook).looks(fixed, duration_s)
        points = np.array([look.point_mm for look in looks])
        shifts_deg = angle_between_deg(points[:-1], points[1:]).tolist()
        shifts = [(look.onset_s, degrees) for look, degrees in zip(looks[1:], shifts_deg, strict=True)]
        self._face = Face(face, habits, self._episodes, shifts, duration_s)
        self.course = carry_out(
            body,
            looks,
            habits,
            follower(things, places),
            lambda t_s: np.interp(t_s, *speed),
            self._face.head_pitch_deg,
            duration_s,
        )
        self._hands = plan_hands(hands, hand_of_drive, self._episodes, duration_s)
        self._speed = speed
        self._wheel_s = np.arange(0.0, duration_s + 2 * WHEEL_STEP_S, WHEEL_STEP_S)
        self._wheel_deg = wheel_angles_deg(wheel, self._wheel_s, np.interp(self._wheel_s, *speed), bend)
        self.fixations: tuple[Fixation, ...]
        self.fixations, self._fixation = self._landed(tuple(look.zone for look in looks))
        self.blinks = tuple(Blink(b.start_s, b.duration_s, number) for number, b in enumerate(self._face.blinks))
        self.events = self._events()

    def _landed(self, zones: tuple[Zone, ...]) -> tuple[tuple[Fixation, ...], NDArray[np.int64]]:
        """The fixations that gaze arrives at, and for each sample the one it is in or on its way to."""
        course = self.course
        edges = np.flatnonzero(np.diff(course.look)) + 1
        fixations: list[Fixation] = []
        numbers = np.empty(len(course.t_s), dtype=np.int64)
        for start, end in pairwise((0, *edges.tolist(), len(course.t_s))):
            numbers[start:end] = len(fixations)  # of one that is never reached: the next one
            first = start + int(np.count_nonzero(course.saccade[start:end]))
            start_s, end_s = first / RATE_HZ, min(end / RATE_HZ, self.duration_s)
            if first < end and start_s < end_s:
                fixations.append(Fixation(start_s, end_s - start_s, len(fixations), zones[course.look[start]]))
        return tuple(fixations), np.minimum(numbers, len(fixations) - 1)

    def _events(self) -> tuple[Event, ...]:
        events = [Event(t_s, "head_nod") for t_s in self._face.nods_s()]
        for episode in self._episodes:
            events += _events_of(episode)
        inside = [event for event in events if 0.0 <= event.t_s <= self.duration_s]
        return tuple(sorted(inside, key=lambda event: event.t_s))

    def _during(self, t_s: float) -> set[str]:
        """Kinds of the episodes that a time falls into."""
        return {each.kind for each in self._episodes if each.start_s <= t_s <= each.end_s}

    def at(self, t_s: float) -> Moment:
        """The driver at one time. Raises ValueError outside the drive."""
        if not 0.0 <= t_s <= self.duration_s:
            raise ValueError(f"the drive lasts from 0 to {self.duration_s} s: nothing is known at {t_s}")
        course = self.course
        low = min(int(t_s * RATE_HZ), len(course.t_s) - 2)
        share = t_s * RATE_HZ - low

        def between(values: Floats) -> Floats:
            return np.asarray(values[low] + (values[low + 1] - values[low]) * share)

        during = self._during(t_s)
        nearest = low + (share >= 0.5)
        fixation = self.fixations[self._fixation[nearest]]
        mimic = self._face.mimic(t_s)
        (left, left_from, left_done), (right, right_from, right_done) = (hand.at(t_s) for hand in self._hands)
        yaw, pitch, roll = between(course.head_deg).tolist()
        return Moment(
            t_s=t_s,
            zone=fixation.zone,
            gaze_target_mm=between(course.gaze_mm),
            saccade=bool(course.saccade[nearest]),
            fixation_id=fixation.fixation_id,
            head_angles_deg=(yaw, pitch, roll),
            eye_mid_mm=between(course.eye_mid_mm),
            lid_closure=self._face.lid_closure(t_s),
            blink_id=self._face.blink_at(t_s),
            jaw_open=mimic.jaw_open,
            expression=mimic.expression,
            expression_weights=mimic.weights,
            valence=mimic.valence,
            state=next((state for kind, state in STATES if kind in during), "attentive"),
            grips=(left, right),
            grip_blend=((left_from, left_done), (right_from, right_done)),
            wheel_angle_deg=float(np.interp(t_s, self._wheel_s, self._wheel_deg)),
            speed_mps=float(np.interp(t_s, *self._speed)),
        )


def _events_of(episode: Episode) -> list[Event]:
    """What an episode reports; moods report nothing."""
    start_s, end_s = episode.start_s, episode.end_s
    if episode.kind == "phone":
        glances = [glance for glance in episode.glances if glance.spot == "phone"]
        ends = [("glance_phone_start", g.start_s) for g in glances] + [("glance_phone_end", g.end_s) for g in glances]
        return [Event(t_s, kind) for kind, t_s in (("phone_take", start_s), ("phone_put_down", end_s), *ends)]
    names = {"talk": "talking", "call": "call", "console": "console", "yawn": "yawn", "drowsy": "drowsy"}
    if episode.kind in names:
        return [Event(start_s, f"{names[episode.kind]}_start"), Event(end_s, f"{names[episode.kind]}_end")]
    return [Event(start_s, "shoulder_check")] if episode.kind == "shoulder" else []
