"""A person's upper body: their shape at rest, and any posture of head, lids, face, arms and hands.

The shape is MakeHuman's (`assets`): a base mesh plus weighted displacements. The head is refined once by Catmull and
Clark's rule, the rest stays as it is. Postures are linear blend skinning over a chain of bones: the neck shares the
head's rotation, arms reach their wrists by two-bone inverse kinematics, elbows down and outward.

Eyes. MakeHuman's eyeball has a radius of 15 mm, a human one of 12; the globe drawn here (12 mm) touches the front of
the old one, and the lids are laid onto it. A lid margin is a curve of angles about the globe's horizontal axis, 0 on the
line between the corners of the eye; the lids turn about that axis and ride over the globe and the bulge of its cornea,
so that they keep touching it. The upper lid follows the eye up and down by most of its rotation, the lower by less
(Becker and Fuchs 1988, Lid-eye coordination during vertical gaze changes).

Frames: the car frame and the head frame of the package; the head frame's origin is midway between the eyeball centres.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from dashgaze.geometry import rotation_between, rotation_x, rotation_y, unit
from dashgaze.training.synth import assets
from dashgaze.training.synth.records import LEFT, RIGHT, Mesh, Part, Person, Surface

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int32]

FACE_FROM_MESH = np.eye(3)
"""Turns MakeHuman's upright head into the axes of the face frame. Identity until it is measured against the face mesh
that the device fits."""

GLOBE_MM = 12.0
CORNEA_MM = 7.8
CORNEA_APEX_MM = 13.3
"""Radius of the globe, radius of the cornea, distance of the cornea's apex from the globe's centre."""
MEAN_SHAPE_YEARS = 40.0
YOUNG_YEARS, OLD_YEARS = 25.0, 90.0
"""Ages of MakeHuman's adult macro targets."""


def mean_person() -> Person:
    """The person whose rest shape is everyone's `neutral_mm`."""
    return Person(
        seed=0,
        male=0.5,
        age_years=MEAN_SHAPE_YEARS,
        african=1 / 3,
        asian=1 / 3,
        caucasian=1 / 3,
        weight=0.5,
        muscle=0.5,
        shape={},
        ipd_mm=63.0,
        melanin=0.4,
        blood=1.0,
        hair_style="short",
        hair_rgb=(0.05, 0.03, 0.02),
        hair_length=0.5,
        hairline=0.2,
        grey=0.0,
        facial_hair="none",
        facial_hair_density=0.0,
        brow_density=1.0,
        brow_height=0.0,
        brow_arch=0.0,
        freckles=0.0,
        moles=0,
        wrinkles=0.0,
        make_up=0.0,
        lip_rgb=(0.4, 0.1, 0.1),
        iris_rgb=(0.2, 0.1, 0.05),
        iris_radius_mm=5.9,
        pupil_mm=3.5,
        kappa_deg=((5.0, -1.0), (5.0, -1.0)),
        lid_opening_mm=(4.4, 5.2),
        eyewear="none",
        eyewear_seed=0,
        headwear="none",
        face_mask=False,
        clothes_rgb=(0.3, 0.3, 0.3),
    )


# Shape ---------------------------------------------------------------------------------------------------------------


def macro_weights(person: Person) -> dict[str, float]:
    """Weights of MakeHuman's macro targets: the products of sex, age, ancestry, muscle and weight."""
    sex = {"female": 1 - person.male, "male": person.male}
    old = float(np.clip((person.age_years - YOUNG_YEARS) / (OLD_YEARS - YOUNG_YEARS), 0, 1))
    age = {"young": 1 - old, "old": old}
    ancestry = {"african": person.african, "asian": person.asian, "caucasian": person.caucasian}
    muscle, weight = _three_levels("muscle", person.muscle), _three_levels("weight", person.weight)
    weights = {}
    for s, share_s in sex.items():
        for a, share_a in age.items():
            for name, share in ancestry.items():
                weights[f"macrodetails/{name}-{s}-{a}"] = share_s * share_a * share
            for m, share_m in muscle.items():
                for w, share_w in weight.items():
                    weights[f"macrodetails/universal-{s}-{a}-{m}-{w}"] = share_s * share_a * share_m * share_w
    return weights


def _three_levels(name: str, value: float) -> dict[str, float]:
    low, high = max(0.0, 1 - 2 * value), max(0.0, 2 * value - 1)
    return {f"min{name}": low, f"average{name}": 1 - low - high, f"max{name}": high}


def morph(weights: Mapping[str, float]) -> Floats:
    """Base mesh and points (n + points, 3) in dm, displaced by weighted targets. Raises KeyError for an unknown one."""
    body = assets.load()
    shape = body.base_dm.astype(np.float64)
    for name, weight in weights.items():
        target = body.targets[name]
        if abs(weight) > 1e-6:
            shape[target.rows] += weight * target.delta_dm
    return shape


# Topology ------------------------------------------------------------------------------------------------------------

REFINED_ABOVE_DM = 5.9
"""Height in the base mesh from which skin is refined: the head and the neck."""
SOCKET_RINGS = 9
"""Rings of vertices around the back of MakeHuman's eye socket that no one sees; the first is the pole alone."""
MARGIN_RING = 12
"""The ring that is the edge of the lids; ring 11 touches the eye, ring 13 carries the lashes."""
LAST_RING = 14


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """What all bodies share: the refined skin and where each of its vertices comes from."""

    refine: sparse.csr_matrix
    """(skin vertices, n) applies to base vertices"""
    triangles: Ints
    rings: Floats32
    """(2, skin vertices) number of the ring around the left or right eye; infinite where there is none"""
    masks: dict[str, Floats32]
    weights: sparse.csr_matrix
    """(skin vertices, bones)"""


def _refinement(quads: Ints, count: int, refined: NDArray[np.bool_]) -> tuple[sparse.csr_matrix, sparse.csr_matrix, Ints]:
    """One step of Catmull and Clark's subdivision of some quads of a mesh; the others keep their corners.

    Returns the matrix that computes the new vertices, the matrix of plain means (for attributes), and triangles. Rows:
    first the old vertices, then the middles of edges, then the middles of faces. A quad that is not refined but touches
    one that is becomes a fan that takes in the middles of its edges: no cracks.
    """
    faces = len(quads)
    ends = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    edges, edge_of = np.unique(ends, axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1, 4)
    sides = np.bincount(edge_of.ravel(), minlength=len(edges))
    face_mean = _rows(np.repeat(np.arange(faces), 4), quads.ravel(), (faces, count), 0.25)
    edge_mean = _rows(np.repeat(np.arange(len(edges)), 2), edges.ravel(), (len(edges), count), 0.5)
    face_of_edge = _rows(edge_of.ravel(), np.repeat(np.arange(faces), 4), (len(edges), faces), 0.5)
    inner = (sides == 2).astype(float)
    edge_point = sparse.diags(1 - 0.5 * inner) @ edge_mean + sparse.diags(0.5 * inner) @ face_of_edge @ face_mean

    valence = np.maximum(np.bincount(quads.ravel(), minlength=count), 1).astype(float)
    around_faces = _rows(quads.ravel(), np.repeat(np.arange(faces), 4), (count, faces), 1.0)
    around_edges = _rows(edges.ravel(), np.repeat(np.arange(len(edges)), 2), (count, len(edges)), 1.0)
    rim = around_edges @ sparse.diags(1 - inner)
    on_rim = np.asarray(rim.sum(axis=1)).ravel()
    smooth = (
        sparse.diags(1 / valence**2) @ around_faces @ face_mean
        + sparse.diags(2 / valence**2) @ around_edges @ edge_mean
        + sparse.diags((valence - 3) / valence)
    )
    border = 0.5 * sparse.identity(count) + sparse.diags(0.5 / np.maximum(on_rim, 1)) @ rim @ edge_mean
    touched = np.zeros(count)
    touched[quads[refined]] = 1
    vertex_point = (
        sparse.diags(touched * (on_rim == 0)) @ smooth
        + sparse.diags(touched * (on_rim > 0)) @ border
        + sparse.diags(1 - touched)
    )
    matrix = sparse.vstack([vertex_point, edge_point, face_mean]).tocsr()
    means = sparse.vstack([sparse.identity(count), edge_mean, face_mean]).tocsr()

    corner, middle = quads[refined], count + edge_of[refined]
    centre = np.repeat(count + len(edges) + np.flatnonzero(refined)[:, None], 4, axis=1)
    small = np.stack([corner, middle, centre, np.roll(middle, 1, axis=1)], axis=2).reshape(-1, 4)
    split = np.zeros(len(edges), bool)
    split[edge_of[refined]] = True
    plain = ~refined & ~split[edge_of].any(axis=1)
    seam = [
        _fan(quads[f], np.where(split[edge_of[f]], count + edge_of[f], -1)) for f in np.flatnonzero(~refined & ~plain)
    ]
    whole = np.concatenate([small, quads[plain]])
    triangles = np.concatenate([whole[:, [0, 1, 2]], whole[:, [0, 2, 3]], *seam])
    return matrix, means, triangles.astype(np.int32)


def _rows(
    rows: NDArray[np.int64] | Ints, columns: NDArray[np.int64] | Ints, shape: tuple[int, int], value: float
) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.full(len(rows), value), (rows, columns)), shape=shape)


def _fan(corners: Ints, middles: NDArray[np.int64]) -> Ints:
    """Triangles of a quad whose sides have middles (-1 for none)."""
    loop = [v for pair in zip(corners, middles, strict=True) for v in pair if v >= 0]
    start = next(place for place, v in enumerate(loop) if v in middles)
    loop = loop[start:] + loop[:start]
    return np.array([[loop[0], loop[k], loop[k + 1]] for k in range(1, len(loop) - 1)], np.int32)


def _eye_rings(base: Floats32, quads: Ints, centre: Floats32) -> Floats32:
    """Ring number of every base vertex around one eye, counted from the pole of the socket; infinite far away."""
    offset = base - centre
    axis = np.hypot(offset[:, 0], offset[:, 1])
    behind = (axis < 0.08) & (offset[:, 2] < 0) & (np.linalg.norm(offset, axis=1) < 0.2)
    pole = int(np.flatnonzero(behind)[np.argmin(offset[behind, 2])])
    rings = np.full(len(base), np.inf, np.float32)
    rings[pole] = 0
    for ring in range(1, LAST_RING + 1):
        around = quads[(rings[quads] == ring - 1).any(axis=1)].ravel()
        rings[around[np.isinf(rings[around])]] = ring
    return rings


@cache
def topology() -> Topology:
    """The refined skin, computed once."""
    body = assets.load()
    base = body.base_dm[: body.vertices]
    quads = body.quads["skin"]
    rings = np.stack([_eye_rings(base, quads, body.base_dm[body.point(f"eye:{side}")]) for side in ("left", "right")])
    hidden = (rings[:, quads] < SOCKET_RINGS).any(axis=(0, 2))
    quads = quads[~hidden]
    refined = base[quads, 1].min(axis=1) > REFINED_ABOVE_DM
    matrix, means, triangles = _refinement(quads, body.vertices, refined)
    used, flat = np.unique(triangles, return_inverse=True)
    matrix, means = matrix[used].astype(np.float32), means[used].astype(np.float32)
    table = sparse.csr_matrix(
        (body.bone_weights.ravel(), (np.repeat(np.arange(body.vertices), 4), body.bones.ravel())),
        shape=(body.vertices, len(assets.BONES)),
    )
    masks = {name: np.asarray(means @ mask) for name, mask in body.masks.items()}
    hand = [k for k, bone in enumerate(assets.BONES) if bone.startswith(("wrist", "finger"))]
    masks["hands"] = np.asarray((means @ table[:, hand]).sum(axis=1), np.float32).ravel()
    masks["ao"] = np.asarray(means @ body.occlusion)
    return Topology(
        refine=matrix,
        triangles=flat.reshape(-1, 3).astype(np.int32),
        rings=_mean_rings(means, rings),
        masks=masks,
        weights=(means @ table).tocsr().astype(np.float32),
    )


def _mean_rings(means: sparse.csr_matrix, rings: Floats32) -> Floats32:
    """Ring numbers of refined vertices: those of edges and faces lie between those of their corners."""
    far = np.isinf(rings)
    inside = np.stack([means @ np.where(row_far, 0, row) for row, row_far in zip(rings, far, strict=True)])
    touches_far = np.stack([means @ row_far.astype(np.float32) for row_far in far])
    return np.where(touches_far > 0, np.inf, inside).astype(np.float32)
