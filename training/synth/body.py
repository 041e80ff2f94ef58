"""A person's upper body: their shape at rest, and any posture of head, lids, face, arms and hands.

The shape is MakeHuman's (`assets`): a base mesh plus weighted displacements. The head is refined once by Catmull and
Clark's rule, the rest stays as it is. Postures are linear blend skinning over a chain of bones: the neck shares the
head's rotation, arms reach their wrists by two-bone inverse kinematics, elbows down and outward.

Eyes. MakeHuman's eyeball has a radius of 15 mm, a human one of 12; the globe here, that of `eyes`, touches the front of
the old one, and the lids are laid onto it. A lid margin is a curve of angles about the globe's horizontal axis; the
lids turn about that axis and ride over the globe and the bulge of its cornea, so that they keep touching it. The upper
lid follows the eye up and down by most of its rotation, the lower by less (Becker and Fuchs 1988, Lid-eye coordination
during vertical gaze changes).

Frames: the car frame and the head frame of the package; the head frame's origin is midway between the eyeball centres.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dashgaze.geometry import facing_angles_deg, rays_from_angles, rotation_between, rotation_x, rotation_y, unit
from dashgaze.training.synth import assets
from dashgaze.training.synth.eyes import CORNEA_CENTRE_MM, CORNEA_RADIUS_MM, GLOBE_RADIUS_MM
from dashgaze.training.synth.records import LEFT, RIGHT, Mesh, Part, Person, Surface, Wrist

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int32]

SIDES = ("L", "R")
"""Names of the left and the right side in the assets."""
SKIN_MASKS = ("lips", "eyelids", "ears", "inside_mouth")
"""The assets' masks that the skin keeps."""
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
        kappa_deg=((5.0, 1.2), (5.0, 1.2)),
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
CONTACT_RING, MARGIN_RING, LAST_RING = 11, 13, 14
"""Rings of the lids: inner edge, which touches the eye; outer edge, which carries the lashes; first ring of skin."""


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """What all bodies share: the refined skin and where each of its vertices comes from."""

    refine: sparse.csr_matrix
    """(skin vertices, n) applies to base vertices"""
    triangles: Ints
    incidence: sparse.csr_matrix
    """(skin vertices, triangles)"""
    rings: Floats32
    """(2, skin vertices) number of the ring around the left or right eye; infinite where there is none"""
    masks: dict[str, Floats32]
    weights: sparse.csr_matrix
    """(skin vertices, bones)"""


def _refinement(
    quads: Ints, count: int, refined: NDArray[np.bool_]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, Ints]:
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
    masks = {name: np.asarray(means @ body.masks[name]) for name in SKIN_MASKS}
    hand = [k for k, bone in enumerate(assets.BONES) if bone.startswith(("wrist", "finger"))]
    masks["hands"] = np.asarray((means @ table[:, hand]).sum(axis=1), np.float32).ravel()
    masks["ao"] = np.asarray(means @ body.occlusion)
    return Topology(
        refine=matrix,
        triangles=flat.reshape(-1, 3).astype(np.int32),
        incidence=_incidence(flat.reshape(-1, 3).astype(np.int32), len(used)),
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


# Lids ----------------------------------------------------------------------------------------------------------------

LID_MM, CHEEK_MM = 12.0, 9.0
"""How far above the upper and below the lower margin the skin still follows the lid."""
CONFORM_MM = 16.0
"""How far around the eye the skin follows when the margins are laid onto the globe."""
INNER_REACH_MM, OUTER_REACH_MM = (1.15, 10.8, 12.6), (1.02, 11.6, 13.2)
"""How far the inner edge of the lids reaches to either side of the pupil: factor on MakeHuman's (whose fissure is about
a tenth too narrow, for want of an inner corner), least, most."""
CONTACT_MM = 0.25
CORNER_DEPTH_MM = 4.5
"""How far in front of the globe's centre the corners of the eye lie at least."""
LOOSE_MM = 1.8
"""A lid that has been drawn over the globe lies this close to it, at most."""
UPPER_DOWN, UPPER_UP, LOWER_DOWN, LOWER_UP = 0.9, 0.85, 0.5, 0.4
"""Rotation of the lids per rotation of the eye."""
MEETING = 0.12
"""Where the margins meet: this share of the opening above the lower one."""
OVERLAP_DEG = 1.0
"""The closed upper lid reaches this far below the lower margin, so that no slit stays."""
MARGIN_POINTS = 32
STRAIGHT = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class LidMap:
    """Which skin follows the lids of one eye; the same for everyone."""

    skin: Ints
    """(v,) vertices around the eye"""
    loop: Ints
    """(c,) vertices of the margin, in order around the eye: first the upper one from the inner corner to the outer,
    then the lower one back"""
    upper: NDArray[np.bool_]
    """(c,) whether a vertex of the loop is on the upper margin"""
    contact: Ints
    """(c,) vertex of the inner edge beside each vertex of the loop"""
    follow: Floats32
    """(v, c) share of each margin vertex in what moves a skin vertex; rows add up to 1"""
    motion: Floats32
    """(v,) how much of the lid's rotation a vertex takes: 1 on the margin"""
    conform: Floats32
    """(v,) the same for laying the margin onto the globe"""
    margins: Floats
    """(2, MARGIN_POINTS, c) picks points of the upper and the lower margin, at equal steps across"""
    edge: NDArray[np.bool_]
    """(v,) vertices of the margin and inside: they keep their distance from the globe exactly"""


@cache
def lid_map(eye: int) -> LidMap:
    """Skin around the left (0) or right (1) eye, found on the mean head."""
    skin_mm = _head_frame(morph(macro_weights(mean_person())))[0]
    rings = topology().rings[eye]
    loop, upper = _margin_loop(skin_mm, rings == MARGIN_RING, eye)
    margin_mm = skin_mm[loop]
    tree = cKDTree(margin_mm)
    distance, nearest = tree.query(skin_mm, distance_upper_bound=CONFORM_MM)
    inner = rings <= MARGIN_RING
    skin = np.flatnonzero(np.isfinite(distance) & (inner | (rings > MARGIN_RING)))
    skin = skin[inner[skin] | (skin_mm[skin, 2] > margin_mm[:, 2].min() - 8)].astype(np.int32)
    d = distance[skin]
    gap = ((skin_mm[skin][:, None] - margin_mm[None]) ** 2).sum(axis=2)
    spread = (0.6 + 0.4 * d[:, None]) ** 2
    follow = np.exp(-(gap - gap.min(axis=1, keepdims=True)) / (2 * spread))
    edge = inner[skin]
    follow[edge] = np.eye(len(loop))[nearest[skin[edge]]]
    follow /= follow.sum(axis=1, keepdims=True)
    reach = follow @ np.where(upper, LID_MM, CHEEK_MM)
    contacts = np.flatnonzero(rings == CONTACT_RING)
    return LidMap(
        skin=skin,
        loop=loop,
        upper=upper,
        contact=contacts[cKDTree(skin_mm[contacts]).query(margin_mm)[1]].astype(np.int32),
        follow=follow.astype(np.float32),
        motion=np.where(edge, 1, _smoothstep(1 - d / reach)).astype(np.float32),
        conform=np.where(edge, 1, _smoothstep(1 - d / CONFORM_MM)).astype(np.float32),
        margins=_margin_points(margin_mm[:, 0] * (1 if eye == RIGHT else -1), upper),
        edge=edge,
    )


def _margin_points(outward: Floats, upper: NDArray[np.bool_]) -> Floats:
    """Weights (2, MARGIN_POINTS, c) of margin vertices in points that lie above each other."""
    count, outer = len(outward), int(upper.sum()) - 1
    weights = np.zeros((2, MARGIN_POINTS, count))
    places = np.linspace(outward[0], outward[outer], MARGIN_POINTS)
    for lid, rows in enumerate((np.arange(outer + 1), np.append(0, np.arange(count - 1, outer - 1, -1)))):
        along = np.maximum.accumulate(outward[rows]) + 1e-6 * np.arange(len(rows))
        for row, unit_weights in zip(rows, np.eye(len(rows)), strict=True):
            weights[lid, :, row] = np.interp(places, along, unit_weights)
    return weights


def _margin_loop(skin_mm: Floats, member: NDArray[np.bool_], eye: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Vertices of a ring in order: over the upper lid from the inner corner to the outer, back over the lower."""
    triangles = topology().triangles
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    sides = sides[member[sides].all(axis=1)]
    beside = {int(v): {int(u) for u in sides[(sides == v).any(axis=1)].ravel()} - {int(v)} for v in np.unique(sides)}
    outward = skin_mm[:, 0] * (1 if eye == RIGHT else -1)
    inner = min(beside, key=lambda v: outward[v])
    path = [inner, min(beside[inner], key=lambda v: skin_mm[v, 1])]
    while (following := beside[path[-1]] - {path[-2]}) != {inner}:
        path.append(following.pop())
    loop = np.array(path, np.int32)
    return loop, np.arange(len(loop)) <= int(np.argmax(outward[loop]))


def _smoothstep(x: Floats) -> Floats:
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def surface_mm(directions: Floats, gaze: Floats) -> Floats:
    """Distance from the globe's centre to the eye's surface, cornea included, along unit directions (..., 3)."""
    cosine = directions @ gaze
    inside = CORNEA_RADIUS_MM**2 - CORNEA_CENTRE_MM**2 * (1 - cosine**2)
    cornea = np.where(inside > 0, CORNEA_CENTRE_MM * cosine + np.sqrt(np.maximum(inside, 0)), 0)
    return np.maximum(cornea, GLOBE_RADIUS_MM)


def laid_on_globe(skin_mm: Floats, centre_mm: Floats, eye: int) -> Floats:
    """Skin (n, 3) whose inner lid edge touches the globe, and whose fissure is as wide as a human one."""
    lids = lid_map(eye)
    edge = skin_mm[lids.contact] - centre_mm
    target = edge * [1, 1, 0]
    outer = edge[:, 0] * centre_mm[0] > 0
    for side, (factor, least, most) in ((~outer, INNER_REACH_MM), (outer, OUTER_REACH_MM)):
        reach = np.abs(edge[side, 0]).max()
        target[side, 0] *= np.clip(factor * reach, least, most) / reach
    radius = np.full(len(edge), GLOBE_RADIUS_MM)
    for _ in range(3):  # the cornea stands out where the ray is steep: a fixed point, reached at once
        ahead = (radius + CONTACT_MM) ** 2 - target[:, 0] ** 2 - target[:, 1] ** 2
        floor = CORNER_DEPTH_MM**2
        target[:, 2] = np.sqrt(0.5 * (ahead + floor + np.sqrt((ahead - floor) ** 2 + 25.0**2)))
        radius = surface_mm(unit(target), STRAIGHT)
    shift = target - edge
    laid = skin_mm.copy()
    laid[lids.skin] += lids.conform[:, None] * (lids.follow @ shift)
    return laid


class Lids:
    """The lids of one eye of one person."""

    def __init__(self, rest_mm: Floats, centre_mm: Floats, eye: int, opening_mm: tuple[float, float]) -> None:
        self._map = lids = lid_map(eye)
        self._centre = centre_mm
        offset = rest_mm[lids.skin] - centre_mm
        self._x, self._rho, self._theta = offset[:, 0], np.hypot(offset[:, 1], offset[:, 2]), _angle(offset)
        distance = np.linalg.norm(offset, axis=1)
        self._clear = distance - surface_mm(offset / distance[:, None], STRAIGHT)
        margin = rest_mm[lids.loop] - centre_mm
        self._margin_x, self._rest = margin[:, 0], _angle(margin)
        outer = int(lids.upper.sum()) - 1
        corners = np.array([0, outer])
        order = np.argsort(margin[corners, 0])
        rho = np.hypot(margin[:, 1], margin[:, 2])
        level = np.interp(margin[:, 0], margin[corners[order], 0], -margin[corners[order], 1])
        self._corner = np.arcsin(np.clip(level / rho, -1, 1))
        height = self._rest - self._corner
        self._open = height.copy()
        for side, opening in ((lids.upper, opening_mm[0]), (~lids.upper, -opening_mm[1])):
            self._open[side] *= _opening_scale(self._corner[side], height[side], rho[side], opening)
        touching = np.linalg.norm(margin, axis=1) - surface_mm(unit(margin), STRAIGHT)
        thicker = np.maximum(self._curve(touching, lids.upper), self._curve(touching, ~lids.upper))
        self._level = lids.motion * (lids.follow @ (thicker - touching))
        across = (margin[:, 0] - margin[corners, 0].mean()) / (0.5 * np.ptp(margin[corners, 0]))
        self._profile = 1 - np.clip(np.abs(across), 0, 1) ** 2.5

    def margin_angles(self, elevation_deg: float, closure: float, widen: float, squint: float) -> Floats:
        """Angle (c,) of every margin vertex about the globe's horizontal axis, radians, upward."""
        lids = self._map
        up = UPPER_UP if elevation_deg > 0 else UPPER_DOWN
        low = LOWER_UP if elevation_deg > 0 else LOWER_DOWN
        follow = np.radians(elevation_deg) * np.where(lids.upper, up, low) * self._profile
        span = np.where(lids.upper, 1 + 0.25 * widen - 0.2 * squint, 1 - 0.4 * squint)
        opened = self._corner + self._open * span + follow
        upper, lower = self._curve(opened, lids.upper), self._curve(opened, ~lids.upper)
        overlap = np.radians(OVERLAP_DEG) * lids.upper * np.minimum(4 * self._profile, 1)
        meeting = lower + MEETING * (upper - lower) - overlap
        return np.asarray(opened + closure * (meeting - opened))

    def _curve(self, angles: Floats, side: NDArray[np.bool_]) -> Floats:
        """One margin's angle above every margin vertex's place."""
        ends = side.copy()
        ends[[0, int(self._map.upper.sum()) - 1]] = True
        order = np.argsort(self._margin_x[ends])
        return np.interp(self._margin_x, self._margin_x[ends][order], angles[ends][order])

    def moved(self, elevation_deg: float, azimuth_deg: float, closure: float, widen: float, squint: float) -> Floats:
        """The skin around the eye (v, 3) in the head frame."""
        lids = self._map
        turn = self.margin_angles(elevation_deg, closure, widen, squint) - self._rest
        delta = lids.motion * (lids.follow @ turn)
        theta = self._theta + delta
        offset = np.stack([self._x, -self._rho * np.sin(theta), self._rho * np.cos(theta)], axis=1)
        distance = np.linalg.norm(offset, axis=1)
        direction = offset / distance[:, None]
        gaze = rays_from_angles(azimuth_deg, elevation_deg)
        drawn = np.clip(np.abs(delta) / np.radians(25), 0, 1)
        clear = np.where(
            lids.edge, self._clear, self._clear + drawn * (np.minimum(self._clear, LOOSE_MM) - self._clear)
        )
        wanted = surface_mm(direction, gaze) + clear + closure * self._level
        share = np.where(lids.edge, 1, lids.motion)
        return np.asarray(self._centre + direction * (distance + share * (wanted - distance))[:, None])


def _angle(offset: Floats) -> Floats:
    return np.arctan2(-offset[:, 1], offset[:, 2])


def _opening_scale(corner: Floats, height: Floats, rho: Floats, opening_mm: float) -> float:
    """Factor on the margin's angles that puts its furthest point at a height above or below the pupil's centre."""
    low, high = 0.1, 4.0
    for _ in range(30):
        middle = (low + high) / 2
        reached = rho * np.sin(corner + middle * height)
        short = reached.max() < opening_mm if opening_mm > 0 else reached.min() > opening_mm
        low, high = (middle, high) if short else (low, middle)
    return high


# Rest ----------------------------------------------------------------------------------------------------------------

SCALE_SHARE = 0.2
"""How much of a wide or narrow distance between the eyes is the size of the whole head; the eyes' place is the rest."""
SCALE_LIMITS = 0.96, 1.04
TEETH_RGB, TONGUE_RGB = (0.62, 0.55, 0.44), (0.30, 0.08, 0.08)
TEETH_SCALE, TEETH_MM, TONGUE_MM = (0.93, 1.0, 1.0), (0.0, 0.0, -1.5), (0.0, 5.0, -6.0)
"""Keep MakeHuman's teeth from coming through the corners of the closed mouth, and lay down its tongue."""
JAW_SHUT, JAW_WIDE = -0.02, 1.15
"""Weights of the unit jawOpen for a mouth that is shut and for a yawn."""


def _head_frame(shape_dm: Floats, scale: float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Refined skin, points and base vertices in mm, in the axes of the head, midway between MakeHuman's eyeballs."""
    body = assets.load()
    eyes = shape_dm[[body.point("eye:left"), body.point("eye:right")]]
    mm = (shape_dm - eyes.mean(axis=0)) * (np.array([-100.0, -100.0, 100.0]) * scale)
    base, points = mm[: body.vertices], mm[body.vertices :]
    return topology().refine @ base, points, base


def _with_ipd(shape_dm: Floats, ipd_mm: float) -> tuple[Floats, float]:
    """The shape with its eyes moved, and the scale of the whole body, for a distance of the eyeballs."""
    body = assets.load()
    rows = [body.point("eye:left"), body.point("eye:right")]

    def distance(shape: Floats) -> float:
        return float(np.linalg.norm(shape[rows[0]] - shape[rows[1]])) * 100

    now = distance(shape_dm)
    scale = float(np.clip((ipd_mm / now) ** SCALE_SHARE, *SCALE_LIMITS))
    way = "out" if ipd_mm / scale > now else "in"
    moved = shape_dm.copy()
    for side in "lr":
        target = body.targets[f"eyes/{side}-eye-trans-{way}"]
        moved[target.rows] += target.delta_dm
    weight = (ipd_mm / scale - now) / (distance(moved) - now)
    return shape_dm + weight * (moved - shape_dm), scale


def _globe_centres(skin_mm: Floats, points_mm: Floats, ipd_mm: float) -> Floats:
    """Centres of the globes (2, 3): behind the middle of the lids' inner edges, exactly `ipd_mm` apart."""
    centres = points_mm[[assets.POINTS.index(f"eye:{side}") for side in ("left", "right")]].copy()
    for eye in (LEFT, RIGHT):
        edge = skin_mm[lid_map(eye).contact] - centres[eye]
        middle = edge[np.abs(edge[:, 0]) < 5]
        radius = GLOBE_RADIUS_MM + CONTACT_MM
        centres[eye, 2] += np.mean(middle[:, 2] - np.sqrt(radius**2 - (middle[:, :2] ** 2).sum(axis=1)))
    apart = centres[LEFT] - centres[RIGHT]
    wanted = apart * (ipd_mm / np.linalg.norm(apart))
    centres += 0.5 * np.stack([wanted - apart, apart - wanted])
    return centres


@dataclass(frozen=True, slots=True, eq=False)
class _Mouth:
    refine: sparse.csr_matrix
    triangles: Ints
    incidence: sparse.csr_matrix
    shift_mm: Floats
    colours: Floats32


@cache
def _mouth() -> _Mouth:
    """Teeth and tongue, refined."""
    body = assets.load()
    quads = np.concatenate([body.quads["teeth"], body.quads["tongue"]])
    matrix, means, triangles = _refinement(quads, body.vertices, np.ones(len(quads), bool))
    used, flat = np.unique(triangles, return_inverse=True)
    tongue = np.zeros(body.vertices)
    tongue[body.quads["tongue"]] = 1
    share = (means[used] @ tongue)[:, None]
    depth = (matrix[used] @ body.base_dm[: body.vertices])[:, 2:]
    side = np.abs(matrix[used] @ body.base_dm[: body.vertices])[:, :1]
    shade = 0.12 + 0.88 * _smoothstep((depth - depth.min()) / np.ptp(depth)) * _smoothstep((0.27 - side) / 0.14)
    colours = (shade * ((1 - share) * np.array(TEETH_RGB) + share * np.array(TONGUE_RGB))).astype(np.float32)
    triangles = flat.reshape(-1, 3).astype(np.int32)
    return _Mouth(
        matrix[used].astype(np.float32), triangles, _incidence(triangles, len(used)), share * TONGUE_MM, colours
    )


@cache
def neutral_mm() -> Floats32:
    """The mean person's skin at rest (n, 3) in the head frame: what textures, hair and clothes are laid out by."""
    return _rest(mean_person())[0].astype(np.float32)


def _rest(person: Person) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Skin, points, base vertices and globe centres in the head frame, and the scale of the body."""
    shape, scale = _with_ipd(morph({**macro_weights(person), **person.shape}), person.ipd_mm)
    skin, points, base = _head_frame(shape, scale)
    centres = _globe_centres(skin, points, person.ipd_mm)
    origin = centres.mean(axis=0)
    skin, points, base, centres = skin - origin, points - origin, base - origin, centres - origin
    for eye in (LEFT, RIGHT):
        skin = laid_on_globe(skin, centres[eye], eye)
    return skin, points, base, centres, scale


@cache
def _unit_displacement(name: str) -> tuple[Ints, Floats32, Ints, Floats32]:
    """A face unit on the refined skin (rows, mm in the head frame) and on the mouth, for a body of scale 1."""
    body = assets.load()
    target = body.targets[f"units/{name}"]
    dense = np.zeros((body.vertices, 3), np.float32)
    real = target.rows < body.vertices
    dense[target.rows[real]] = target.delta_dm[real] * np.array([-100, -100, 100])
    skin, mouth = topology().refine @ dense, _mouth().refine @ dense
    keep = np.ones(len(skin), np.float32)
    for eye in (LEFT, RIGHT):
        keep[lid_map(eye).skin] -= lid_map(eye).motion
    skin *= keep[:, None]
    rows, mouth_rows = (np.flatnonzero(np.abs(d).max(axis=1) > 0.01).astype(np.int32) for d in (skin, mouth))
    return rows, skin[rows].astype(np.float32), mouth_rows, mouth[mouth_rows].astype(np.float32)


# Clothes -------------------------------------------------------------------------------------------------------------

Neckline = Literal["crew", "vee", "scoop", "turtleneck", "collar"]
NECKLINES: dict[Neckline, float] = {"crew": 0.38, "vee": 0.14, "scoop": 0.1, "turtleneck": 0.08, "collar": 0.3}
"""How many people wear which."""
SLEEVES = {"short": 0.28, "half": 0.62, "long": 0.96}
"""Length of a sleeve as a share of the arm from shoulder to wrist."""
HIDDEN_MM = 14.0
"""Skin that lies further below the edge of the clothes than this is not drawn."""
CLOTH_MM, HEM_MM, COLLAR_MM = 7.0, -1.0, 6.0
"""How far cloth and the inside of its edges are off the skin, and a turned-down collar off the cloth."""
COLLAR_FALL_MM = 34.0
LOOSEST_MM = 24.0
"""What smoothing the cloth over the body may add to that at most."""
HANG_MM = 24.0
"""Width (one standard deviation) of the smoothing that turns a torso into what hangs over it."""
FOLD_MM = 1.6
THIGH_START_MM, THIGH_END_MM = (85.0, 0.0, -10.0), (140.0, -45.0, 500.0)
"""Ends of the right thigh against the hips, in the car's axes."""
THIGH_MM = 92.0, 64.0
TROUSERS_RGB = (0.015, 0.015, 0.02), (0.03, 0.045, 0.09), (0.05, 0.05, 0.05), (0.16, 0.13, 0.09), (0.09, 0.12, 0.2)


@dataclass(frozen=True, slots=True, eq=False)
class _Garment:
    """A piece of clothing as a part of the skin, cut along its edges; the same for everyone who wears this cut.

    Its vertices: c of cloth, then the inside of the hems, then the edge of a collar.
    """

    from_skin: sparse.csr_matrix
    """(coarse vertices, skin vertices)"""
    smooth: sparse.csr_matrix
    """(coarse, coarse) means over `HANG_MM`, on the torso"""
    finer: sparse.csr_matrix
    """(c, coarse)"""
    neutral_mm: Floats
    """(c, 3)"""
    free: Floats
    """(c,) 0 on the edges, 1 where the cloth hangs as it likes"""
    least_mm: Floats
    """(c,) how near the cloth may come to the skin; below 0 where no skin is drawn, so that a bust is rounded off"""
    cloth_triangles: Ints
    hem: Ints
    """(h,) vertices of cloth whose copies make the inside of the edges"""
    collar: sparse.csr_matrix
    """(k, c) makes the edge of the collar from the cloth below it"""
    triangles: Ints
    incidence: sparse.csr_matrix
    weights: sparse.csr_matrix
    """(c + h + k, bones)"""
    skin_triangles: Ints
    """What is left of the skin's"""
    cover: Floats32
    """(skin vertices,) 1 where the garment covers them"""


@cache
def _garment(neckline: Neckline, sleeve: str) -> _Garment:
    """Cut the mean person's skin along a neckline and the ends of the sleeves."""
    skin = neutral_mm().astype(np.float64)
    depth = np.minimum(_below_neckline(skin, neckline), _inside_sleeve(skin, SLEEVES[sleeve]))
    coarse, cut = _clip(topology().triangles, depth)
    arms = [k for k, bone in enumerate(assets.BONES) if bone.startswith(("shoulder", "upperarm", "lowerarm"))]
    sleeves = np.asarray((coarse @ topology().weights[:, arms]).sum(axis=1)).ravel()
    smooth = _hanging(coarse @ skin, cut, sleeves)
    finer, cut = _split(cut, coarse.shape[0])
    finer = (_neighbours(cut, finer.shape[0]) @ finer).tocsr()
    count, place, inside = finer.shape[0], finer @ (coarse @ skin), finer @ (coarse @ depth)
    weights = finer @ (coarse @ topology().weights)
    shown = topology().triangles[~(depth[topology().triangles] > HIDDEN_MM).all(axis=1)]
    bare = np.zeros(len(skin))
    bare[shown] = 1
    bare = coarse @ bare
    covered = finer @ ((1 - np.minimum(np.maximum(bare, 4 * (smooth @ bare)), 1)) * _smoothstep(1 - 2 * sleeves))
    rim = _rim(cut)
    hem = np.unique(rim)
    throat = hem[place[hem, 1] < _neck_point()[1] + 120] if neckline == "collar" else hem[:0]
    below = place[throat] + _collar_fall(place[throat] - _neck_point())
    near = cKDTree(place).query(below, k=6)[1]
    collar = _rows(np.repeat(np.arange(len(throat)), 6), near.ravel(), (len(throat), count), 1 / 6)
    bands = _band(rim, hem, count), _band(rim, throat, count + len(hem))[:, ::-1]
    triangles = np.concatenate([cut, *bands]).astype(np.int32)
    return _Garment(
        from_skin=coarse,
        smooth=smooth,
        finer=finer,
        neutral_mm=place,
        free=_smoothstep(inside / 45),
        least_mm=3.5 - 30 * covered,
        cloth_triangles=cut,
        hem=hem,
        collar=collar,
        triangles=triangles,
        incidence=_incidence(triangles, count + len(hem) + len(throat)),
        weights=sparse.vstack([weights, weights[hem], collar @ weights]).tocsr().astype(np.float32),
        skin_triangles=shown,
        cover=(depth > 0).astype(np.float32),
    )


def _collar_fall(edge: Floats) -> Floats:
    """From the edge of an open neckline to the edge of the collar that is turned down over it."""
    away = edge * [1.0, 0.0, 0.4]
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    narrow = np.where(edge[:, 2] > 30, _smoothstep(np.abs(edge[:, 0]) / 30), 1)
    return np.asarray(COLLAR_FALL_MM * narrow[:, None] * (0.75 * away + [0, 0.65, 0]))


def _dressed(garment: _Garment, skin_mm: Floats, rng: np.random.Generator) -> Floats32:
    """A garment on one person at rest, head frame: smoothed over hollows and bulges, with folds."""
    close = garment.from_skin @ skin_mm
    normals = garment.from_skin @ _normals(skin_mm.astype(np.float32), topology().triangles, topology().incidence)
    smoothed = garment.smooth @ (garment.smooth @ close)
    close, smoothed, outward = garment.finer @ close, garment.finer @ smoothed, unit(garment.finer @ normals)
    cloth = close + garment.free[:, None] * (smoothed - close)
    folds = np.zeros(len(cloth))
    for _ in range(4):
        direction, across, phase = unit(rng.normal(size=3) * [0.6, 1, 0.6]), unit(rng.normal(size=3)), rng.random(2) * 7
        bend = 0.7 * np.sin(garment.neutral_mm @ across / 45 + phase[0])
        folds += 0.5 - np.abs(np.sin(garment.neutral_mm @ direction / rng.uniform(22, 45) + bend + phase[1]))
    cloth += (CLOTH_MM + FOLD_MM * garment.free * folds)[:, None] * _normals(
        cloth.astype(np.float32), garment.cloth_triangles, _incidence(garment.cloth_triangles, len(cloth))
    )
    off = ((cloth - close) * outward).sum(axis=1)
    cloth += (np.clip(off, garment.least_mm, LOOSEST_MM) - off)[:, None] * outward
    hem = close[garment.hem] + HEM_MM * outward[garment.hem]
    collar = garment.collar @ (cloth + COLLAR_MM * outward)
    return np.concatenate([cloth, hem, collar]).astype(np.float32)


@cache
def _thighs() -> tuple[Floats32, Ints, sparse.csr_matrix]:
    """Two thighs in trousers as rounded tubes: vertices against the hips in the car's axes, triangles, incidence."""
    stations = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 18))
    along, around = np.meshgrid(stations, np.linspace(0, 2 * np.pi, 20, endpoint=False), indexing="ij")
    rounding = np.sqrt(1 - np.clip((np.abs(2 * along - 1) - 0.75) / 0.25, 0, 1) ** 2)
    radius = rounding * (THIGH_MM[0] + along * (THIGH_MM[1] - THIGH_MM[0]))
    ring = np.stack([radius * np.cos(around), radius * np.sin(around), np.zeros_like(radius)], axis=-1)
    cells = np.arange(along.size).reshape(along.shape)
    a, b = cells[:-1], cells[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    tube = np.concatenate([np.stack([a, d, b], axis=-1).reshape(-1, 3), np.stack([d, c, b], axis=-1).reshape(-1, 3)])
    start, way = np.array(THIGH_START_MM), np.array(THIGH_END_MM) - THIGH_START_MM
    right = (ring + start + along[..., None] * way).reshape(-1, 3)
    left = (ring + start + along[..., None] * way).reshape(-1, 3) * [-1, 1, 1]
    triangles = np.concatenate([tube, tube[:, ::-1] + len(right)]).astype(np.int32)
    vertices = np.concatenate([right, left]).astype(np.float32)
    return vertices, triangles, _incidence(triangles, len(vertices))


@cache
def _neck_point() -> Floats:
    """Where the neck of the mean person starts, head frame."""
    return np.asarray(_rest(mean_person())[1][assets.BONES.index("neck01")])


def _below_neckline(skin: Floats, kind: Neckline) -> Floats:
    """How far below a neckline vertices of the neutral skin lie, mm."""
    x, y, z = (skin - _neck_point()).T
    front = _smoothstep((z - 10) / 60)
    line = 8 + 0.42 * z
    if kind == "turtleneck":
        line -= 48
    elif kind == "vee":
        line += front * 85 * np.clip(1 - np.abs(x) / 75, 0, 1)
    elif kind == "scoop":
        line += front * 55 * np.clip(1 - (x / 95) ** 2, 0, 1)
    elif kind == "collar":
        line += front * 75 * np.clip(1 - np.abs(x) / 45, 0, 1) - 16
    shoulder = np.hypot(x, z - 10) - 78
    if kind == "scoop":
        return np.asarray(y - line)
    return np.asarray(np.maximum(y - line, np.minimum.reduce([shoulder, 0.8 * (y + 45), 45 - z])))


def _inside_sleeve(skin: Floats, share: float) -> Floats:
    """How far above the end of the sleeves vertices of the neutral skin lie, mm along the arm."""
    points = _rest(mean_person())[1]
    weights = topology().weights
    inside = np.full(len(skin), 1e3)
    for side in SIDES:
        shoulder, elbow, wrist = (
            points[assets.BONES.index(f"{bone}.{side}")] for bone in ("upperarm01", "lowerarm01", "wrist")
        )
        upper, fore = unit(elbow - shoulder), unit(wrist - elbow)
        length = float(np.linalg.norm(elbow - shoulder))
        before = (skin - elbow) @ (upper + fore) < 0
        along = np.where(before, (skin - shoulder) @ upper, length + (skin - elbow) @ fore)
        arm = [k for k, bone in enumerate(assets.BONES) if bone.endswith(f".{side}") and "clavicle" not in bone]
        on_arm = np.asarray(weights[:, arm].sum(axis=1)).ravel() > 0.5
        inside[on_arm] = (share * (length + float(np.linalg.norm(wrist - elbow))) - along)[on_arm]
    return inside


def _clip(triangles: Ints, depth: Floats) -> tuple[sparse.csr_matrix, Ints]:
    """The part of a mesh where `depth` is positive: the matrix that computes its vertices, and its triangles."""
    inside = depth > 0
    count = inside[triangles].sum(axis=1)
    # Turn each cut triangle so that the corner that is alone on its side comes first.
    tip = _rolled(triangles[count == 1], np.argmax(inside[triangles[count == 1]], axis=1))
    stump = _rolled(triangles[count == 2], np.argmin(inside[triangles[count == 2]], axis=1))
    # Crossed edges, from inside to outside.
    crossed = np.concatenate([tip[:, [0, 1]], tip[:, [0, 2]], stump[:, [1, 0]], stump[:, [2, 0]]])
    pairs, place = np.unique(crossed, axis=0, return_inverse=True)
    p, q, r, s = np.split(place.ravel() + len(depth), np.cumsum([len(tip), len(tip), len(stump)]))
    cut = np.concatenate(
        [
            triangles[count == 3],
            np.stack([tip[:, 0], p, q], axis=1),
            np.stack([stump[:, 1], stump[:, 2], s], axis=1),
            np.stack([stump[:, 1], s, r], axis=1),
        ]
    )
    far = depth[pairs[:, 0]] / (depth[pairs[:, 0]] - depth[pairs[:, 1]])
    between = sparse.csr_matrix(
        (np.stack([1 - far, far], axis=1).ravel(), (np.repeat(np.arange(len(pairs)), 2), pairs.ravel())),
        shape=(len(pairs), len(depth)),
    )
    matrix = sparse.vstack([sparse.identity(len(depth)), between]).tocsr()
    used, flat = np.unique(cut, return_inverse=True)
    return matrix[used], flat.reshape(-1, 3).astype(np.int32)


def _rolled(triangles: Ints, first: NDArray[np.intp]) -> Ints:
    return np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)


def _split(triangles: Ints, count: int) -> tuple[sparse.csr_matrix, Ints]:
    """Every triangle in four, at the middles of its sides."""
    ends = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    edges, edge_of = np.unique(ends, axis=0, return_inverse=True)
    a, b, c = triangles.T
    ab, bc, ca = count + edge_of.reshape(-1, 3).T
    small = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    middles = _rows(np.repeat(np.arange(len(edges)), 2), edges.ravel(), (len(edges), count), 0.5)
    return sparse.vstack([sparse.identity(count), middles]).tocsr(), small.astype(np.int32)


def _neighbours(triangles: Ints, count: int) -> sparse.csr_matrix:
    """One step of smoothing: halfway to the mean of the neighbours; on the rim, of the neighbours along it."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    rim = _rim(triangles)
    on_rim = np.zeros(count, bool)
    on_rim[rim] = True
    links = np.concatenate([sides[~on_rim[sides[:, 0]]], sides[~on_rim[sides[:, 1]]][:, ::-1], rim, rim[:, ::-1]])
    links = np.unique(links, axis=0)
    degree = np.maximum(np.bincount(links[:, 0], minlength=count), 1)
    mean = sparse.csr_matrix((1 / degree[links[:, 0]], (links[:, 0], links[:, 1])), shape=(count, count))
    return (0.5 * sparse.identity(count) + 0.5 * mean).tocsr()


def _hanging(place: Floats, triangles: Ints, sleeves: Floats) -> sparse.csr_matrix:
    """Gaussian means of cloth over its neighbourhood, by area; sleeves, which hardly hang, stay."""
    a, b, c = (place[triangles[:, k]] for k in range(3))
    area = np.bincount(
        triangles.ravel(), np.repeat(np.linalg.norm(np.cross(b - a, c - a), axis=1), 3), minlength=len(place)
    )
    torso = np.flatnonzero(sleeves < 0.3)
    tree = cKDTree(place[torso])
    near = tree.sparse_distance_matrix(tree, 2.2 * HANG_MM, output_type="coo_matrix")
    weight = np.exp(-0.5 * (near.data / HANG_MM) ** 2) * area[torso[near.col]]
    kernel = sparse.csr_matrix((weight, (torso[near.row], torso[near.col])), shape=(len(place), len(place)))
    total = np.asarray(kernel.sum(axis=1)).ravel()
    keep = np.where(total > 0, _smoothstep(sleeves / 0.3), 1)
    return (sparse.diags((1 - keep) / np.maximum(total, 1e-12)) @ kernel + sparse.diags(keep)).tocsr()


def _rim(triangles: Ints) -> Ints:
    """Directed edges (e, 2) that belong to one triangle alone."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    _, first, times = np.unique(np.sort(sides, axis=1), axis=0, return_index=True, return_counts=True)
    return np.asarray(sides[first[times == 1]])


def _band(rim: Ints, vertices: Ints, first: int) -> Ints:
    """Triangles from the rim's edges to copies of some of its vertices, numbered from `first` on."""
    copy = {int(v): first + k for k, v in enumerate(vertices)}
    pairs = [(a, b, copy[a], copy[b]) for a, b in rim.tolist() if a in copy and b in copy]
    return np.array([t for a, b, c, d in pairs for t in ((b, a, c), (b, c, d))], np.int32).reshape(-1, 3)


# Posture -------------------------------------------------------------------------------------------------------------

RECLINE_DEG = 12.0
"""How far the backrest, and so the torso, leans back."""
LEAN = 0.85
"""Share of the head's travel that the torso follows, about the hips."""
TORSO_YAW = 0.12
"""Share of the head's yaw that the torso takes."""
NECK = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75, "head": 1.0}
"""Share of the head's rotation against the torso that each bone has taken."""
TWIST = {"lowerarm01": 0.2, "lowerarm02": 0.65}
"""Share of the hand's turn about the forearm that each bone of the forearm takes."""
REACH = 0.995
"""An arm straightens no further than this share of its length."""
STRETCH = 1.15
"""How much longer an arm may become to reach its goal: people sit so that they reach the wheel."""
SHRUG_DEG = 14.0
"""How far a shoulder goes towards what the arm cannot reach."""
ELBOW, ELBOW_RAISED = np.array([0.55, 0.8, -0.25]), np.array([0.35, 0.7, 0.75])
"""Where elbows point, outward, down and forward, with the hand low and with the hand at the face."""
LAP_MM = (95.0, -70.0, 270.0)
"""A resting wrist against the hips: outward, down, forward."""
KNUCKLES_DEG, MIDDLE_DEG, TIP_DEG = (-8.0, 78.0), (-8.0, 92.0), (-4.0, 60.0)
"""Bend of a finger's joints, flat and curled."""
THUMB_DEG = ((0.0, 22.0), (-5.0, 32.0), (-8.0, 48.0))


@dataclass(frozen=True, slots=True, eq=False)
class Posture:
    """One instant of a body."""

    head_rotation: Floats = field(default_factory=lambda: np.eye(3))
    """(3, 3) car from head"""
    eye_mid_mm: Floats = field(default_factory=lambda: np.zeros(3))
    """(3,) car frame"""
    eye_elevation_deg: tuple[float, float] = (0.0, 0.0)
    eye_azimuth_deg: tuple[float, float] = (0.0, 0.0)
    """Left and right optical axis in the head frame; the lids follow."""
    lid_closure: tuple[float, float] = (0.0, 0.0)
    """0 as open as the gaze allows, 1 closed"""
    expression: Mapping[str, float] = field(default_factory=dict)
    """Face units and their weights. Of those that move the lids only eyeWide and eyeSquint count."""
    jaw_open: float = 0.0
    hands: tuple[Wrist | None, Wrist | None] = (None, None)
    """Left and right; None rests the hand in the lap."""


@dataclass(frozen=True, slots=True, eq=False)
class PosedBody:
    """A body in the car frame."""

    skin: Mesh
    """Its vertices are those of `Body.neutral_mm`; triangles under clothes are left out."""
    clothes: Mesh
    teeth: Mesh
    eye_centres_mm: Floats
    """(2, 3) left and right globe"""
    lid_margins_mm: Floats
    """(2 eyes, upper and lower, k, 3) from the inner corner to the outer, along the edge that carries the lashes"""
    head_rotation: Floats
    """(3, 3) car from head"""
    head_origin_mm: Floats
    """(3,) midway between the eyeball centres"""


class Body:
    """The body of one person."""

    neutral_mm: Floats32
    """(n, 3) the mean head's skin, the same for everyone"""
    triangles: Ints
    """(m, 3) of the skin that clothes leave bare"""
    masks: dict[str, Floats32]
    """(n,) from 0 to 1: lips, eyelids, ears, inside_mouth, hands, clothes, conjunctiva, and ao, the share
    of its surroundings that the skin sees"""
    rest_mm: Floats32
    """(n, 3) this person's skin at rest, head frame"""
    eye_centres_mm: Floats
    """(2, 3) left and right globe at rest, head frame"""

    def __init__(self, person: Person) -> None:
        """Shape the body. Raises KeyError if `person.shape` names a target that the assets lack."""
        rest, points, base, self.eye_centres_mm, self._scale = _rest(person)
        self.rest_mm, self.neutral_mm = rest.astype(np.float32), neutral_mm()
        mouth = _mouth()
        self._mouth_mm = (mouth.refine @ base * TEETH_SCALE + TEETH_MM + mouth.shift_mm).astype(np.float32)
        self._lids = tuple(Lids(rest, self.eye_centres_mm[eye], eye, person.lid_opening_mm) for eye in (LEFT, RIGHT))
        self._joints = {bone: points[k] for k, bone in enumerate(assets.BONES)}
        self._hands = tuple(_Hand(points, side) for side in SIDES)
        habit = np.random.default_rng([person.seed, 5])
        neckline = tuple(NECKLINES)[habit.choice(len(NECKLINES), p=list(NECKLINES.values()))]
        sleeve = tuple(SLEEVES)[habit.choice(3, p=[0.4, 0.12, 0.48])]
        self._garment = _garment(neckline, sleeve)
        self._cloth_mm = _dressed(self._garment, rest, habit)
        self.triangles = self._garment.skin_triangles
        rings = topology().rings.min(axis=0)
        self.masks = {
            **topology().masks,
            "clothes": self._garment.cover,
            "conjunctiva": (rings < MARGIN_RING - 1).astype(np.float32),
        }
        self._cloth = Surface((1.0, 1.0, 1.0), infrared=float(habit.uniform(0.25, 0.7)), roughness=0.9, specular=0.02)
        trousers = TROUSERS_RGB[habit.choice(len(TROUSERS_RGB))]
        self._cloth_rgb = np.empty((len(self._cloth_mm) + len(_thighs()[0]), 3), np.float32)
        self._cloth_rgb[: len(self._cloth_mm)] = person.clothes_rgb
        self._cloth_rgb[len(self._cloth_mm) :] = trousers
        upright = self._bones(rotation_x(RECLINE_DEG), np.eye(3), (None, None))
        self._hips_mm = -upright["head"].apply(np.zeros(3)) + upright["root"].apply(self._joints["root"])

    def pose(self, posture: Posture) -> PosedBody:
        """The body in a posture."""
        local, mouth = self.rest_mm.copy(), self._mouth_mm.copy()
        jaw = JAW_SHUT + (JAW_WIDE - JAW_SHUT) * float(np.clip(posture.jaw_open, 0, 1))
        self._express(local, mouth, {**posture.expression, "jawOpen": jaw})
        for eye, lids in enumerate(self._lids):
            around = lid_map(eye)
            moved = lids.moved(
                posture.eye_elevation_deg[eye],
                posture.eye_azimuth_deg[eye],
                float(np.clip(posture.lid_closure[eye], 0, 1)),
                *(
                    posture.expression.get(f"{unit_}{('Left', 'Right')[eye]}", 0.0)
                    for unit_ in ("eyeWide", "eyeSquint")
                ),
            )
            local[around.skin] += (moved - self.rest_mm[around.skin]).astype(np.float32)
        bones = self._place(posture)
        skin = _skinned(local, topology().weights, bones)
        normals = _normals(skin, topology().triangles, topology().incidence)
        head = bones["head"]
        centres = head.apply(self.eye_centres_mm)
        mouth_car = head.apply(mouth).astype(np.float32)
        return PosedBody(
            skin=Mesh(skin, self.triangles, normals, Surface((1.0, 1.0, 1.0), 1.0, 0.5), Part.SKIN),
            clothes=self._clothes(bones),
            teeth=Mesh(
                mouth_car,
                _mouth().triangles,
                _normals(mouth_car, _mouth().triangles, _mouth().incidence),
                Surface((1.0, 1.0, 1.0), 0.6, 0.3),
                Part.SKIN,
                _mouth().colours,
            ),
            eye_centres_mm=centres,
            lid_margins_mm=np.stack([_margins(skin, eye) for eye in (LEFT, RIGHT)]),
            head_rotation=posture.head_rotation,
            head_origin_mm=np.asarray(posture.eye_mid_mm, dtype=np.float64),
        )

    def _clothes(self, bones: "dict[str, _Bone]") -> Mesh:
        garment, (thighs, sides, thigh_incidence) = self._garment, _thighs()
        cloth = _skinned(self._cloth_mm, garment.weights, bones)
        legs = thighs * np.float32(self._scale) + bones["root"].apply(self._joints["root"]).astype(np.float32)
        normals = _normals(cloth, garment.triangles, garment.incidence), _normals(legs, sides, thigh_incidence)
        return Mesh(
            np.concatenate([cloth, legs]),
            np.concatenate([garment.triangles, sides + np.int32(len(cloth))]),
            np.concatenate(normals),
            self._cloth,
            Part.CLOTHES,
            self._cloth_rgb,
        )

    def _express(self, skin: Floats32, mouth: Floats32, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            if abs(weight) > 1e-3 and not name.startswith(("eyeBlink", "eyeLook", "eyeWide", "eyeSquint")):
                rows, delta, mouth_rows, mouth_delta = _unit_displacement(name)
                skin[rows] += np.float32(weight * self._scale) * delta
                mouth[mouth_rows] += np.float32(weight * self._scale) * mouth_delta

    def _place(self, posture: Posture) -> "dict[str, _Bone]":
        """Bones in the car frame, with the eyes exactly where the posture wants them."""
        mid = np.asarray(posture.eye_mid_mm, dtype=np.float64)
        lean = rotation_between(-self._hips_mm, LEAN * mid - self._hips_mm)
        yaw = facing_angles_deg(np.diag([-1.0, 1.0, -1.0]) @ posture.head_rotation)[0]
        torso = rotation_y(TORSO_YAW * yaw) @ lean @ rotation_x(RECLINE_DEG)
        return self._bones(torso, posture.head_rotation, posture.hands, mid)

    def _bones(
        self,
        torso: Floats,
        head: Floats,
        hands: tuple[Wrist | None, Wrist | None],
        mid: Floats | None = None,
    ) -> "dict[str, _Bone]":
        """The chain from the hips up, shifted so that the eyes' midpoint is at `mid` (left alone if None), and arms."""
        joints = self._joints
        bones = {"root": _Bone(torso, joints["root"] - torso @ joints["root"])}
        for bone in ("spine05", "spine04", "spine03", "spine02", "spine01"):
            bones[bone] = bones["root"]
        turn = Rotation.from_matrix(torso.T @ head).as_rotvec()
        below = bones["spine01"]
        for bone, share in NECK.items():
            rotation = torso @ Rotation.from_rotvec(share * turn).as_matrix() if share < 1 else head
            below = bones[bone] = below.joined(joints[bone], rotation)
        if mid is not None:
            shift = mid - bones["head"].apply(np.zeros(3))
            bones = {name: _Bone(bone.rotation, bone.shift + shift) for name, bone in bones.items()}
            for side, target, hand in zip((LEFT, RIGHT), hands, self._hands, strict=True):
                bones |= self._arm(side, bones["spine01"], target or self._in_lap(side, bones["root"]), hand)
        return bones

    def _in_lap(self, side: int, root: "_Bone") -> Wrist:
        outward = -1 if side == LEFT else 1
        hips = root.apply(self._joints["root"])
        wrist = hips + self._scale * np.array([outward * LAP_MM[0], LAP_MM[1], LAP_MM[2]])
        return Wrist.pointing(wrist, [-0.25 * outward, -0.075, 1.0], [0.3 * outward, -1.0, 0.0], 0.35)

    def _arm(self, side: int, chest: "_Bone", target: Wrist, hand: "_Hand") -> "dict[str, _Bone]":
        """Clavicle to finger tips of one arm: two-bone inverse kinematics."""
        name, joints = SIDES[side], self._joints
        clavicle, shoulder, elbow, wrist = (
            joints[f"{bone}.{name}"] for bone in ("clavicle", "upperarm01", "lowerarm01", "wrist")
        )
        upper, fore = float(np.linalg.norm(elbow - shoulder)), float(np.linalg.norm(wrist - elbow))
        goal = np.asarray(target.position_mm, dtype=np.float64)
        girdle = chest.joined(clavicle, _shrug(chest, clavicle, shoulder, goal, upper + fore) @ chest.rotation)
        start = girdle.apply(shoulder)
        outward = np.array([-1 if side == LEFT else 1, 1, 1])
        raised = float(_smoothstep((start[1] - goal[1] + 250) / 250))
        pole = outward * ((1 - raised) * ELBOW + raised * ELBOW_RAISED)
        stretch = float(np.clip(np.linalg.norm(goal - start) / (REACH * (upper + fore)), 1, STRETCH))
        bent, end = _bend(start, goal, stretch * upper, stretch * fore, chest.rotation @ pole)
        rest = _arm_frames(shoulder, elbow, wrist)
        frames = _arm_frames(start, bent, end)
        upperarm = girdle.joined(shoulder, frames[0] @ np.diag([stretch, 1, 1]) @ rest[0].T)
        forearm = frames[1] @ rest[1].T
        rotation = target.rotation @ hand.frame.T
        along = unit(wrist - elbow)
        twist = _twist(forearm.T @ rotation, along)
        bones = {f"clavicle.{name}": girdle, f"shoulder01.{name}": girdle, f"upperarm01.{name}": upperarm}
        below, longer = upperarm, np.eye(3) + (stretch - 1) * np.outer(along, along)
        for bone, share in TWIST.items():
            turned = forearm @ Rotation.from_rotvec(share * twist * along).as_matrix() @ longer
            below = bones[f"{bone}.{name}"] = below.joined(joints[f"{bone}.{name}"], turned)
        # The joints of the forearm are not quite in line, so that twisting it moves its end a little.
        bones[f"wrist.{name}"] = _Bone(rotation, end - rotation @ wrist)
        return bones | hand.fingers(bones[f"wrist.{name}"], float(np.clip(target.curl, 0, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class _Bone:
    """A motion from the head frame at rest to the car frame: a rotation (an arm may also stretch), then a shift."""

    rotation: Floats
    shift: Floats

    def apply(self, points: Floats | Floats32) -> Floats:
        return np.asarray(points @ self.rotation.T + self.shift)

    def joined(self, joint: Floats, rotation: Floats) -> "_Bone":
        """A bone that hangs on this one at a joint and has its own rotation."""
        return _Bone(rotation, self.apply(joint) - rotation @ joint)


class _Hand:
    """The joints of one hand at rest: its frame, and how its fingers bend."""

    def __init__(self, points: Floats, side: str) -> None:
        self._side = side
        bone = {name: points[assets.BONES.index(f"{name}.{side}")] for name in _hand_bones()}
        along = bone["finger3-1"] - bone["wrist"]
        across = bone["finger2-1"] - bone["finger5-1"]
        across = across if side == "L" else -across
        ahead = unit(along)
        palm = unit(np.cross(ahead, across))
        self.frame = np.stack([ahead, -palm, np.cross(palm, ahead)], axis=1)
        """(3, 3) head frame at rest from the hand's frame, that of `Wrist`"""
        self._joints = bone
        self._axes: dict[str, Floats] = {}
        for finger in range(1, 6):
            tip = points[assets.POINTS.index(f"tip:{side.lower()}-finger-{finger}")]
            chain = [bone[f"finger{finger}-{k}"] for k in (1, 2, 3)] + [tip]
            for k in range(3):
                way = unit(chain[k + 1] - chain[k])
                inward = palm if finger > 1 else unit(palm + unit(bone["finger5-1"] - bone["finger2-1"]) + 0.3 * ahead)
                self._axes[f"finger{finger}-{k + 1}"] = unit(np.cross(way, inward))

    def fingers(self, wrist: _Bone, curl: float) -> dict[str, _Bone]:
        """Bones of the fingers, bent."""
        bones = {}
        for finger in range(1, 6):
            below = wrist
            ranges = THUMB_DEG if finger == 1 else (KNUCKLES_DEG, MIDDLE_DEG, TIP_DEG)
            for k, (flat, bent) in enumerate(ranges, 1):
                name = f"finger{finger}-{k}"
                angle = np.radians(flat + curl * (bent - flat))
                rotation = below.rotation @ Rotation.from_rotvec(angle * self._axes[name]).as_matrix()
                below = bones[f"{name}.{self._side}"] = below.joined(self._joints[name], rotation)
        return bones


def _hand_bones() -> tuple[str, ...]:
    return ("wrist", *(f"finger{finger}-{k}" for finger in range(1, 6) for k in range(1, 4)))


def _shrug(chest: _Bone, clavicle: Floats, shoulder: Floats, goal: Floats, length: float) -> Floats:
    """Rotation of the shoulder girdle in the car frame, towards a goal that the arm can hardly reach."""
    pivot, start = chest.apply(clavicle), chest.apply(shoulder)
    lack = float(np.clip(np.linalg.norm(goal - start) / length - 0.8, 0, 0.4)) / 0.4
    axis = np.cross(start - pivot, goal - pivot)
    if np.linalg.norm(axis) < 1e-6:
        return np.eye(3)
    return np.asarray(Rotation.from_rotvec(np.radians(SHRUG_DEG * lack) * unit(axis)).as_matrix())


def _bend(start: Floats, goal: Floats, upper: float, fore: float, pole: Floats) -> tuple[Floats, Floats]:
    """Elbow and wrist of an arm that reaches for a goal, the elbow on the side of `pole`."""
    way = goal - start
    distance = float(np.clip(np.linalg.norm(way), 1.05 * abs(upper - fore) + 60, REACH * (upper + fore)))
    n = unit(way) if np.linalg.norm(way) > 1e-6 else np.array([0.0, 0.0, 1.0])
    side = unit(pole - n * (n @ pole))
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    return start + n * along + side * np.sqrt(max(upper**2 - along**2, 0.0)), start + n * distance


def _arm_frames(shoulder: Floats, elbow: Floats, wrist: Floats) -> tuple[Floats, Floats]:
    """Frames of the upper arm and the forearm: along the bone, along the elbow's hinge, across."""
    upper, fore = unit(elbow - shoulder), unit(wrist - elbow)
    hinge = unit(np.cross(upper, fore))
    return tuple(np.stack([way, hinge, np.cross(way, hinge)], axis=1) for way in (upper, fore))  # type: ignore[return-value]


def _twist(rotation: Floats, axis: Floats) -> float:
    """The part of a rotation that turns about an axis, radians, between -pi and pi."""
    quaternion = Rotation.from_matrix(rotation).as_quat()
    angle = 2 * np.arctan2(quaternion[:3] @ axis, quaternion[3])
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _skinned(points: Floats32, weights: sparse.csr_matrix, bones: Mapping[str, _Bone]) -> Floats32:
    """Linear blend skinning."""
    motions = np.array([np.column_stack([bones[b].rotation, bones[b].shift]).ravel() for b in assets.BONES])
    blended = (weights @ motions.astype(np.float32)).reshape(-1, 3, 4)
    return np.asarray(np.einsum("vij,vj->vi", blended[:, :, :3], points) + blended[:, :, 3])


def _incidence(triangles: Ints, count: int) -> sparse.csr_matrix:
    """(count, m) of ones where a triangle has a vertex: adds up what belongs to the triangles around each vertex."""
    rows, columns = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(count, len(triangles)))


def _normals(vertices: Floats32, triangles: Ints, incidence: sparse.csr_matrix) -> Floats32:
    """Unit normals of vertices, each triangle counted by its area."""
    corner = vertices[triangles[:, 0]]
    p, q = (vertices[triangles[:, 1]] - corner).T, (vertices[triangles[:, 2]] - corner).T
    across = np.stack([p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]], axis=1)
    normals = incidence @ across
    length = np.sqrt((normals * normals).sum(axis=1, keepdims=True))
    normals[length[:, 0] < 1e-12] = [0, 0, 1]
    return np.asarray(normals / np.maximum(length, 1e-12), np.float32)


def _margins(skin: Floats32, eye: int) -> Floats:
    """Upper and lower margin (2, MARGIN_POINTS, 3) from the inner corner to the outer."""
    lids = lid_map(eye)
    return np.asarray(lids.margins @ skin[lids.loop].astype(np.float64))
