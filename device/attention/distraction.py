"""Rules of the gaze: one long glance, many short ones, phone. They apply from `speed.distraction_mps` on."""

from collections.abc import Sequence

from dashgaze.device.attention.readings import Look
from dashgaze.device.attention.rules import QUIET, Moment, Rule, RuleState
from dashgaze.device.attention.settings import CumulativeSettings, LongSettings
from dashgaze.device.attention.spells import TICK_S, Spell, WindowSum
from dashgaze.device.records import AlertKind, Level


class LongGlance(Rule):
    """One long glance off the road (Euro NCAP). Looks at mirrors and cluster have a timer of their own."""

    kind = AlertKind.LONG_DISTRACTION

    def __init__(self, settings: LongSettings) -> None:
        super().__init__(f"Euro NCAP long distraction: one glance off the road >= {settings.warning_s:g} s")
        self._steps = ((settings.critical_s, Level.CRITICAL), (settings.warning_s, Level.WARNING))

    def judge(self, moment: Moment) -> RuleState:
        """Rise with the glance; end when it has ended."""
        gaze = moment.gaze
        if not gaze.off_s:
            return QUIET
        if gaze.pending.off_s:
            long_s = max(gaze.away_s, gaze.driving_s)
            for threshold_s, level in self._steps:
                if long_s >= threshold_s - TICK_S and level > self.state.level:
                    return self._at(level, long_s)
        return self.state


class DownwardGlance(Rule):
    """The gaze rests in Area 3 (EU 2023/2590); short glances out of it pause the timer."""

    kind = AlertKind.LONG_DISTRACTION

    def __init__(self, settings: LongSettings) -> None:
        super().__init__(f"EU 2023/2590 ADDW: gaze more than {-settings.area3_elevation_deg:g} deg below")
        self._settings = settings
        self._spell = Spell(settings.area3_return_s)

    def judge(self, moment: Moment) -> RuleState:
        """Warn once the spell in Area 3 has lasted what the speed allows; end when it has ended."""
        gaze, settings = moment.gaze, self._settings
        self._spell.advance(gaze.down, gaze.span_s)
        self._spell.advance(None, gaze.unseen_s)
        if self.state.level:
            return self.state if self._spell.seconds else QUIET
        limit_s = settings.area3_fast_s if moment.speed_mps >= settings.area3_fast_mps else settings.area3_slow_s
        down_s = self._spell.seconds + gaze.pending.down_s
        if gaze.down and gaze.pending.down_s and down_s >= limit_s - TICK_S:
            return RuleState(Level.WARNING, down_s, f"{self._rule} for > {limit_s:g} s")
        return QUIET

    def rest(self) -> None:
        """Start afresh."""
        super().rest()
        self._spell.reset()


class NoReturn(Rule):
    """The gaze does not return to the road after the warning of a long distraction (Euro NCAP)."""

    kind = AlertKind.UNRESPONSIVE

    def __init__(self, settings: LongSettings, warners: Sequence[Rule]) -> None:
        super().__init__(f"Euro NCAP unresponsive driver: no return within {settings.unresponsive_s:g} s of a warning")
        self._limit_s = settings.unresponsive_s
        self._warners = warners
        self._warned_off_s: float | None = None
        """How long the glance was when the driver was warned."""

    def judge(self, moment: Moment) -> RuleState:
        """Measure how long the glance has gone on since a warner warned; end when it has ended."""
        gaze = moment.gaze
        if not gaze.off_s:
            self._warned_off_s = None
            return QUIET
        if self._warned_off_s is None:
            if any(warner.state.level >= Level.WARNING for warner in self._warners):
                self._warned_off_s = gaze.off_s
            return QUIET
        since_s = gaze.off_s - self._warned_off_s
        if gaze.pending.off_s and since_s >= self._limit_s - TICK_S:
            return self._at(Level.CRITICAL, since_s)
        return self.state

    def rest(self) -> None:
        """Forget the warning."""
        super().rest()
        self._warned_off_s = None


class Quota:
    """At most `limit_s` within `window_s`; once exceeded, until a look at the road of `recover_s`."""

    def __init__(self, limit_s: float, window_s: float, recover_s: float) -> None:
        self._limit_s = limit_s
        self._window = WindowSum(window_s)
        self._recover_s = recover_s
        self.reset()

    def reset(self) -> None:
        """Start afresh."""
        self._window.clear()
        self._exceeded = False
        self.spent_s = 0.0

    def spend(self, moment: Moment, span_s: float, pending_s: float) -> bool:
        """Book settled and pending seconds; return whether the limit is exceeded."""
        self._window.add(moment.gaze.span_end_s, span_s)
        if self._exceeded and moment.gaze.road_s >= self._recover_s - TICK_S:
            self.reset()
        self.spent_s = self._window.total(moment.t_s) + pending_s
        if pending_s and self.spent_s >= self._limit_s - TICK_S:
            self._exceeded = True
        return self._exceeded


class CumulativeGlances(Rule):
    """Visual attention time sharing (Euro NCAP VATS): much time off the road within half a minute."""

    kind = AlertKind.CUMULATIVE_DISTRACTION

    def __init__(self, settings: CumulativeSettings) -> None:
        limit_s, window_s = settings.vats_s, settings.vats_window_s
        super().__init__(f"Euro NCAP VATS: > {limit_s:g} s off the road within {window_s:g} s")
        self._free_s = settings.vats_free_s
        self._quota = Quota(limit_s, window_s, settings.recover_s)

    @property
    def spent_s(self) -> float:
        """Seconds off the road within the window."""
        return self._quota.spent_s

    def judge(self, moment: Moment) -> RuleState:
        """Count what is away from road, mirrors and cluster, and long looks at the latter."""
        exceeded = self._quota.spend(moment, *moment.gaze.spent_away_s(self._free_s))
        return self._at(Level.WARNING, self.spent_s) if exceeded else QUIET

    def rest(self) -> None:
        """Start afresh."""
        super().rest()
        self._quota.reset()


class PhoneDown(Rule):
    """Glances down at phone or lap: Klauer et al. 2006 for a few seconds, NHTSA 2012 for a task."""

    kind = AlertKind.PHONE_DOWN

    def __init__(self, level: Level, limit_s: float, window_s: float, recover_s: float, source: str) -> None:
        super().__init__(f"{source}: > {limit_s:g} s down within {window_s:g} s")
        self._level = level
        self._quota = Quota(limit_s, window_s, recover_s)

    def judge(self, moment: Moment) -> RuleState:
        """Count what is spent on the phone."""
        gaze = moment.gaze
        span_s, pending_s = (gaze.span_s, gaze.pending.phone_s) if gaze.phone else (0.0, 0.0)
        exceeded = self._quota.spend(moment, span_s, pending_s)
        return self._at(self._level, self._quota.spent_s) if exceeded else QUIET

    def rest(self) -> None:
        """Start afresh."""
        super().rest()
        self._quota.reset()


class AttentionBuffer(Rule):
    """AttenD (Kircher & Ahlstrom 2009): drains off the road, refills on it, waits for mirrors."""

    kind = AlertKind.ATTENTION_BUFFER

    def __init__(self, settings: CumulativeSettings) -> None:
        super().__init__(f"AttenD: the buffer of {settings.buffer_s:g} s has run empty")
        self._settings = settings
        self._settled_s = settings.buffer_s
        self.buffer_s = settings.buffer_s
        """What is left, pending time included."""

    def judge(self, moment: Moment) -> RuleState:
        """Notice an empty buffer until enough has been refilled."""
        gaze, settings = moment.gaze, self._settings
        drained_s, pending_s = gaze.spent_away_s(settings.buffer_free_s)
        if gaze.look is Look.ROAD:
            drained_s = -min(gaze.span_s, max(0.0, gaze.road_s - settings.buffer_latency_s))
        self._settled_s = min(settings.buffer_s, max(0.0, self._settled_s - drained_s))
        self.buffer_s = max(0.0, self._settled_s - pending_s)
        if self.state.level:
            return QUIET if self.buffer_s >= settings.buffer_ends_s else self.state
        if pending_s and self.buffer_s < TICK_S:
            return self._at(Level.NOTICE, 0.0)
        return QUIET

    def rest(self) -> None:
        """Fill the buffer."""
        super().rest()
        self._settled_s = self.buffer_s = self._settings.buffer_s
