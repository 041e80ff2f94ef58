"""Trains DashGazeNet: thesis, section 12.2, equations (12.2) to (12.8); AdamW, Loshchilov and Hutter 2019.

One step takes one batch of samples, all of them labelled:

    L = L_G (12.4) + w_sess L_sess (12.7) + w_cons L_cons

L_sess. The chapter alternates batches of normal and of translated landmarks. Here both of a pair are the same samples
and make one step (12.8): what the two differ in is then the translation and nothing else, every session head sees both
classes in each step, and the optimiser never takes a step on the session task alone, which Adam would make as large as
one on gaze. L_G is of the normal one only: the label of a translated sample is wrong, for landmarks say where the head
is. Only the landmark branch sees the difference, so that it alone is computed twice.

L_cons. Two looks at real pictures without labels should agree on the ray: one by the network, one by the moving
average of its weights (mean teacher; Tarvainen and Valpola 2017), through which no gradient goes.

Whatever is random in a step comes from (seed, epoch, batch) alone. On the CPU a run that was killed and went on ends
in the same weights, bit for bit, as one that ran through.
"""

import copy
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dashgaze.bundle import packaged_bundle
from dashgaze.device.crops import mirror_order
from dashgaze.device.headpose import CanonicalFace
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Floats
from dashgaze.session import write_record
from dashgaze.tables import write_atomically
from dashgaze.training.gaze import runs, splits
from dashgaze.training.gaze.adapt import translate
from dashgaze.training.gaze.augment import augment
from dashgaze.training.gaze.baselines import mean_gaze
from dashgaze.training.gaze.batches import batches, count_batches
from dashgaze.training.gaze.config import GazeConfig, TrainingConfig
from dashgaze.training.gaze.curves import EpochBar, curves_csv, curves_png, epoch_bar
from dashgaze.training.gaze.evaluate import ROAD_VIEW_PX, NetworkPredictor
from dashgaze.training.gaze.metrics import (
    Statistics,
    angular_error_deg,
    angular_error_of_angles_deg,
    location_error_px,
    summarise,
)
from dashgaze.training.gaze.model import (
    SD_OF_LAPLACE,
    UNIT_DEG,
    DashGazeNet,
    Outputs,
    SessionHeads,
    Truth,
    gaze_losses,
    session_branches,
    session_loss,
    used_inputs,
)
from dashgaze.training.gaze.model import angular_error_deg as angle_between_deg
from dashgaze.training.gaze.runs import DataRecord, Metrics, RunRecord, Selection
from dashgaze.training.gaze.samples import SampleSet, SessionSamples, prepare
from dashgaze.training.gaze.unlabelled import unlabelled_samples

CHECKPOINT_EVERY_S = 120.0
AVERAGE_DECAY = 0.999
"""Of the moving average of the weights, which is what is kept; shorter over the first steps."""
LARGEST_GRADIENT = 1.0
UNLABELLED_PICTURES = 4000
"""At most so many real pictures are kept in memory."""
_MEDIAN_OF_LAPLACE = 1.6783469900166605 / SD_OF_LAPLACE
"""Median distance of the density exp(-r / b) / (2 pi b^2), in its standard deviations per axis."""

Inputs = Mapping[str, Tensor]


def train(config: GazeConfig, out: Path, workers: int = 1) -> Metrics:
    """Train into the run folder `out`, or go on there; returns the validation errors of the weights that were kept.

    Raises InputError for data that cannot be used (somebody is in two sets, no usable frame) or a folder that holds
    another run; DashgazeError for a loss that is not a number, naming the samples; KeyboardInterrupt after Ctrl-C, once
    everything is saved.
    """
    named = {"train": config.data.train, "validation": config.data.validation}
    splits.check_disjoint({part: splits.read_headers(sets) for part, sets in named.items()})
    check_config(config)
    with runs.open_run(out, config):
        samples, validation = (prepare(sets, config.model.crops, workers) for sets in named.values())
        return fit(config, out, samples, validation)


def fit(config: GazeConfig, out: Path, samples: SampleSet, validation: SampleSet) -> Metrics:
    """`train` with samples that are there, in a folder that `runs.open_run` keeps."""
    check_truth(config, "train", samples)
    check_truth(config, "validation", validation)
    with _reproducible(config.training), epoch_bar() as bar, _interrupts() as interrupted:
        run = _Run(config, out, samples, validation)
        run.resume()
        bar.start(config.training.epochs, run.batches, run.batches_done)
        while not run.is_done:
            _learn_epoch(run, bar, interrupted)
            bar.epoch(run.finish_epoch())
        run.record("complete")
    return runs.read_metrics(out)


def _learn_epoch(run: "_Run", bar: EpochBar, interrupted: Sequence[int]) -> None:
    """What is left of an epoch, saved now and then."""
    plan, saved_s = run.config.training, time.monotonic()
    left = batches(run.samples, plan.batch, plan.seed, run.state.epoch, run.state.batch, used_inputs(run.config.model))
    for inputs, truth, rows in left:
        bar.batch(run.step(inputs, truth, rows))
        if interrupted:
            run.save()
            raise KeyboardInterrupt
        if time.monotonic() - saved_s > CHECKPOINT_EVERY_S:
            run.save()
            saved_s = time.monotonic()


@dataclass
class _State:
    """Where a run is."""

    epoch: int = 0
    """Epochs that are complete."""
    batch: int = 0
    """Batches of the next one that are complete."""
    best_epoch: int = 0
    best_error: float = math.inf
    sums: dict[str, float] = field(default_factory=dict)
    """Of the losses of the batches of this epoch."""
    curves: list[dict[str, float]] = field(default_factory=list)
    """A row for each epoch that is complete."""


class _Run:
    """All that a run changes, and the one place where it changes."""

    def __init__(self, config: GazeConfig, out: Path, samples: SampleSet, validation: SampleSet) -> None:
        self.config, self.out, self.samples, self.validation = config, out, samples, validation
        self.state = _State()
        self.batches = count_batches(samples, config.training.batch)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.training.seed)
        self.network = DashGazeNet(config.model).to(self.device)
        self.average = DashGazeNet(config.model).to(self.device).eval().requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        task = config.model.session_task != "none"
        self.sessions = SessionHeads(config.model, len(samples.sessions)).to(self.device) if task else None
        self.learned = nn.ModuleList([self.network] if self.sessions is None else [self.network, self.sessions])
        self.optimiser = torch.optim.AdamW(_parameter_groups(self.learned, config.training.weight_decay))
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.device.type == "cuda")
        self.order = mirror_order(CanonicalFace.from_bundle(packaged_bundle()))
        self.unlabelled = _read_unlabelled(config)

    @property
    def batches_done(self) -> int:
        """Since the beginning."""
        return self.state.epoch * self.batches + self.state.batch

    @property
    def is_done(self) -> bool:
        """The last epoch is complete, or patience has ended."""
        plan, state = self.config.training, self.state
        return state.epoch >= plan.epochs or (state.epoch - state.best_epoch >= plan.patience_epochs)

    # --- one step ---

    def step(self, inputs: Inputs, truth: Truth, rows: NDArray[np.int_]) -> float:
        """Learn from one batch; returns its loss."""
        plan, state = self.config.training, self.state
        generator = _generator(plan.seed, state.epoch, state.batch)
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))  # dropout draws from the global one
        inputs, truth = augment(inputs, truth, self.config.augmentation, generator, self.order)
        inputs, truth = _to(inputs, self.device), Truth(*(part.to(self.device) for part in truth))
        done = self.batches_done
        for group in self.optimiser.param_groups:
            group["lr"] = plan.learning_rate * schedule(done, plan.epochs * self.batches)
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            parts = self._losses(inputs, truth, generator)
        loss = torch.stack(list(parts.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        gradient = nn.utils.clip_grad_norm_(self.learned.parameters(), LARGEST_GRADIENT)
        self._refuse_nan(parts, gradient, rows)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        _approach(self.average, self.network, min(AVERAGE_DECAY, (done + 1) / (done + 10)))
        values = {name: float(part.detach()) for name, part in parts.items()}
        state.sums = {name: state.sums.get(name, 0.0) + value for name, value in values.items()}
        state.batch += 1
        return sum(values.values())

    def _losses(self, inputs: Inputs, truth: Truth, generator: torch.Generator) -> dict[str, Tensor]:
        """The parts of the loss, each times its weight."""
        model, weights = self.config.model, self.config.loss
        self.network.train()
        outputs = _in_full_precision(self.network(inputs))
        parts = gaze_losses(model, weights, outputs, truth)
        if self.sessions is not None:
            parts["session"] = weights.session * self._session_loss(inputs, outputs, truth, generator)
        if self.unlabelled is not None:
            parts["consistency"] = weights.consistency * self._consistency_loss(len(truth.session), generator)
        return parts

    def _session_loss(self, inputs: Inputs, outputs: Outputs, truth: Truth, generator: torch.Generator) -> Tensor:
        """(12.7) of the samples as they are and with translated landmarks, or the loss of `identity`."""
        assert self.sessions is not None
        model = self.config.model
        no, yes = torch.zeros_like(truth.session), torch.ones_like(truth.session)
        loss = session_loss(model, self.sessions(outputs.features).float(), truth.session, no)
        if model.session_task == "identity":
            return loss
        moved = translate(inputs, self.config.adaptation.shift_frac, generator)
        features = {**outputs.features, "landmarks": self.network.branch_features("landmarks", moved)}
        return (loss + session_loss(model, self.sessions(features).float(), truth.session, yes)) / 2

    def _consistency_loss(self, count: int, generator: torch.Generator) -> Tensor:
        """Mean distance of the rays of two looks at real pictures, the second by the average of the weights."""
        assert self.unlabelled is not None
        pictures = len(next(iter(self.unlabelled.values())))
        chosen = torch.randint(pictures, (count,), generator=generator)
        self.network.eval()  # normalisation learns its statistics from labelled pictures alone
        rays = []
        for network in (self.network, self.average):
            # Azimuths of 45 degrees are the label: augmentation turns their sign where it mirrors.
            looks = {name: values[chosen] for name, values in self.unlabelled.items()}
            looks, label = augment(looks, _unknown_truth(count), self.config.augmentation, generator, self.order)
            ray = _in_full_precision(network(_to(looks, self.device))).ray_deg
            assert ray is not None
            mirrored = label.ray_deg[:, :1].sign().to(self.device)
            rays.append(ray * torch.cat([mirrored, torch.ones_like(mirrored)], dim=1))
        return (angle_between_deg(rays[0], rays[1].detach()) / UNIT_DEG).mean()

    def _refuse_nan(self, parts: Mapping[str, Tensor], gradient: Tensor, rows: NDArray[np.int_]) -> None:
        """Raise DashgazeError where a loss or the gradient is not a number; nothing was changed by this batch yet."""
        wrong = [name for name, part in parts.items() if not bool(part.isfinite())]
        # Scaled gradients overflow now and then: the scaler leaves that step out and scales less, up to a point.
        overflow = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if not wrong and (bool(gradient.isfinite()) or overflow):
            return
        what = f"loss of {wrong[0]}" if wrong else "gradient"
        frames: dict[str, list[int]] = {}
        for number, row in rows.tolist():
            session = self.samples.sessions[number]
            frames.setdefault(session.session_id, []).append(int(session.arrays["frame"][row]))
        named = ", ".join(
            f"{name} frames {' '.join(map(str, sorted(found)))}" for name, found in sorted(frames.items())
        )
        raise DashgazeError(
            f"{self.out}, epoch {self.state.epoch + 1}, batch {self.state.batch + 1}",
            f"the {what} is not a number (samples: {named})",
            "lower training.learning_rate or look at these samples; the last good checkpoint is kept",
        )

    # --- the end of an epoch, files ---

    def finish_epoch(self) -> dict[str, float]:
        """Validate, keep the weights if they are the best, and save; returns the row of the curves."""
        state = self.state
        kept = copy.deepcopy(self.average).cpu()
        metrics = validate(kept, self.validation).metrics(state.epoch + 1)
        error = metrics.errors[self.selection].mean
        if error is None:
            raise DashgazeError(f"{self.out}, epoch {state.epoch + 1}", "the network says nothing that is a number")
        losses = {f"loss_{name}": total / max(state.batch, 1) for name, total in state.sums.items()}
        means = {str(name): found.mean for name, found in metrics.errors.items() if found.mean is not None}
        row: dict[str, float] = {"epoch": state.epoch + 1, "loss": sum(losses.values()), **losses, **means}
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, {}
        state.curves.append(row)
        if error < state.best_error:
            state.best_epoch, state.best_error = state.epoch, error
            runs.save_tensors(self.out / runs.WEIGHTS, kept.state_dict())
            write_record(self.out / runs.METRICS, metrics)
        write_atomically(self.out / runs.CURVES, curves_csv(state.curves))
        write_atomically(self.out / runs.CURVES_PICTURE, curves_png(state.curves))
        self.record("training")
        self.save()  # last: what was written before is written once more by a run that was killed in between
        return row

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "state": asdict(self.state),
            "data": [self.samples.fingerprint, self.validation.fingerprint],
            "learned": self.learned.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        runs.save_tensors(self.out / runs.CHECKPOINT, state)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one. Raises InputError if it is damaged or of other data."""
        path = self.out / runs.CHECKPOINT
        if not path.is_file():
            self.record("training")
            return
        saved = runs.load_tensors(path)
        if saved.get("data") != [self.samples.fingerprint, self.validation.fingerprint]:
            raise InputError(str(path), "was trained on other data", "name another folder, or restore the data")
        try:
            self.state = _State(**saved["state"])
            self.learned.load_state_dict(saved["learned"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.scaler.load_state_dict(saved["scaler"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = str(error).splitlines()[0][:120]
            raise InputError(str(path), f"does not fit the configuration: {reason}", "name another folder") from None

    def record(self, state: str) -> None:
        """Write `run.json`."""
        means = mean_gaze(self.samples.sessions)
        record = {
            "name": self.config.name,
            "seed": self.config.training.seed,
            "versions": runs.versions(),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "train": _data_record(self.samples),
            "validation": _data_record(self.validation),
            "unlabelled": None if self.unlabelled is None else len(next(iter(self.unlabelled.values()))),
            "training_mean_ray": means.ray,
            "training_mean_face_deg": means.face_deg,
            "training_mean_location_frac": means.location_frac,
            "state": state,
            "epochs": self.state.epoch,
            "best_epoch": self.state.best_epoch or None,
            "selected_by": self.selection,
            "best_error": self.state.best_error if self.state.best_epoch else None,
        }
        write_record(self.out / runs.RECORD, RunRecord.model_validate(record))

    @property
    def selection(self) -> Selection:
        """The validation error that chooses the epoch."""
        model = self.config.model
        return "ray_deg" if model.ray else "face_deg" if model.face_angles else "location_px"


# --- validation ---


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Errors of a network on the usable rows of a set; NaN where there is no truth."""

    by_quantity: Mapping[Selection, Floats]
    """(n,) each; of the location in pixels of a road view 1920 wide."""
    predicted_deg: Floats | None
    """(n,) standard deviations per axis of the ray."""
    session: NDArray[np.int_]
    light: NDArray[np.str_]

    def metrics(self, epoch: int) -> Metrics:
        """What is kept of them."""
        factor = None
        if self.predicted_deg is not None:
            factor = error_factor(self.by_quantity["ray_deg"], self.predicted_deg)
        lights = {str(light): self._statistics(self.light == light) for light in np.unique(self.light)}
        everything = self._statistics(np.ones(len(self.light), bool))
        return Metrics(epoch=epoch, errors=everything, by_light=lights, error_factor=factor)

    def _statistics(self, chosen: NDArray[np.bool_]) -> dict[Selection, Statistics]:
        return {name: summarise(found[chosen], self.session[chosen]) for name, found in self.by_quantity.items()}


def validate(network: DashGazeNet, samples: SampleSet) -> Errors:
    """Errors of a network on the CPU on the usable rows of a set, which are not augmented."""
    predictor = NetworkPredictor("network", network)
    of_sessions = [_errors(predictor, session) for session in samples.sessions]
    joined = {name: np.concatenate([errors[name] for errors in of_sessions]) for name in of_sessions[0]}
    counts = [len(errors["ray_deg"]) for errors in of_sessions]
    return Errors(
        by_quantity={name: joined[name] for name in get_args(Selection)},
        predicted_deg=joined["predicted_deg"] if network.config.ray and network.config.uncertainty else None,
        session=np.repeat(np.arange(len(counts)), counts),
        light=np.repeat([session.light or "unknown" for session in samples.sessions], counts),
    )


def _errors(predictor: NetworkPredictor, samples: SessionSamples) -> dict[str, Floats]:
    """Errors and predicted standard deviation of the usable rows of a session; NaN where there is none."""
    usable = np.flatnonzero(samples.arrays["usable"])
    said = predictor.predict(samples)
    unknown = np.full(len(usable), np.nan)
    found = dict.fromkeys(("ray_deg", "face_deg", "location_px", "predicted_deg"), unknown)
    if said.ray is not None:
        found["ray_deg"] = angular_error_deg(said.ray[usable], samples.arrays["ray"][usable])
    if said.face_deg is not None:
        found["face_deg"] = angular_error_of_angles_deg(said.face_deg[usable], samples.arrays["face_deg"][usable])
    if said.location_px is not None and samples.road_camera is not None:
        scale = ROAD_VIEW_PX / samples.road_camera.size_px[0]
        found["location_px"] = scale * location_error_px(
            said.location_px[usable], samples.arrays["location_px"][usable]
        )
    if said.ray_error_deg is not None:
        found["predicted_deg"] = said.ray_error_deg[usable]
    return found


def error_factor(errors_deg: Floats, predicted_deg: Floats) -> float | None:
    """What predicted standard deviations per axis (n,) are to be multiplied by, so that they fit the errors (n,).

    By medians, on which a few gross errors have no say; for the density exp(-r / b) / (2 pi b^2) that was learned.
    """
    ratios = errors_deg / predicted_deg
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios) / _MEDIAN_OF_LAPLACE) if len(ratios) and np.median(ratios) > 0 else None


# --- parts ---


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: up over the first twentieth, then down along half a cosine."""
    warm_up = max(steps // 20, 1)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


def _parameter_groups(learned: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only: not for biases, normalisation and the weights of (12.3)."""
    parameters = list(learned.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _generator(seed: int, epoch: int, batch: int) -> torch.Generator:
    """Randomness of one step."""
    state = np.random.SeedSequence([seed, epoch, batch]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


@torch.no_grad()
def _approach(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average, normalisation statistics included, towards the network."""
    for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)


def _to(inputs: Inputs, device: torch.device) -> dict[str, Tensor]:
    return {name: values.to(device) for name, values in inputs.items()}


def _in_full_precision(outputs: Outputs) -> Outputs:
    """Outputs in float32: the losses need it, whatever the network counts in."""
    heads = {
        name: None if value is None else value.float()
        for name, value in outputs._asdict().items()
        if name != "features"
    }
    return Outputs(**heads, features=outputs.features)


def _unknown_truth(count: int) -> Truth:
    """Labels of samples without any, but for an azimuth that tells a mirrored look."""
    pairs = torch.full((count, 2), torch.nan)
    azimuth = torch.tensor([45.0, 0.0]).repeat(count, 1)
    rotations = torch.eye(3).expand(count, 3, 3)
    return Truth(azimuth, pairs, pairs, pairs, rotations, torch.zeros(count, dtype=torch.int64))


def _read_unlabelled(config: GazeConfig) -> dict[str, Tensor] | None:
    """Inputs of the real pictures of the consistency loss; None without it."""
    if not config.loss.consistency:
        return None
    assert config.data.unlabelled is not None
    found = unlabelled_samples(config.data.unlabelled, config.model.crops, UNLABELLED_PICTURES)
    return {name: torch.from_numpy(found[name]) for name in used_inputs(config.model)}


def check_config(config: GazeConfig) -> None:
    """Raise InputError for settings that do not go together."""
    if config.loss.consistency and (config.data.unlabelled is None or not config.model.ray):
        raise InputError("loss.consistency", "needs data.unlabelled and model.ray", "set them, or consistency to 0")
    if config.model.session_task != "none" and not session_branches(config.model):
        raise InputError("model.session_task", "needs the eyes or the landmarks", "name them in model.branches")
    if config.model.session_task == "translation" and "landmarks" not in config.model.branches:
        raise InputError("model.session_task", "translation needs the landmarks", "name them in model.branches")


def check_truth(config: GazeConfig, part: str, samples: SampleSet) -> None:
    """Raise InputError if no frame of a set tells what one of the heads is to learn."""
    model, means = config.model, mean_gaze(samples.sessions)
    if not len(samples):
        raise InputError(f"data.{part}", "has no frame with an open eye, a known gaze and a face that is found")
    wanted = {
        "ray": model.ray and means.ray is None,
        "face_angles": model.face_angles and means.face_deg is None,
        "location": model.location != "none" and means.location_frac is None,
    }
    for head in (head for head, lacks in wanted.items() if lacks):
        raise InputError(f"data.{part}", f"no frame has a truth for model.{head}", "leave that head out")


def _data_record(samples: SampleSet) -> DataRecord:
    drivers = dict.fromkeys(session.driver_id for session in samples.sessions)
    return DataRecord(
        fingerprint=samples.fingerprint,
        sessions=tuple(session.session_id for session in samples.sessions),
        drivers=tuple(drivers),
        samples=len(samples),
    )


@contextmanager
def _reproducible(plan: TrainingConfig) -> Iterator[None]:
    """Fix threads and algorithms for the block; leaves torch and its random state as they were."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    try:
        with torch.random.fork_rng():
            if plan.threads:
                torch.set_num_threads(plan.threads)
            if not torch.cuda.is_available():
                torch.set_deterministic_debug_mode(
                    "error"
                )  # without torch's compiler, as `use_deterministic_` loads it
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect the first Ctrl-C of the block, for the next step to see; the second stops at once."""
    caught: list[int] = []

    def catch(number: int, _: FrameType | None) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = signal.signal(signal.SIGINT, catch)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)
