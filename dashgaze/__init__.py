"""dashgaze: where a driver looks, from one dashcam or phone, without calibration, in the car.

The import package holds the small shared core (`geometry`, `zones`, `tables`, `session`, `drive`, `bundle`,
`errors`, `cli`) and one link per room: `device` (the runtime in the car), `export` (weights to bundles).
"""

__version__ = "0.1.0"
