import ast
import stat
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from dashgaze.bundle import (
    PACKAGED_MANIFEST_SHA256,
    Bundle,
    Manifest,
    load_bundle,
    read_private_key,
    read_public_key,
    sha256_of,
    write_bundle,
)
from dashgaze.device.crops import CropPlan
from dashgaze.device.doctor import Check
from dashgaze.device.headpose import CanonicalFace
from dashgaze.device.network import GazeNetwork
from dashgaze.errors import InputError
from dashgaze.export.bundles import EVALUATION, MadeBundle, bundle_of_run, export_bundle, run_metrics
from dashgaze.export.gaze import run as run_graph
from dashgaze.export.model_card import model_card
from dashgaze.export.signing import keygen, sign
from dashgaze.export.verify import posed_inputs, verify_bundle
from dashgaze.session import Session, Versions, write_record
from dashgaze.training.gaze import runs
from dashgaze.training.gaze.config import DataConfig, GazeConfig, ModelConfig
from dashgaze.training.gaze.evaluate import PredictorResult, QuantityResult, Subset, Summary
from dashgaze.training.gaze.metrics import Ratio, Statistics
from dashgaze.training.gaze.model import DashGazeNet

torch.set_num_threads(1)

MODEL = ModelConfig(
    width=0.125, features=8, driver_px=(40, 24), face_px=(32, 32), branches=("left_eye", "right_eye", "landmarks")
)
STATISTICS = Statistics(rows=90, sessions=5, mean=4.25, median=3.5, p90=8.0, rmse=5.0, interval=(3.75, 4.75))
NAME = "trial"


def write_run(folder: Path, model: ModelConfig = MODEL, **data: object) -> Path:
    """The folder of a run whose weights are random."""
    folder.mkdir()
    torch.manual_seed(0)
    network = DashGazeNet(model)
    config = GazeConfig(name=NAME, model=model, data=DataConfig(**data))
    (folder / runs.CONFIG).write_text(runs.to_toml(config))
    runs.save_tensors(folder / runs.WEIGHTS, network.state_dict())

    def part(name: str) -> runs.DataRecord:
        return runs.DataRecord(
            fingerprint=sha256_of(name.encode()), sessions=(name,), drivers=(f"{name}-1",), samples=9
        )

    record = runs.RunRecord(
        name=NAME,
        seed=0,
        versions=Versions(dashgaze="0.1.0", python="3.11"),
        parameters=sum(value.numel() for value in network.parameters()),
        train=part("train"),
        validation=part("validation"),
        training_mean_ray=None,
        training_mean_face_deg=None,
        training_mean_location_frac=None,
        state="complete",
        epochs=3,
        best_epoch=2,
        selected_by="ray_deg",
        best_error=4.25,
    )
    write_record(folder / runs.RECORD, record)
    metrics = runs.Metrics(epoch=2, errors={"ray_deg": STATISTICS}, by_light={}, error_factor=2.0)
    write_record(folder / runs.METRICS, metrics)
    return folder


def evaluation_of(drivers: tuple[str, ...] = ("test-1", "test-2"), name: str = NAME) -> Summary:
    def predictor(name: str, ratios: dict[str, Ratio]) -> PredictorResult:
        subset = Subset(**STATISTICS.model_dump() | {"mean": 6.5, "rows": 10}, few=True)
        quantity = QuantityResult(
            unit="deg",
            missing=0,
            total=STATISTICS,
            percentiles=tuple(float(p) for p in range(101)),
            ratios=ratios,
            subsets={"light": {"day": subset}, "driver": {"test-1": subset}},
        )
        return PredictorResult(
            name=name, quantities={"ray": quantity}, axes={}, zones=None, doubt=None, jitter_deg=None
        )

    ratio = Ratio(rows=90, value=0.5, interval=(0.4, 0.6))
    return Summary(
        fingerprint=sha256_of(b"test"),
        sessions=("a", "b"),
        drivers=drivers,
        rows=90,
        considered=100,
        missed=10,
        zone_ceiling=None,
        location_ceiling=None,
        predictors=(predictor(name, {"geometric": ratio}), predictor("geometric", {})),
    )


def add_evaluation(run: Path, evaluation: Summary) -> None:
    (run / EVALUATION).parent.mkdir(exist_ok=True)
    write_record(run / EVALUATION, evaluation)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "run")
    add_evaluation(run, evaluation_of())
    return run


@pytest.fixture(scope="module")
def made(run: Path, bundle: Bundle) -> MadeBundle:
    return bundle_of_run(run, bundle, name="dashgaze", version="1.1.0")


@pytest.fixture
def written(made: MadeBundle, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", made.manifest, made.files).path


def replace_gaze(made: MadeBundle, folder: Path, graph: bytes | None = None, **changes: object) -> Path:
    """The bundle with something else as its gaze part, hashes right."""
    graph = made.files["gaze.onnx"] if graph is None else graph
    part = made.manifest.parts["gaze"].model_copy(update={"sha256": sha256_of(graph)})
    manifest = made.manifest.model_copy(update={"parts": {**made.manifest.parts, "gaze": part}, **changes})
    return write_bundle(folder, manifest, made.files | {"gaze.onnx": graph}).path


def only_wrong(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if check.ok is False}


# --- the bundle of a run ---


def test_the_device_takes_the_network_and_its_pictures(written: Path, bundle: Bundle):
    opened = load_bundle(written, allow_unsigned=True)
    opened.verify()
    network = GazeNetwork(opened)
    assert network.plan == CropPlan(driver_px=(40, 24), face_px=(32, 32))
    assert opened.manifest.calibration["gaze_crops"]["location"] == "residual"


def test_other_parts_stay_byte_for_byte(made: MadeBundle, bundle: Bundle):
    assert made.manifest.parts.keys() == bundle.manifest.parts.keys() | {"gaze"}
    for name, part in bundle.manifest.parts.items():
        if name != "gaze":
            assert made.manifest.parts[name] == part
            assert made.files[part.file] == bundle.read(name)
    assert made.manifest.thresholds == bundle.manifest.thresholds


def test_the_manifest_tells_where_the_network_comes_from(made: MadeBundle, run: Path, bundle: Bundle):
    part = made.manifest.parts["gaze"]
    assert (part.licence, part.source.name, part.source.version) == ("Apache-2.0", "dashgaze training run", NAME)
    assert part.source.sha256 == sha256_of((run / "weights.pt").read_bytes())
    assert made.manifest.training_fingerprint == runs.fingerprint(run)
    assert (made.manifest.name, made.manifest.version) == ("dashgaze", "1.1.0")
    assert made.manifest.created == bundle.manifest.created
    assert made.parity < 1e-4


def test_the_manifest_has_the_errors_with_their_intervals(made: MadeBundle):
    metrics = made.manifest.metrics
    assert metrics["validation_ray_mean_deg"] == metrics["test_ray_mean_deg"] == 4.25
    assert (metrics["test_ray_mean_deg_low"], metrics["test_ray_mean_deg_high"]) == (3.75, 4.75)
    assert (metrics["test_ray_to_geometric_ratio"], metrics["test_ray_to_geometric_ratio_high"]) == (0.5, 0.6)
    assert metrics["test_ray_light_day_mean_deg"] == 6.5
    assert metrics["test_no_face_frac"] == 0.1
    assert Manifest.model_validate_json(made.manifest.to_json()) == made.manifest


def test_the_error_estimate_is_multiplied_by_what_validation_found(made: MadeBundle, run: Path, bundle: Bundle):
    network = runs.load_run(run)[1]
    inputs = posed_inputs(CanonicalFace.from_bundle(bundle), MODEL.crops, 2)
    with torch.inference_mode():
        raw = network({name: torch.from_numpy(value) for name, value in inputs.items()}).ray_error_deg
    model = onnx.load_from_string(made.files["gaze.onnx"])
    said = run_graph(made.files["gaze.onnx"], {value.name: inputs[value.name] for value in model.graph.input})
    np.testing.assert_allclose(said["ray_error_deg"], 2 * raw.numpy(), rtol=1e-4)


@pytest.mark.slow
def test_the_same_run_and_base_give_the_same_bytes(made: MadeBundle, run: Path, bundle: Bundle, written: Path):
    again = bundle_of_run(run, bundle, name="dashgaze", version="1.1.0")
    assert (again.manifest.to_json(), again.files) == (made.manifest.to_json(), made.files)
    on_top = bundle_of_run(run, load_bundle(written, allow_unsigned=True))
    assert (on_top.manifest.to_json(), on_top.files) == (made.manifest.to_json(), made.files)


@pytest.mark.slow
def test_an_eight_bit_bundle_is_calibrated_on_the_runs_validation_drives(
    rendered: Session, bundle: Bundle, tmp_path: Path
):
    run = write_run(tmp_path / "run", train=(rendered.path,), validation=(rendered.path,))
    made = bundle_of_run(run, bundle, "int8", created=datetime(2026, 5, 1, tzinfo=UTC))
    assert made.comparison is not None
    assert made.comparison.size_ratio < 0.6
    assert made.manifest.metrics["int8_ray_deg_mean_change"] == made.comparison.mean_change["ray_deg"]
    assert made.manifest.created == datetime(2026, 5, 1, tzinfo=UTC)
    path = write_bundle(tmp_path / "bundle", made.manifest, made.files).path
    assert not only_wrong(verify_bundle(path))


@pytest.mark.slow
def test_an_exported_bundle_may_take_the_place_of_its_base_and_is_signed(run: Path, written: Path, tmp_path: Path):
    public = keygen(tmp_path / "key")
    made = export_bundle(run, written, load_bundle(written, allow_unsigned=True), version="2.0.0", key=tmp_path / "key")
    opened = load_bundle(written, trusted_keys=[read_public_key(public)])
    opened.verify()
    assert opened.manifest == made.manifest
    assert opened.manifest.version == "2.0.0"


def test_a_key_that_cannot_be_used_is_told_before_any_work(bundle: Bundle, tmp_path: Path):
    with pytest.raises(InputError, match="key cannot be read"):
        export_bundle(tmp_path / "no run", tmp_path / "out", bundle, key=tmp_path / "no key")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("driver", ["train-1", "validation-1"])
def test_an_evaluation_on_people_of_the_run_is_refused(driver: str, bundle: Bundle, tmp_path: Path, run: Path):
    record = runs.read_run(run)[1]
    other = tmp_path / "run"
    other.mkdir()
    add_evaluation(other, evaluation_of(drivers=("test-1", driver)))
    with pytest.raises(InputError, match=f"1 people of training or validation, {driver}"):
        run_metrics(other, record, runs.read_metrics(run))
    add_evaluation(other, evaluation_of(name="somebody-elses"))
    with pytest.raises(InputError, match=f"says nothing about {NAME}"):
        run_metrics(other, record, runs.read_metrics(run))


def test_an_evaluation_of_older_weights_is_refused(tmp_path: Path):
    run = write_run(tmp_path / "run")
    record, measured = runs.read_run(run)[1], runs.read_metrics(run)
    add_evaluation(run, evaluation_of().model_copy(update={"run": runs.fingerprint(run)}))
    assert run_metrics(run, record, measured)["test_rows"] == 90
    with open(run / runs.WEIGHTS, "ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match="of other weights"):
        run_metrics(run, record, measured)


def test_a_folder_that_is_no_run_is_refused(bundle: Bundle, tmp_path: Path):
    with pytest.raises(InputError, match="is not a training run"):
        bundle_of_run(tmp_path, bundle)


# --- verification ---


def test_a_sound_bundle_passes(written: Path, bundle: Bundle):
    checks = verify_bundle(written)
    assert not only_wrong(checks)
    names = [check.name for check in checks]
    assert names == ["manifest", "signature", *load_bundle(written, allow_unsigned=True).manifest.parts, names[-1]]
    assert "ray_deg" in checks[-1].detail
    assert "MB" in checks[-1].detail


def test_the_packaged_bundle_passes_without_a_signature(bundle: Bundle):
    checks = verify_bundle(bundle.path)
    assert all(check.ok for check in checks), checks
    assert bundle.manifest_sha256 == PACKAGED_MANIFEST_SHA256


def test_a_changed_file_is_found(written: Path):
    graph = written / "gaze.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    wrong = only_wrong(verify_bundle(written))
    assert set(wrong) == {"gaze", "gaze on the device"}
    assert "SHA-256" in wrong["gaze"].detail


def test_what_is_no_bundle_is_one_wrong_check(tmp_path: Path):
    for path in (tmp_path, tmp_path / "nothing"):
        (check,) = verify_bundle(path)
        assert check.ok is False


def test_a_file_that_is_no_network_is_found(made: MadeBundle, tmp_path: Path):
    wrong = only_wrong(verify_bundle(replace_gaze(made, tmp_path / "b", b"not a network")))
    assert set(wrong) == {"gaze", "gaze on the device"}
    assert all("\n" not in check.detail for check in wrong.values())


def test_a_manifest_that_describes_another_network_is_found(made: MadeBundle, tmp_path: Path):
    part = made.manifest.parts["gaze"]
    inputs = (part.inputs[0].model_copy(update={"shape": ("n", 1, 50, 99)}), *part.inputs[1:])
    other = part.model_copy(update={"inputs": inputs})
    manifest = made.manifest.model_copy(update={"parts": {**made.manifest.parts, "gaze": other}})
    path = write_bundle(tmp_path / "b", manifest, made.files).path
    assert "50, 99" in only_wrong(verify_bundle(path))["gaze"].detail


def test_crops_that_are_not_the_networks_are_found(made: MadeBundle, tmp_path: Path):
    crops = {**made.manifest.calibration["gaze_crops"], "eye_px": [60, 50]}
    path = replace_gaze(made, tmp_path / "b", calibration={"gaze_crops": crops})
    assert set(only_wrong(verify_bundle(path))) == {"gaze on the device"}


def edited(graph: bytes, edit: str) -> bytes:
    """A graph whose ray is something else."""
    model = onnx.load_from_string(graph)
    ray = next(node for node in model.graph.node if "ray_deg" in node.output)
    ray.output[:] = ["ray_before"]
    source, operator, constant = {
        "nan": ("ray_before", "Mul", np.nan),
        "huge": ("ray_before", "Add", 1e6),
        "batch": ("from_mean", "Mul", 1e3),
    }[edit]
    if edit == "batch":
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "samples"))
        model.graph.node.append(onnx.helper.make_node("ReduceMean", ["ray_before", "samples"], ["mean"], keepdims=1))
        model.graph.node.append(onnx.helper.make_node("Sub", ["ray_before", "mean"], ["from_mean"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(constant), "wrong"))
    model.graph.node.append(onnx.helper.make_node(operator, [source, "wrong"], ["ray_deg"]))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("edit", "check", "words"),
    [
        ("nan", "gaze", "is not finite on blank pictures"),
        ("huge", "gaze on the device", "is implausible"),
        ("batch", "gaze on the device", "depends on the rest of the batch"),
    ],
)
def test_a_network_that_says_what_no_gaze_can_be_is_found(made: MadeBundle, tmp_path: Path, edit, check, words):
    graph = edited(made.files["gaze.onnx"], edit)
    assert words in only_wrong(verify_bundle(replace_gaze(made, tmp_path / "b", graph)))[check].detail


def test_a_zip_is_checked_like_a_folder(written: Path, tmp_path: Path):
    key = tmp_path / "key"
    public = read_public_key(keygen(key))
    sign(written, key)
    packed = tmp_path / "bundle.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(written.iterdir()):
            archive.write(file, file.name)
    assert all(check.ok for check in verify_bundle(packed, [public]))


def test_pictures_of_drivers_go_through_the_whole_device(written: Path, carphone: Path):
    check = verify_bundle(written, pictures=carphone)[-1]
    assert check.ok, check
    faces = int(check.detail.split()[2])  # "faces on 118 of 120 pictures"
    assert faces >= 90


def test_pictures_without_a_face_tell_nothing(written: Path, tmp_path: Path):
    import cv2

    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), np.full((120, 160, 3), 90, np.uint8))
    check = verify_bundle(written, pictures=folder)[-1]
    assert check.ok is None
    assert "no face on 1 pictures" in check.detail


def test_checking_needs_no_training_software(written: Path):
    script = (
        "import sys; from pathlib import Path; from dashgaze.export import signing, verify;"
        f"assert all(c.ok is not False for c in verify.verify_bundle(Path({str(written)!r})));"
        "print({'torch', 'onnx', 'tflite', 'scipy', 'av'} & set(sys.modules))"
    )
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert ast.literal_eval(found.stdout.strip().replace("set()", "()")) == ()


# --- signatures ---


def signature_of(path: Path, *keys: Path) -> Check:
    return next(c for c in verify_bundle(path, [read_public_key(key) for key in keys]) if c.name == "signature")


def test_the_state_of_the_signature_is_told(written: Path, tmp_path: Path):
    public, strangers = keygen(tmp_path / "key"), keygen(tmp_path / "other")
    assert signature_of(written).ok is None
    assert signature_of(written, public).ok is False
    sign(written, tmp_path / "key")
    assert signature_of(written).ok is None
    assert signature_of(written, public).ok is True
    assert signature_of(written, strangers).ok is False
    load_bundle(written, trusted_keys=[read_public_key(public)]).verify()


def test_signing_again_replaces_the_signature(written: Path, tmp_path: Path):
    keygen(tmp_path / "key")
    public = keygen(tmp_path / "other")
    sign(written, tmp_path / "key")
    sign(written, tmp_path / "other")
    assert signature_of(written, public).ok is True


def test_a_damaged_bundle_is_not_signed(written: Path, tmp_path: Path):
    keygen(tmp_path / "key")
    (written / "gaze.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="SHA-256"):
        sign(written, tmp_path / "key")
    assert not (written / "manifest.sig").exists()


def test_keys_are_a_pair_that_only_the_owner_can_read(tmp_path: Path):
    private, public = tmp_path / "keys" / "key.pem", keygen(tmp_path / "keys" / "key.pem")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    message = b"manifest"
    read_public_key(public).verify(read_private_key(private).sign(message), message)
    assert b"PRIVATE" not in public.read_bytes()


def test_no_key_is_ever_overwritten(tmp_path: Path):
    keygen(tmp_path / "key")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="no key is ever overwritten"):
        keygen(tmp_path / "key")
    (tmp_path / "lone.pub").write_bytes(b"public")
    with pytest.raises(InputError, match="no key is ever overwritten"):
        keygen(tmp_path / "lone")
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "lone").exists()


def test_a_private_key_stays_out_of_the_bundle(written: Path, tmp_path: Path):
    with pytest.raises(InputError, match="lies in a bundle"):
        keygen(written / "key")
    keygen(tmp_path / "key")
    (tmp_path / "key").rename(written / "key")
    with pytest.raises(InputError, match="lies in the bundle"):
        sign(written, written / "key")


def test_a_zip_is_not_signed_in_place(tmp_path: Path):
    keygen(tmp_path / "key")
    (tmp_path / "bundle.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="sign the folder"):
        sign(tmp_path / "bundle.zip", tmp_path / "key")


# --- model card ---


def test_the_card_says_what_run_and_evaluation_say(run: Path):
    card = model_card(run, evaluation_of())
    for words in (
        f"# Model card: {NAME}",
        runs.fingerprint(run),
        "| test | 2 | 2 | 90 |",
        f"| {NAME} | 4.25 (3.75 to 4.75) | 3.50 | 8.00 | ",
        "| geometric | 4.25 (3.75 to 4.75) | 3.50 | 8.00 | 0.50 (0.40 to 0.60) |",
        "| light | day | 10 (few) | 6.50",
        "10 of the 100 frames",
        "rendered people only",
    ):
        assert words in card, words
    assert "test-1" not in card  # people are counted, not named
    assert "driver |" not in card


def test_a_card_is_of_the_runs_own_network(run: Path):
    with pytest.raises(KeyError):
        model_card(run, evaluation_of(name="somebody-elses"))
