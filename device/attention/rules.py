"""What every rule has in common: it sees a `Moment` and says a `RuleState`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from dashgaze.device.attention.glances import GazeState
from dashgaze.device.attention.lids import LidState
from dashgaze.device.records import AlertKind, Level
from dashgaze.tables import Status


@dataclass(frozen=True, slots=True)
class Moment:
    """The driver at one sight, in steady quantities."""

    t_s: float
    speed_mps: float
    gaze: GazeState
    lids: LidState
    seconds: float
    """Since the sight before."""
    status: Status
    """What the sight before was, and held for these seconds; UNKNOWN where it lies too far back."""
    mouth_open: bool | None
    """The same."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """What a rule says at one moment."""

    level: Level = Level.NONE
    measured: float | None = None
    """What crossed the threshold, when it did."""
    rule: str = ""
    """The rule and its source, for people."""


QUIET = RuleState()


class Rule(ABC):
    """One published rule: `judge` takes each moment while the car is fast enough for the rule, else `rest`."""

    kind: AlertKind

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self.state = QUIET
        """What `judge` said last."""

    @abstractmethod
    def judge(self, moment: Moment) -> RuleState:
        """Take one moment into account and return the level that follows."""

    def rest(self) -> None:
        """Stop alerting and forget what is under way."""
        self.state = QUIET

    def _at(self, level: Level, measured: float) -> RuleState:
        """Return the state at this level: the one that holds, or a new one."""
        return self.state if self.state.level == level else RuleState(level, measured, self._rule)
