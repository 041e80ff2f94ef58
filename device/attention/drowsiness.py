"""Rules of eyes and mouth: closures, PERCLOS, long blinks, yawns. They apply from `speed.eyes_mps` on."""

from dashgaze.device.attention.rules import QUIET, Moment, Rule, RuleState
from dashgaze.device.attention.settings import EyesSettings
from dashgaze.device.attention.spells import TICK_S, Recent, Spell
from dashgaze.device.records import AlertKind, Level


class Closure(Rule):
    """Eyes closed for a while without a break: microsleep, sleep, unresponsive driver (Euro NCAP)."""

    def __init__(self, kind: AlertKind, threshold_s: float, level: Level) -> None:
        super().__init__(f"Euro NCAP {kind.replace('_', ' ')}: eyes closed >= {threshold_s:g} s")
        self.kind = kind
        self._threshold_s = threshold_s
        self._level = level

    def judge(self, moment: Moment) -> RuleState:
        """Start at the threshold and end when the eyes have opened."""
        closed_s = moment.lids.closed_s
        if not closed_s:
            return QUIET
        if moment.lids.closed_now and closed_s >= self._threshold_s - TICK_S:
            return self._at(self._level, closed_s)
        return self.state


class Perclos(Rule):
    """Eyes closed for a large share of the last minute (P80), which stands for KSS 8 of EU 2021/1341."""

    kind = AlertKind.DROWSINESS

    def __init__(self, settings: EyesSettings) -> None:
        super().__init__(f"PERCLOS P80 >= {settings.perclos_warning_frac:g} (EU 2021/1341 DDAW)")
        self._settings = settings

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


class LongBlinks(Rule):
    """Several long closures within a minute."""

    kind = AlertKind.DROWSINESS

    def __init__(self, settings: EyesSettings) -> None:
        super().__init__(
            f"{settings.long_blinks} closures >= {settings.long_blink_s:g} s within a minute (Caffier 2003)"
        )
        self._limit = settings.long_blinks

    def judge(self, moment: Moment) -> RuleState:
        """Warn while there are that many."""
        count = moment.lids.long_blinks
        return self._at(Level.WARNING, float(count)) if count >= self._limit else QUIET


class Yawning(Rule):
    """Several yawns within minutes."""

    kind = AlertKind.YAWNING

    def __init__(self, settings: EyesSettings) -> None:
        super().__init__(f"{settings.yawns} yawns within {settings.yawn_window_s:g} s")
        self._limit = settings.yawns
        self._yawn_s = settings.yawn_s - TICK_S
        self._open = Spell(settings.reopen_s)
        self._yawns = Recent(settings.yawn_window_s)

    def judge(self, moment: Moment) -> RuleState:
        """Count a yawn once the mouth has been open for long enough; notice while there are that many."""
        before_s = self._open.seconds
        self._open.advance(moment.mouth_open, moment.seconds)
        if before_s < self._yawn_s <= self._open.seconds:
            self._yawns.add(moment.t_s)
        count = self._yawns.count(moment.t_s)
        return self._at(Level.NOTICE, float(count)) if count >= self._limit else QUIET

    def rest(self) -> None:
        """Forget the yawn under way; earlier ones stay."""
        super().rest()
        self._open.reset()
