"""MediaPipe's canonical face model, out of its `GeometryPipelineMetadata` into JSON.

The message is that of `mediapipe/tasks/cc/vision/face_geometry/proto`: a mesh of x, y, z (cm), u, v per
vertex with triangles, and the landmarks, with weights, that an alignment (Procrustes) of the mesh goes by. It
is read from the Protocol Buffers wire format as it stands, which spares a dependency for four fields.
"""

import json
from collections.abc import Iterator

import numpy as np

from dashgaze.errors import DashgazeError

MM_PER_CM = 10
_MESH, _BASIS = 1, 2  # of GeometryPipelineMetadata
_VERTICES, _INDICES = 3, 4  # of Mesh3d
_LANDMARK, _WEIGHT = 1, 2  # of WeightedLandmarkRef
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def canonical_face_json(metadata: bytes) -> bytes:
    """The canonical face as JSON.

    Keys: `vertices_mm` (468 x 3: x to the person's left, y up, z out of the face), `uv` (468 x 2),
    `triangles` (898 x 3), `procrustes_landmarks` and `procrustes_weights` (33). Raises DashgazeError when the
    message is malformed.
    """
    try:
        fields = list(_fields(metadata))
        mesh = list(_fields(next(v for f, v in fields if f == _MESH and isinstance(v, bytes))))
        basis = [dict(_fields(v)) for f, v in fields if f == _BASIS and isinstance(v, bytes)]
        floats = b"".join(v for f, v in mesh if f == _VERTICES and isinstance(v, bytes))
        vertices = np.frombuffer(floats, "<f4").reshape(-1, 5).astype(float)
        triangles = np.array([v for f, v in mesh if f == _INDICES]).reshape(-1, 3)
        packed = b"".join(w for entry in basis if isinstance(w := entry[_WEIGHT], bytes))
        weights = np.frombuffer(packed, "<f4").astype(float)
        landmarks = [entry[_LANDMARK] for entry in basis]
        if not basis or not triangles.size or triangles.max() >= len(vertices):
            raise ValueError("vertices, triangles or landmarks are missing")
    except (IndexError, KeyError, StopIteration, ValueError) as error:
        raise DashgazeError("geometry metadata", f"the message is malformed ({error})") from error
    face = {
        "vertices_mm": (vertices[:, :3] * MM_PER_CM).round(5).tolist(),
        "uv": vertices[:, 3:].round(6).tolist(),
        "triangles": triangles.tolist(),
        "procrustes_landmarks": landmarks,
        "procrustes_weights": weights.round(8).tolist(),
    }
    return json.dumps(face, separators=(",", ":")).encode() + b"\n"


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a Protocol Buffers message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, at = _varint(message, at)
        else:
            size = {_FIXED_64: 8, _FIXED_32: 4}[wire_type]
        if at + size > len(message):
            raise ValueError("it ends within a field")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
