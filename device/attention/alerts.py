"""From rules to alerts: order of severity, words for the driver, cool-downs, acknowledgements."""

import math
from collections.abc import Iterable

from dashgaze.device.attention.rules import QUIET, Rule, RuleState
from dashgaze.device.attention.settings import AlertSettings
from dashgaze.device.records import Alert, AlertKind, Level

MESSAGES: dict[AlertKind, str] = {
    AlertKind.UNRESPONSIVE: "Respond now: take control",
    AlertKind.SLEEP: "Wake up now",
    AlertKind.MICROSLEEP: "Wake up",
    AlertKind.LONG_DISTRACTION: "Look at the road",
    AlertKind.PHONE_DOWN: "Put the phone away",
    AlertKind.CUMULATIVE_DISTRACTION: "Too often off the road",
    AlertKind.DROWSINESS: "You seem drowsy: take a break",
    AlertKind.NO_FACE: "The camera does not see your face",
    AlertKind.ATTENTION_BUFFER: "Eyes on the road",
    AlertKind.YAWNING: "You yawn a lot: plan a break",
    AlertKind.CAMERA_BLOCKED: "The camera is covered",
}
"""What to tell the driver; most severe first among alerts of one level."""

_SEVERITY = tuple(MESSAGES)
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
        kinds = [kind for kind in _SEVERITY if kind in wanted or kind in self._active]
        changes = (self._change(kind, wanted.get(kind, QUIET), t_s) for kind in kinds)
        return tuple(alert for alert in changes if alert is not None)

    def active(self) -> tuple[AlertKind, ...]:
        """Return the alerts that are on, most severe first."""
        if not self._active:
            return ()
        return tuple(sorted(self._active, key=lambda kind: (-self._active[kind].level, _SEVERITY.index(kind))))

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
