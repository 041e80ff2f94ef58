"""The synthetic cabin: renders whole drives with exact ground truth, written as sessions.

From a seed to a session, one module a step: `person` (who drives), `behaviour` (what they do), `road` (what they see),
`vehicle` and `rig` (where they sit and what films them), `body`, `skin`, `hair`, `accessories` and `eyes` (shape,
surface and optics of people), `light`, `renderer` and `sensor` (the picture), `labels` (its truth), `film` (all of it,
frame by frame), `drives`, `farm` and `stills` (the folders).

Frames and units: the car frame of `docs/architecture.md` (x right, y down, z forward, millimetres, origin midway
between the driver's eyes in the normal posture). A head that faces straight ahead has the axes of the car. The head
frame has the axes of the head's mesh: x to the person's own right, y down, z out of the face, origin midway between the
eyeball centres. The face frame, in which labels give gaze and head pose, has the same origin and the axes of the
canonical face fitted to the person's head (`actors.face_rotation`), some degrees away.
"""
