"""The attention policy: from what is seen of the driver on each frame to alerts.

`AttentionPolicy.update` is a pure state machine over `Sight.t_s`: no clock, no input or output, no randomness. One `update` does
five things, each in its own class:

1. `Glances` and `Lids` turn noisy sights into steady quantities: where the driver has been looking and for how long, how long
   the eyes have been closed. A `Majority` vote over a short window removes flicker and keeps the edges: a glance starts and ends
   at its true time, not when the vote notices (time that is not voted on yet is `pending`).
2. `Gate`s tell which rules the speed of the car calls for.
3. One `Rule` for each published rule gives its level and what it measured.
4. `AlertBook` joins the rules of a kind, and keeps cool-downs and acknowledgements.

Time between two sights belongs to the earlier one. Time that was not seen (frames more than `gap_s` apart, no face, low
quality with no known error) is neither attention nor distraction: timers hold, and forget after `forget_s`.

`docs/attention.md` has the table of the rules. Sources: Commission Delegated Regulations (EU) 2023/2590 (ADDW) and 2021/1341
(DDAW); Euro NCAP, Safe Driving: Driver Engagement; Kircher & Ahlstrom 2009 (AttenD); NHTSA 2012, Visual-Manual Driver
Distraction Guidelines; Klauer et al. 2006 (100-car study); Wierwille et al. 1994 and Knipling & Wierwille 1994 (PERCLOS);
ISO 15007 (glances); openpilot's `selfdrive/monitoring/policy.py`. "(2nd)" marks a number taken from a secondary source.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Self

from pydantic import Field, model_validator

from dashgaze.device.records import Alert, AlertKind, Attention, Level, Sight
from dashgaze.device.settings import Settings
from dashgaze.errors import DashgazeError
from dashgaze.tables import Status
from dashgaze.zones import Zone

KMH = 1 / 3.6
"""One km/h in m/s."""

_TICK_S = 1e-9
"""Sums of frame intervals that differ by less are equal."""


class GazeSettings(Settings):
    """How single sights become glances."""

    vote_s: float = Field(
        0.3, ge=0.1, le=0.6, description="Window of the majority vote on where the driver looks; it removes what lasts "
        "less than half of it (ISO 15007: fixations under 0.12 s are no glance; 0.3 s: blinks are part of a glance)",
    )  # fmt: skip
    max_error_deg: float = Field(
        math.degrees(0.3), gt=0, le=90, description="A gaze less certain than this is not judged (openpilot: 0.3 rad)"
    )
    return_s: float = Field(
        0.5, ge=0.1, le=2, description="A look back at the road shorter than this does not end a glance off it (judgement: "
        "two saccades and one fixation)",
    )  # fmt: skip
    gap_s: float = Field(
        0.5, gt=0, le=2, description="Sights further apart than this leave unknown time between them (judgement)"
    )
    forget_s: float = Field(
        5.0, ge=1, le=60, description="Unseen for so long, a glance or closure that was under way is forgotten (judgement)"
    )
    recover_s: float = Field(
        2.0, ge=0.5, le=10, description="A cumulative alert ends when the driver has looked at the road for so long "
        "(Euro NCAP as built into production cars, (2nd))",
    )  # fmt: skip


class SpeedSettings(Settings):
    """From which speed the rules apply. Below, nothing is counted."""

    distraction_mps: float = Field(
        20 * KMH, ge=0, le=60, description="Distraction rules apply from here (EU 2023/2590: 20 km/h; Euro NCAP (2nd))"
    )
    eyes_mps: float = Field(
        10 * KMH, ge=0, le=60, description="Rules of eyes, yawns and lost faces apply from here (production cars, (2nd)). "
        "EU 2021/1341 asks for drowsiness from 70 km/h only",
    )  # fmt: skip
    hysteresis_mps: float = Field(
        5 * KMH, ge=0, le=10, description="Rules stop applying this much below their speed (judgement)"
    )
    assumed_mps: float = Field(
        50 * KMH, ge=0, le=60, description="Stands for an unknown speed: the car moves, and the shorter time of "
        "EU 2023/2590 holds (judgement: an unknown speed must not silence an alert)",
    )  # fmt: skip

    @model_validator(mode="after")
    def _hysteresis_leaves_a_speed(self) -> Self:
        if self.hysteresis_mps > min(self.distraction_mps, self.eyes_mps):
            raise ValueError("hysteresis_mps exceeds distraction_mps or eyes_mps: the rules would never stop applying")
        return self


class LongSettings(Settings):
    """One long glance: Euro NCAP and EU 2023/2590."""

    warning_s: float = Field(
        3.0, ge=1, le=10, description="One glance off the road, mirrors and cluster included (Euro NCAP)"
    )
    critical_s: float = Field(5.0, ge=1, le=30, description="The same glance goes on (openpilot's second level)")
    unresponsive_s: float = Field(
        3.0, ge=1, le=30, description="No return to the road so long after the warning (Euro NCAP, unresponsive driver)"
    )
    area3_elevation_deg: float = Field(
        -30.0, ge=-80, le=-10, description="Area 3 lies below this elevation (EU 2023/2590)"
    )
    area3_fast_s: float = Field(3.5, ge=1, le=10, description="In Area 3 from `area3_fast_mps` on (EU 2023/2590, (2nd))")
    area3_slow_s: float = Field(6.0, ge=1, le=20, description="In Area 3 below that speed (EU 2023/2590, (2nd))")
    area3_fast_mps: float = Field(50 * KMH, ge=0, le=60, description="EU 2023/2590: 50 km/h (2nd)")
    area3_return_s: float = Field(
        1.0, ge=0.1, le=5, description="Shorter glances out of Area 3 pause its timer and do not reset it (EU 2023/2590; "
        "1 s is judgement)",
    )  # fmt: skip

    @model_validator(mode="after")
    def _times_rise(self) -> Self:
        if self.critical_s <= self.warning_s:
            raise ValueError("critical_s must exceed warning_s")
        if self.area3_slow_s < self.area3_fast_s:
            raise ValueError("area3_slow_s must not be shorter than area3_fast_s")
        return self


class CumulativeSettings(Settings):
    """Many short glances: Euro NCAP VATS, AttenD, phone."""

    vats_s: float = Field(10.0, ge=1, le=30, description="Time off the road within `vats_window_s` (Euro NCAP VATS)")
    vats_window_s: float = Field(30.0, ge=5, le=120, description="Euro NCAP VATS")
    vats_free_s: float = Field(
        2.0, ge=0, le=5, description="The first seconds of a look at mirror or cluster do not count (judgement, after "
        "NHTSA 2012: single glances up to 2 s)",
    )  # fmt: skip
    buffer_s: float = Field(2.0, ge=0.5, le=10, description="AttenD buffer when full")
    buffer_free_s: float = Field(1.0, ge=0, le=5, description="AttenD delay for mirrors and speedometer")
    buffer_latency_s: float = Field(0.1, ge=0, le=1, description="AttenD latency before the buffer refills")
    buffer_ends_s: float = Field(1.0, ge=0.1, le=10, description="The alert ends when so much is refilled (judgement)")
    phone_notice_s: float = Field(
        2.0, ge=0.5, le=6, description="Down at the phone within `phone_notice_window_s` (Klauer et al. 2006: more than 2 s "
        "off the road within 6 s doubles the risk)",
    )  # fmt: skip
    phone_notice_window_s: float = Field(6.0, ge=1, le=30, description="Klauer et al. 2006")
    phone_warning_s: float = Field(
        12.0, ge=2, le=60, description="Down at the phone within `phone_warning_window_s` (NHTSA 2012: a task takes 12 s)"
    )
    phone_warning_window_s: float = Field(60.0, ge=10, le=300, description="Stands for NHTSA's task (judgement)")

    @model_validator(mode="after")
    def _limits_fit_their_windows(self) -> Self:
        for limit, window in (
            ("vats_s", "vats_window_s"),
            ("phone_notice_s", "phone_notice_window_s"),
            ("phone_warning_s", "phone_warning_window_s"),
            ("buffer_ends_s", "buffer_s"),
        ):
            if getattr(self, limit) > getattr(self, window):
                raise ValueError(f"{limit} exceeds {window}: the alert could never start or end")
        return self


class EyesSettings(Settings):
    """Closed eyes and yawns."""

    microsleep_s: float = Field(1.0, ge=0.5, le=2, description="Eyes closed (Euro NCAP microsleep: 1 to 2 s)")
    sleep_s: float = Field(3.0, ge=1, le=10, description="Eyes closed (Euro NCAP sleep)")
    unresponsive_s: float = Field(6.0, ge=2, le=30, description="Eyes closed (Euro NCAP unresponsive driver)")
    reopen_s: float = Field(
        0.1, ge=0, le=0.5, description="Eyes seen open for less do not end a closure (judgement: single misjudged frames)"
    )
    closed_frac: float = Field(
        0.2, gt=0, lt=1, description="Openness that counts as closed where `Sight.eyes_closed` is unknown (P80)"
    )
    perclos_window_s: float = Field(60.0, ge=20, le=300, description="PERCLOS: share of a minute (Wierwille et al. 1994)")
    perclos_seen_s: float = Field(
        30.0, ge=5, le=300, description="Eyes must have been judged for so much of the window (judgement: half)"
    )
    perclos_warning_frac: float = Field(
        0.15, gt=0, lt=1, description="Drowsy (Knipling & Wierwille 1994, (2nd)); stands for KSS 8 of EU 2021/1341"
    )
    perclos_critical_frac: float = Field(0.30, gt=0, le=1, description="Twice drowsy (judgement)")
    perclos_ends_frac: float = Field(0.12, gt=0, lt=1, description="The alert ends below (judgement)")
    long_blink_s: float = Field(0.5, ge=0.3, le=1, description="A closure at least this long (Caffier 2003, (2nd))")
    long_blinks: int = Field(
        3, ge=2, le=20, description="So many long closures within the window are drowsiness (judgement)"
    )
    yawn_frac: float = Field(0.5, gt=0, lt=1, description="Mouth opening of a yawn (judgement)")
    yawn_s: float = Field(2.0, ge=1, le=8, description="Mouth open for so long is a yawn (judgement; yawns take 5 s, (2nd))")
    yawns: int = Field(3, ge=2, le=20, description="So many yawns within `yawn_window_s` (judgement)")
    yawn_window_s: float = Field(300.0, ge=60, le=1800, description="Judgement")

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if not self.long_blink_s <= self.microsleep_s < self.sleep_s < self.unresponsive_s:
            raise ValueError("long_blink_s, microsleep_s, sleep_s and unresponsive_s must rise in this order")
        if not self.perclos_ends_frac <= self.perclos_warning_frac < self.perclos_critical_frac:
            raise ValueError("perclos_ends_frac, perclos_warning_frac and perclos_critical_frac must rise in this order")
        if self.perclos_seen_s > self.perclos_window_s:
            raise ValueError("perclos_seen_s exceeds perclos_window_s: PERCLOS would never be known")
        return self


class AbsenceSettings(Settings):
    """No face, blocked camera."""

    no_face_notice_s: float = Field(15.0, ge=2, le=120, description="No face while driving (openpilot)")
    no_face_warning_s: float = Field(24.0, ge=2, le=120, description="openpilot")
    no_face_critical_s: float = Field(30.0, ge=2, le=120, description="openpilot")
    blocked_s: float = Field(5.0, ge=1, le=120, description="Camera sees nothing at all, at any speed (judgement)")
    payback: float = Field(
        5.0, ge=1, le=20, description="A second of seeing pays back so many seconds of not seeing (openpilot's fastest "
        "recovery)",
    )  # fmt: skip
    ends_frac: float = Field(
        0.5, gt=0, lt=1, description="A level ends when its time is paid back down to this share (judgement)"
    )

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if not self.no_face_notice_s < self.no_face_warning_s < self.no_face_critical_s:
            raise ValueError("no_face_notice_s, no_face_warning_s and no_face_critical_s must rise in this order")
        return self


class AlertSettings(Settings):
    """When an alert is not repeated."""

    cooldown_s: float = Field(
        10.0, ge=0, le=600, description="An attention buffer, cumulative, phone, no face or blocked alert does not start "
        "again so soon after it ended (judgement)",
    )  # fmt: skip
    drowsy_cooldown_s: float = Field(
        120.0, ge=0, le=3600, description="The same for drowsiness and yawning (judgement: their windows outlive the cause)"
    )
    acknowledged_s: float = Field(
        300.0, ge=0, le=3600, description="An acknowledged level of drowsiness, yawning, no face or blocked stays silent "
        "for so long; a higher level does not (judgement)",
    )  # fmt: skip


class AttentionSettings(Settings):
    """Thresholds of the attention policy; each field's description has its source."""

    gaze: GazeSettings = GazeSettings()
    speed: SpeedSettings = SpeedSettings()
    long: LongSettings = LongSettings()
    cumulative: CumulativeSettings = CumulativeSettings()
    eyes: EyesSettings = EyesSettings()
    absence: AbsenceSettings = AbsenceSettings()
    alerts: AlertSettings = AlertSettings()


# Measures over time


class Look(IntEnum):
    """What a zone means for attention."""

    ROAD = 0
    DRIVING = 1
    """Mirrors and cluster: short looks are part of driving."""
    AWAY = 2


LOOKS: dict[Zone, Look] = dict.fromkeys(Zone, Look.AWAY) | {
    Zone.ROAD_AHEAD: Look.ROAD,
    Zone.ROAD_LEFT: Look.ROAD,
    Zone.ROAD_RIGHT: Look.ROAD,
    Zone.MIRROR_LEFT: Look.DRIVING,
    Zone.MIRROR_RIGHT: Look.DRIVING,
    Zone.MIRROR_REAR: Look.DRIVING,
    Zone.CLUSTER: Look.DRIVING,
}


class Majority:
    """What a flickering signal was for more than half of the last `window_s`.

    A median filter over irregular time: edges between stretches longer than half the window stay where they were, when the
    result is read half a window late. None where the window holds no vote at all.
    """

    def __init__(self, window_s: float, values: int) -> None:
        self._window_s = window_s
        self._votes: deque[tuple[float, float, int | None]] = deque()
        self._sums_s = [0.0] * values
        self.value: int | None = None

    def add(self, end_s: float, seconds: float, vote: int | None) -> int | None:
        """Book `seconds` up to `end_s` for `vote` (None: not judged) and return the majority."""
        self._votes.append((end_s, seconds, vote))
        if vote is not None:
            self._sums_s[vote] += seconds
        self._drop_before(end_s - self._window_s)
        judged_s = 0.0
        for value, sum_s in enumerate(self._sums_s):
            judged_s += sum_s
            if sum_s > self._window_s / 2 + _TICK_S:
                self.value = value
        if judged_s < _TICK_S:
            self.value = None
        return self.value

    def clear(self) -> None:
        """Forget everything."""
        self._votes.clear()
        self._sums_s = [0.0] * len(self._sums_s)
        self.value = None

    def _drop_before(self, horizon_s: float) -> None:
        votes = self._votes
        while votes and votes[0][0] - votes[0][1] < horizon_s:
            end_s, seconds, vote = votes.popleft()
            kept_s = max(0.0, end_s - horizon_s)
            if vote is not None:
                self._sums_s[vote] -= seconds - kept_s
            if kept_s > 0.0:
                votes.appendleft((end_s, kept_s, vote))
                break


class WindowSum:
    """Seconds of something within the last `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._stretches: deque[list[float]] = deque()
        self._sum_s = 0.0

    def add(self, end_s: float, seconds: float) -> None:
        """Book the `seconds` up to `end_s`; later stretches come later."""
        if seconds <= 0.0:
            return
        if self._stretches and abs(end_s - seconds - self._stretches[-1][1]) < _TICK_S:
            self._stretches[-1][1] = end_s
        else:
            self._stretches.append([end_s - seconds, end_s])
        self._sum_s += seconds

    def total(self, t_s: float) -> float:
        """Return the seconds booked within the window that ends at `t_s`."""
        horizon_s = t_s - self._window_s
        stretches = self._stretches
        while stretches and stretches[0][0] < horizon_s:
            start_s, end_s = stretches[0]
            if end_s > horizon_s:
                self._sum_s -= horizon_s - start_s
                stretches[0][0] = horizon_s
                break
            self._sum_s -= end_s - start_s
            stretches.popleft()
        if not stretches:
            self._sum_s = 0.0
        return self._sum_s

    def clear(self) -> None:
        """Forget everything."""
        self._stretches.clear()
        self._sum_s = 0.0


class Spell:
    """Seconds of something that interruptions under `tolerance_s` pause and do not end."""

    def __init__(self, tolerance_s: float, forget_s: float) -> None:
        self._tolerance_s = tolerance_s
        self._forget_s = forget_s
        self.reset()

    def reset(self) -> None:
        """End the spell."""
        self.seconds = 0.0
        self._interrupted_s = 0.0
        self._unknown_s = 0.0

    def advance(self, present: bool | None, seconds: float) -> None:
        """Let `seconds` pass; None where it is not known whether the thing was present."""
        if seconds <= 0.0:
            return
        if present is None:
            self._unknown_s += seconds
            if self._unknown_s >= self._forget_s - _TICK_S:
                self.reset()
        elif present:
            self.seconds += seconds
            self._interrupted_s = self._unknown_s = 0.0
        else:
            self._unknown_s = 0.0
            self._interrupted_s += seconds
            if self._interrupted_s >= self._tolerance_s - _TICK_S:
                self.reset()


class Bucket:
    """Fills with the seconds of something, and empties `payback` times as fast without it."""

    def __init__(self, capacity_s: float, payback: float) -> None:
        self._capacity_s = capacity_s
        self._payback = payback
        self.seconds = 0.0

    def advance(self, present: bool | None, seconds: float) -> None:
        """Let `seconds` pass; unknown time changes nothing."""
        if present:
            self.seconds = min(self._capacity_s, self.seconds + seconds)
        elif present is False:
            self.seconds = max(0.0, self.seconds - seconds * self._payback)


class Recent:
    """How many events fell within the last `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._times_s: deque[float] = deque()

    def add(self, t_s: float) -> None:
        """Book an event."""
        self._times_s.append(t_s)

    def count(self, t_s: float) -> int:
        """Return how many fell within the window that ends at `t_s`."""
        while self._times_s and self._times_s[0] < t_s - self._window_s:
            self._times_s.popleft()
        return len(self._times_s)


# What the rules see


@dataclass(frozen=True, slots=True)
class Moment:
    """The driver at one sight, in steady quantities.

    The span is the stretch of time on which the vote has newly settled: `span_s` seconds that end at `span_end_s`. Pending
    seconds lie after it and count as well, as long as the sight at hand says the same as the vote; 0 where it does not.
    """

    t_s: float
    speed_mps: float
    span_s: float
    span_end_s: float
    look: Look | None
    look_pending_s: float
    down: bool | None
    """In Area 3."""
    down_pending_s: float
    phone: bool | None
    phone_pending_s: float
    off_s: float
    """The glance off the road, pending included."""
    road_s: float
    """The look at the road, at the end of the span."""
    driving_s: float
    """The look at mirror or cluster, at the end of the span."""
    unseen_s: float
    """Unknown time between the sight before and this one, where they lie too far apart; else 0."""
    interval_s: float
    """Since the sight before; 0 where unknown."""
    status: Status
    """During the interval."""
    closed_s: float
    """The closure of the eyes that is under way."""
    closed: bool | None
    """Now."""
    closures: int
    """Long closures within the window."""
    perclos_frac: float | None
    mouth_open: bool | None
    """During the interval."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One sight, judged on its own; None where it cannot be."""

    t_s: float
    status: Status
    look: Look | None
    down: bool | None
    phone: bool | None
    closed: bool | None
    mouth_open: bool | None


_GAZE_KNOWN = frozenset({Status.OK, Status.LOW_QUALITY, Status.PROPAGATED, Status.OFF_VIEW})
_NOTHING_KNOWN = frozenset({Status.NO_FACE, Status.BLOCKED, Status.UNKNOWN, Status.NOT_WORN})


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def judge_sight(sight: Sight, settings: AttentionSettings) -> Seen:
    """Tell what one sight says by itself about gaze, eyes and mouth."""
    if sight.status in _NOTHING_KNOWN:
        return Seen(sight.t_s, sight.status, None, None, None, None, None)
    closed = _eyes_closed(sight, settings.eyes.closed_frac)
    mouth_frac = _finite(sight.mouth_open_frac)
    mouth_open = None if mouth_frac is None else mouth_frac >= settings.eyes.yawn_frac
    if closed or sight.status not in _GAZE_KNOWN or not _certain(sight, settings.gaze.max_error_deg):
        return Seen(sight.t_s, sight.status, None, None, None, closed, mouth_open)
    elevation_deg = _finite(sight.car_elevation_deg)
    phone = None if sight.zone is None else sight.zone is Zone.PHONE_LAP
    down = phone if elevation_deg is None else elevation_deg < settings.long.area3_elevation_deg
    look = (Look.AWAY if down else None) if sight.zone is None else LOOKS[sight.zone]
    return Seen(sight.t_s, sight.status, look, down, phone, closed, mouth_open)


def _eyes_closed(sight: Sight, closed_frac: float) -> bool | None:
    if sight.status is Status.EYES_CLOSED:
        return True
    if sight.eyes_closed is not None:
        return sight.eyes_closed
    openness_frac = _finite(sight.openness_frac)
    return None if openness_frac is None else openness_frac <= closed_frac


def _certain(sight: Sight, max_error_deg: float) -> bool:
    """Whether the direction can be judged; low quality needs to say how low."""
    if sight.error_deg is None:
        return sight.status is not Status.LOW_QUALITY
    return sight.error_deg < max_error_deg


class Glances:
    """Where the driver looks, freed of flicker, and for how long."""

    def __init__(self, settings: GazeSettings) -> None:
        self._lag_s = settings.vote_s / 2
        self._look = Majority(settings.vote_s, len(Look))
        self._down = Majority(settings.vote_s, 2)
        self._phone = Majority(settings.vote_s, 2)
        self.off = Spell(settings.return_s, settings.forget_s)
        self._road = Spell(0.0, settings.forget_s)
        self._driving = Spell(0.0, settings.forget_s)
        self._settled_s: float | None = None

    def advance(self, before: Seen, now: Seen) -> dict[str, float | bool | Look | None]:
        """Let the time between two sights pass; return the fields of `Moment` that are about gaze."""
        start_s = before.t_s if self._settled_s is None else self._settled_s
        seconds = now.t_s - before.t_s
        look = self._look.add(now.t_s, seconds, before.look)
        down = self._down.add(now.t_s, seconds, before.down)
        phone = self._phone.add(now.t_s, seconds, before.phone)
        self._settled_s = max(start_s, now.t_s - self._lag_s)
        return self._settle(start_s, look, down, phone, now, 0.0)

    def lose(self, before: Seen, now: Seen) -> dict[str, float | bool | Look | None]:
        """Let unknown time pass: what was settled before it stands, nothing is known of the rest."""
        start_s = before.t_s if self._settled_s is None else self._settled_s
        look, down, phone = self._look.value, self._down.value, self._phone.value
        for vote in (self._look, self._down, self._phone):
            vote.clear()
        self._settled_s = before.t_s
        fields = self._settle(start_s, look, down, phone, now, now.t_s - before.t_s)
        self._settled_s = now.t_s
        return fields

    def _settle(
        self,
        start_s: float,
        look_value: int | None,
        down_value: int | None,
        phone_value: int | None,
        now: Seen,
        unseen_s: float,
    ) -> dict[str, float | bool | Look | None]:
        assert self._settled_s is not None
        span_s = self._settled_s - start_s
        look = None if look_value is None else Look(look_value)
        down = None if down_value is None else bool(down_value)
        phone = None if phone_value is None else bool(phone_value)
        for spell, present in (
            (self.off, None if look is None else look is not Look.ROAD),
            (self._road, None if look is None else look is Look.ROAD),
            (self._driving, None if look is None else look is Look.DRIVING),
        ):
            spell.advance(present, span_s)
            spell.advance(None, unseen_s)
        pending_s = 0.0 if unseen_s else now.t_s - self._settled_s
        same = look is not None and now.look is not None and (look is now.look or bool(look and now.look))
        look_pending_s = pending_s if same else 0.0
        return {
            "span_s": span_s,
            "span_end_s": self._settled_s,
            "look": look,
            "look_pending_s": look_pending_s,
            "down": down,
            "down_pending_s": pending_s if down is not None and down is now.down else 0.0,
            "phone": phone,
            "phone_pending_s": pending_s if phone is not None and phone is now.phone else 0.0,
            "off_s": self.off.seconds + (look_pending_s if look else 0.0),
            "road_s": self._road.seconds,
            "driving_s": self._driving.seconds,
            "unseen_s": unseen_s,
        }
