"""The attention policy: from what is seen of the driver on each frame to alerts.

`AttentionPolicy.update` is a pure state machine over `Sight.t_s`: no clock, no input or output, no
randomness. It has four stages, each with its own classes:

1. `judge_sight` says what one sight means by itself. `Glances` and `Lids` turn that into steady quantities:
   where the driver has been looking and for how long, how long the eyes have been closed. A majority vote
   over a short window removes flicker and keeps edges: a glance starts at its true time, not when the vote
   notices. The time on which the vote has not settled yet is called pending.
2. `Gate`s tell which rules the speed of the car calls for.
3. One `Rule` for each published rule gives its level and what it measured.
4. `AlertBook` joins the rules of a kind, and keeps cool-downs and acknowledgements.

Time between two sights is shared between them. Time in which nothing was seen (sights more than `gap_s`
apart, no face, a gaze too uncertain to judge, eyes closed for longer than a blink) is neither attention nor
distraction: timers of glances hold, and forget after `forget_s`.

`docs/attention.md` has the table of the rules. Sources: Commission Delegated Regulations (EU) 2023/2590
(ADDW) and 2021/1341 (DDAW); Euro NCAP, Safe Driving: Driver Engagement; Kircher & Ahlstrom 2009 (AttenD);
NHTSA 2012, Visual-Manual Driver Distraction Guidelines; Klauer et al. 2006 (100-car study); Wierwille et al.
1994, Knipling & Wierwille 1994 (PERCLOS); ISO 15007 (glances); openpilot's `selfdrive/monitoring/policy.py`.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from pydantic import Field, model_validator

from dashgaze.device.records import Alert, AlertKind, Attention, Level, Sight
from dashgaze.device.settings import Settings
from dashgaze.device.spells import TICK_S, Bucket, Recent, Spell, WindowSum
from dashgaze.errors import DashgazeError
from dashgaze.tables import Status
from dashgaze.zones import Zone

KMH = 1 / 3.6
"""One km/h in m/s."""


class GazeSettings(Settings):
    """How single sights become glances."""

    # ISO 15007: fixations under 0.12 s are no glances of their own; blinks belong to the glance around them.
    vote_s: float = Field(default=0.24, ge=0.1, le=0.6, description="Window of the majority vote on the gaze")
    max_error_deg: float = Field(
        default=17.2, gt=0, le=90, description="A gaze less certain is not judged (openpilot: 0.3 rad)"
    )
    return_s: float = Field(
        default=0.15,
        ge=0,
        le=2,
        description="A shorter look back does not end a glance (after ISO 15007: 0.12 s)",
    )
    gap_s: float = Field(default=0.5, gt=0, le=2, description="Sights further apart leave unknown time (judgement)")
    # The road has the benefit of the doubt: so little time unseen is no distraction.
    road_gap_s: float = Field(
        default=1.0, gt=0, le=3, description="The same after a look at the road: up to here it is road (judgement)"
    )
    forget_s: float = Field(
        default=5.0,
        ge=1,
        le=60,
        description="Unseen for so long, what was under way is forgotten (judgement)",
    )
    recover_s: float = Field(
        default=2.0,
        ge=0.5,
        le=10,
        description="A look at the road that ends a cumulative alert (Euro NCAP, 2nd)",
    )


class SpeedSettings(Settings):
    """From which speed the rules apply. Below, nothing is counted."""

    distraction_mps: float = Field(
        default=20 * KMH, ge=0, le=60, description="Distraction rules (EU 2023/2590: 20 km/h; Euro NCAP, 2nd)"
    )
    # EU 2021/1341 asks for drowsiness warnings from 70 km/h only; closed eyes are as bad in town.
    eyes_mps: float = Field(
        default=10 * KMH,
        ge=0,
        le=60,
        description="Rules of eyes, yawns and lost faces (production cars, 2nd)",
    )
    hysteresis_mps: float = Field(
        default=5 * KMH, ge=0, le=10, description="Rules stop applying this much below (judgement)"
    )
    # An unknown speed must not silence an alert: the car moves, and the shorter time of EU 2023/2590 holds.
    assumed_mps: float = Field(default=50 * KMH, ge=0, le=60, description="Stands for an unknown speed (judgement)")

    @model_validator(mode="after")
    def _rules_can_stop(self) -> Self:
        if self.hysteresis_mps > min(self.distraction_mps, self.eyes_mps):
            raise ValueError("hysteresis_mps exceeds distraction_mps or eyes_mps: the rules would never stop")
        return self


class LongSettings(Settings):
    """One long glance: Euro NCAP and EU 2023/2590."""

    warning_s: float = Field(default=3.0, ge=1, le=10, description="One glance off the road (Euro NCAP)")
    critical_s: float = Field(default=5.0, ge=1, le=30, description="It goes on (openpilot's second level)")
    unresponsive_s: float = Field(
        default=3.0,
        ge=1,
        le=30,
        description="No return so long after the warning (Euro NCAP unresponsive driver)",
    )
    area3_elevation_deg: float = Field(
        default=-30.0, ge=-80, le=-10, description="Area 3 lies below this elevation (EU 2023/2590)"
    )
    area3_fast_s: float = Field(
        default=3.5, ge=1, le=10, description="In Area 3 from `area3_fast_mps` on (EU 2023/2590, 2nd)"
    )
    area3_slow_s: float = Field(default=6.0, ge=1, le=20, description="In Area 3 when slower (EU 2023/2590, 2nd)")
    area3_fast_mps: float = Field(default=50 * KMH, ge=0, le=60, description="50 km/h (EU 2023/2590, 2nd)")
    # EU 2023/2590: a short glance out and back in must not reset the timer; how short is judgement.
    area3_return_s: float = Field(
        default=1.0, ge=0.1, le=5, description="Shorter glances out of Area 3 pause its timer (judgement)"
    )

    @model_validator(mode="after")
    def _times_rise(self) -> Self:
        if self.critical_s <= self.warning_s:
            raise ValueError("critical_s must exceed warning_s")
        if self.area3_slow_s < self.area3_fast_s:
            raise ValueError("area3_slow_s must not be shorter than area3_fast_s")
        return self


class CumulativeSettings(Settings):
    """Many short glances: Euro NCAP VATS, AttenD, phone."""

    vats_s: float = Field(default=10.0, ge=1, le=30, description="Off the road within the window (Euro NCAP VATS)")
    vats_window_s: float = Field(default=30.0, ge=5, le=120, description="Euro NCAP VATS")
    vats_free_s: float = Field(
        default=2.0,
        ge=0,
        le=5,
        description="Looks at mirror or cluster count from here on (after NHTSA 2012: 2 s)",
    )
    buffer_s: float = Field(default=2.0, ge=0.5, le=10, description="Full buffer (AttenD)")
    buffer_free_s: float = Field(default=1.0, ge=0, le=5, description="Delay for mirrors and speedometer (AttenD)")
    buffer_latency_s: float = Field(default=0.1, ge=0, le=1, description="Latency before it refills (AttenD)")
    buffer_ends_s: float = Field(default=1.0, ge=0.1, le=10, description="Refilled so far, it ends (judgement)")
    # Klauer et al. 2006 (100-car): more than 2 s off the road within 6 s doubles the risk of a crash.
    phone_notice_s: float = Field(default=2.0, ge=0.5, le=6, description="Down within its window (Klauer 2006, 2nd)")
    phone_notice_window_s: float = Field(default=6.0, ge=1, le=30, description="Klauer 2006, 2nd")
    # NHTSA 2012: a task takes 12 s of glances at most; a minute stands for the task.
    phone_warning_s: float = Field(default=12.0, ge=2, le=60, description="Down within its window (NHTSA 2012)")
    phone_warning_window_s: float = Field(default=60.0, ge=10, le=300, description="One task (judgement)")

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

    microsleep_s: float = Field(default=1.0, ge=0.5, le=2, description="Closed (Euro NCAP microsleep: 1 to 2 s)")
    sleep_s: float = Field(default=3.0, ge=1, le=10, description="Closed (Euro NCAP sleep)")
    unresponsive_s: float = Field(default=6.0, ge=2, le=30, description="Closed (Euro NCAP unresponsive driver)")
    reopen_s: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Seen open for less, a closure goes on (judgement: misjudged frames)",
    )
    closed_frac: float = Field(
        default=0.2, gt=0, lt=1, description="Openness of closed eyes where `eyes_closed` is unknown (P80)"
    )
    perclos_window_s: float = Field(default=60.0, ge=20, le=300, description="Wierwille et al. 1994: a minute")
    perclos_seen_s: float = Field(
        default=30.0, ge=5, le=300, description="Eyes were judged for so much of the window (judgement)"
    )
    perclos_warning_frac: float = Field(
        default=0.15, gt=0, lt=1, description="Drowsy (Knipling & Wierwille 1994, 2nd); stands for KSS 8"
    )
    perclos_critical_frac: float = Field(default=0.30, gt=0, le=1, description="Twice drowsy (judgement)")
    perclos_ends_frac: float = Field(default=0.12, gt=0, lt=1, description="The alert ends below (judgement)")
    long_blink_s: float = Field(default=0.5, ge=0.3, le=1, description="A long closure (Caffier et al. 2003, 2nd)")
    long_blinks: int = Field(default=3, ge=2, le=20, description="So many in the window are drowsiness (judgement)")
    yawn_frac: float = Field(default=0.5, gt=0, lt=1, description="Mouth opening of a yawn (judgement)")
    yawn_s: float = Field(default=2.0, ge=1, le=8, description="Open for so long is a yawn (judgement)")
    yawns: int = Field(default=3, ge=2, le=20, description="So many yawns within the window (judgement)")
    yawn_window_s: float = Field(default=300.0, ge=60, le=1800, description="Judgement")

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if not self.long_blink_s <= self.microsleep_s < self.sleep_s < self.unresponsive_s:
            raise ValueError("long_blink_s, microsleep_s, sleep_s, unresponsive_s must rise in this order")
        if not self.perclos_ends_frac <= self.perclos_warning_frac < self.perclos_critical_frac:
            raise ValueError("perclos_ends_frac, perclos_warning_frac, perclos_critical_frac must rise in this order")
        if self.perclos_seen_s > self.perclos_window_s:
            raise ValueError("perclos_seen_s exceeds perclos_window_s: PERCLOS would never be known")
        return self


class AbsenceSettings(Settings):
    """No face, blocked camera."""

    no_face_notice_s: float = Field(default=15.0, ge=2, le=120, description="No face while driving (openpilot)")
    no_face_warning_s: float = Field(default=24.0, ge=2, le=120, description="openpilot")
    no_face_critical_s: float = Field(default=30.0, ge=2, le=120, description="openpilot")
    blocked_s: float = Field(default=5.0, ge=1, le=120, description="The camera sees nothing (judgement)")
    payback: float = Field(
        default=5.0,
        ge=1,
        le=20,
        description="Seconds that one of seeing makes good (openpilot's fastest recovery)",
    )
    ends_frac: float = Field(default=0.5, gt=0, lt=1, description="Paid back so far, a level ends (judgement)")

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if not self.no_face_notice_s < self.no_face_warning_s < self.no_face_critical_s:
            raise ValueError("no_face_notice_s, no_face_warning_s, no_face_critical_s must rise in this order")
        return self


class AlertSettings(Settings):
    """When an alert is not repeated. Long distraction, closed eyes and an unresponsive driver always are."""

    cooldown_s: float = Field(default=10.0, ge=0, le=600, description="No new start so soon after it ended (judgement)")
    drowsy_cooldown_s: float = Field(
        default=120.0, ge=0, le=3600, description="The same for drowsiness and yawning (judgement)"
    )
    acknowledged_s: float = Field(
        default=300.0, ge=0, le=3600, description="An acknowledged level stays silent for so long (judgement)"
    )


class AttentionSettings(Settings):
    """Thresholds of the attention policy, each with its source; "2nd" marks a secondary one."""

    gaze: GazeSettings = GazeSettings()
    speed: SpeedSettings = SpeedSettings()
    long: LongSettings = LongSettings()
    cumulative: CumulativeSettings = CumulativeSettings()
    eyes: EyesSettings = EyesSettings()
    absence: AbsenceSettings = AbsenceSettings()
    alerts: AlertSettings = AlertSettings()


# What the rules see


class Look(IntEnum):
    """What the driver looks at, as far as attention is concerned."""

    ROAD = 0
    AWAY = 1
    CLUSTER = 2
    """This and what follows is part of driving: short looks are no distraction."""
    MIRROR_LEFT = 3
    MIRROR_RIGHT = 4
    MIRROR_REAR = 5


_OFF_LOOKS = tuple(Look)[1:]

LOOKS: dict[Zone, Look] = dict.fromkeys(Zone, Look.AWAY) | {
    Zone.ROAD_AHEAD: Look.ROAD,
    Zone.ROAD_LEFT: Look.ROAD,
    Zone.ROAD_RIGHT: Look.ROAD,
    Zone.CLUSTER: Look.CLUSTER,
    Zone.MIRROR_LEFT: Look.MIRROR_LEFT,
    Zone.MIRROR_RIGHT: Look.MIRROR_RIGHT,
    Zone.MIRROR_REAR: Look.MIRROR_REAR,
}


@dataclass(frozen=True, slots=True)
class GazeState:
    """Where the driver looks and for how long.

    The span is the stretch on which the vote has newly settled: `span_s` seconds that end at `span_end_s`.
    Pending seconds lie between it and now; they count where the sight at hand agrees with the vote, and are
    0 where not.
    """

    span_s: float
    span_end_s: float
    unseen_s: float
    """Unknown time since the sight before, or since the last one whose gaze could be judged; mostly 0."""
    look: Look | None
    look_pending_s: float
    down: bool | None
    """In Area 3."""
    down_pending_s: float
    phone: bool | None
    phone_pending_s: float
    off_s: float
    """The glance off the road, pending included; looks back that are too short to end it pause it."""
    off_now: bool
    """Off the road now, by vote and sight."""
    away_s: float
    """What the glance off the road has spent away from mirrors and cluster too, pending included."""
    road_s: float
    """The look at the road, at the end of the span."""
    driving_s: float
    """The look at one mirror or the cluster, pending included."""

    def spent_away_s(self, free_s: float) -> tuple[float, float]:
        """Return span and pending seconds off the road; looks at mirror or cluster count from `free_s`."""
        if self.look is Look.AWAY:
            return self.span_s, self.look_pending_s
        if not self.look or self.driving_s <= free_s:
            return 0.0, 0.0
        beyond_s = self.driving_s - free_s
        pending_s = min(self.look_pending_s, beyond_s)
        return min(self.span_s, max(0.0, beyond_s - self.look_pending_s)), pending_s


@dataclass(frozen=True, slots=True)
class LidState:
    """Closed eyes."""

    closed_s: float
    """The closure that is under way."""
    closed_now: bool
    long_blinks: int
    """Long closures within the window."""
    blinks_per_min: float | None
    perclos_frac: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """The driver at one sight, in steady quantities."""

    t_s: float
    speed_mps: float
    gaze: GazeState
    lids: LidState
    seconds: float
    """Since the sight before; `status` and `mouth_open` held for so long."""
    seen: bool
    """False where the sight before lies too far back: nothing is known of these seconds."""
    status: Status
    mouth_open: bool | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One sight, judged on its own; None where it cannot be."""

    t_s: float
    status: Status
    look: Look | None = None
    down: bool | None = None
    phone: bool | None = None
    closed: bool | None = None
    mouth_open: bool | None = None


_GAZE_KNOWN = frozenset({Status.OK, Status.LOW_QUALITY, Status.PROPAGATED, Status.OFF_VIEW})
_NOTHING_KNOWN = frozenset({Status.NO_FACE, Status.BLOCKED, Status.UNKNOWN, Status.NOT_WORN, Status.NO_MATCH})


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def judge_sight(sight: Sight, settings: AttentionSettings) -> Seen:
    """Tell what one sight says by itself about gaze, eyes and mouth."""
    if sight.status in _NOTHING_KNOWN:
        return Seen(sight.t_s, sight.status)
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
    """Whether the direction can be judged; a gaze of low quality must say how low."""
    if sight.error_deg is None:
        return sight.status is not Status.LOW_QUALITY
    return sight.error_deg < max_error_deg


class Votes:
    """What look, Area 3 and phone were for more than half of the last `window_s`.

    A median filter over irregular time: what lasts less than half of the window is removed, and edges
    between longer stretches stay where they were when the result is read half a window late. Road against
    off the road is decided first, then what off the road. Too few votes change nothing; no vote within the
    window makes the result None.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._votes: deque[tuple[float, float, Look | None, bool | None, bool | None]] = deque()
        self._looks_s = [0.0] * len(Look)
        self._down_s = [0.0, 0.0]
        self._phone_s = [0.0, 0.0]
        self.look: Look | None = None
        self.since_s = 0.0
        """When `look` began: where the votes for it, put side by side, begin."""
        self._run_off: bool | None = None
        self._run_start_s = 0.0
        self.down: bool | None = None
        self.phone: bool | None = None

    def add(self, end_s: float, seconds: float, seen: Seen) -> None:
        """Let one sight vote for the `seconds` up to `end_s`."""
        if seconds <= 0.0:
            return
        votes = self._votes
        if self._run_off is not bool(seen.look):
            self._run_off, self._run_start_s = bool(seen.look), end_s - seconds
        votes.append((end_s, seconds, seen.look, seen.down, seen.phone))
        self._tally(seconds, seen.look, seen.down, seen.phone)
        horizon_s = end_s - self._window_s
        while votes[0][0] - votes[0][1] < horizon_s:
            vote_end_s, seconds, look, down, phone = votes.popleft()
            kept_s = vote_end_s - horizon_s if vote_end_s > horizon_s else 0.0
            self._tally(kept_s - seconds, look, down, phone)
            if kept_s:
                votes.appendleft((vote_end_s, kept_s, look, down, phone))
                break
        if (seen.look, seen.down, seen.phone) != (self.look, self.down, self.phone):  # else they stay what they are
            self._count(end_s)

    def _tally(self, seconds: float, look: Look | None, down: bool | None, phone: bool | None) -> None:
        if look is not None:
            self._looks_s[look] += seconds
        if down is not None:
            self._down_s[down] += seconds
        if phone is not None:
            self._phone_s[phone] += seconds

    def _count(self, end_s: float) -> None:
        on_s, *others_s = self._looks_s
        off = self._majority([on_s, sum(others_s)], None if self.look is None else self.look > Look.ROAD)
        if off is None:
            self.look = None
        elif not off:
            if self.look is not Look.ROAD:
                self.since_s = min(self._run_start_s, end_s - on_s)
            self.look = Look.ROAD
        elif (most_s := max(others_s)) > TICK_S:
            look = _OFF_LOOKS[others_s.index(most_s)]
            if not self.look:
                self.since_s = min(self._run_start_s, end_s - sum(others_s))
            elif look is not self.look:
                self.since_s = end_s - most_s
            self.look = look
        self.down = self._majority(self._down_s, self.down)
        self.phone = self._majority(self._phone_s, self.phone)

    def _majority(self, sums_s: list[float], before: bool | None) -> bool | None:
        no_s, yes_s = sums_s
        if no_s + yes_s < TICK_S:
            return None
        half_s = self._window_s / 2 + TICK_S
        return True if yes_s > half_s else False if no_s > half_s else before


class Glances:
    """Turns single looks into glances: free of flicker, with their true beginnings and ends."""

    def __init__(self, settings: GazeSettings) -> None:
        self._gap_s = settings.gap_s
        self._road_gap_s = settings.road_gap_s
        self._lag_s = settings.vote_s / 2
        self._votes = Votes(settings.vote_s)
        self._off = Spell(settings.return_s, settings.forget_s)
        self._away = Spell(settings.return_s, settings.forget_s)
        self._road = Spell(0.0, settings.forget_s)
        self._driving = Spell(0.0, settings.forget_s)
        self._look: Look | None = None
        self._judged: Seen | None = None
        self._before: Seen | None = None
        self._settled_s = 0.0

    def advance(self, now: Seen, counting: bool) -> GazeState:
        """Let the time up to this sight pass; off-road glances are not measured unless `counting`.

        A sight whose gaze cannot be judged is passed over: the time between two judged sights is shared between
        them, unless it exceeds `gap_s`, or `road_gap_s` after a look at the road, which makes it unknown.
        """
        judged, before, self._before = self._judged, self._before, now
        look, end_s, unseen_s = self._look, self._settled_s, 0.0
        if judged is None:
            look, end_s = None, now.t_s
            unseen_s = 0.0 if before is None else now.t_s - before.t_s
        elif now.t_s - judged.t_s > (self._gap_s if judged.look else self._road_gap_s):
            end_s, unseen_s = max(end_s, judged.t_s), now.t_s - judged.t_s
        elif now.look is not None:
            direct = judged is before and now.t_s - judged.t_s <= self._gap_s
            look, end_s = self._vote(judged, now, direct)
        span_s = 0.0 if judged is None else end_s - self._settled_s
        down, phone = self._votes.down, self._votes.phone
        self._settled_s = end_s
        self._lengthen(look, span_s, unseen_s)
        if now.look is not None:
            self._judged = now
        if unseen_s:
            self._lose(now)
        if not counting:  # time before the rules apply is settled, and never counts
            self._settled_s = now.t_s
            self._off.reset()
            self._away.reset()

        agree = judged is not None and self._votes.look is look and not unseen_s
        pending_s = now.t_s - self._settled_s if agree else 0.0
        off_now = bool(pending_s and look and judged and judged.look and now.look)
        look_pending_s = pending_s if judged and look is judged.look is now.look else 0.0
        return GazeState(
            span_s,
            end_s,
            unseen_s,
            look,
            look_pending_s,
            down,
            pending_s if judged and down is judged.down is now.down else 0.0,
            phone,
            pending_s if judged and phone is judged.phone is now.phone else 0.0,
            self._off.seconds + (pending_s if off_now else 0.0),
            off_now,
            self._away.seconds + (look_pending_s if look is Look.AWAY else 0.0),
            self._road.seconds,
            self._driving.seconds + (look_pending_s if look and look > Look.AWAY else 0.0),
        )

    def _vote(self, judged: Seen, now: Seen, direct: bool) -> tuple[Look | None, float]:
        """Take the time since the last judged sight into the vote; return what settled, and until when."""
        votes = self._votes
        seconds = now.t_s - judged.t_s
        if (judged.look, judged.down, judged.phone) == (now.look, now.down, now.phone):
            votes.add(now.t_s, seconds, now)
        else:
            later_s = seconds * _later_frac(judged, now, direct)
            votes.add(now.t_s - later_s, seconds - later_s, judged)
            votes.add(now.t_s, later_s, now)
        end_s = max(self._settled_s, now.t_s - self._lag_s)
        look, self._look = self._look, votes.look
        if look is votes.look or look is None:
            return votes.look, end_s
        # The look has changed, not later than the votes for the new one say: up to there the old one stands.
        return look, min(end_s, max(self._settled_s, votes.since_s))

    def _lengthen(self, look: Look | None, span_s: float, unseen_s: float) -> None:
        off = None if look is None else look > Look.ROAD
        self._off.advance(off, span_s)
        if look is None or look <= Look.AWAY:
            self._away.advance(off, span_s)
        self._road.advance(None if off is None else not off, span_s)
        self._driving.advance(None if look is None else look > Look.AWAY, span_s)
        if self._look is not look:  # one glance for each mirror
            self._driving.reset()
        if unseen_s:
            for spell in (self._off, self._away, self._road, self._driving):
                spell.advance(None, unseen_s)

    def _lose(self, now: Seen) -> None:
        self._votes.clear()
        self._look = None
        self._judged = None if now.look is None else now
        self._settled_s = now.t_s


def _later_frac(earlier: Seen, later: Seen, direct: bool) -> float:
    """Return the share of the time between two judged sights that belongs to the later one.

    Half of it; but where the sights between them could not be judged, the road has the benefit of the doubt:
    eyes blink while the gaze shifts.
    """
    if direct or bool(earlier.look) is bool(later.look):
        return 0.5
    return 0.0 if later.look else 1.0


class Lids:
    """Closures of the eyes: the one under way, blinks, and PERCLOS."""

    def __init__(self, settings: EyesSettings, forget_s: float) -> None:
        self._settings = settings
        self._closure = Spell(settings.reopen_s, forget_s)
        self._counted = False
        self._closed = WindowSum(settings.perclos_window_s)
        self._judged = WindowSum(settings.perclos_window_s)
        self._blinks = Recent(settings.perclos_window_s)
        self._long_blinks = Recent(settings.perclos_window_s)

    def advance(self, before: Seen, now: Seen, seen: bool) -> LidState:
        """Let the time between two sights pass; what changes, changes half way."""
        middle_s = (before.t_s + now.t_s) / 2
        if not seen:
            self._closure.advance(None, now.t_s - before.t_s)
        elif before.closed is now.closed:
            self._pass(now.t_s, now.t_s - before.t_s, now.closed)
        else:
            self._pass(middle_s, middle_s - before.t_s, before.closed)
            self._pass(now.t_s, now.t_s - middle_s, now.closed)
        if now.closed and not self._counted and self._closure.seconds >= self._settings.long_blink_s - TICK_S:
            self._long_blinks.add(now.t_s)
            self._counted = True
        return self._state(now)

    def _pass(self, end_s: float, seconds: float, closed: bool | None) -> None:
        closed_s = self._closure.seconds
        self._closure.advance(closed, seconds)
        if closed is not None:
            self._judged.add(end_s, seconds)
        if closed:
            self._closed.add(end_s, seconds)
        if closed_s and not self._closure.seconds:
            if closed is False and not self._counted:
                self._blinks.add(end_s)
            self._counted = False

    def _state(self, now: Seen) -> LidState:
        judged_s, closed_s = self._judged.total(now.t_s), self._closed.total(now.t_s)
        enough = judged_s >= self._settings.perclos_seen_s - TICK_S
        return LidState(
            self._closure.seconds,
            bool(now.closed),
            self._long_blinks.count(now.t_s),
            self._blinks.count(now.t_s) * 60.0 / judged_s if enough else None,
            min(1.0, max(0.0, closed_s / judged_s)) if enough else None,
        )


# The rules


@dataclass(frozen=True, slots=True)
class RuleState:
    """What a rule says at one moment."""

    level: Level = Level.NONE
    measured: float | None = None
    rule: str = ""


QUIET = RuleState()


class Rule(ABC):
    """One published rule: `judge` takes each sight while the car is fast enough for the rule, else `rest`."""

    kind: AlertKind

    def __init__(self) -> None:
        self.state = QUIET
        """What `judge` said last."""

    @abstractmethod
    def judge(self, moment: Moment) -> RuleState:
        """Take one moment into account and return the level that follows."""

    def rest(self) -> None:
        """Stop alerting and forget what is under way."""
        self.state = QUIET


class LongGlance(Rule):
    """One long glance off the road (Euro NCAP). Looks at mirrors and cluster have a timer of their own."""

    kind = AlertKind.LONG_DISTRACTION

    def __init__(self, settings: LongSettings) -> None:
        super().__init__()
        self._steps = ((settings.critical_s, Level.CRITICAL), (settings.warning_s, Level.WARNING))
        self._rule = f"Euro NCAP long distraction: one glance off the road >= {settings.warning_s:g} s"

    def judge(self, moment: Moment) -> RuleState:
        """Rise with the glance; end when it has ended."""
        gaze = moment.gaze
        if not gaze.off_s:
            return QUIET
        if gaze.off_now:
            long_s = max(gaze.away_s, gaze.driving_s)
            for threshold_s, level in self._steps:
                if long_s >= threshold_s - TICK_S and level > self.state.level:
                    return RuleState(level, long_s, self._rule)
        return self.state


class DownwardGlance(Rule):
    """The gaze rests in Area 3 (EU 2023/2590); short glances out of it pause the timer."""

    kind = AlertKind.LONG_DISTRACTION

    def __init__(self, settings: LongSettings, forget_s: float) -> None:
        super().__init__()
        self._settings = settings
        self._spell = Spell(settings.area3_return_s, forget_s)

    def judge(self, moment: Moment) -> RuleState:
        """Warn once the spell in Area 3 has lasted what the speed allows."""
        gaze, settings = moment.gaze, self._settings
        self._spell.advance(gaze.down, gaze.span_s)
        self._spell.advance(None, gaze.unseen_s)
        if self.state.level:
            return self.state if self._spell.seconds else QUIET
        limit_s = settings.area3_fast_s if moment.speed_mps >= settings.area3_fast_mps else settings.area3_slow_s
        down_s = self._spell.seconds + gaze.down_pending_s
        if gaze.down and gaze.down_pending_s and down_s >= limit_s - TICK_S:
            rule = f"EU 2023/2590 ADDW: gaze more than 30 deg below for > {limit_s:g} s"
            return RuleState(Level.WARNING, down_s, rule)
        return QUIET

    def rest(self) -> None:
        """Start afresh."""
        super().rest()
        self._spell.reset()


class NoReturn(Rule):
    """The gaze does not return to the road after the warning of a long distraction (Euro NCAP)."""

    kind = AlertKind.UNRESPONSIVE

    def __init__(self, settings: LongSettings, warners: Sequence[Rule]) -> None:
        super().__init__()
        self._limit_s = settings.unresponsive_s
        self._warners = warners
        self._warned_off_s: float | None = None
        self._rule = f"Euro NCAP unresponsive driver: no return within {settings.unresponsive_s:g} s of a warning"

    def judge(self, moment: Moment) -> RuleState:
        """Measure how long the glance has gone on since a warner warned."""
        off_s = moment.gaze.off_s
        if not off_s:
            self._warned_off_s = None
            return QUIET
        if self._warned_off_s is None:
            if any(warner.state.level >= Level.WARNING for warner in self._warners):
                self._warned_off_s = off_s
            return QUIET
        since_s = off_s - self._warned_off_s
        if moment.gaze.off_now and since_s >= self._limit_s - TICK_S:
            return RuleState(Level.CRITICAL, since_s, self._rule)
        return self.state

    def rest(self) -> None:
        """Forget the warning."""
        super().rest()
        self._warned_off_s = None


class Quota:
    """At most `limit_s` within `window_s`; exceeded until a look at the road of `recover_s`."""

    def __init__(self, limit_s: float, window_s: float, recover_s: float) -> None:
        self._limit_s = limit_s
        self._window = WindowSum(window_s)
        self._recover_s = recover_s
        self.exceeded = False
        self.spent_s = 0.0

    def reset(self) -> None:
        """Start afresh."""
        self._window.clear()
        self.exceeded = False
        self.spent_s = 0.0

    def spend(self, moment: Moment, span_s: float, pending_s: float) -> bool:
        """Book settled and pending seconds; return whether the limit is exceeded."""
        gaze = moment.gaze
        if span_s:
            self._window.add(gaze.span_end_s, span_s)
        if self.exceeded and gaze.road_s >= self._recover_s - TICK_S:
            self.reset()
        self.spent_s = self._window.total(moment.t_s) + pending_s
        if pending_s and self.spent_s >= self._limit_s - TICK_S:
            self.exceeded = True
        return self.exceeded


class CumulativeGlances(Rule):
    """Visual attention time sharing (Euro NCAP VATS): much time off the road within half a minute."""

    kind = AlertKind.CUMULATIVE_DISTRACTION

    def __init__(self, settings: CumulativeSettings, recover_s: float) -> None:
        super().__init__()
        self._free_s = settings.vats_free_s
        self._quota = Quota(settings.vats_s, settings.vats_window_s, recover_s)
        self._rule = f"Euro NCAP VATS: > {settings.vats_s:g} s off the road within {settings.vats_window_s:g} s"

    @property
    def spent_s(self) -> float:
        """Seconds off the road within the window."""
        return self._quota.spent_s

    def judge(self, moment: Moment) -> RuleState:
        """Count what is away from road, mirrors and cluster, and long looks at the latter."""
        if not self._quota.spend(moment, *moment.gaze.spent_away_s(self._free_s)):
            return QUIET
        return self.state if self.state.level else RuleState(Level.WARNING, self.spent_s, self._rule)

    def rest(self) -> None:
        """Start afresh."""
        super().rest()
        self._quota.reset()


class AttentionBuffer(Rule):
    """AttenD (Kircher & Ahlstrom 2009): drains off the road, refills on it, waits for mirrors."""

    kind = AlertKind.ATTENTION_BUFFER

    def __init__(self, settings: CumulativeSettings) -> None:
        super().__init__()
        self._settings = settings
        self._settled_s = settings.buffer_s
        self.buffer_s = settings.buffer_s
        self._rule = f"AttenD: the buffer of {settings.buffer_s:g} s has run empty"

    def judge(self, moment: Moment) -> RuleState:
        """Notice an empty buffer until enough has been refilled."""
        gaze, settings = moment.gaze, self._settings
        drained_s, pending_s = gaze.spent_away_s(settings.buffer_free_s)
        if gaze.look is Look.ROAD and self._settled_s < settings.buffer_s:
            drained_s = -min(gaze.span_s, max(0.0, gaze.road_s - settings.buffer_latency_s))
        if drained_s:
            self._settled_s = min(settings.buffer_s, max(0.0, self._settled_s - drained_s))
        self.buffer_s = max(0.0, self._settled_s - pending_s) if pending_s else self._settled_s
        if self.state.level:
            return QUIET if self.buffer_s >= settings.buffer_ends_s else self.state
        if pending_s and self.buffer_s < TICK_S:
            return RuleState(Level.NOTICE, 0.0, self._rule)
        return QUIET

    def rest(self) -> None:
        """Fill the buffer."""
        super().rest()
        self._settled_s = self.buffer_s = self._settings.buffer_s


class PhoneDown(Rule):
    """Glances down at a phone or the lap: Klauer et al. 2006 for a few seconds, NHTSA 2012 for a task."""

    kind = AlertKind.PHONE_DOWN

    def __init__(self, settings: CumulativeSettings, recover_s: float) -> None:
        super().__init__()
        self._steps = tuple(
            (
                level,
                Quota(limit_s, window_s, recover_s),
                f"{source}: > {limit_s:g} s down within {window_s:g} s",
            )
            for level, limit_s, window_s, source in (
                (Level.WARNING, settings.phone_warning_s, settings.phone_warning_window_s, "NHTSA 2012 task"),
                (Level.NOTICE, settings.phone_notice_s, settings.phone_notice_window_s, "Klauer 2006"),
            )
        )

    def judge(self, moment: Moment) -> RuleState:
        """Take the highest level whose quota is exceeded."""
        gaze = moment.gaze
        span_s, pending_s = (gaze.span_s, gaze.phone_pending_s) if gaze.phone else (0.0, 0.0)
        state = QUIET
        for level, quota, rule in self._steps:
            if quota.spend(moment, span_s, pending_s) and not state.level:
                state = self.state if self.state.level == level else RuleState(level, quota.spent_s, rule)
        return state

    def rest(self) -> None:
        """Start afresh."""
        super().rest()
        for _, quota, _ in self._steps:
            quota.reset()


class Closure(Rule):
    """Eyes closed for a while without a break: microsleep, sleep, unresponsive driver (Euro NCAP)."""

    def __init__(self, kind: AlertKind, threshold_s: float, level: Level) -> None:
        super().__init__()
        self.kind = kind
        self._threshold_s = threshold_s
        self._level = level
        self._rule = f"Euro NCAP {kind.replace('_', ' ')}: eyes closed >= {threshold_s:g} s"

    def judge(self, moment: Moment) -> RuleState:
        """Start at the threshold and end when the eyes have opened."""
        closed_s = moment.lids.closed_s
        if self.state.level:
            return self.state if closed_s else QUIET
        if moment.lids.closed_now and closed_s >= self._threshold_s - TICK_S:
            return RuleState(self._level, closed_s, self._rule)
        return QUIET


class Perclos(Rule):
    """Eyes closed for a large share of the last minute (P80), which stands for KSS 8 of EU 2021/1341."""

    kind = AlertKind.DROWSINESS

    def __init__(self, settings: EyesSettings) -> None:
        super().__init__()
        self._settings = settings
        self._rule = f"PERCLOS P80 >= {settings.perclos_warning_frac:g} (EU 2021/1341 DDAW)"

    def judge(self, moment: Moment) -> RuleState:
        """Rise with PERCLOS; end below the lower bound."""
        frac, settings = moment.lids.perclos_frac, self._settings
        if frac is None or frac < settings.perclos_ends_frac:
            return QUIET
        if frac >= settings.perclos_critical_frac:
            return self._at(Level.CRITICAL, frac)
        if frac >= settings.perclos_warning_frac and not self.state.level:
            return self._at(Level.WARNING, frac)
        return self.state

    def _at(self, level: Level, frac: float) -> RuleState:
        return self.state if self.state.level == level else RuleState(level, frac, self._rule)


class LongBlinks(Rule):
    """Several long closures within a minute."""

    kind = AlertKind.DROWSINESS

    def __init__(self, settings: EyesSettings) -> None:
        super().__init__()
        self._limit = settings.long_blinks
        self._rule = f"{settings.long_blinks} closures >= {settings.long_blink_s:g} s within a minute (Caffier 2003)"

    def judge(self, moment: Moment) -> RuleState:
        """Warn while there are that many."""
        count = moment.lids.long_blinks
        if count < self._limit:
            return QUIET
        return self.state if self.state.level else RuleState(Level.WARNING, float(count), self._rule)


class Yawning(Rule):
    """Several yawns within minutes."""

    kind = AlertKind.YAWNING

    def __init__(self, settings: EyesSettings, forget_s: float) -> None:
        super().__init__()
        self._settings = settings
        self._open = Spell(settings.reopen_s, forget_s)
        self._counted = False
        self._yawns = Recent(settings.yawn_window_s)
        self._rule = f"{settings.yawns} yawns within {settings.yawn_window_s:g} s"

    def judge(self, moment: Moment) -> RuleState:
        """Count a yawn once the mouth has been open for long enough."""
        self._open.advance(moment.mouth_open if moment.seen else None, moment.seconds)
        if not self._open.seconds:
            self._counted = False
        elif not self._counted and self._open.seconds >= self._settings.yawn_s - TICK_S:
            self._yawns.add(moment.t_s)
            self._counted = True
        count = self._yawns.count(moment.t_s)
        if count < self._settings.yawns:
            return QUIET
        return self.state if self.state.level else RuleState(Level.NOTICE, float(count), self._rule)

    def rest(self) -> None:
        """Forget the yawn under way; earlier ones stay."""
        super().rest()
        self._open.reset()
        self._counted = False


class Absence(Rule):
    """Nothing to judge the driver by: no face (openpilot's three levels), or a camera that sees nothing."""

    def __init__(
        self,
        kind: AlertKind,
        absent: Status,
        steps: Sequence[tuple[float, Level]],
        settings: AbsenceSettings,
        source: str,
    ) -> None:
        super().__init__()
        self.kind = kind
        self._absent = absent
        self._steps = sorted(steps, reverse=True)
        self._ends_frac = settings.ends_frac
        self._bucket = Bucket(self._steps[0][0], settings.payback)
        self._source = source

    def judge(self, moment: Moment) -> RuleState:
        """Rise as the bucket fills; a level ends when half of its time is paid back."""
        self._bucket.advance(self._absent_then(moment), moment.seconds)
        filled_s = self._bucket.seconds
        if not filled_s:
            return QUIET
        for threshold_s, level in self._steps:
            if filled_s >= threshold_s - TICK_S and level > self.state.level:
                return RuleState(level, filled_s, f"{self._source} >= {threshold_s:g} s")
            if level == self.state.level and filled_s >= threshold_s * self._ends_frac:
                return self.state
        return QUIET

    def _absent_then(self, moment: Moment) -> bool | None:
        if not moment.seen or moment.status is Status.UNKNOWN:
            return None
        if moment.status is Status.BLOCKED and self._absent is Status.NO_FACE:
            return None
        return moment.status is self._absent

    def rest(self) -> None:
        """Empty the bucket."""
        super().rest()
        self._bucket.seconds = 0.0


# From rules to alerts

MESSAGES: dict[AlertKind, str] = {
    AlertKind.LONG_DISTRACTION: "Look at the road",
    AlertKind.CUMULATIVE_DISTRACTION: "Too often off the road",
    AlertKind.ATTENTION_BUFFER: "Eyes on the road",
    AlertKind.PHONE_DOWN: "Put the phone away",
    AlertKind.DROWSINESS: "You seem drowsy: take a break",
    AlertKind.MICROSLEEP: "Wake up",
    AlertKind.SLEEP: "Wake up now",
    AlertKind.UNRESPONSIVE: "Respond now: take control",
    AlertKind.YAWNING: "You yawn a lot: plan a break",
    AlertKind.NO_FACE: "The camera does not see your face",
    AlertKind.CAMERA_BLOCKED: "The camera is covered",
}
"""What to tell the driver; the order of urgency is `SEVERITY`."""

SEVERITY: tuple[AlertKind, ...] = (
    AlertKind.UNRESPONSIVE,
    AlertKind.SLEEP,
    AlertKind.MICROSLEEP,
    AlertKind.LONG_DISTRACTION,
    AlertKind.PHONE_DOWN,
    AlertKind.CUMULATIVE_DISTRACTION,
    AlertKind.DROWSINESS,
    AlertKind.NO_FACE,
    AlertKind.ATTENTION_BUFFER,
    AlertKind.YAWNING,
    AlertKind.CAMERA_BLOCKED,
)
"""Order among alerts of one level, most severe first."""

_CAN_BE_SILENCED = frozenset({AlertKind.DROWSINESS, AlertKind.YAWNING, AlertKind.NO_FACE, AlertKind.CAMERA_BLOCKED})
_STARTS_AT_ONCE = frozenset({AlertKind.LONG_DISTRACTION, AlertKind.MICROSLEEP, AlertKind.SLEEP, AlertKind.UNRESPONSIVE})
"""Kinds without cool-down: each such event is one of its own."""


class AlertBook:
    """Which alerts are on: joins the rules of a kind, keeps cool-downs and acknowledgements."""

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings
        self._active: dict[AlertKind, RuleState] = {}
        self._hot_until_s: dict[AlertKind, float] = {}
        self._silenced: dict[AlertKind, tuple[Level, float]] = {}

    def settle(self, t_s: float, rules: Iterable[Rule], acknowledged: bool) -> tuple[Alert, ...]:
        """Take over what the rules say at `t_s`; return what changed."""
        wanted: dict[AlertKind, RuleState] = {}
        for rule in rules:
            state = rule.state
            if state.level and state.level > wanted.get(rule.kind, QUIET).level:
                wanted[rule.kind] = state
        if not wanted and not self._active:
            return ()
        if acknowledged:
            for kind in self._active.keys() & _CAN_BE_SILENCED:
                self._silenced[kind] = (self._active[kind].level, t_s + self._settings.acknowledged_s)
        kinds = [kind for kind in SEVERITY if kind in wanted or kind in self._active]
        changes = (self._change(kind, wanted.get(kind, QUIET), t_s) for kind in kinds)
        return tuple(alert for alert in changes if alert is not None)

    def active(self) -> tuple[AlertKind, ...]:
        """Return the alerts that are on, most severe first."""
        if not self._active:
            return ()
        return tuple(sorted(self._active, key=lambda kind: (-self._active[kind].level, SEVERITY.index(kind))))

    def level(self) -> Level:
        """Return the highest level that is on."""
        return max(state.level for state in self._active.values()) if self._active else Level.NONE

    def _change(self, kind: AlertKind, wanted: RuleState, t_s: float) -> Alert | None:
        before = self._active.get(kind, QUIET)
        if self._silent(kind, wanted.level, t_s) or not (before.level or self._cool(kind, wanted.level, t_s)):
            wanted = QUIET
        if wanted.level == before.level:
            return None
        if wanted.level:
            self._active[kind] = wanted
            return Alert(kind, wanted.level, t_s, wanted.rule, MESSAGES[kind], wanted.measured)
        del self._active[kind]
        if kind not in _STARTS_AT_ONCE and not self._silent(kind, before.level, t_s):
            drowsy = kind in (AlertKind.DROWSINESS, AlertKind.YAWNING)
            self._hot_until_s[kind] = t_s + (self._settings.drowsy_cooldown_s if drowsy else self._settings.cooldown_s)
        return Alert(kind, Level.NONE, t_s, before.rule, "", None)

    def _silent(self, kind: AlertKind, level: Level, t_s: float) -> bool:
        """Whether the driver has acknowledged this level."""
        silenced_level, until_s = self._silenced.get(kind, (Level.NONE, 0.0))
        return level <= silenced_level and t_s < until_s

    def _cool(self, kind: AlertKind, level: Level, t_s: float) -> bool:
        """Whether the last alert of the kind is long enough ago."""
        return level == Level.CRITICAL or t_s >= self._hot_until_s.get(kind, -math.inf)


class Gate:
    """Whether the car is fast enough for a group of rules, with hysteresis."""

    def __init__(self, on_mps: float, hysteresis_mps: float) -> None:
        self._on_mps = on_mps
        self._off_mps = on_mps - hysteresis_mps
        self.open = False

    def update(self, speed_mps: float) -> None:
        """Open or close for this speed."""
        self.open = speed_mps >= (self._off_mps if self.open else self._on_mps)


class AttentionPolicy:
    """Judges the driver's attention, sight by sight."""

    def __init__(self, settings: AttentionSettings = AttentionSettings()) -> None:  # noqa: B008 (frozen)
        self._settings = settings
        self._before: Seen | None = None
        self._glances = Glances(settings.gaze)
        self._lids = Lids(settings.eyes, settings.gaze.forget_s)
        self._book = AlertBook(settings.alerts)
        self._vats = CumulativeGlances(settings.cumulative, settings.gaze.recover_s)
        self._buffer = AttentionBuffer(settings.cumulative)
        speed = settings.speed
        self._distraction_gate = Gate(speed.distraction_mps, speed.hysteresis_mps)
        self._groups: tuple[tuple[Gate, list[Rule]], ...] = (
            (self._distraction_gate, self._distraction_rules(settings)),
            (Gate(speed.eyes_mps, speed.hysteresis_mps), _eye_rules(settings)),
            (Gate(0.0, 0.0), _camera_rules(settings)),
        )
        self._rules = [rule for _, rules in self._groups for rule in rules]

    def _distraction_rules(self, settings: AttentionSettings) -> list[Rule]:
        long = LongGlance(settings.long)
        downward = DownwardGlance(settings.long, settings.gaze.forget_s)
        phone = PhoneDown(settings.cumulative, settings.gaze.recover_s)
        return [long, downward, NoReturn(settings.long, (long, downward)), self._vats, self._buffer, phone]

    def update(self, sight: Sight) -> Attention:
        """Take one sight into account.

        Raise `DashgazeError` if its time is not finite or lies before that of the last one.
        """
        now = judge_sight(sight, self._settings)
        before = self._before or now
        seconds = now.t_s - before.t_s
        if not (seconds >= 0.0 and math.isfinite(now.t_s)):
            raise DashgazeError(
                "sight",
                f"t_s goes from {before.t_s} s to {now.t_s} s",
                "give the sights in the order of their time",
            )
        self._before = now
        seen = seconds <= self._settings.gaze.gap_s
        known_mps = _finite(sight.speed_mps)
        speed_mps = self._settings.speed.assumed_mps if known_mps is None else known_mps
        for gate, _ in self._groups:
            gate.update(speed_mps)
        moment = Moment(
            now.t_s,
            speed_mps,
            self._glances.advance(now, self._distraction_gate.open),
            self._lids.advance(before, now, seen),
            seconds,
            seen,
            before.status,
            before.mouth_open,
        )
        self._apply(moment)
        changes = self._book.settle(now.t_s, self._rules, sight.acknowledged)
        return Attention(
            self._book.level(),
            self._book.active(),
            changes,
            moment.gaze.off_s,
            self._vats.spent_s,
            self._buffer.buffer_s,
            moment.lids.perclos_frac,
            moment.lids.blinks_per_min,
        )

    def _apply(self, moment: Moment) -> None:
        for gate, rules in self._groups:
            for rule in rules:
                if gate.open:
                    rule.state = rule.judge(moment)
                else:
                    rule.rest()


def _eye_rules(settings: AttentionSettings) -> list[Rule]:
    eyes, absence = settings.eyes, settings.absence
    no_face = (
        (absence.no_face_notice_s, Level.NOTICE),
        (absence.no_face_warning_s, Level.WARNING),
        (absence.no_face_critical_s, Level.CRITICAL),
    )
    return [
        Closure(AlertKind.MICROSLEEP, eyes.microsleep_s, Level.WARNING),
        Closure(AlertKind.SLEEP, eyes.sleep_s, Level.CRITICAL),
        Closure(AlertKind.UNRESPONSIVE, eyes.unresponsive_s, Level.CRITICAL),
        Perclos(eyes),
        LongBlinks(eyes),
        Yawning(eyes, settings.gaze.forget_s),
        Absence(AlertKind.NO_FACE, Status.NO_FACE, no_face, absence, "openpilot: no face while driving"),
    ]


def _camera_rules(settings: AttentionSettings) -> list[Rule]:
    steps = ((settings.absence.blocked_s, Level.NOTICE),)
    return [Absence(AlertKind.CAMERA_BLOCKED, Status.BLOCKED, steps, settings.absence, "camera sees nothing")]
