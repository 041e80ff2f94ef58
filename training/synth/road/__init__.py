"""The world outside the synthetic car: `Road` knows where everything is, `RoadRenderer` films it."""

from dashgaze.training.synth.road.course import RoadType
from dashgaze.training.synth.road.renderer import RoadRenderer
from dashgaze.training.synth.road.things import Traffic
from dashgaze.training.synth.road.world import EYE_HEIGHT_M, VANISHING_POINT, Road, Sighting, Weather

__all__ = ["EYE_HEIGHT_M", "VANISHING_POINT", "Road", "RoadRenderer", "RoadType", "Sighting", "Traffic", "Weather"]
