"""Rules of a driver who cannot be seen: no face (openpilot's three levels), or a camera that sees nothing."""

from collections.abc import Iterable

from dashgaze.device.attention.rules import QUIET, Moment, Rule, RuleState
from dashgaze.device.attention.spells import TICK_S, Bucket
from dashgaze.device.records import AlertKind, Level
from dashgaze.tables import Status

ENDS_FRAC = 0.5
"""A level ends when so much of its time is paid back (judgement)."""


class Absence(Rule):
    """There is nothing to judge the driver by, for `absent` as reason."""

    def __init__(
        self, kind: AlertKind, absent: Status, steps: Iterable[tuple[float, Level]], payback: float, rule: str
    ) -> None:
        super().__init__(rule)
        self.kind = kind
        self._absent = absent
        self._steps = sorted(steps, reverse=True)
        self._bucket = Bucket(self._steps[0][0], payback)

    def judge(self, moment: Moment) -> RuleState:
        """Rise as the bucket of absence fills; a level ends when enough of its time is paid back."""
        self._bucket.advance(self._was_absent(moment.status), moment.seconds)
        filled_s = self._bucket.seconds
        for threshold_s, level in self._steps:
            if filled_s >= threshold_s - TICK_S and level > self.state.level:
                return RuleState(level, filled_s, f"{self._rule} >= {threshold_s:g} s")
            if filled_s >= threshold_s * ENDS_FRAC and level == self.state.level:
                return self.state
        return QUIET

    def _was_absent(self, status: Status) -> bool | None:
        """Whether the driver was absent for this reason; None where that is not known."""
        if status is Status.UNKNOWN or (status is Status.BLOCKED and self._absent is Status.NO_FACE):
            return None
        return status is self._absent

    def rest(self) -> None:
        """Empty the bucket."""
        super().rest()
        self._bucket.seconds = 0.0
