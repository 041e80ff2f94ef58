"""How long things take: percentiles of any number of durations in bounded memory."""

import numpy as np

_LOWEST_MS = 0.001
_STEPS_PER_DECADE = 100  # each bin is 2.3 % wide
_DECADES = 8


class LatencyHistogram:
    """Durations in logarithmic bins, 1 us to 100 s; a percentile is right to 2.3 %, the maximum exactly."""

    def __init__(self) -> None:
        self._counts = np.zeros(_STEPS_PER_DECADE * _DECADES, dtype=np.int64)
        self._max_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one duration."""
        position = int(np.log10(max(duration_ms, _LOWEST_MS) / _LOWEST_MS) * _STEPS_PER_DECADE)
        self._counts[min(position, len(self._counts) - 1)] += 1
        self._max_ms = max(self._max_ms, duration_ms)

    def summary(self) -> dict[str, float] | None:
        """p50, p95, p99 and max in ms; None where nothing was counted."""
        total = int(self._counts.sum())
        if not total:
            return None
        cumulative = np.cumsum(self._counts)
        result = {}
        for percent in (50, 95, 99):
            position = int(np.searchsorted(cumulative, percent / 100 * total))
            upper_ms = _LOWEST_MS * 10 ** ((position + 1) / _STEPS_PER_DECADE)
            result[f"p{percent}"] = round(min(upper_ms, self._max_ms), 4)
        return result | {"max": round(self._max_ms, 4)}
