"""Which drives a set holds, and how one becomes a session.

A drive depends on the set's seed and its own number alone: the same whatever the number of workers, and however large
the set is. Drivers of different seeds are different people.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from dashgaze.errors import InputError
from dashgaze.training.synth.records import LightKind, Mount, RoadType, TimeOfDay, Traffic, Weather
from dashgaze.zones import HandOfDrive

Style = Literal["attentive", "ordinary", "drowsy", "distraction_demo"]
Choice = TypeVar("Choice", bound=str)

MAX_SEED = 2**31 - 1
MAX_SESSIONS = 100_000
RIDERS = 6
"""So many different people sit beside drivers: they are seen small, and making one takes a second."""
RIDER_SEED, STRANGER_SEED = 2**63, 2**64
"""From here on are the seeds of people who ride along, and of those who lend a feature to a still: they never drive."""
BLOCK = 8
"""Of so many sessions in a row..."""
RECURRING = 2
"""...the last ones show the drivers of the first ones again, under other conditions (where a set asks for that)."""

LIGHTS: dict[LightKind, float] = {"day": 0.34, "overcast": 0.2, "dusk": 0.12, "night": 0.1, "infrared": 0.24}
"""Share of the drives; infrared as real driver monitors have it, mostly at night."""
MOUNTS: tuple[Mount, ...] = ("mirror", "windscreen", "corner")


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """Everything that is decided about a drive before it is played."""

    seed: int
    """Of the drive itself; all that is random in it comes from here."""
    session_id: str
    driver_id: str
    person_seed: int
    hand_of_drive: HandOfDrive
    mount: Mount
    light: LightKind
    time_of_day: TimeOfDay
    weather: Weather
    traffic: Traffic
    road_type: RoadType
    eyewear: bool
    """The driver wears what this person has: glasses or sunglasses."""
    passengers: tuple[int, ...]
    """Numbers of those who ride along (`actors.rider`): the first sits in front, the others behind."""
    style: Style
    duration_s: float
    rate_hz: float


@dataclass(frozen=True, slots=True)
class SetOf:
    """What every plan of a set has."""

    sessions: int
    seed: int

    def settings(self) -> dict[str, Any]:
        """What must stay the same when the set is resumed or made larger."""
        return {name: value for name, value in asdict(self).items() if name != "sessions"}


@dataclass(frozen=True, slots=True)
class SetPlan(SetOf):
    """A set of drives; `farm.Plan`."""

    duration_s: float = 30.0
    rate_hz: float = 1.0
    style: Style = "ordinary"
    recurring: bool = False
    """Some drivers come back by day and by night, with and without glasses, at other mounts; else one drive each."""
    light: LightKind | None = None
    """All drives in this light; None mixes as `LIGHTS` says."""
    masks: bool = False

    @property
    def kind(self) -> str:
        """What the set holds."""
        return "drives"

    def check(self) -> None:
        """Raise InputError for the first value that makes no sense."""
        check_limits(
            {
                "--sessions": (self.sessions, 1, MAX_SESSIONS),
                "--seed": (self.seed, 0, MAX_SEED),
                "--duration": (self.duration_s, 1, 3600),
                "--rate": (self.rate_hz, 0.1, 60),
            }
        )
        if self.frames(0) < 1:
            raise InputError("--duration and --rate", "give less than one frame", "make one of them larger")

    def frames(self, number: int) -> int:
        """Frames of session `number`: the same for all."""
        return round(self.duration_s * self.rate_hz)

    def write(self, number: int, path: Path, tick: Callable[[], None]) -> None:
        """Render session `number` into `path`; `tick` is called after each frame."""
        from dashgaze.training.synth.film import write_drive  # OpenGL is for workers

        write_drive(self.drive(number), path, self.masks, tick)

    def drive(self, number: int) -> DrivePlan:
        """Plan drive `number` of the set, 0 to sessions - 1."""
        driver, again = _driver_of(number) if self.recurring else (number, False)
        rng = np.random.default_rng([self.seed, 1, number])
        habit = np.random.default_rng([self.seed, 2, driver])
        person_seed = seed_of(self.seed, driver)
        hand: HandOfDrive = "left" if habit.random() < 0.5 else "right"
        first_light, first_mount = _light(habit), int(habit.integers(3))
        light = self.light or (_other_light(first_light) if again else first_light)
        time_of_day, weather = _sky(light, rng)
        wears = bool(habit.random() < 0.85)
        passengers = tuple(rng.choice(RIDERS, _passengers(rng), replace=False).tolist())
        return DrivePlan(
            seed=int(rng.integers(2**40)),
            session_id=f"synth-{self.seed}-{number:05d}",
            driver_id=f"person-{self.seed}-{driver:05d}",
            person_seed=person_seed,
            hand_of_drive=hand,
            mount=MOUNTS[(first_mount + again) % 3],
            light=light,
            time_of_day=time_of_day,
            weather=weather,
            traffic=_one_of(rng, ("light", "moderate", "dense")),
            road_type=_one_of(rng, ("urban", "rural", "motorway")),
            eyewear=wears != again,
            passengers=passengers,
            style=self.style,
            duration_s=self.duration_s,
            rate_hz=self.rate_hz,
        )


def check_limits(limits: Mapping[str, tuple[float, float, float]]) -> None:
    """Raise InputError for the first option whose value lies outside its lowest and highest."""
    for option, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise InputError(option, f"is {value}", f"use {low} to {high}")


def seed_of(set_seed: int, driver: int) -> int:
    """Seed of a set's driver, 0 to 2**63: no two sets and no two drivers share one (`MAX_SEED`, `MAX_SESSIONS`)."""
    return set_seed * 2**32 + driver


def _driver_of(number: int) -> tuple[int, bool]:
    """Driver of a session in a set with recurring drivers, and whether they were there before."""
    block, place = divmod(number, BLOCK)
    fresh = BLOCK - RECURRING
    return block * fresh + place % fresh, place >= fresh


def _light(rng: np.random.Generator) -> LightKind:
    kinds = tuple(LIGHTS)
    return kinds[rng.choice(len(kinds), p=list(LIGHTS.values()))]


def _other_light(light: LightKind) -> LightKind:
    """Night for those who were seen by day, and the other way round."""
    return "infrared" if light in ("day", "overcast", "dusk") else "day"


def _sky(light: LightKind, rng: np.random.Generator) -> tuple[TimeOfDay, Weather]:
    rainy: Weather = "rain" if rng.random() < 0.5 else "cloudy"
    clear: Weather = "clear" if rng.random() < 0.7 else rainy
    if light == "day":
        return "day", "clear"
    if light == "overcast":
        return "day", rainy
    if light == "dusk":
        return "dusk", clear
    if light == "night":
        return "night", clear
    return ("night" if rng.random() < 0.75 else "day"), clear


def _passengers(rng: np.random.Generator) -> int:
    return int(rng.choice(3, p=[0.55, 0.3, 0.15]))


def _one_of(rng: np.random.Generator, values: tuple[Choice, ...]) -> Choice:
    return values[rng.integers(len(values))]
