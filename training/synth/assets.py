"""The vendored shapes and panoramas of the synthetic cabin, read once.

`build_assets` makes the files from MakeHuman's body (as MPFB2 ships it, with the Face Units pack) and Poly Haven's
panoramas, all CC0; `assets/README.md` says what came from where. MakeHuman's axes: decimetres, x to the person's left,
y up, z out of the face.
"""

import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dashgaze.errors import DashgazeError

FOLDER = Path(__file__).parent / "assets"
REMEDY = "restore the file from the repository or run dashgaze.training.synth.build_assets"

UNIT_DM = 1e-4
"""Step of the stored displacements: 0.01 mm."""
HDR_SIZE_PX = (512, 256)
PANORAMAS = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
MASKS = ("lips", "eyelids", "ears", "inside_mouth", "fingernails")
"""Masks painted in MakeHuman's texture."""
GROUPS = ("skin", "teeth", "tongue")

_SPINE = ("root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head")
_ARM = ("clavicle", "shoulder01", "upperarm01", "lowerarm01", "lowerarm02", "wrist")
_FINGERS = tuple(f"finger{finger}-{joint}" for finger in range(1, 6) for joint in range(1, 4))
BONES = _SPINE + tuple(f"{bone}.{side}" for side in "LR" for bone in _ARM + _FINGERS)
POINTS = (
    *(f"joint:{bone}" for bone in BONES),
    *(f"tip:{side}-finger-{finger}" for side in "lr" for finger in range(1, 6)),
    *(f"{kind}:{side}" for kind in ("eye", "front") for side in ("left", "right")),
)
"""Joints, finger tips, and centre and front of MakeHuman's own eyeballs: they move with the targets as vertices do."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A displacement of some rows of the base mesh."""

    rows: NDArray[np.intp]
    delta_dm: NDArray[np.float32]
    """(rows, 3)"""


@dataclass(frozen=True, slots=True, eq=False)
class Assets:
    """The upper body of MakeHuman, before any shape is chosen. n vertices, then one row for each of `POINTS`."""

    vertices: int
    """n"""
    base_dm: NDArray[np.float32]
    """(n + points, 3)"""
    quads: dict[str, NDArray[np.int32]]
    """Of every group, (m, 4), counter-clockwise seen from outside."""
    targets: dict[str, Target]
    """Named as in MakeHuman ("nose/nose-hump-incr", "macrodetails/asian-male-old"); face units as "units/jawOpen"."""
    bones: NDArray[np.intp]
    """(n, 4) places in `BONES`"""
    bone_weights: NDArray[np.float32]
    """(n, 4), each row adds up to 1"""
    masks: dict[str, NDArray[np.float32]]
    """(n,) from 0 to 1, `MASKS`"""
    occlusion: NDArray[np.float32]
    """(n,) share of the surroundings that the skin sees past the body itself"""

    def point(self, name: str) -> int:
        """Row of one of `POINTS`."""
        return self.vertices + POINTS.index(name)


@cache
def load(path: Path = FOLDER / "body.npz") -> Assets:
    """The body, read once. Raises DashgazeError if the file is missing or damaged."""
    arrays = _read(path)
    try:
        return _assemble(arrays)
    except (KeyError, ValueError, IndexError) as error:
        raise DashgazeError(str(path), f"does not hold a body ({error})", REMEDY) from error


@cache
def panorama(name: str, path: Path = FOLDER / "panoramas.npz") -> NDArray[np.float32]:
    """Equirectangular surroundings (256, 512, 3), linear light, mean 1; the middle column faces +z, row 0 up."""
    if name not in PANORAMAS:
        raise DashgazeError(name, "is no panorama", f"choose one of {', '.join(PANORAMAS)}")
    arrays = _read(path)
    picture = arrays.get(name, np.zeros(0)).astype(np.float32)
    width, height = HDR_SIZE_PX
    if picture.shape != (height, width, 3) or not np.isfinite(picture).all():
        raise DashgazeError(str(path), f"does not hold the panorama {name}", REMEDY)
    picture.flags.writeable = False
    return picture


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise DashgazeError(str(path), "is missing", REMEDY) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DashgazeError(str(path), f"is damaged ({error})", REMEDY) from error


def _assemble(arrays: dict[str, NDArray[np.generic]]) -> Assets:
    base = arrays["base_dm"].astype(np.float32)
    count = len(base) - len(POINTS)
    rows = arrays["target_indices"].astype(np.intp)
    deltas = arrays["target_deltas"].astype(np.float32) * np.float32(UNIT_DM)
    starts = arrays["target_starts"].astype(np.intp)
    quads = {group: arrays[f"quads_{group}"].astype(np.int32) for group in GROUPS}
    weights = arrays["bone_weights"].astype(np.float32)
    masks = arrays["masks"].astype(np.float32) / np.float32(255)
    names = [str(name) for name in arrays["target_names"]]
    if count <= 0 or rows.max() >= len(base) or max(q.max() for q in quads.values()) >= count:
        raise ValueError("indices beyond the vertices")
    if len(starts) != len(names) + 1 or starts[-1] != len(rows) or deltas.shape != (len(rows), 3):
        raise ValueError("targets of the wrong length")
    if weights.shape != (count, 4) or masks.shape != (len(MASKS), count) or not np.isfinite(base).all():
        raise ValueError("weights or masks of the wrong length")
    return Assets(
        vertices=count,
        base_dm=base,
        quads=quads,
        targets={
            name: Target(rows[a:b], deltas[a:b]) for name, a, b in zip(names, starts[:-1], starts[1:], strict=True)
        },
        bones=arrays["bones"].astype(np.intp),
        bone_weights=weights / weights.sum(axis=1, keepdims=True),
        masks=dict(zip(MASKS, masks, strict=True)),
        occlusion=arrays["occlusion"].astype(np.float32) / np.float32(255),
    )
