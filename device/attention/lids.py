"""Eyelids: the closure that is under way, blinks, long closures, and PERCLOS (Wierwille et al. 1994)."""

from dataclasses import dataclass

from dashgaze.device.attention.readings import Reading
from dashgaze.device.attention.settings import EyesSettings
from dashgaze.device.attention.spells import TICK_S, Recent, Spell, WindowSum


@dataclass(frozen=True, slots=True)
class LidState:
    """Closed eyes."""

    closed_s: float
    """The closure that is under way."""
    closed_now: bool
    long_blinks: int
    """Long closures within the window."""
    blinks_per_min: float | None
    """Shorter ones, by time in which the eyes could be judged."""
    perclos_frac: float | None
    """Share of the window with closed eyes; None until enough of it was seen."""


class Lids:
    """Measures closures of the eyes."""

    def __init__(self, settings: EyesSettings) -> None:
        self._settings = settings
        self._closure = Spell(settings.reopen_s)
        self._counted = False
        """The closure under way is one of the long ones."""
        self._closed = WindowSum(settings.perclos_window_s)
        self._judged = WindowSum(settings.perclos_window_s)
        self._blinks = Recent(settings.perclos_window_s)
        self._long_blinks = Recent(settings.perclos_window_s)

    def advance(self, before: Reading, now: Reading, seen: bool) -> LidState:
        """Let the time between two readings pass, unknown unless `seen`; what changes, changes half way."""
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

    def _state(self, now: Reading) -> LidState:
        judged_s, closed_s = self._judged.total(now.t_s), self._closed.total(now.t_s)
        enough = judged_s >= self._settings.perclos_seen_s - TICK_S
        return LidState(
            self._closure.seconds,
            bool(now.closed),
            self._long_blinks.count(now.t_s),
            self._blinks.count(now.t_s) * 60.0 / judged_s if enough else None,
            min(1.0, max(0.0, closed_s / judged_s)) if enough else None,
        )
