"""The command line of training and export: errors are one line that says what mends it, and nothing is begun."""

import subprocess
import sys
from pathlib import Path

import pytest

from dashgaze.bundle import Bundle, write_bundle


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dashgaze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def error_of(*arguments: object) -> str:
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path: Path):
    error = error_of("train", "gaze", "egde", "--out", tmp_path / "run")
    assert "egde" in error
    assert "edge" in error
    assert not (tmp_path / "run").exists()


def test_a_set_that_is_not_there_is_named_before_a_run_is_begun(tmp_path: Path):
    error = error_of("train", "gaze", "edge", "--out", tmp_path / "run", "--train", tmp_path / "none")
    assert str(tmp_path / "none") in error
    assert not (tmp_path / "run").exists()


def test_what_is_no_run_cannot_be_evaluated_or_exported(tmp_path: Path):
    assert "is not a training run" in error_of("train", "evaluate", tmp_path, tmp_path)
    assert "is not a training run" in error_of("export", "bundle", tmp_path, "--out", tmp_path / "bundle")


def test_keys_are_made_once_and_a_bundle_without_signature_is_told_from_a_signed_one(tmp_path: Path):
    assert run("export", "keygen", tmp_path / "key.pem").returncode == 0
    assert "key.pem" in error_of("export", "keygen", tmp_path / "key.pem")


def test_the_packaged_bundle_passes_its_own_check():
    packaged = Path(__file__).parents[1] / "device" / "bundle"
    done = run("export", "verify", packaged)
    assert done.returncode == 0, done.stdout + done.stderr


def test_watch_with_a_network_needs_a_bundle_that_has_one(tmp_path: Path, carphone: Path, face_bundle: Path):
    error = error_of(
        "watch", carphone, "--out", tmp_path / "drive", "--gaze", "network", "--bundle", face_bundle, "--allow-unsigned"
    )
    assert "gaze" in error
    assert not (tmp_path / "drive").exists()


@pytest.fixture(scope="module")
def face_bundle(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged bundle without its gaze network."""
    parts = {name: part for name, part in bundle.manifest.parts.items() if name != "gaze"}
    files = {part.file: bundle.read(name) for name, part in parts.items()}
    manifest = bundle.manifest.model_copy(update={"parts": parts})
    return write_bundle(tmp_path_factory.mktemp("bundles") / "faces", manifest, files).path
