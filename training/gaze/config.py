"""What a training run is told: one TOML file, every key checked. The recipes are beside this file, in `recipes/`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dashgaze.device.crops import CropPlan
from dashgaze.errors import InputError
from dashgaze.session import read_file

RECIPES = Path(__file__).parent / "recipes"

Branch = Literal["driver", "face", "right_eye", "left_eye", "landmarks"]
BRANCHES: tuple[Branch, ...] = ("face", "left_eye", "right_eye", "driver", "landmarks")
"""In the order of (12.1)."""
Fusion = Literal["concatenate", "weighted"]


_Side = Annotated[int, Field(ge=8, le=1024)]  # pixels; as `device.network.GazeCrops` has it


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(_Section):
    """The network; each row of the thesis' table 12.1 and each ablation is one of these."""

    backbone: Literal["small", "resnet50"] = Field("small", description="of the driver view and the face")
    width: float = Field(1.0, ge=0.125, le=4, description="multiplies the channels of the small backbone and the eyes")
    driver_px: tuple[_Side, _Side] = Field((96, 96), description="driver view, width and height")
    face_px: tuple[_Side, _Side] = Field((96, 96), description="face, width and height")
    channels: Literal[1, 3] = Field(1, description="1 grey, 3 colour")
    branches: tuple[Branch, ...] = Field(BRANCHES, min_length=1, description="input branches")
    shared_eyes: bool = Field(True, description="one network for both eyes, the right one mirrored")
    landmarks: Literal["five", "mesh"] = Field("mesh", description="five in the picture, or the mesh in the eyes' view")
    head_pose: bool = Field(True, description="head pose and place go into the landmark branch, too")
    features: int = Field(500, ge=8, le=4096, description="of each branch")
    ray: bool = Field(True, description="a head for the ray in the camera frame")
    face_angles: bool = Field(True, description="a head for azimuth and elevation in the face frame (12.3)")
    location: Literal["none", "direct", "residual"] = Field(
        "residual", description="a head for the place on the road view (12.2), or for what the rigid pair leaves over"
    )
    mixture: int = Field(0, ge=0, le=8, description="components of a mixture density for a direct location; 0 is none")
    ray_fusion: Fusion = Field("concatenate", description="how the ray head gets the branches")
    angle_fusion: Fusion = Field("weighted", description="how the face angle head gets the branches")
    location_fusion: Fusion = Field("concatenate", description="how the location head gets the branches")
    uncertainty: bool = Field(True, description="the ray comes with its own standard deviation")
    session_task: Literal["none", "identity", "translation"] = Field(
        "none", description="self-supervised: which session, or one head per session that detects translation (12.7)"
    )
    session_features: Literal["eyes_landmarks", "all"] = Field("eyes_landmarks", description="what session heads see")
    dropout: float = Field(0.1, ge=0, lt=1, description="before each head")

    @model_validator(mode="after")
    def _check(self) -> "ModelConfig":
        if len(set(self.branches)) < len(self.branches):
            raise ValueError("a branch is named twice")
        if not (self.ray or self.face_angles or self.location != "none"):
            raise ValueError("needs a head: ray, face_angles or location")
        if self.location == "residual" and not self.ray:
            raise ValueError("location = residual needs the ray")
        if self.mixture and self.location != "direct":
            raise ValueError("mixture needs location = direct")
        return self

    @property
    def crops(self) -> CropPlan:
        """The pictures it takes."""
        return CropPlan(self.driver_px, self.face_px, channels=self.channels)


class LossConfig(_Section):
    """Weights of the parts of (12.4) and (12.8), and their kind."""

    kind: Literal["squared", "robust"] = Field("robust", description="squared as in (12.2), or distances")
    ray: float = Field(1.0, ge=0, description="of the ray, in units of 10 degrees")
    angle: float = Field(0.5, ge=0, description="lambda of (12.4), in units of 10 degrees")
    location: float = Field(0.5, ge=0, description="of the location, in tenths of the road view's width or 10 degrees")
    session: float = Field(0.1, ge=0, description="of the session heads (12.8)")
    consistency: float = Field(0.0, ge=0, description="agreement of two looks at unlabelled real pictures")


class AugmentationConfig(_Section):
    """Changes to training samples. A probability of 0 leaves one out."""

    flip: float = Field(0.5, ge=0, le=1, description="mirror everything, labels included: left- and right-hand drive")
    photometric: float = Field(0.8, ge=0, le=1, description="brightness, contrast, gamma, noise")
    low_light: float = Field(0.15, ge=0, le=1, description="darkness with shot noise")
    blur: float = Field(0.3, ge=0, le=1, description="defocus, motion, or a coarser picture")
    compression: float = Field(0.2, ge=0, le=1, description="JPEG blocks")
    occlusion: float = Field(0.15, ge=0, le=1, description="a patch over part of the face or an eye")
    glare: float = Field(0.15, ge=0, le=1, description="bright spots and veils on the eyes")
    jitter_px: float = Field(2.0, ge=0, le=10, description="standard deviation of the crops' place, crop pixels")
    landmark_noise: float = Field(0.01, ge=0, le=0.2, description="standard deviation of landmark errors, 100 mm")
    blank: float = Field(0.1, ge=0, le=1, description="one branch of the pictures is dropped")


class TrainingConfig(_Section):
    """The loop."""

    seed: int = Field(0, ge=0, lt=2**31, description="whatever is random comes from it")
    epochs: int = Field(30, ge=1, le=1000, description="at most; the learning rate is planned over them")
    batch: int = Field(32, ge=2, le=4096, description="samples a step")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak; warm-up over the first twentieth, then cosine")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of matrices and kernels (AdamW)")
    patience_epochs: int = Field(8, ge=1, description="early stopping: epochs without a better validation error")
    threads: int = Field(1, ge=0, le=256, description="of torch on the CPU; 0 leaves it alone")


class AdaptationConfig(_Section):
    """Test-time adaptation by the chapter's translation task."""

    shift_frac: float = Field(20 / 224, gt=0, lt=0.5, description="largest translation, share of the picture's width")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="of plain gradient descent")
    batch: int = Field(8, ge=1, le=4096, description="successive frames of one update")


class DataConfig(_Section):
    """Sets of sessions. Nobody may be in two of train, validation and test."""

    train: tuple[Path, ...] = Field((Path("sets/standard/train"),), description="sets to learn from")
    validation: tuple[Path, ...] = Field((Path("sets/standard/validation"),), description="sets that choose the epoch")
    unlabelled: Path | None = Field(None, description="folder of real pictures for the consistency loss")


class GazeConfig(_Section):
    """A whole run."""

    name: str = Field("edge", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="of the run")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    adaptation: AdaptationConfig = AdaptationConfig()

    @model_validator(mode="after")
    def _check(self) -> "GazeConfig":
        if self.loss.kind == "squared" and self.model.ray and self.model.uncertainty:
            raise ValueError("loss.kind = squared does not train model.uncertainty: set it to false")
        return self


def read_gaze_config(source: str | Path, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> GazeConfig:
    """Configuration of a TOML file, or of a recipe by its name, with `overrides` (section to key to value) over it.

    `base = "edge"` in a file takes over what another file or recipe says. Raises InputError that names file and key.
    """
    path = _find(str(source))
    tables = _merged(_read(path, ()), overrides or {})
    try:
        return GazeConfig.model_validate(tables)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}, {key}" if key else str(path), problem) from None


def _find(source: str) -> Path:
    recipe = RECIPES / f"{source}.toml"
    path = recipe if recipe.is_file() else Path(source)
    if path.suffix != ".toml" or not path.is_file():
        known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise InputError(source, "is neither a TOML file nor a recipe", f"recipes: {known}")
    return path


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Tables of a file over those of its base."""
    if path in above:
        raise InputError(f"{path}, base", "is its own base")
    try:
        tables = tomllib.loads(read_file(path).decode())
    except UnicodeDecodeError:
        raise InputError(str(path), "is not UTF-8 text", "name a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(str(path), f"is not TOML: {error}") from None
    base = tables.pop("base", None)
    return tables if base is None else _merged(_read(_find(str(base)), (*above, path)), tables)


def _merged(tables: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables with the keys of `over`, section by section."""
    merged = dict(tables)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    return merged
