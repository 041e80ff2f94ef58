"""The folder of a training run: what it was told, what it knows, and what came out.

    RUN/config.toml      the whole configuration, `GazeConfig`
    RUN/run.json         where it comes from and how it ended, `RunRecord`
    RUN/weights.pt       `state_dict` of the best epoch, nothing else
    RUN/metrics.json     validation errors of that epoch, `Metrics`
    RUN/curves.csv       losses and validation errors of each epoch
    RUN/curves.png       the same as a picture
    RUN/checkpoint.pt    what a run needs to go on; its layout is `train`'s own

Each file is replaced whole, so that a run that was killed has the last complete one. Weights are tensors and plain
values: nothing in a run's folder is ever unpickled.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, Literal

import torch
from pydantic import Field

import dashgaze
from dashgaze.errors import DashgazeError, InputError
from dashgaze.session import Record, Versions, read_record
from dashgaze.tables import atomic_file, write_atomically, write_failure
from dashgaze.training.gaze.config import GazeConfig, read_gaze_config
from dashgaze.training.gaze.metrics import Statistics
from dashgaze.training.gaze.model import DashGazeNet

CONFIG, RECORD, WEIGHTS, METRICS = "config.toml", "run.json", "weights.pt", "metrics.json"
CURVES, CURVES_PICTURE, CHECKPOINT = "curves.csv", "curves.png", "checkpoint.pt"
_LIBRARIES = ("torch", "numpy", "opencv-python-headless", "onnxruntime")

Selection = Literal["ray_deg", "face_deg", "location_px"]


class DataRecord(Record):
    """One of the sets of a run."""

    fingerprint: str = Field(description="Of the samples: sessions, bundle, plan of the crops, code")
    sessions: tuple[str, ...] = Field(description="Ids of the sessions")
    drivers: tuple[str | None, ...] = Field(description="Pseudonyms of their drivers, each once; null where unknown")
    samples: int = Field(ge=1, description="Frames that count")


class RunRecord(Record):
    """`run.json`."""

    schema_version: Literal[1] = Field(default=1, description="Version of this schema")
    name: str = Field(description="Name of the configuration")
    seed: int = Field(description="What everything random comes from")
    versions: Versions = Field(description="Software that trained it")
    parameters: int = Field(ge=1, description="Numbers that were learned, without the session heads")
    train: DataRecord = Field(description="What it learned from")
    validation: DataRecord = Field(description="What chose the epoch")
    training_mean_ray: tuple[float, float, float] | None = Field(description="Mean gaze it learned from, camera frame")
    training_mean_face_deg: tuple[float, float] | None = Field(description="Mean azimuth and elevation, face frame")
    training_mean_location_frac: tuple[float, float] | None = Field(
        description="Mean place on the road view, shares of its width and height"
    )
    unlabelled: int | None = Field(default=None, description="Real pictures of the consistency loss; null without it")
    state: Literal["training", "complete"] = Field(description="`training` also where it was stopped")
    epochs: int = Field(default=0, ge=0, description="Epochs that are complete")
    best_epoch: int | None = Field(default=None, description="Epoch of the weights, from 1; null while there are none")
    selected_by: Selection = Field(description="Mean validation error that chooses the epoch")
    best_error: float | None = Field(default=None, description="That error of that epoch")


class Metrics(Record):
    """`metrics.json`: the validation set, seen by the weights of `weights.pt`."""

    schema_version: Literal[1] = Field(default=1, description="Version of this schema")
    epoch: int = Field(ge=1, description="Epoch of the weights, from 1")
    errors: dict[Selection, Statistics] = Field(description="By head: ray and face angles (12.9), location (12.10)")
    by_light: dict[str, dict[Selection, Statistics]] = Field(description="The same by light; `unknown` where not said")
    error_factor: float | None = Field(
        description="Makes the predicted standard deviation of the ray right on the validation set; null without one"
    )


def load_run(folder: Path) -> tuple[GazeConfig, DashGazeNet, RunRecord]:
    """Configuration, network in evaluation mode on the CPU, and record of a run that has weights. Raises InputError."""
    config, record = read_run(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(str(path), "is not there: no epoch of this run is complete yet", "train it further")
    network = DashGazeNet(config.model)
    try:
        network.load_state_dict(load_tensors(path))
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise InputError(str(path), f"does not fit {CONFIG}: {reason}", "take both from one run") from None
    return config, network.eval(), record


def read_run(folder: Path) -> tuple[GazeConfig, RunRecord]:
    """Configuration and record of a run, complete or not. Raises InputError."""
    if not (folder / RECORD).is_file():
        raise InputError(str(folder), f"is not a training run: it has no {RECORD}")
    return read_gaze_config(folder / CONFIG), read_record(folder / RECORD, RunRecord)


def read_metrics(folder: Path) -> Metrics:
    """Validation errors of a run that has weights. Raises InputError."""
    return read_record(folder / METRICS, Metrics)


def fingerprint(folder: Path) -> str:
    """SHA-256 over configuration and weights: it says which run a bundle's network comes from. Raises InputError."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        try:
            with open(folder / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(str(folder / name), f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    return digest.hexdigest()


@contextmanager
def open_run(folder: Path, config: GazeConfig) -> Iterator[None]:
    """Keep a run's folder for the block: a new one with its configuration, or one that was begun with the same.

    Raises InputError if the folder holds something else, or another process trains in it.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is not a folder", "name another place")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise write_failure(folder, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "is being trained by another process"
            raise InputError(str(folder), problem, "wait, or name another folder") from None
        _claim(folder, config)
        yield
    finally:
        os.close(lock)


def _claim(folder: Path, config: GazeConfig) -> None:
    path = folder / CONFIG
    # A configuration alone is what a run left that its data did not allow to begin.
    begun = [entry for entry in folder.iterdir() if not entry.name.startswith((CONFIG, f".{CONFIG}"))]
    if path.is_file() and begun:
        different = differences(read_gaze_config(path), config)
        if different:
            problem = f"was begun with another {', '.join(different)}"
            raise InputError(str(folder), problem, "name another folder, or train it as it was begun")
    elif begun:
        raise InputError(str(folder), "is neither empty nor a training run", "name another folder")
    else:
        write_atomically(path, to_toml(config).encode())


def differences(one: GazeConfig, other: GazeConfig) -> list[str]:
    """Keys in which two configurations differ, as `section.key`."""
    first, second = one.model_dump(), other.model_dump()
    found = []
    for section, value in first.items():
        if isinstance(value, dict):
            found += [f"{section}.{key}" for key in value if value[key] != second[section][key]]
        elif value != second[section]:
            found.append(section)
    return found


def to_toml(config: GazeConfig) -> str:
    """A configuration as the TOML text that `read_gaze_config` reads back."""
    tables = config.model_dump(mode="json", exclude_none=True)
    lines = [f"name = {json.dumps(tables.pop('name'))}"]
    for section, values in tables.items():
        lines += ["", f"[{section}]"]
        # JSON's strings, numbers, booleans and arrays are TOML's, too.
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def versions() -> Versions:
    """Software that trains here."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return Versions(dashgaze=dashgaze.__version__, python=python_version(), libraries=libraries)


def save_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically, without a second copy in memory. Raises DashgazeError."""
    try:
        with atomic_file(path) as file:
            torch.save(dict(state), file)
    except RuntimeError as error:  # torch's own words for a write that failed
        raise DashgazeError(str(path), f"cannot be written: {error}", "free some space") from error


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote, onto the CPU. Raises InputError."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    with file:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes make torch raise nearly anything, IndexError among it
            problem = f"is damaged, or holds more than tensors ({type(error).__name__})"
            raise InputError(str(path), problem, "restore or remove it") from None
    if not isinstance(state, dict):
        raise InputError(str(path), "does not hold named tensors", "restore or remove it")
    return state
