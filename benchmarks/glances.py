"""Attentive driving, simulated from published glance statistics: what must not raise an alert.

`attentive_drive` yields what the attention policy would see of a driver who looks where a driver should:
glances, lids, mouth, speed, tracker noise, lost faces and dropped frames. `false_alerts_per_hour` counts
what the policy makes of it. Its numbers were fixed before those of the policy.

"Attentive" is a statement about the truth beneath the noise. No generated glance leaves the road for
`LONGEST_OFF_ROAD_S`; the true AttenD buffer never falls below `RESERVE_S`; never more than
`MOST_AWAY_IN_30_S` is spent away from the road and its mirrors within 30 s; phone-down glances are single;
no eye closes for 0.5 s; three yawns never come within 10 minutes. A glance that would break one of these is
not made: the driver keeps looking at the road. `RESERVE_S` is one frame at 10 per second: truth that lies
closer to a limit than the sampling can tell is neither attentive nor inattentive.

Numbers and their sources ((2nd): quoted from memory or from a secondary source, not checked against the
original):

- share of time on the road path about 80 % in routine driving: Morando, Victor & Dozza 2019 (IEEE T-ITS
  21(2), abstract);
- glance durations are log-normal, means and standard deviations: rear mirror 0.75 (0.36) s, left mirror
  1.10 (0.33) s, speedometer 0.62 (0.48) s, radio and other controls 1.2 (0.5) s: Taoka 1990, 1991 (TRR
  1318), after Rockwell 1988 and Dingus et al. 1989 (2nd);
- off-road glances beyond 2 s are rare (95 % are shorter): NHTSA 2012 guidelines' 85 % criterion, Victor et
  al. 2015 (2nd); long distractions occur 0.89 times and visual time sharing 0.21 times an hour in natural
  driving (Mulhall et al., abstract): both are inattention by definition and left out here;
- how the off-road glances divide among targets: judgement within these totals, driving-related targets
  first (Klauer et al. 2006, 100-car study, (2nd) for the order);
- blinks: 15 a minute, 6 to 30 between drivers, lids closed for 0.14 s (median), at most 0.4 s: Stern et al.
  1984 and Caffier et al. 2003 (2nd);
- yawns: 1 an hour, 5 s long: Provine 1986, Baenninger 1997 (2nd);
- gaze error: per-drive bias, per-glance and per-frame scatter that add up to 3 to 4 degrees: what
  appearance-based estimators reach after calibration (judgement); 1 % of frames point anywhere;
- lost faces, glare, dropped frames, speed profile: judgement.
"""

import argparse
import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashgaze.device.attention import AttentionPolicy
from dashgaze.device.records import Level, Sight
from dashgaze.tables import Status
from dashgaze.zones import Zone

LONGEST_OFF_ROAD_S = 2.9
RESERVE_S = 0.1
MOST_AWAY_IN_30_S = 9.5
BUFFER_S = 2.0

BLOCK_S = 600.0
"""Drives are generated block by block: memory stays small, whatever the hours."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something to look at: where it lies (left-hand drive, car frame, degrees) and how it is looked at."""

    zone: Zone
    azimuth_deg: float
    elevation_deg: float
    mean_s: float
    sd_s: float
    share: float
    """Share of the glances off the road."""
    driving: bool = False
    """Mirrors and speedometer: part of driving."""


ROAD = (
    (Zone.ROAD_AHEAD, 0.0, 0.0, 0.90),
    (Zone.ROAD_LEFT, -24.0, 0.0, 0.05),
    (Zone.ROAD_RIGHT, 24.0, 0.0, 0.05),
)
"""Zone, azimuth, elevation, share of the looks at the road."""

TARGETS = (
    Target(Zone.MIRROR_REAR, 36.0, 8.0, 0.75, 0.36, 0.24, driving=True),
    Target(Zone.MIRROR_LEFT, -38.0, -10.0, 1.10, 0.33, 0.15, driving=True),
    Target(Zone.MIRROR_RIGHT, 59.0, -7.0, 1.10, 0.33, 0.07, driving=True),
    Target(Zone.CLUSTER, 0.0, -20.0, 0.62, 0.48, 0.25, driving=True),
    Target(Zone.CONSOLE, 30.0, -26.0, 1.20, 0.50, 0.15),
    Target(Zone.PASSENGER, 74.0, -10.0, 0.90, 0.45, 0.07),
    Target(Zone.PHONE_LAP, 8.0, -48.0, 0.80, 0.35, 0.02),
    Target(Zone.OTHER, -78.0, 0.0, 0.80, 0.35, 0.05),
)

ON_ROAD_MEDIAN_S = 2.4
ON_ROAD_SIGMA = 0.85
"""Log-normal; mean 3.4 s, which makes about 80 % of the time on the road."""
SHORTEST_S = 0.15

CENTRES = np.array([(az, el) for _, az, el, _ in ROAD] + [(t.azimuth_deg, t.elevation_deg) for t in TARGETS])
ZONES = tuple(zone for zone, *_ in ROAD) + tuple(target.zone for target in TARGETS)


def log_normal(rng: np.random.Generator, mean: float, sd: float) -> float:
    """Draw from the log-normal distribution with this mean and standard deviation."""
    variance = math.log1p((sd / mean) ** 2)
    return float(rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance)))


class Driver:
    """Draws one glance after the other and never one that would not be attentive."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._buffer_s = BUFFER_S
        self._away: deque[tuple[float, float]] = deque()
        self._last_down_s = -math.inf
        shares = np.array([target.share for target in TARGETS])
        self._cumulated = np.cumsum(shares / shares.sum())
        self._road_cumulated = np.cumsum([share for *_, share in ROAD])

    def glances(self, start_s: float, end_s: float) -> Iterator[tuple[float, int]]:
        """Yield (end in seconds, index into `ZONES`), without a gap, from `start_s` until past `end_s`."""
        t_s = start_s
        while t_s < end_s:
            duration_s = max(SHORTEST_S, float(self._rng.lognormal(math.log(ON_ROAD_MEDIAN_S), ON_ROAD_SIGMA)))
            self._buffer_s = min(BUFFER_S, self._buffer_s + max(0.0, duration_s - 0.1))
            t_s += duration_s
            yield t_s, int(np.searchsorted(self._road_cumulated, self._rng.random() * 0.999))
            off_s, last = 0.0, -1
            while True:  # from one target straight to another, once in ten times
                index = int(np.searchsorted(self._cumulated, self._rng.random() * 0.999))
                if index == last:  # would be the same glance
                    break
                last, target = index, TARGETS[index]
                glance_s = max(SHORTEST_S, log_normal(self._rng, target.mean_s, target.sd_s))
                if not self._attentive(t_s, off_s, glance_s, target):
                    break
                off_s += glance_s
                t_s += glance_s
                yield t_s, len(ROAD) + index
                if self._rng.random() > 0.1:
                    break

    def _attentive(self, t_s: float, off_s: float, glance_s: float, target: Target) -> bool:
        """Whether this glance stays within the limits; books it if so."""
        drained_s = max(0.0, glance_s - 1.0) if target.driving else glance_s
        away_s = 0.0 if target.driving else glance_s
        while self._away and self._away[0][0] < t_s - 30.0:
            self._away.popleft()
        down = target.zone is Zone.PHONE_LAP
        if (
            off_s + glance_s > LONGEST_OFF_ROAD_S
            or self._buffer_s - drained_s < RESERVE_S
            or sum(seconds for _, seconds in self._away) + away_s > MOST_AWAY_IN_30_S
            or (target.driving and glance_s > 2.0 - RESERVE_S)
            or (down and t_s - self._last_down_s < 10.0)
        ):
            return False
        self._buffer_s -= drained_s
        if away_s:
            self._away.append((t_s + glance_s, away_s))
        if down:
            self._last_down_s = t_s + glance_s
        return True


def spread(
    rng: np.random.Generator, start_s: float, per_hour: float, low_s: float, high_s: float
) -> list[tuple[float, float]]:
    """Draw intervals within one block at a Poisson rate, each uniformly between `low_s` and `high_s` long."""
    starts = start_s + rng.uniform(0.0, BLOCK_S, rng.poisson(per_hour * BLOCK_S / 3600.0))
    return [(float(s), float(s + rng.uniform(low_s, high_s))) for s in np.sort(starts)]


def inside(times_s: NDArray[np.float64], intervals: list[tuple[float, float]]) -> NDArray[np.bool_]:
    """Tell which times lie in one of the intervals."""
    mask = np.zeros(len(times_s), dtype=np.bool_)
    for start_s, end_s in intervals:
        mask[np.searchsorted(times_s, start_s) : np.searchsorted(times_s, end_s)] = True
    return mask


def blinks(rng: np.random.Generator, start_s: float, per_minute: float) -> list[tuple[float, float]]:
    """Draw the closures of one block; lids stay open for at least 0.3 s between two."""
    intervals = []
    t_s = start_s
    while t_s < start_s + BLOCK_S:
        t_s += 0.3 + float(rng.exponential(60.0 / per_minute))
        closed_s = min(0.4, float(rng.lognormal(math.log(0.14), 0.35)))
        intervals.append((t_s, t_s + closed_s))
        t_s += closed_s
    return intervals


def speeds(rng: np.random.Generator, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw a speed profile in m/s: towns with stops, country roads, motorways, joined by ramps."""
    knots = [times_s[0]]
    while knots[-1] < times_s[-1]:
        knots.append(knots[-1] + rng.uniform(15.0, 90.0))
    kmh = rng.choice([0.0, 30.0, 50.0, 80.0, 110.0, 130.0], len(knots), p=[0.08, 0.12, 0.25, 0.25, 0.2, 0.1])
    noisy = np.interp(times_s, knots, kmh) + rng.normal(0.0, 0.5, len(times_s))
    return np.asarray(np.maximum(0.0, noisy) / 3.6)


def attentive_drive(
    seed: int, hours: float, fps: float = 10.0, glance_error_deg: float | None = None
) -> Iterator[Sight]:
    """Yield what the policy sees of one attentive driver for so many hours."""
    rng = np.random.default_rng(seed)
    driver = Driver(rng)
    bias_deg = rng.normal(0.0, 1.5, 2)
    blinks_per_minute = float(np.clip(rng.lognormal(math.log(15.0), 0.35), 6.0, 30.0))
    last_yawn_s = -math.inf
    for start_s in np.arange(0.0, hours * 3600.0, BLOCK_S):
        yawns = []
        for yawn in spread(rng, start_s, per_hour=1.0, low_s=3.0, high_s=7.0):
            if yawn[0] - last_yawn_s > 300.0:
                yawns.append(yawn)
                last_yawn_s = yawn[1]
        length_s = min(BLOCK_S, hours * 3600.0 - start_s)
        yield from _block(rng, driver, start_s, length_s, fps, bias_deg, blinks_per_minute, yawns, glance_error_deg)


def _block(
    rng: np.random.Generator,
    driver: Driver,
    start_s: float,
    length_s: float,
    fps: float,
    bias_deg: NDArray[np.float64],
    blinks_per_minute: float,
    yawns: list[tuple[float, float]],
    glance_error_deg: float | None,
) -> Iterator[Sight]:
    times_s = np.asarray(start_s + (np.arange(int(length_s * fps)) + 0.5) / fps, dtype=np.float64)
    times_s += rng.uniform(-0.1, 0.1, len(times_s)) / fps
    times_s = times_s[~inside(times_s, spread(rng, start_s, 30.0, 0.1, 1.0))]  # dropped frames
    count = len(times_s)

    ends_s, zones = zip(*driver.glances(start_s, start_s + length_s), strict=True)
    glance = np.searchsorted(np.array(ends_s), times_s)
    truth = np.array(zones)[glance]
    scatter_deg = rng.normal(0.0, 1.0, (len(ends_s), 2)) * np.where(np.array(zones)[:, None] == 0, (5.0, 2.0), 2.0)
    if glance_error_deg is not None:
        scatter_deg = rng.normal(0.0, glance_error_deg, (len(ends_s), 2))
    seen_deg = CENTRES[truth] + scatter_deg[glance] + bias_deg + rng.normal(0.0, 2.0, (count, 2))
    astray = rng.random(count) < 0.01
    seen_deg[astray] = rng.uniform((-80.0, -50.0), (80.0, 20.0), (int(astray.sum()), 2))
    nearest = np.argmin(((seen_deg[:, None, :] - CENTRES) ** 2).sum(axis=2), axis=1)

    closed = inside(times_s, blinks(rng, start_s, blinks_per_minute))
    yawning = inside(times_s, yawns)
    openness = np.where(closed, 0.05, np.where(yawning, 0.5, rng.normal(0.95, 0.05, count).clip(0.6, 1.0)))
    talking = inside(times_s, spread(rng, start_s, 60.0, 2.0, 30.0))
    mouth = np.where(yawning, 0.9, np.where(talking, rng.uniform(0.0, 0.45, count), 0.03))

    lost = inside(times_s, spread(rng, start_s, 30.0, 0.1, 1.0) + spread(rng, start_s, 0.5, 3.0, 8.0))
    poor = inside(times_s, spread(rng, start_s, 20.0, 0.2, 3.0))
    glare = inside(times_s, spread(rng, start_s, 1.0, 5.0, 20.0))
    flicker = rng.integers(0, 3, count)  # frame by frame: no face, poor, good
    lost |= glare & (flicker == 0)
    poor |= glare & (flicker == 1)

    speed_mps = speeds(rng, times_s)
    no_speed = inside(times_s, spread(rng, start_s, 2.0, 5.0, 60.0))
    usual_deg = rng.uniform(3.0, 6.0, count) if glance_error_deg is None else np.full(count, glance_error_deg)
    error_deg = np.where(poor, rng.uniform(12.0, 25.0, count), usual_deg)

    columns = (
        times_s,
        nearest,
        seen_deg,
        error_deg,
        closed,
        openness,
        mouth,
        speed_mps,
        no_speed,
        lost,
        poor,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for t_s, zone, (
        azimuth,
        elevation,
    ), error, shut, opening, mouth_frac, speed, speedless, gone, weak in rows:
        known_mps = None if speedless else speed
        if gone:
            yield Sight(t_s, Status.NO_FACE, speed_mps=known_mps)
        elif shut:
            yield Sight(t_s, Status.EYES_CLOSED, None, None, None, None, True, opening, mouth_frac, known_mps)
        else:
            status = Status.LOW_QUALITY if weak else Status.OK
            yield Sight(t_s, status, ZONES[zone], azimuth, elevation, error, False, opening, mouth_frac, known_mps)


@dataclass(frozen=True, slots=True)
class FalseAlerts:
    """Alerts that started while nothing was wrong."""

    hours: float
    by_kind: dict[str, int]
    per_hour: float
    interval_per_hour: tuple[float, float]
    """Exact 95 % Poisson interval."""


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact (Garwood) 95 % interval of a Poisson mean, by bisection."""

    def at_most(events: int, mean: float) -> float:
        return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(events + 1))

    def solve(events: int, probability: float) -> float:
        low, high = 1e-9, 10.0 * (events + 5)
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(events, middle) > probability else (low, middle)
        return low

    return (solve(count - 1, 0.975) if count else 0.0), solve(count, 0.025)


PLACES = {zone: (azimuth, elevation) for zone, azimuth, elevation, _ in ROAD} | {
    target.zone: (target.azimuth_deg, target.elevation_deg) for target in TARGETS
}
"""Where the simulated driver looks, by zone: azimuth and elevation in degrees."""


def false_alerts_per_hour(
    hours: float, seed: int, fps: float = 10.0, drive_hours: float = 2.0, glance_error_deg: float | None = None
) -> FalseAlerts:
    """Run the policy over `hours` of attentive driving, a new driver every `drive_hours`.

    With `glance_error_deg` every glance is off by so much (standard deviation per axis, the same throughout the
    glance), instead of by the generator's own 2 to 5 degrees.
    """
    kinds: Counter[str] = Counter()
    done = 0.0
    while done < hours - 1e-9:
        length = min(drive_hours, hours - done)
        policy = AttentionPolicy()
        active: dict[str, Level] = {}
        for sight in attentive_drive(seed, length, fps, glance_error_deg):
            for alert in policy.update(sight).changes:
                if alert.level and not active.get(alert.kind):
                    kinds[alert.kind] += 1
                active[alert.kind] = alert.level
        done += length
        seed += 1
    total = kinds.total()
    low, high = poisson_interval(total)
    return FalseAlerts(hours, dict(kinds), total / hours, (low / hours, high / hours))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="False alerts an hour on simulated attentive driving.")
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fps", type=float, default=10.0)
    arguments = parser.parse_args()
    print(false_alerts_per_hour(arguments.hours, arguments.seed, arguments.fps))
