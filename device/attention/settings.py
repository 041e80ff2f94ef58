"""Thresholds of the attention rules: one section of the configuration file for each group of rules.

Every description names the source of its number: a regulation or paper, "2nd" where the number is from a secondary
source, "judgement" where no source gives one. `dashgaze.device.attention` lists the sources in full.
"""

from typing import Self

from pydantic import Field, model_validator

from dashgaze.device.settings import Settings

KMH = 1 / 3.6
"""One km/h in m/s."""


class GlanceSettings(Settings):
    """How single sights become glances."""

    # ISO 15007: fixations under 0.12 s are no glances of their own; blinks belong to the glance around them.
    vote_s: float = Field(0.24, ge=0.1, le=0.6, description="Window of the majority vote on the gaze")
    max_error_deg: float = Field(
        17.2, gt=0, le=90, description="A gaze less certain is not judged (openpilot: 0.3 rad)"
    )
    return_s: float = Field(
        0.15, ge=0, le=2, description="A shorter look back does not end a glance (after ISO 15007: 0.12 s)"
    )
    gap_s: float = Field(0.5, gt=0, le=2, description="Sights further apart leave unknown time (judgement)")
    # The road has the benefit of the doubt: so little time unseen is no distraction.
    road_gap_s: float = Field(
        1.0, gt=0, le=3, description="The same after a look at the road: up to here it is road (judgement)"
    )


class SpeedSettings(Settings):
    """From which speed the rules apply. Below, nothing is counted."""

    distraction_mps: float = Field(
        20 * KMH, ge=0, le=60, description="Distraction rules (EU 2023/2590: 20 km/h; Euro NCAP, 2nd)"
    )
    # EU 2021/1341 asks for drowsiness warnings from 70 km/h only; closed eyes are as bad in town.
    eyes_mps: float = Field(
        10 * KMH, ge=0, le=60, description="Rules of eyes, yawns and lost faces (production cars, 2nd)"
    )
    hysteresis_mps: float = Field(5 * KMH, ge=0, le=10, description="Rules stop applying this much below (judgement)")
    # An unknown speed must not silence an alert: the car moves, and the shorter time of EU 2023/2590 holds.
    assumed_mps: float = Field(50 * KMH, ge=0, le=60, description="Stands for an unknown speed (judgement)")

    @model_validator(mode="after")
    def _rules_can_stop(self) -> Self:
        if self.hysteresis_mps > min(self.distraction_mps, self.eyes_mps):
            raise ValueError("hysteresis_mps exceeds distraction_mps or eyes_mps: the rules would never stop")
        return self


class LongSettings(Settings):
    """One long glance: Euro NCAP and EU 2023/2590."""

    warning_s: float = Field(3.0, ge=1, le=10, description="One glance off the road (Euro NCAP)")
    critical_s: float = Field(5.0, ge=1, le=30, description="It goes on (openpilot's second level)")
    unresponsive_s: float = Field(
        3.0, ge=1, le=30, description="No return so long after the warning (Euro NCAP unresponsive driver)"
    )
    area3_elevation_deg: float = Field(
        -30.0, ge=-80, le=-10, description="Area 3 lies below this elevation (EU 2023/2590)"
    )
    area3_fast_s: float = Field(3.5, ge=1, le=10, description="In Area 3 from `area3_fast_mps` on (EU 2023/2590, 2nd)")
    area3_slow_s: float = Field(6.0, ge=1, le=20, description="In Area 3 when slower (EU 2023/2590, 2nd)")
    area3_fast_mps: float = Field(50 * KMH, ge=0, le=60, description="50 km/h (EU 2023/2590, 2nd)")
    # EU 2023/2590: a short glance out and back in must not reset the timer; how short is judgement.
    area3_return_s: float = Field(
        1.0, ge=0.1, le=5, description="Shorter glances out of Area 3 pause its timer (judgement)"
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

    vats_s: float = Field(10.0, ge=1, le=30, description="Off the road within the window (Euro NCAP VATS)")
    vats_window_s: float = Field(30.0, ge=5, le=120, description="Euro NCAP VATS")
    vats_free_s: float = Field(
        2.0, ge=0, le=5, description="Looks at mirror or cluster count from here on (after NHTSA 2012: 2 s)"
    )
    recover_s: float = Field(
        2.0, ge=0.5, le=10, description="A look at the road that ends a cumulative alert (Euro NCAP, 2nd)"
    )
    buffer_s: float = Field(2.0, ge=0.5, le=10, description="Full buffer (AttenD)")
    buffer_free_s: float = Field(1.0, ge=0, le=5, description="Delay for mirrors and speedometer (AttenD)")
    buffer_latency_s: float = Field(0.1, ge=0, le=1, description="Latency before it refills (AttenD)")
    buffer_ends_s: float = Field(1.0, ge=0.1, le=10, description="Refilled so far, it ends (judgement)")
    # Klauer et al. 2006 (100-car): more than 2 s off the road within 6 s doubles the risk of a crash.
    phone_notice_s: float = Field(2.0, ge=0.5, le=6, description="Down within its window (Klauer 2006, 2nd)")
    phone_notice_window_s: float = Field(6.0, ge=1, le=30, description="Klauer 2006, 2nd")
    # NHTSA 2012: a task takes 12 s of glances at most; a minute stands for the task.
    phone_warning_s: float = Field(12.0, ge=2, le=60, description="Down within its window (NHTSA 2012)")
    phone_warning_window_s: float = Field(60.0, ge=10, le=300, description="One task (judgement)")

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

    microsleep_s: float = Field(1.0, ge=0.5, le=2, description="Closed (Euro NCAP microsleep: 1 to 2 s)")
    sleep_s: float = Field(3.0, ge=1, le=10, description="Closed (Euro NCAP sleep)")
    unresponsive_s: float = Field(6.0, ge=2, le=30, description="Closed (Euro NCAP unresponsive driver)")
    reopen_s: float = Field(
        0.1, ge=0, le=0.5, description="Seen open for less, a closure goes on (judgement: misjudged frames)"
    )
    closed_frac: float = Field(
        0.2, gt=0, lt=1, description="Openness of closed eyes where `eyes_closed` is unknown (P80)"
    )
    perclos_window_s: float = Field(60.0, ge=20, le=300, description="Wierwille et al. 1994: a minute")
    perclos_seen_s: float = Field(
        30.0, ge=5, le=300, description="Eyes were judged for so much of the window (judgement)"
    )
    perclos_warning_frac: float = Field(
        0.15, gt=0, lt=1, description="Drowsy (Knipling & Wierwille 1994, 2nd); stands for KSS 8"
    )
    perclos_critical_frac: float = Field(0.30, gt=0, le=1, description="Twice drowsy (judgement)")
    perclos_ends_frac: float = Field(0.12, gt=0, lt=1, description="The alert ends below (judgement)")
    long_blink_s: float = Field(0.5, ge=0.3, le=1, description="A long closure (Caffier et al. 2003, 2nd)")
    long_blinks: int = Field(3, ge=2, le=20, description="So many in the window are drowsiness (judgement)")
    yawn_frac: float = Field(0.5, gt=0, lt=1, description="Mouth opening of a yawn (judgement)")
    yawn_s: float = Field(2.0, ge=1, le=8, description="Open for so long is a yawn (judgement)")
    yawns: int = Field(3, ge=2, le=20, description="So many yawns within the window (judgement)")
    yawn_window_s: float = Field(300.0, ge=60, le=1800, description="Judgement")

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

    no_face_notice_s: float = Field(15.0, ge=2, le=120, description="No face while driving (openpilot)")
    no_face_warning_s: float = Field(24.0, ge=2, le=120, description="openpilot")
    no_face_critical_s: float = Field(30.0, ge=2, le=120, description="openpilot")
    blocked_s: float = Field(5.0, ge=1, le=120, description="The camera sees nothing (judgement)")
    payback: float = Field(
        5.0, ge=1, le=20, description="Seconds that one of seeing makes good (openpilot's fastest recovery)"
    )

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if not self.no_face_notice_s < self.no_face_warning_s < self.no_face_critical_s:
            raise ValueError("no_face_notice_s, no_face_warning_s, no_face_critical_s must rise in this order")
        return self


class AlertSettings(Settings):
    """When an alert is not repeated. Long distraction, closed eyes and an unresponsive driver always are."""

    cooldown_s: float = Field(10.0, ge=0, le=600, description="No new start so soon after it ended (judgement)")
    drowsy_cooldown_s: float = Field(
        120.0, ge=0, le=3600, description="The same for drowsiness and yawning (judgement)"
    )
    acknowledged_s: float = Field(
        300.0, ge=0, le=3600, description="An acknowledged level stays silent for so long (judgement)"
    )


class AttentionSettings(Settings):
    """Thresholds of the attention policy, each with its source; "2nd" marks a secondary one."""

    gaze: GlanceSettings = GlanceSettings()
    speed: SpeedSettings = SpeedSettings()
    long: LongSettings = LongSettings()
    cumulative: CumulativeSettings = CumulativeSettings()
    eyes: EyesSettings = EyesSettings()
    absence: AbsenceSettings = AbsenceSettings()
    alerts: AlertSettings = AlertSettings()
