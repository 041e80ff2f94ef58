"""Measures over time that the attention rules are made of: sums in a window, spells, buckets, counts.

All take the seconds that pass as arguments; none has a clock. Memory is bounded by what fits into the window.
"""

from collections import deque

TICK_S = 1e-9
"""Sums of frame intervals that differ by less are equal."""

FORGET_S = 5.0
"""Unknown for so long, what was under way is forgotten (judgement)."""


class WindowSum:
    """Seconds of something within the last `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._stretches: deque[list[float]] = deque()
        self._sum_s = 0.0

    def add(self, end_s: float, seconds: float) -> None:
        """Book the `seconds` up to `end_s`; later stretches come later."""
        if seconds <= 0.0:
            return
        if self._stretches and abs(end_s - seconds - self._stretches[-1][1]) < TICK_S:
            self._stretches[-1][1] = end_s
        else:
            self._stretches.append([end_s - seconds, end_s])
        self._sum_s += seconds

    def total(self, t_s: float) -> float:
        """Return the seconds booked within the window that ends at `t_s`."""
        stretches = self._stretches
        if not stretches:
            return 0.0
        horizon_s = t_s - self._window_s
        while stretches and stretches[0][0] < horizon_s:
            start_s, end_s = stretches[0]
            if end_s > horizon_s:
                self._sum_s -= horizon_s - start_s
                stretches[0][0] = horizon_s
                break
            self._sum_s -= end_s - start_s
            stretches.popleft()
        if not stretches:
            self._sum_s = 0.0
        return self._sum_s

    def clear(self) -> None:
        """Forget everything."""
        self._stretches.clear()
        self._sum_s = 0.0


class Spell:
    """Seconds of something that interruptions under `tolerance_s` and unknown time under `FORGET_S` only pause."""

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_s = tolerance_s
        self.reset()

    def reset(self) -> None:
        """End the spell."""
        self.seconds = 0.0
        self._interrupted_s = 0.0
        self._unknown_s = 0.0

    def advance(self, present: bool | None, seconds: float) -> None:
        """Let `seconds` pass; None where it is not known whether the thing was present."""
        if seconds <= 0.0:
            return
        if present is None:
            self._unknown_s += seconds
            if self._unknown_s >= FORGET_S - TICK_S:
                self.reset()
        elif present:
            self.seconds += seconds
            self._interrupted_s = self._unknown_s = 0.0
        else:
            self._unknown_s = 0.0
            self._interrupted_s += seconds
            if self._interrupted_s >= self._tolerance_s - TICK_S:
                self.reset()


class Bucket:
    """Fills with the seconds of something, and empties `payback` times as fast without it."""

    def __init__(self, capacity_s: float, payback: float) -> None:
        self._capacity_s = capacity_s
        self._payback = payback
        self.seconds = 0.0

    def advance(self, present: bool | None, seconds: float) -> None:
        """Let `seconds` pass; unknown time changes nothing."""
        if present:
            self.seconds = min(self._capacity_s, self.seconds + seconds)
        elif present is False and self.seconds:
            self.seconds = max(0.0, self.seconds - seconds * self._payback)


class Recent:
    """How many events fell within the last `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._times_s: deque[float] = deque()

    def add(self, t_s: float) -> None:
        """Book an event."""
        self._times_s.append(t_s)

    def count(self, t_s: float) -> int:
        """Return how many fell within the window that ends at `t_s`."""
        while self._times_s and self._times_s[0] < t_s - self._window_s:
            self._times_s.popleft()
        return len(self._times_s)
