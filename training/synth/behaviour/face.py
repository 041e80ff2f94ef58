"""Lids, mouth and expression at any time.

Blinks close in about a third of their duration and open more slowly (Guitton, Simard & Codere 1991, Trutoiu et al.
2011); 100 to 400 ms long, part of them with large gaze shifts (Evinger et al. 1994). Drowsy blinks are slow and long
and the lids hang between them (Caffier, Erdmann & Ullsperger 2003): PERCLOS rises above 10 %. Speech moves jaw and lips
at 3 to 6 Hz (Chandrasekaran et al. 2009).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dashgaze.geometry import Floats
from dashgaze.training.synth.behaviour.curves import ease, swell, wander
from dashgaze.training.synth.behaviour.episodes import Episode
from dashgaze.training.synth.behaviour.styles import Habits

CLOSING, SHUT = 0.30, 0.12
"""Shares of a blink: lids going down, lids down."""
WITH_SHIFTS = 0.45
"""Share of the blinks that go with a large gaze shift, where there are enough."""
LARGE_SHIFT_DEG = 22.0
BLINK_GAP_S = 0.35
MICROSLEEP = 0.12
"""Share of drowsy blinks that last longer than a second."""

UNITS: Mapping[str, Mapping[str, float]] = {
    "smile": {
        "mouthSmileLeft": 0.8,
        "mouthSmileRight": 0.8,
        "cheekSquintLeft": 0.5,
        "cheekSquintRight": 0.5,
        "mouthDimpleLeft": 0.25,
        "mouthDimpleRight": 0.25,
    },
    "frown": {
        "browDownLeft": 0.8,
        "browDownRight": 0.8,
        "mouthFrownLeft": 0.3,
        "mouthFrownRight": 0.3,
        "mouthPressLeft": 0.35,
        "mouthPressRight": 0.35,
    },
    "surprise": {"browInnerUp": 0.8, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.8},
    "sad": {"browInnerUp": 0.6, "mouthFrownLeft": 0.6, "mouthFrownRight": 0.6, "mouthShrugLower": 0.3},
    "squint": {
        "cheekSquintLeft": 0.6,
        "cheekSquintRight": 0.6,
        "browDownLeft": 0.45,
        "browDownRight": 0.45,
        "noseSneerLeft": 0.2,
        "noseSneerRight": 0.2,
    },
    "yawn": {
        "browInnerUp": 0.3,
        "cheekSquintLeft": 0.5,
        "cheekSquintRight": 0.5,
        "mouthFunnel": 0.25,
        "noseSneerLeft": 0.2,
        "noseSneerRight": 0.2,
    },
}
"""Face units of each expression at its strongest."""
VALENCE: Mapping[str, float] = {"smile": 0.8, "frown": -0.5, "surprise": 0.15, "sad": -0.7, "squint": 0.0}
LIPS: Mapping[str, tuple[str, ...]] = {
    "funnel": ("mouthFunnel",),
    "pucker": ("mouthPucker",),
    "stretch": ("mouthStretchLeft", "mouthStretchRight"),
    "upper": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "lower": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "press": ("mouthPressLeft", "mouthPressRight"),
}
"""What the lips do in speech, each with a rhythm of its own."""
ATTACK_S: Mapping[str, float] = {"surprise": 0.2}


@dataclass(frozen=True, slots=True)
class Closure:
    """One blink."""

    start_s: float
    duration_s: float
    depth: float


@dataclass(frozen=True, slots=True)
class Mimic:
    """A face at one instant."""

    jaw_open: float
    expression: str
    weights: Mapping[str, float]
    valence: float


class Face:
    """Lids and mouth of one drive."""

    def __init__(
        self,
        rng: np.random.Generator,
        habits: Habits,
        episodes: Sequence[Episode],
        shifts: Sequence[tuple[float, float]],
        duration_s: float,
    ) -> None:
        """`shifts` are the gaze shifts of the drive: when they begin, how many degrees they have."""
        self._episodes = tuple(each for each in episodes if each.kind not in ("phone", "console", "shoulder", "touch"))
        self._grid_s = np.arange(0.0, duration_s + 1.0, 0.1)
        self._heavy = wander(rng, self._grid_s, 8.0, 0.11)
        self._nods = _nods(rng, [each for each in episodes if each.kind == "drowsy"])
        self._rates_hz = rng.uniform(1.5, 3.2, len(LIPS))
        self._syllables_hz = np.sort(rng.uniform(3.0, 6.0, 3))
        self._phases = rng.uniform(0.0, 2 * math.pi, len(LIPS) + 4)
        usual = ("mouthPressLeft", "mouthSmileLeft", "mouthSmileRight", "browDownLeft", "browDownRight", "browInnerUp")
        self._usual = {name: abs(float(rng.normal(0.0, 0.05))) for name in usual}
        self._right = float(rng.normal(1.0, 0.03))
        self.blinks = _blinks(rng, habits, [e for e in episodes if e.kind == "drowsy"], shifts, duration_s)
        self._starts_s = np.array([blink.start_s for blink in self.blinks])

    def head_pitch_deg(self, t_s: Floats) -> Floats:
        """What yawns and nods add to the pitch of the head at each time (n,)."""
        pitch = np.zeros_like(t_s)
        for each in self._episodes:
            if each.kind == "yawn":
                pitch += 6.0 * each.strength * swell(t_s, each.start_s, each.end_s, 2.0, 1.5)
        for start_s, duration_s, depth_deg in self._nods:
            # Sinks slowly, comes back with a jerk.
            pitch -= depth_deg * swell(t_s, start_s, start_s + duration_s, 0.8 * duration_s, 0.15 * duration_s)
        return pitch

    def nods_s(self) -> tuple[float, ...]:
        """When the head starts to nod off."""
        return tuple(start_s for start_s, _, _ in self._nods)

    def blink_at(self, t_s: float) -> int | None:
        """Number of the blink at this time."""
        index = int(np.searchsorted(self._starts_s, t_s, side="right")) - 1
        if index < 0 or t_s >= self.blinks[index].start_s + self.blinks[index].duration_s:
            return None
        return index

    def lid_closure(self, t_s: float) -> tuple[float, float]:
        """How far the left and the right lid are closed, 0 to 1."""
        open_share = 1.0
        for each in self._episodes:
            if not each.start_s <= t_s <= each.end_s:
                continue
            if each.kind == "drowsy":
                hanging = np.clip(0.3 + np.interp(t_s, self._grid_s, self._heavy), 0.05, 0.6) * each.strength
                open_share *= 1.0 - float(hanging * swell(t_s, each.start_s, each.end_s, 4.0, 2.0))
            elif each.kind == "yawn":
                open_share *= 1.0 - 0.85 * each.strength * float(swell(t_s, each.start_s, each.end_s, 2.5, 1.2))
            elif each.kind in ("squint", "smile"):
                narrow = 0.42 if each.kind == "squint" else 0.14
                open_share *= 1.0 - narrow * each.strength * float(swell(t_s, each.start_s, each.end_s, 0.4, 0.5))
        index = self.blink_at(t_s)
        if index is None:
            return 1.0 - open_share, 1.0 - open_share
        blink = self.blinks[index]
        closed = blink.depth * float(blink_closure((t_s - blink.start_s) / blink.duration_s))
        left, right = closed, min(1.0, closed * self._right)
        return 1.0 - open_share * (1.0 - left), 1.0 - open_share * (1.0 - right)

    def mimic(self, t_s: float) -> Mimic:
        """Mouth, expression and mood."""
        weights, jaw, valence = dict(self._usual), 0.02, 0.0
        expression, strongest = "neutral", 0.25
        for each in self._episodes:
            if not each.start_s <= t_s <= each.end_s or each.kind == "drowsy":
                continue
            if each.kind in ("talk", "call"):
                gate, opening = self._speech(t_s, each)
                jaw = max(jaw, opening)
                _add(weights, self._lips(t_s, gate * each.strength))
                valence += 0.1 * gate
                if strongest < 1.5:
                    expression, strongest = "talk", 1.5
                continue
            attack_s = 2.0 if each.kind == "yawn" else ATTACK_S.get(each.kind, 0.45)
            amount = each.strength * float(swell(t_s, each.start_s, each.end_s, attack_s, min(attack_s, 1.3)))
            _add(weights, {name: weight * amount for name, weight in UNITS[each.kind].items()})
            valence += VALENCE.get(each.kind, 0.0) * amount
            if each.kind == "yawn":
                jaw = max(jaw, 0.95 * amount)
            elif each.kind == "surprise":
                jaw = max(jaw, 0.18 * amount)
            rank = amount + 2.0 * (each.kind == "yawn")
            if amount > 0.25 and rank > strongest:
                expression, strongest = each.kind, rank
        return Mimic(min(jaw, 1.0), expression, weights, float(np.clip(valence, -1.0, 1.0)))

    def _speech(self, t_s: float, talk: Episode) -> tuple[float, float]:
        """How much is being said right now, and how far that opens the jaw."""
        phrase = float(ease((math.sin(2 * math.pi * 0.35 * t_s + self._phases[0]) + 0.75) / 0.6))
        gate = phrase * float(swell(t_s, talk.start_s, talk.end_s, 0.3, 0.3))
        rhythm = sum(
            math.sin(2 * math.pi * hz * t_s + phase)
            for hz, phase in zip(self._syllables_hz, self._phases[1:4], strict=True)
        )
        return gate, 0.02 + gate * talk.strength * max(0.0, 0.16 + 0.11 * rhythm)

    def _lips(self, t_s: float, amount: float) -> dict[str, float]:
        lifts = np.sin(2 * math.pi * self._rates_hz * t_s + self._phases[4:])
        return {
            name: 0.5 * amount * max(0.0, float(lift))
            for names, lift in zip(LIPS.values(), lifts, strict=True)
            for name in names
        }


def blink_closure(progress: ArrayLike) -> Floats:
    """How far the lids are closed in the course (0 to 1) of a blink: fast down, slower up."""
    x = np.asarray(progress, dtype=float)
    up = np.clip((x - CLOSING - SHUT) / (1.0 - CLOSING - SHUT), 0.0, 1.0)
    return np.asarray(ease(x / CLOSING) * (1.0 - ease(up**0.75)))


def _add(weights: dict[str, float], more: Mapping[str, float]) -> None:
    for name, weight in more.items():
        weights[name] = min(1.0, weights.get(name, 0.0) + weight)


def _nods(rng: np.random.Generator, drowsy: Sequence[Episode]) -> tuple[tuple[float, float, float], ...]:
    """When the head nods off, for how long, how many degrees deep."""
    nods = []
    for each in drowsy:
        start_s = each.start_s + float(rng.uniform(3.0, 10.0))
        while start_s + 3.0 < each.end_s:
            nods.append((start_s, float(rng.uniform(1.5, 3.0)), float(rng.uniform(5.0, 16.0)) * each.strength))
            start_s += float(rng.uniform(6.0, 18.0))
    return tuple(nods)


def _blinks(
    rng: np.random.Generator,
    habits: Habits,
    drowsy: Sequence[Episode],
    shifts: Sequence[tuple[float, float]],
    duration_s: float,
) -> tuple[Closure, ...]:
    """All blinks of a drive, by time."""
    count = int(rng.poisson(habits.blinks_per_minute * duration_s / 60.0))
    large = [onset_s for onset_s, degrees in shifts if degrees > LARGE_SHIFT_DEG and 0.1 < onset_s < duration_s - 1.0]
    evoked = min(len(large), int(rng.binomial(count, WITH_SHIFTS)))
    starts_s = [float(t_s) + float(rng.uniform(-0.06, 0.02)) for t_s in rng.permutation(large)[:evoked]]
    starts_s += rng.uniform(0.0, max(duration_s - 0.5, 0.1), count - evoked).tolist()
    for each in drowsy:  # more of them
        more = int(rng.poisson(6.0 * (each.end_s - each.start_s) / 60.0))
        starts_s += rng.uniform(each.start_s, max(each.end_s - 2.0, each.start_s), more).tolist()
    blinks: list[Closure] = []
    for start_s in sorted(starts_s):
        if blinks:  # one after the other
            start_s = max(start_s, blinks[-1].start_s + blinks[-1].duration_s + BLINK_GAP_S)
        length_s = float(np.clip(rng.lognormal(math.log(0.22), 0.28), 0.1, 0.4))
        if any(each.start_s + 2.0 < start_s < each.end_s - 2.5 for each in drowsy):
            length_s = float(rng.uniform(1.2, 2.5) if rng.random() < MICROSLEEP else rng.uniform(0.35, 0.95))
        if start_s + length_s < duration_s:
            blinks.append(Closure(start_s, length_s, float(rng.choice((1.0, 0.8), p=(0.85, 0.15)))))
    return tuple(blinks)
