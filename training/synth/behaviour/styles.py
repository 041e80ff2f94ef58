"""How drives and drivers differ: what a style of driving makes likely, and what one person always does.

Glances: durations are log-normal with the means and standard deviations of Taoka 1990 (TRR 1291), after Rockwell 1988
and Dingus et al. 1989: rear mirror 0.75 (0.36) s, left mirror 1.10 (0.33) s, speedometer 0.62 (0.48) s, radio 1.2
(0.5) s; others are judgement. Attentive drivers spend about 80 % of the time on the road (Morando, Victor & Dozza
2019). "ordinary" looks away more often than any real driver and at rare zones as often as at common ones, so that few
labelled seconds hold many kinds of glance; how one glance runs is the same.

Habits: 15 blinks a minute, 6 to 30 between people (Stern et al. 1984); head movements begin at 8 to 18 deg of
eccentricity and take 0.3 to 0.9 of what lies beyond (Fuller 1992, Stahl 1999: "movers" and "non-movers").
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dashgaze.training.synth.records import Person
from dashgaze.zones import Zone

DURATIONS_S: Mapping[Zone, tuple[float, float]] = {
    Zone.MIRROR_REAR: (0.75, 0.36),
    Zone.MIRROR_LEFT: (1.10, 0.33),
    Zone.MIRROR_RIGHT: (1.10, 0.33),
    Zone.CLUSTER: (0.62, 0.48),
    Zone.CONSOLE: (1.20, 0.50),
    Zone.PASSENGER: (0.90, 0.45),
    Zone.PHONE_LAP: (0.80, 0.35),
    Zone.OTHER: (0.80, 0.35),
}
"""Mean and standard deviation of a glance."""
ROAD_SIGMA = 0.7
"""Of the logarithm of a look at the road's duration."""


@dataclass(frozen=True, slots=True)
class BehaviourStyle:
    """What is likely in a drive. Rates are episodes a minute."""

    name: str
    road_share: float
    """Of the time, apart from episodes."""
    sides: float
    """Share of the looks at the road that go to its sides, at 50 km/h."""
    glances: Mapping[Zone, float]
    """Shares of the glances off the road, in a left-hand-drive car."""
    longest_glance_s: float
    shortest_road_s: float
    variety_s: float
    """After a glance, the same zone becomes likely again only over such a time."""
    phone: float = 0.0
    call: float = 0.0
    console: float = 0.0
    talk: float = 0.0
    shoulder: float = 0.0
    yawn: float = 0.0
    touch: float = 0.0
    """Hand at the face."""
    expression: float = 1.0
    drowsy: float = 0.0
    """Probability that a drive has a drowsy stretch."""
    drowsy_share: float = 0.0
    """How much of the drive that stretch takes."""
    phone_glance_s: float | None = None
    """One glance at the phone of this length, in the middle of the drive."""


ATTENTIVE = BehaviourStyle(
    name="attentive",
    road_share=0.80,
    sides=0.10,
    glances={
        Zone.MIRROR_REAR: 0.24,
        Zone.MIRROR_LEFT: 0.15,
        Zone.MIRROR_RIGHT: 0.07,
        Zone.CLUSTER: 0.25,
        Zone.CONSOLE: 0.15,
        Zone.PASSENGER: 0.07,
        Zone.PHONE_LAP: 0.02,
        Zone.OTHER: 0.05,
    },
    longest_glance_s=1.7,
    shortest_road_s=1.2,
    variety_s=2.0,
    console=0.03,
    talk=0.15,
    shoulder=0.05,
    yawn=0.02,
    touch=0.15,
)
ORDINARY = BehaviourStyle(
    name="ordinary",
    road_share=0.56,
    sides=0.30,
    glances={
        Zone.MIRROR_REAR: 0.16,
        Zone.MIRROR_LEFT: 0.14,
        Zone.MIRROR_RIGHT: 0.13,
        Zone.CLUSTER: 0.16,
        Zone.CONSOLE: 0.13,
        Zone.PASSENGER: 0.10,
        Zone.PHONE_LAP: 0.08,
        Zone.OTHER: 0.10,
    },
    longest_glance_s=2.6,
    shortest_road_s=0.35,
    variety_s=12.0,
    phone=0.40,
    call=0.08,
    console=0.25,
    talk=0.40,
    shoulder=0.20,
    yawn=0.15,
    touch=0.40,
    expression=2.0,
    drowsy=0.08,
    drowsy_share=0.6,
)
DROWSY = replace(
    ATTENTIVE,
    name="drowsy",
    road_share=0.88,
    sides=0.04,
    talk=0.0,
    yawn=0.9,
    touch=0.5,
    expression=0.3,
    drowsy=1.0,
    drowsy_share=0.85,
)
DISTRACTION_DEMO = replace(
    ATTENTIVE,
    name="distraction_demo",
    glances={zone: share for zone, share in ATTENTIVE.glances.items() if zone is not Zone.PHONE_LAP},
    console=0.0,
    shoulder=0.0,
    yawn=0.0,
    phone_glance_s=3.6,
)
STYLES: Mapping[str, BehaviourStyle] = {style.name: style for style in (ATTENTIVE, ORDINARY, DROWSY, DISTRACTION_DEMO)}


@dataclass(frozen=True, slots=True)
class Habits:
    """What one person does in every drive."""

    blinks_per_minute: float
    head_threshold_deg: float
    """Eccentricity up to which the eyes go alone, sideways; `nod_threshold_deg` up and down."""
    head_share: float
    """Of what lies beyond that, for the head."""
    nod_threshold_deg: float
    nod_share: float
    head_pace: float
    """Duration of head movements, 1 is usual."""
    eye_limit_deg: float
    """The eyes turn no further in the head, sideways."""
    rest_deg: tuple[float, float, float]
    """Yaw, pitch and roll of the head at rest."""
    roll_per_yaw: float
    interest: float
    """How readily things on the road are looked at, 1 is usual."""

    @classmethod
    def of(cls, person: Person) -> "Habits":
        """The habits of a person: a matter of their seed."""
        rng = np.random.default_rng([person.seed, 11])
        return cls(
            blinks_per_minute=float(np.clip(rng.lognormal(math.log(15.0), 0.35), 6.0, 30.0)),
            head_threshold_deg=float(rng.uniform(8.0, 18.0)),
            head_share=float(rng.uniform(0.4, 0.9)),
            nod_threshold_deg=float(rng.uniform(8.0, 16.0)),
            nod_share=float(rng.uniform(0.25, 0.7)),
            head_pace=float(rng.uniform(0.85, 1.2)),
            eye_limit_deg=float(rng.uniform(36.0, 40.0)),
            rest_deg=(float(rng.normal(0.0, 2.0)), float(rng.normal(-2.0, 3.0)), float(rng.normal(0.0, 2.0))),
            roll_per_yaw=float(rng.normal(0.03, 0.06)),
            interest=float(rng.lognormal(0.0, 0.4)),
        )
