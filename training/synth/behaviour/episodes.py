"""What happens in a drive besides driving: phone, calls, console, talk, shoulder checks, yawns, drowsiness, moods.

Episodes that need hands, eyes or mouth do not overlap; each brings the glances that belong to it. Yawns last 4 to 6 s
(Provine 1986, Baenninger 1997); a phone is looked at again and again for 1 to 2.5 s with looks at the road between
(visual time sharing, Wierwille 1993).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dashgaze.training.synth.behaviour.curves import log_normal
from dashgaze.training.synth.behaviour.styles import BehaviourStyle
from dashgaze.zones import Zone

Kind = Literal[
    "phone",
    "call",
    "console",
    "talk",
    "shoulder",
    "yawn",
    "touch",
    "drowsy",
    "smile",
    "frown",
    "surprise",
    "sad",
    "squint",
]
Spot = Literal["zone", "phone", "shoulder"]

EXCLUSIVE: tuple[Kind, ...] = ("phone", "call", "console", "talk", "shoulder", "yawn", "touch")
LENGTH_S: dict[Kind, tuple[float, float]] = {
    "phone": (5.0, 12.0),
    "call": (8.0, 25.0),
    "console": (2.5, 6.0),
    "talk": (3.0, 12.0),
    "shoulder": (1.4, 2.2),
    "yawn": (4.0, 6.0),
    "touch": (1.5, 5.0),
    "smile": (1.5, 5.0),
    "frown": (1.5, 5.0),
    "surprise": (0.8, 2.0),
    "sad": (2.0, 5.0),
    "squint": (2.0, 8.0),
}
MOODS: dict[Kind, float] = {"smile": 0.42, "frown": 0.2, "surprise": 0.12, "sad": 0.12, "squint": 0.14}
"""Shares of the expressions."""
PAUSE_S = 1.5
"""Between exclusive episodes."""
REACH_S = 1.3
"""From taking the phone to looking at it, and from the last look to letting it go."""


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at a zone, from one change of zone to the next; it begins with the movement there."""

    start_s: float
    end_s: float
    zone: Zone
    spot: Spot = "zone"


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that lasts."""

    kind: Kind
    start_s: float
    end_s: float
    strength: float = 1.0
    glances: tuple[Glance, ...] = ()


def plan_episodes(
    rng: np.random.Generator, style: BehaviourStyle, duration_s: float, near_mirror: Zone, passenger: bool, sunny: bool
) -> tuple[Episode, ...]:
    """Draw the episodes of a drive, by time. `near_mirror` is the door mirror on the driver's side."""
    episodes: list[Episode] = []
    if style.phone_glance_s is not None:
        start_s = round(duration_s / 2, 1)
        glance = Glance(start_s, start_s + style.phone_glance_s, Zone.PHONE_LAP, "phone")
        # Eyes on the road before and after: the script has this one glance and no doubt about it.
        before = Glance(start_s - 2.5, start_s, Zone.ROAD_AHEAD)
        after = Glance(glance.end_s, glance.end_s + 3.0, Zone.ROAD_AHEAD)
        episodes.append(Episode("phone", start_s - REACH_S, glance.end_s + REACH_S, glances=(before, glance, after)))
    rates: dict[Kind, float] = {
        "phone": style.phone,
        "call": style.call,
        "console": style.console,
        "talk": style.talk,
        "shoulder": style.shoulder,
        "yawn": style.yawn,
        "touch": style.touch,
    }
    for kind in EXCLUSIVE:
        for _ in range(int(rng.poisson(rates[kind] * duration_s / 60.0))):
            low_s, high_s = LENGTH_S[kind]
            start_s = float(rng.uniform(0.0, max(duration_s - low_s, 0.1)))
            end_s = start_s + float(rng.uniform(low_s, high_s))
            if all(end_s + PAUSE_S < other.start_s or start_s > other.end_s + PAUSE_S for other in episodes):
                glances = _glances(rng, kind, start_s, end_s, near_mirror, passenger)
                episodes.append(Episode(kind, start_s, end_s, float(rng.uniform(0.6, 1.0)), glances))
    episodes += _moods(rng, style.expression, duration_s, sunny)
    if rng.random() < style.drowsy:
        length_s = style.drowsy_share * duration_s
        start_s = float(rng.uniform(0.0, duration_s - length_s))
        episodes.append(Episode("drowsy", start_s, start_s + length_s, float(rng.uniform(0.6, 1.0))))
    return tuple(sorted(episodes, key=lambda episode: episode.start_s))


def _glances(
    rng: np.random.Generator, kind: Kind, start_s: float, end_s: float, near_mirror: Zone, passenger: bool
) -> tuple[Glance, ...]:
    if kind == "phone":
        return _again_and_again(
            rng, start_s + REACH_S, end_s - REACH_S, Zone.PHONE_LAP, "phone", (1.6, 0.6), (0.7, 1.6)
        )
    if kind == "console":
        return _again_and_again(rng, start_s + 0.2, end_s, Zone.CONSOLE, "zone", (1.2, 0.5), (0.6, 1.5))
    if kind == "talk" and passenger:
        return _again_and_again(rng, start_s, end_s, Zone.PASSENGER, "zone", (0.9, 0.45), (1.2, 4.0))
    if kind == "shoulder":
        turn_s = start_s + float(rng.uniform(0.5, 0.9))
        return Glance(start_s, turn_s, near_mirror), Glance(turn_s, end_s, Zone.OTHER, "shoulder")
    return ()


def _again_and_again(
    rng: np.random.Generator,
    start_s: float,
    end_s: float,
    zone: Zone,
    spot: Spot,
    glance_s: tuple[float, float],
    between_s: tuple[float, float],
) -> tuple[Glance, ...]:
    """Glances at one thing: their durations' mean and standard deviation, and the range of the time between them."""
    glances: list[Glance] = []
    while True:
        length_s = float(np.clip(log_normal(rng, *glance_s), 0.5, 3.0))
        if start_s + length_s > end_s and glances:
            return tuple(glances)
        glances.append(Glance(start_s, start_s + length_s, zone, spot))
        start_s += length_s + float(rng.uniform(*between_s))


def _moods(rng: np.random.Generator, per_minute: float, duration_s: float, sunny: bool) -> list[Episode]:
    kinds, shares = list(MOODS), np.array(list(MOODS.values()))
    shares[-1] *= 3.0 if sunny else 0.3  # squinting
    episodes = []
    for _ in range(int(rng.poisson(per_minute * duration_s / 60.0))):
        kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
        start_s = float(rng.uniform(0.0, duration_s))
        episodes.append(
            Episode(kind, start_s, start_s + float(rng.uniform(*LENGTH_S[kind])), float(rng.beta(2.5, 1.5)))
        )
    return episodes
