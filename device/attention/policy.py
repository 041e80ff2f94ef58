"""The four stages together: measure, gate, judge, alert."""

import math

from dashgaze.device.attention.absence import Absence
from dashgaze.device.attention.alerts import AlertBook
from dashgaze.device.attention.distraction import (
    AttentionBuffer,
    CumulativeGlances,
    DownwardGlance,
    LongGlance,
    NoReturn,
    PhoneDown,
)
from dashgaze.device.attention.drowsiness import Closure, LongBlinks, Perclos, Yawning
from dashgaze.device.attention.glances import Glances
from dashgaze.device.attention.lids import Lids
from dashgaze.device.attention.readings import NOTHING_KNOWN, Reading, finite, judge_sight
from dashgaze.device.attention.rules import Moment, Rule
from dashgaze.device.attention.settings import AbsenceSettings, AttentionSettings, EyesSettings
from dashgaze.device.records import AlertKind, Attention, Level, Sight
from dashgaze.errors import DashgazeError
from dashgaze.tables import Status


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
        self._before: Reading | None = None
        self._glances = Glances(settings.gaze)
        self._lids = Lids(settings.eyes)
        self._book = AlertBook(settings.alerts)
        self._vats = CumulativeGlances(settings.cumulative)
        self._buffer = AttentionBuffer(settings.cumulative)
        speed = settings.speed
        self._distraction_gate = Gate(speed.distraction_mps, speed.hysteresis_mps)
        self._groups: tuple[tuple[Gate, list[Rule]], ...] = (
            (self._distraction_gate, self._distraction_rules()),
            (
                Gate(speed.eyes_mps, speed.hysteresis_mps),
                [*_eye_rules(settings.eyes), _no_face_rule(settings.absence)],
            ),
            (Gate(0.0, 0.0), [_blocked_rule(settings.absence)]),
        )
        self._rules = [rule for _, rules in self._groups for rule in rules]

    def update(self, sight: Sight) -> Attention:
        """Take one sight into account.

        Raise `DashgazeError` if its time is not finite or lies before that of the last one.
        """
        now = judge_sight(sight, self._settings)
        before = self._before or now
        if not (now.t_s >= before.t_s and math.isfinite(now.t_s)):
            problem = f"t_s goes from {before.t_s} s to {now.t_s} s"
            raise DashgazeError("sight", problem, "give the sights in the order of their time")
        self._before = now
        known_mps = finite(sight.speed_mps)
        speed_mps = self._settings.speed.assumed_mps if known_mps is None else known_mps
        for gate, _ in self._groups:
            gate.update(speed_mps)
        moment = self._measure(before, now, speed_mps)
        self._judge(moment)
        changes = self._book.settle(now.t_s, self._rules, sight.acknowledged)
        seen = now.status not in NOTHING_KNOWN
        return Attention(
            self._book.level(),
            self._book.active(),
            changes,
            moment.gaze.off_s if seen else None,
            self._vats.spent_s,
            self._buffer.buffer_s if seen else None,
            moment.lids.perclos_frac,
            moment.lids.blinks_per_min,
        )

    def _measure(self, before: Reading, now: Reading, speed_mps: float) -> Moment:
        seconds = now.t_s - before.t_s
        seen = seconds <= self._settings.gaze.gap_s
        return Moment(
            now.t_s,
            speed_mps,
            self._glances.advance(before, now, counting=self._distraction_gate.open),
            self._lids.advance(before, now, seen),
            seconds,
            before.status if seen else Status.UNKNOWN,
            before.mouth_open if seen else None,
        )

    def _judge(self, moment: Moment) -> None:
        for gate, rules in self._groups:
            for rule in rules:
                if gate.open:
                    rule.state = rule.judge(moment)
                else:
                    rule.rest()

    def _distraction_rules(self) -> list[Rule]:
        long, cumulative = self._settings.long, self._settings.cumulative
        glance, downward = LongGlance(long), DownwardGlance(long)
        task = (cumulative.phone_warning_s, cumulative.phone_warning_window_s, cumulative.recover_s)
        peek = (cumulative.phone_notice_s, cumulative.phone_notice_window_s, cumulative.recover_s)
        return [
            glance,
            downward,
            NoReturn(long, (glance, downward)),
            self._vats,
            self._buffer,
            PhoneDown(Level.WARNING, *task, "NHTSA 2012 task"),
            PhoneDown(Level.NOTICE, *peek, "Klauer 2006"),
        ]


def _eye_rules(eyes: EyesSettings) -> list[Rule]:
    return [
        Closure(AlertKind.MICROSLEEP, eyes.microsleep_s, Level.WARNING),
        Closure(AlertKind.SLEEP, eyes.sleep_s, Level.CRITICAL),
        Closure(AlertKind.UNRESPONSIVE, eyes.unresponsive_s, Level.CRITICAL),
        Perclos(eyes),
        LongBlinks(eyes),
        Yawning(eyes),
    ]


def _no_face_rule(absence: AbsenceSettings) -> Rule:
    steps = (
        (absence.no_face_notice_s, Level.NOTICE),
        (absence.no_face_warning_s, Level.WARNING),
        (absence.no_face_critical_s, Level.CRITICAL),
    )
    return Absence(AlertKind.NO_FACE, Status.NO_FACE, steps, absence.payback, "openpilot: no face while driving")


def _blocked_rule(absence: AbsenceSettings) -> Rule:
    steps = ((absence.blocked_s, Level.NOTICE),)
    return Absence(AlertKind.CAMERA_BLOCKED, Status.BLOCKED, steps, absence.payback, "camera sees nothing")
