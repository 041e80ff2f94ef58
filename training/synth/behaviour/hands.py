"""What the hands hold, and the steering wheel.

The outer hand is the one at the door: left in a left-hand-drive car. Most of the time both hands are at the wheel, or
the inner one rests in the lap or at the gear lever.
"""

from collections.abc import Callable, Sequence

import numpy as np

from dashgaze.geometry import Floats
from dashgaze.training.synth.behaviour.curves import ease, wander
from dashgaze.training.synth.behaviour.episodes import Episode
from dashgaze.training.synth.records import LEFT, RIGHT, Grip
from dashgaze.zones import HandOfDrive

BLEND_S = (0.4, 0.8)
GRASP_S = 0.7
"""How long the hand is at the console to take or lay down the phone."""
RESTS: dict[Grip, float] = {"wheel": 0.62, "lap": 0.22, "console": 0.16}
OUTER_RESTS: dict[Grip, float] = {"wheel": 0.92, "lap": 0.08}
STEERING_RATIO, WHEELBASE_M = 15.0, 2.7
MOST_WHEEL_DEG = 450.0

Held = tuple[Grip, Grip, float]
"""What the hand holds, where it comes from, how far it has come (0 to 1)."""


class Hand:
    """One hand in one drive."""

    def __init__(self, rng: np.random.Generator, wishes: Sequence[tuple[float, Grip]]) -> None:
        """`wishes` are what the hand goes to from when on, by time; the first counts from the beginning."""
        self._times_s, self._grips = zip(*wishes, strict=True)
        self._blends_s = rng.uniform(*BLEND_S, len(wishes))

    def at(self, t_s: float) -> Held:
        """What the hand does at this time."""
        index = max(int(np.searchsorted(self._times_s, t_s, side="right")) - 1, 0)
        if index == 0:
            return self._grips[0], self._grips[0], 1.0
        progress = float(ease((t_s - self._times_s[index]) / self._blends_s[index]))
        return self._grips[index], self._grips[index - 1], progress


def plan_hands(
    rng: np.random.Generator, hand_of_drive: HandOfDrive, episodes: Sequence[Episode], duration_s: float
) -> tuple[Hand, Hand]:
    """The left and the right hand of a drive."""
    outer, inner = (LEFT, RIGHT) if hand_of_drive == "left" else (RIGHT, LEFT)
    busy: dict[int, list[tuple[float, float, Grip]]] = {outer: [], inner: []}
    for each in episodes:
        if each.kind == "phone":
            taken_s, laid_s = each.start_s + GRASP_S, each.end_s - GRASP_S
            busy[inner] += [
                (each.start_s, taken_s, "console"),
                (taken_s, laid_s, "phone"),
                (laid_s, each.end_s, "console"),
            ]
        elif each.kind == "console":
            busy[inner].append((each.start_s, each.end_s, "console"))
        elif each.kind == "call":
            busy[inner].append((each.start_s, each.end_s, "ear"))
        elif each.kind == "touch":
            busy[outer if rng.random() < 0.5 else inner].append((each.start_s, each.end_s, "face"))
        elif each.kind == "yawn" and rng.random() < 0.35:
            busy[inner].append((each.start_s + 0.8, each.end_s - 0.6, "face"))
    hands = {
        side: Hand(rng, _wishes(rng, busy[side], OUTER_RESTS if side == outer else RESTS, duration_s))
        for side in (outer, inner)
    }
    return hands[LEFT], hands[RIGHT]


def _wishes(
    rng: np.random.Generator, busy: list[tuple[float, float, Grip]], rests: dict[Grip, float], duration_s: float
) -> list[tuple[float, Grip]]:
    """Changes of grip by time: rests that change now and then, and what keeps the hand busy."""

    def rest() -> Grip:
        kinds = list(rests)
        return kinds[int(rng.choice(len(kinds), p=list(rests.values())))]

    wishes: list[tuple[float, Grip]] = [(-1.0, rest())]
    t_s = float(rng.uniform(5.0, 40.0))
    while t_s < duration_s:
        if not any(start_s - 1.5 < t_s < end_s + 1.5 for start_s, end_s, _ in busy):
            wishes.append((t_s, rest()))
        t_s += float(rng.uniform(12.0, 50.0))
    busy = sorted(busy)
    for index, (start_s, end_s, grip) in enumerate(busy):
        wishes.append((start_s, grip))
        if index + 1 == len(busy) or busy[index + 1][0] > end_s + 1e-6:
            wishes.append((end_s, "wheel"))
    wishes.sort(key=lambda wish: wish[0])
    return [wish for i, wish in enumerate(wishes) if i == 0 or wish[1] != wishes[i - 1][1]]


def wheel_angles_deg(
    rng: np.random.Generator, t_s: Floats, speed_mps: Floats, curvature: Callable[[float], float]
) -> Floats:
    """Steering wheel (n,) for the road's curvature, with the small corrections of any driver."""
    bend = np.array([curvature(float(time_s)) for time_s in t_s])
    following = np.degrees(np.arctan(bend * WHEELBASE_M)) * STEERING_RATIO
    correcting = wander(rng, t_s, 2.5, 1.6) * np.interp(speed_mps, (0.0, 2.0, 10.0, 30.0), (0.0, 2.5, 1.5, 0.7))
    return np.clip(following + correcting, -MOST_WHEEL_DEG, MOST_WHEEL_DEG)
