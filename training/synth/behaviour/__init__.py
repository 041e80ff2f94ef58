"""What drivers do: where they look and when, how eyes and head get there, lids, mouth, hands; frame by frame exact.

`Behaviour(...)` plans a whole drive from one seed; `.at(t_s)` tells one instant, `.fixations`, `.blinks` and `.events`
are its truth as tables. One module a step: `speed` (the car), `styles` (how drivers and drives differ), `places` (what
there is to look at), `episodes` (phone, console, talk, yawns, ...), `scanpath` (glances and fixations), `motion` (head
and eyes that carry them out), `face` (lids and mouth), `hands`, `driver` (all of it together).
"""

from dashgaze.training.synth.behaviour.driver import Behaviour, Blink, Event, Fixation
from dashgaze.training.synth.behaviour.places import phone_position_mm
from dashgaze.training.synth.behaviour.speed import speed_profile
from dashgaze.training.synth.behaviour.styles import STYLES, BehaviourStyle
from dashgaze.training.synth.records import RoadType, Traffic

__all__ = [
    "STYLES",
    "Behaviour",
    "BehaviourStyle",
    "Blink",
    "Event",
    "Fixation",
    "RoadType",
    "Traffic",
    "phone_position_mm",
    "speed_profile",
]
