"""Training: it learns, stops cleanly, goes on bit for bit, and refuses what it cannot use.

`python tests/test_gaze_train.py RUN` trains in RUN, saving after each batch: what the test of a killed run kills.
"""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.device.crops import ray_from_view, view_rotation
from dashgaze.device.records import HeadPose
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import FACING, Camera, angles_from_rays, facing_rotation
from dashgaze.training.gaze import runs, train
from dashgaze.training.gaze.adapt import translate
from dashgaze.training.gaze.config import AugmentationConfig, GazeConfig, ModelConfig
from dashgaze.training.gaze.describe import example_inputs
from dashgaze.training.gaze.model import DashGazeNet
from dashgaze.training.gaze.samples import SampleSet, SessionSamples, sample_type
from dashgaze.training.gaze.train import error_factor, fit, schedule

MODEL = {"width": 0.125, "features": 16, "driver_px": [32, 32], "face_px": [32, 32]}
NO_AUGMENTATION = dict.fromkeys(AugmentationConfig.model_fields, 0.0)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config_of(**changes):
    """A run of two epochs of three batches, nothing augmented."""
    sections = {
        "model": MODEL,
        "augmentation": NO_AUGMENTATION,
        "training": {"epochs": 2, "batch": 16, "learning_rate": 3e-3},
    }
    for section, values in changes.items():
        sections[section] = {**sections.get(section, {}), **values}
    return GazeConfig.model_validate({"name": "tiny", **sections})


def samples_of(model: ModelConfig, sessions=3, rows=16, seed=0) -> SampleSet:
    """Sessions whose gaze follows from the pose input, with pictures of noise and two rows that do not count."""
    made = tuple(session_of(model, f"{seed}-{number}", rows, 100 * seed + number) for number in range(sessions))
    return SampleSet(made, model.crops, f"{seed:064x}")


def session_of(model, name, rows, seed):
    random, records = np.random.default_rng(seed), np.zeros(rows + 2, sample_type(model.crops))
    for picture in ("driver", "face", "right_eye", "left_eye"):
        records[picture] = random.integers(0, 256, records[picture].shape)
    for landmarks, scale in (("five", 0.1), ("mesh", 0.01), ("pose", 0.3)):
        records[landmarks] = random.normal(size=records[landmarks].shape, scale=scale)
    road = Camera.from_fov((1280, 720), 70)
    records["frame"], records["t_s"] = np.arange(rows + 2), np.arange(rows + 2) / 2
    records["ray_deg"] = 40 * records["pose"][:, :2]
    head = HeadPose(facing_rotation(10, 0, 0), np.array([50.0, -20, 700]), 10.0, 0.0, 0.0, 1.0)
    view = view_rotation(head)
    records["head_rotation"], records["head_mm"], records["view"] = head.rotation, head.position_mm, view
    records["eye_mid_mm"] = head.position_mm
    records["ray"] = [ray_from_view(view, *angles) for angles in records["ray_deg"]]
    records["face_deg"] = np.stack(angles_from_rays(records["ray"] @ head.rotation), axis=-1)
    records["location_px"] = road.project(records["ray"] @ FACING)
    records["road_deg"] = np.stack(angles_from_rays(records["ray"] @ FACING), axis=-1)
    records["visible"], records["openness"], records["zone"] = 1, 1, "road_ahead"
    records["usable"][:rows] = True
    return SessionSamples(
        session_id=f"session-{name}",
        driver_id=f"driver-{name}",
        path="nowhere",
        light="day" if seed % 2 else "night",
        glasses=None,
        camera_position=None,
        hand_of_drive=None,
        driver_camera=Camera.from_fov((1280, 720), 60),
        road_camera=road,
        considered=rows,
        missed=0,
        arrays={field: records[field] for field in records.dtype.names},
    )


def run(config, out, samples=None):
    samples = samples_of(config.model) if samples is None else samples
    with runs.open_run(out, config):
        return fit(config, out, samples, samples_of(config.model, 2, 8, seed=1))


def weights_of(out):
    return runs.load_tensors(out / runs.WEIGHTS)


def assert_same_run(one, other):
    first, second = weights_of(one), weights_of(other)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in (runs.CURVES, runs.METRICS, runs.CONFIG):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    last = [runs.load_tensors(folder / runs.CHECKPOINT) for folder in (one, other)]
    assert all(torch.equal(values, last[1]["learned"][name]) for name, values in last[0]["learned"].items())


def run_until(at, config, out, samples=None):
    """Train, with Ctrl-C pressed while batch number `at` of all is learned."""
    read, left = train.batches, at

    def interrupting(*arguments):
        nonlocal left
        for batch in read(*arguments):
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "batches", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(config, out, samples)


# --- what comes out ---


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "finished"
    run(config_of(), out)
    return out


def test_a_run_says_what_it_is(finished):
    config, network, record = runs.load_run(finished)
    assert config == config_of()
    assert not network.training
    assert (record.state, record.epochs, record.selected_by) == ("complete", 2, "ray_deg")
    assert record.parameters == sum(p.numel() for p in network.parameters())
    assert record.train.sessions == ("session-0-0", "session-0-1", "session-0-2")
    assert record.validation.drivers == ("driver-1-0", "driver-1-1")
    assert record.train.samples == 48
    assert np.linalg.norm(record.training_mean_ray) == pytest.approx(1)
    assert record.best_error == runs.read_metrics(finished).errors["ray_deg"].mean


def test_metrics_are_those_of_the_weights_on_the_rows_that_count(finished):
    _, network, record = runs.load_run(finished)
    metrics = runs.read_metrics(finished)
    assert metrics.errors["ray_deg"].rows == 16
    assert set(metrics.by_light) == {"day", "night"}
    again = train.validate(network, samples_of(network.config, 2, 8, seed=1)).metrics(record.best_epoch)
    assert again == metrics


def test_curves_have_a_row_for_each_epoch_and_a_picture(finished):
    rows = list(csv.DictReader((finished / runs.CURVES).read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert set(rows[0]) >= {"loss", "loss_ray", "loss_angle", "loss_location", "ray_deg", "face_deg", "location_px"}
    assert (finished / runs.CURVES_PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_fingerprint_changes_with_weights_and_configuration(finished, tmp_path):
    for name in (runs.CONFIG, runs.WEIGHTS):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    assert runs.fingerprint(tmp_path) == runs.fingerprint(finished)
    for name in (runs.CONFIG, runs.WEIGHTS):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(before + b"\n")
        assert runs.fingerprint(tmp_path) != runs.fingerprint(finished)
        (tmp_path / name).write_bytes(before)


def test_training_finds_what_there_is_to_find(tmp_path):
    config = config_of(training={"epochs": 5, "learning_rate": 1e-2}, model={"branches": ["landmarks"], "dropout": 0.0})
    metrics = run(config, tmp_path / "run", samples_of(config.model, 4, 64))
    with (tmp_path / "run" / runs.CURVES).open() as file:
        errors = [float(row["ray_deg"]) for row in csv.DictReader(file)]
    assert metrics.errors["ray_deg"].mean == min(errors) < 0.5 * errors[0]


# --- going on ---


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(finished, tmp_path):
    run(config_of(), tmp_path / "again")
    assert_same_run(finished, tmp_path / "again")
    run(config_of(training={"seed": 1}), tmp_path / "other")
    assert not torch.equal(*(weights_of(out)["heads.ray.1.weight"] for out in (finished, tmp_path / "other")))


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_run_stopped_by_ctrl_c_goes_on_to_the_same_weights(at, finished, tmp_path):
    out, before = tmp_path / "run", signal.getsignal(signal.SIGINT)
    run_until(at, config_of(), out)
    assert signal.getsignal(signal.SIGINT) is before
    assert runs.read_run(out)[1].state == "training"
    run(config_of(), out)
    assert_same_run(finished, out)


def test_every_random_part_goes_on_bit_for_bit(tmp_path):
    """Augmentation, dropout and the translation of landmarks too, from the middle of an epoch."""
    augmentation = {"augmentation": dict.fromkeys(NO_AUGMENTATION, 0.5) | {"jitter_px": 2.0, "landmark_noise": 0.01}}
    config = config_of(model={"session_task": "translation"}, training={"epochs": 1}, **augmentation)
    run(config, tmp_path / "through")
    run_until(2, config, tmp_path / "stopped")
    run(config, tmp_path / "stopped")
    assert_same_run(tmp_path / "through", tmp_path / "stopped")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(finished, tmp_path):
    out = tmp_path / "run"
    kills = 0
    for after in (1, 4):  # batches of all; six make the run
        process = subprocess.Popen([sys.executable, __file__, str(out)], stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline_s and batches_done(out) < after:
            time.sleep(0.001)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    assert 4 <= batches_done(out) < 6
    run(config_of(), out)
    assert_same_run(finished, out)
    assert not list(out.glob(".*"))


def batches_done(out):
    path = out / runs.CHECKPOINT
    state = runs.load_tensors(path)["state"] if path.is_file() else {"epoch": 0, "batch": 0}
    return 3 * state["epoch"] + state["batch"]


def test_a_complete_run_is_left_as_it_is(finished):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.suffix == ".pt"}
    metrics = run(config_of(), finished)
    assert metrics == runs.read_metrics(finished)
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.suffix == ".pt"} == before


def test_nothing_of_torch_is_changed_behind(finished, tmp_path):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    run(config_of(training={"epochs": 1}), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert torch.get_deterministic_debug_mode() == 0


# --- selection ---


def test_training_stops_when_patience_ends_and_keeps_the_best(tmp_path, monkeypatch):
    errors = iter([5.0, 4.0, 6.0, 4.5])

    class Worse(train.Errors):
        def metrics(self, epoch):
            error = next(errors)
            found = super().metrics(epoch)
            ray = found.errors["ray_deg"].model_copy(update={"mean": error})
            return found.model_copy(update={"errors": {**found.errors, "ray_deg": ray}})

    monkeypatch.setattr(train, "Errors", Worse)
    metrics = run(config_of(training={"epochs": 9, "patience_epochs": 2}), tmp_path / "run")
    record = runs.read_run(tmp_path / "run")[1]
    assert (record.epochs, record.best_epoch, record.best_error, record.state) == (4, 2, 4.0, "complete")
    assert metrics.epoch == 2


@pytest.mark.parametrize(
    ("model", "selected"),
    [
        ({"ray": False, "location": "direct"}, "face_deg"),
        ({"ray": False, "face_angles": False, "location": "direct", "mixture": 2}, "location_px"),
    ],
)
def test_without_a_ray_another_error_chooses(model, selected, tmp_path):
    metrics = run(config_of(model=model, training={"epochs": 1}), tmp_path / "run")
    record = runs.read_run(tmp_path / "run")[1]
    assert record.selected_by == selected
    assert record.best_error == metrics.errors[selected].mean
    assert metrics.error_factor is None


@settings(deadline=None, max_examples=20)
@given(b=st.floats(0.5, 8), said=st.floats(0.5, 20), seed=st.integers(0, 99))
def test_the_factor_makes_the_predicted_error_right(b, said, seed):
    errors = np.random.default_rng(seed).gamma(2, b, 20000)  # distances of the density exp(-r / b) / (2 pi b^2)
    factor = error_factor(errors, np.full(len(errors), said))
    assert (factor * said) ** 2 == pytest.approx(np.mean(errors**2) / 2, rel=0.08)


def test_a_few_gross_errors_hardly_change_the_factor():
    errors = np.random.default_rng(0).gamma(2, 2.0, 5000)
    spoiled = errors.copy()
    spoiled[:100], spoiled[100:110] = 90, np.nan
    one, other = (error_factor(values, np.full(5000, 3.0)) for values in (errors, spoiled))
    assert other == pytest.approx(one, rel=0.05)


def test_the_learning_rate_rises_over_a_twentieth_and_falls_to_nothing():
    rates = [schedule(step, 200) for step in range(200)]
    assert np.argmax(rates) in (9, 10)
    assert rates[9] == 1
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] < 1e-3
    assert schedule(0, 1) == 1


# --- session task, consistency ---


@pytest.mark.parametrize("task", ["identity", "translation"])
def test_a_session_task_is_learned_beside_gaze(task, tmp_path):
    config = config_of(model={"session_task": task}, training={"epochs": 1})
    run(config, tmp_path / "run")
    row = next(csv.DictReader((tmp_path / "run" / runs.CURVES).read_text().splitlines()))
    assert float(row["loss_session"]) > 0
    assert not [name for name in weights_of(tmp_path / "run") if "linear" in name]  # session branches are discarded


def test_only_the_landmark_features_of_a_translated_sample_differ():
    """Why the rest of the network need not look at it again."""
    config = ModelConfig.model_validate(MODEL | {"dropout": 0.0})
    network, inputs = DashGazeNet(config).train(), example_inputs(config, 6)
    moved = translate(inputs, 0.1, torch.Generator().manual_seed(0))
    before, after = network(inputs).features, network(moved).features
    for name in before:
        assert torch.equal(before[name], after[name]) == (name != "landmarks")


def test_real_pictures_are_asked_for_agreement(tmp_path, monkeypatch):
    def pictures(folder, plan, limit):
        model = ModelConfig.model_validate(MODEL)
        return {name: values.numpy() for name, values in example_inputs(model, 20).items()}

    monkeypatch.setattr(train, "unlabelled_samples", pictures)
    config = config_of(
        loss={"consistency": 1.0},
        data={"unlabelled": "pictures"},
        training={"epochs": 1},
        augmentation={"flip": 0.5, "landmark_noise": 0.05},
    )
    run(config, tmp_path / "run")
    row = next(csv.DictReader((tmp_path / "run" / runs.CURVES).read_text().splitlines()))
    assert float(row["loss_consistency"]) > 0
    assert runs.read_run(tmp_path / "run")[1].unlabelled == 20


# --- what is refused ---


def test_a_loss_that_is_no_number_names_the_samples_and_keeps_the_checkpoint(tmp_path):
    config, out = config_of(), tmp_path / "run"
    samples = samples_of(config.model)
    run_until(3, config, out, samples)
    samples.sessions[1].arrays["pose"][7] = np.nan
    said = r"epoch 2, batch [123]: the loss of ray is not a number.*session-0-1 frames[ \d]* 7[ ,)]"
    with pytest.raises(DashgazeError, match=said):
        run(config, out, samples)
    saved = runs.load_tensors(out / runs.CHECKPOINT)
    assert (saved["state"]["epoch"], saved["state"]["batch"]) == (1, 0)
    assert all(values.isfinite().all() for values in saved["learned"].values())


def test_labels_that_are_unknown_are_no_error(tmp_path):
    config = config_of(training={"epochs": 1})
    samples = samples_of(config.model)
    for session in samples.sessions:
        for name in ("ray_deg", "face_deg", "location_px", "road_deg"):
            session.arrays[name][::3] = np.nan
    metrics = run(config, tmp_path / "run", samples)
    assert np.isfinite(metrics.errors["ray_deg"].mean)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("usable", "data.train: has no frame with an open eye"),
        ("face_deg", "data.train: no frame has a truth for model.face_angles"),
        ("location_px", "data.train: no frame has a truth for model.location"),
    ],
)
def test_data_without_the_truth_of_a_head_is_refused_at_once(spoil, said, tmp_path):
    config = config_of()
    samples = samples_of(config.model)
    for session in samples.sessions:
        session.arrays[spoil][:] = False if spoil == "usable" else np.nan
    with pytest.raises(InputError, match=said):
        run(config, tmp_path / "run", samples)


def test_another_configuration_is_refused_and_told(finished):
    config = config_of(training={"learning_rate": 1e-4}, loss={"angle": 2.0})
    with pytest.raises(InputError, match=r"another loss\.angle, training\.learning_rate"):
        run(config, finished)


def test_other_data_is_refused(finished):
    config = config_of()
    with pytest.raises(InputError, match="trained on other data"):
        run(config, finished, samples_of(config.model, seed=4))


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="neither empty nor a training run"):
        run(config_of(), tmp_path)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with runs.open_run(tmp_path, config_of()), pytest.raises(InputError, match="another process"):
        run(config_of(), tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        run(config_of(), tmp_path / "file")


@pytest.mark.parametrize("session_task", ["identity", "translation"])
def test_a_session_task_needs_its_branches(session_task):
    config = config_of(model={"branches": ["face"], "session_task": session_task})
    with pytest.raises(InputError, match="session_task"):
        train.check_config(config)


def test_consistency_needs_pictures():
    with pytest.raises(InputError, match=r"data\.unlabelled"):
        train.check_config(config_of(loss={"consistency": 0.1}))


# --- damaged runs ---


@pytest.fixture
def copied(finished, tmp_path):
    for path in finished.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.98])
@pytest.mark.parametrize("name", [runs.WEIGHTS, runs.CHECKPOINT])
def test_a_truncated_file_is_told(name, share, copied):
    data = (copied / name).read_bytes()
    (copied / name).write_bytes(data[: int(share * len(data))])
    read = {runs.WEIGHTS: lambda: runs.load_run(copied), runs.CHECKPOINT: lambda: run(config_of(), copied)}[name]
    with pytest.raises(InputError, match=f"{name}: is damaged"):
        read()


def test_a_pickle_is_not_opened(copied):
    class Trap:
        def __reduce__(self):
            return Path.touch, (copied / "sprung",)

    torch.save({"heads.ray.1.weight": Trap()}, copied / runs.WEIGHTS)
    with pytest.raises(InputError, match="more than tensors"):
        runs.load_run(copied)
    assert not (copied / "sprung").exists()


def test_weights_of_another_network_are_told(copied):
    text = (copied / runs.CONFIG).read_text()
    (copied / runs.CONFIG).write_text(text.replace("features = 16", "features = 24"))
    with pytest.raises(InputError, match=f"{runs.WEIGHTS}: does not fit {runs.CONFIG}"):
        runs.load_run(copied)


@pytest.mark.parametrize("state", [{}, {"data": None}, [1, 2], {"heads.ray.1.weight": 3}])
def test_weights_that_are_something_else_are_told(state, copied):
    torch.save(state, copied / runs.WEIGHTS)
    with pytest.raises(InputError, match=runs.WEIGHTS):
        runs.load_run(copied)


def test_a_run_of_another_version_is_told(copied):
    record = json.loads((copied / runs.RECORD).read_text()) | {"schema_version": 2}
    (copied / runs.RECORD).write_text(json.dumps(record))
    with pytest.raises(InputError, match="schema_version: is not 1"):
        runs.load_run(copied)


@pytest.mark.parametrize("name", [runs.CONFIG, runs.RECORD, runs.WEIGHTS])
def test_a_run_that_lacks_a_file_is_told(name, copied):
    (copied / name).unlink()
    with pytest.raises(InputError):
        runs.load_run(copied)


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(InputError, match="is not a training run"):
        runs.load_run(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(copied, monkeypatch):
    before = (copied / runs.WEIGHTS).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DashgazeError, match="free some space"):
        runs.save_tensors(copied / runs.WEIGHTS, {"a": torch.zeros(3)})
    assert (copied / runs.WEIGHTS).read_bytes() == before
    assert not list(copied.glob(".*"))


if __name__ == "__main__":
    train.CHECKPOINT_EVERY_S = -1.0
    run(config_of(), Path(sys.argv[1]))
