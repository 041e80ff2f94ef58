"""The synthetic cabin: renders whole drives with exact ground truth, written as sessions.

From a seed to a session, one module a step: `person` (who drives), `behaviour` (what they do), `road` (what they see),
`vehicle` and `rig` (where they sit and what films them), `body`, `skin`, `hair`, `accessories` and `eyes` (shape,
surface and optics of people), `light`, `renderer` and `sensor` (the picture), `labels` (its truth), `film` (all of it,
frame by frame), `drives`, `farm` and `stills` (the folders).

Frames and units: the car frame of `docs/architecture.md` (x right, y down, z forward, millimetres, origin midway
between the driver's eyes in the normal posture). A head that faces straight ahead has the axes of the car, so that the
head frame is the face frame: x to the driver's right, y down, z out of the face.
"""
