"""The world outside the synthetic car: `Road` knows where everything is, `RoadRenderer` films it."""

from dashgaze.training.synth.road.renderer import RoadRenderer
from dashgaze.training.synth.road.world import VANISHING_POINT, Road, Sighting

__all__ = ["VANISHING_POINT", "Road", "RoadRenderer", "Sighting"]
