"""Glances: where the driver looks and for how long, free of flicker (after ISO 15007).

`Votes` decides by majority over a short window; `Glances` measures the glances that the vote leaves. Seconds on which
the vote has settled are final; those since then are pending, and count only while the latest readings agree with it.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from dashgaze.device.attention.readings import Aim, Look, Reading
from dashgaze.device.attention.settings import GlanceSettings
from dashgaze.device.attention.spells import TICK_S, Spell


class Pending(NamedTuple):
    """Seconds since the vote settled, each where the vote and the sights on both sides agree; else 0."""

    off_s: float = 0.0
    """Off the road, wherever."""
    look_s: float = 0.0
    """At the same thing."""
    down_s: float = 0.0
    phone_s: float = 0.0


_NOTHING_PENDING = Pending()


@dataclass(frozen=True, slots=True)
class GazeState:
    """Where the driver looks and for how long.

    The span is the stretch on which the vote has newly settled: `span_s` seconds that end at `span_end_s`, spent on
    `look`, `down` and `phone`. None is unknown.
    """

    span_s: float
    span_end_s: float
    unseen_s: float
    """Unknown time since the sight before, or since the last one whose gaze could be judged; mostly 0."""
    look: Look | None
    down: bool | None
    phone: bool | None
    pending: Pending
    off_s: float
    """The glance off the road, pending included; looks back that are too short to end it pause it."""
    away_s: float
    """What the glance off the road has spent away from mirrors and cluster too, pending included."""
    road_s: float
    """The look at the road, at the end of the span."""
    driving_s: float
    """The look at one mirror or the cluster, pending included."""

    def spent_away_s(self, free_s: float) -> tuple[float, float]:
        """Return span and pending seconds off the road; looks at mirror or cluster count from `free_s`."""
        pending_s = self.pending.look_s
        if self.look is Look.AWAY:
            return self.span_s, pending_s
        if not self.look or self.driving_s <= free_s:
            return 0.0, 0.0
        beyond_s = self.driving_s - free_s
        return min(self.span_s, max(0.0, beyond_s - pending_s)), min(pending_s, beyond_s)


class Votes:
    """What look, Area 3 and phone were for more than half of the last `window_s`.

    A median filter over irregular time: what lasts less than half of the window is removed, and edges between longer
    stretches stay where they were when the result is read half a window late. Road against off the road is decided
    first, then what off the road. Too few votes change nothing; no vote within the window makes the result None.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.look: Look | None = None
        self.down: bool | None = None
        self.phone: bool | None = None
        self.since_s = 0.0
        """When `look` began: where the votes for it, put side by side, begin."""
        self._votes: deque[tuple[float, float, Aim]] = deque()  # end, seconds, aim
        self._looks_s = [0.0] * len(Look)
        self._down_s = [0.0, 0.0]
        self._phone_s = [0.0, 0.0]
        self._run_off: bool | None = None
        self._run_start_s = 0.0

    def add(self, end_s: float, seconds: float, aim: Aim) -> None:
        """Let one sight vote for the `seconds` up to `end_s`."""
        if seconds <= 0.0:
            return
        if self._run_off is not bool(aim.look):
            self._run_off, self._run_start_s = bool(aim.look), end_s - seconds
        self._votes.append((end_s, seconds, aim))
        self._tally(seconds, aim)
        self._expire(end_s - self._window_s)
        if aim != (self.look, self.down, self.phone):  # else they stay what they are
            self._count(end_s)

    def _expire(self, horizon_s: float) -> None:
        votes = self._votes
        while votes[0][0] - votes[0][1] < horizon_s:
            end_s, seconds, aim = votes.popleft()
            kept_s = max(0.0, end_s - horizon_s)
            self._tally(kept_s - seconds, aim)
            if kept_s:
                votes.appendleft((end_s, kept_s, aim))
                break

    def _tally(self, seconds: float, aim: Aim) -> None:
        look, down, phone = aim
        self._looks_s[look] += seconds
        self._down_s[down] += seconds
        if phone is not None:
            self._phone_s[phone] += seconds

    def _count(self, end_s: float) -> None:
        on_s, *others_s = self._looks_s
        off_s = sum(others_s)
        off = self._majority([on_s, off_s], None if self.look is None else bool(self.look))
        if off is None:
            self.look = None
        elif not off:
            if self.look is not Look.ROAD:
                self.since_s = min(self._run_start_s, end_s - on_s)
            self.look = Look.ROAD
        elif (most_s := max(others_s)) > TICK_S:
            look = Look(1 + others_s.index(most_s))
            if not self.look:
                self.since_s = min(self._run_start_s, end_s - off_s)
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
    """Turns readings into glances, with their true beginnings and ends.

    A reading without an aim is passed over: the time between two with one is shared between them, unless it exceeds
    `gap_s`, or `road_gap_s` after a look at the road, which makes it unknown.
    """

    def __init__(self, settings: GlanceSettings) -> None:
        self._gap_s = settings.gap_s
        self._road_gap_s = settings.road_gap_s
        self._lag_s = settings.vote_s / 2
        self._votes = Votes(settings.vote_s)
        self._off = Spell(settings.return_s)
        self._away = Spell(settings.return_s)
        self._road = Spell(0.0)
        self._driving = Spell(0.0)
        self._aimed: tuple[float, Aim] | None = None
        """Time and aim of the last reading with one."""
        self._settled_s = 0.0

    def advance(self, before: Reading, now: Reading, counting: bool) -> GazeState:
        """Let the time between two readings pass; glances off the road are not measured unless `counting`."""
        aimed = self._aimed
        look, end_s, unseen_s = self._settle(before, now)
        span_s = 0.0 if aimed is None else end_s - self._settled_s
        down, phone = self._votes.down, self._votes.phone
        self._settled_s = end_s
        self._lengthen(look, span_s, unseen_s)
        if unseen_s:
            self._start_over(now.t_s)
        if now.aim is not None:
            self._aimed = now.t_s, now.aim
        if not counting:  # time before the rules apply is settled, and never counts
            self._settled_s = now.t_s
            self._off.reset()
            self._away.reset()
            self._driving.reset()

        pending = self._pending(look, aimed[1], now) if aimed and not unseen_s else _NOTHING_PENDING
        return GazeState(
            span_s,
            end_s,
            unseen_s,
            look,
            down,
            phone,
            pending,
            self._off.seconds + pending.off_s,
            self._away.seconds + (pending.look_s if look is Look.AWAY else 0.0),
            self._road.seconds,
            self._driving.seconds + (pending.look_s if look and look > Look.AWAY else 0.0),
        )

    def _settle(self, before: Reading, now: Reading) -> tuple[Look | None, float, float]:
        """Return what the vote has settled on, until when, and the unknown seconds after that."""
        if self._aimed is None:
            return None, now.t_s, now.t_s - before.t_s
        aimed_s, aim = self._aimed
        seconds = now.t_s - aimed_s
        if seconds > (self._gap_s if aim.look else self._road_gap_s):
            return self._votes.look, max(self._settled_s, aimed_s), seconds
        if now.aim is None:
            return self._votes.look, self._settled_s, 0.0
        direct = before.aim is not None and seconds <= self._gap_s
        look_before = self._votes.look
        self._vote(aim, now.aim, now.t_s, seconds, _later_frac(aim, now.aim, direct))
        end_s = max(self._settled_s, now.t_s - self._lag_s)
        if look_before is None or look_before is self._votes.look:
            return self._votes.look, end_s, 0.0
        # The look has changed, not later than the votes for the new one say: up to there the old one stands.
        return look_before, min(end_s, max(self._settled_s, self._votes.since_s)), 0.0

    def _vote(self, earlier: Aim, later: Aim, end_s: float, seconds: float, later_frac: float) -> None:
        if earlier == later:
            self._votes.add(end_s, seconds, later)
        else:
            later_s = seconds * later_frac
            self._votes.add(end_s - later_s, seconds - later_s, earlier)
            self._votes.add(end_s, later_s, later)

    def _lengthen(self, look: Look | None, span_s: float, unseen_s: float) -> None:
        off = None if look is None else bool(look)
        self._off.advance(off, span_s)
        if look is None or look <= Look.AWAY:  # looks at mirrors and cluster pause it, however long
            self._away.advance(off, span_s)
        self._road.advance(None if off is None else not off, span_s)
        self._driving.advance(None if look is None else look > Look.AWAY, span_s)
        if self._votes.look is not look:  # one glance for each mirror
            self._driving.reset()
        if unseen_s:
            for spell in (self._off, self._away, self._road, self._driving):
                spell.advance(None, unseen_s)

    def _start_over(self, t_s: float) -> None:
        self._votes.clear()
        self._aimed = None
        self._settled_s = t_s

    def _pending(self, look: Look | None, earlier: Aim, now: Reading) -> Pending:
        """Return the seconds since the vote settled on `look`, where the aims on both sides of them agree with it."""
        later, votes = now.aim, self._votes
        if later is None or votes.look is not look:
            return _NOTHING_PENDING
        pending_s = now.t_s - self._settled_s
        return Pending(
            pending_s if look and earlier.look and later.look else 0.0,
            pending_s if look is earlier.look is later.look else 0.0,
            pending_s if votes.down is earlier.down is later.down else 0.0,
            pending_s if votes.phone is earlier.phone is later.phone else 0.0,
        )


def _later_frac(earlier: Aim, later: Aim, direct: bool) -> float:
    """Return the share of the time between two aims that belongs to the later one.

    Half of it; but where the readings between them have no aim, the road has the benefit of the doubt: eyes blink
    while the gaze shifts.
    """
    if direct or bool(earlier.look) is bool(later.look):
        return 0.5
    return 0.0 if later.look else 1.0
