import hashlib
import json
import os
import warnings
import zipfile
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashgaze import bundle as bundle_module
from dashgaze.bundle import (
    PACKAGED_MANIFEST_SHA256,
    Manifest,
    Part,
    Source,
    Tensor,
    load_bundle,
    packaged_bundle,
    read_private_key,
    read_public_key,
    sha256_of,
    sign_manifest,
    write_bundle,
)
from dashgaze.errors import DashgazeError, InputError

FILES = {"net.onnx": bytes(range(256)) * 40, "labels.txt": b"one\ntwo\n"}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


def manifest_for(files: dict[str, bytes]) -> Manifest:
    source = Source(name="made here", version="1", file="nothing", sha256=sha256_of(b""))
    image = Tensor(name="image", shape=(1, "height", 3), type="float32", range=(0, 1), colour_order="RGB", meaning="x")
    parts = {
        file.split(".")[0]: Part(file=file, sha256=sha256_of(data), licence="MIT", source=source, inputs=(image,))
        for file, data in files.items()
    }
    return Manifest(name="test", version="1", created=datetime(2026, 1, 1, tzinfo=UTC), parts=parts)


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", manifest_for(FILES), FILES, KEY).path


def zipped(folder: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def edit_manifest(folder: Path, **changes: object) -> None:
    """Changes the manifest and signs it again, so that only its content can be at fault."""
    fields = json.loads((folder / "manifest.json").read_bytes()) | changes
    resign(folder, json.dumps(fields).encode())


def resign(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)
    (folder / "manifest.sig").write_bytes(sign_manifest(data, KEY))


def assert_one_line(error: pytest.ExceptionInfo[DashgazeError], *names: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert error.value.remedy
    for name in names:
        assert name in text


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_what_was_written_is_read_back(signed, pack):
    bundle = load_bundle(pack(signed), trusted_keys=[STRANGER.public_key(), PUBLIC])
    assert bundle.manifest == manifest_for(FILES)
    assert bundle.read("net") == FILES["net.onnx"]
    assert bundle.read("labels") == FILES["labels.txt"]
    assert bundle.manifest_sha256 == hashlib.sha256((signed / "manifest.json").read_bytes()).hexdigest()
    bundle.verify()


def test_an_unknown_part_is_named_beside_those_there_are(signed):
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC]).read("mesh")
    assert_one_line(error, "mesh", "labels, net")


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped], ids=["folder", "zip"])
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_no_flipped_bit_of_any_file_goes_unnoticed(signed, pack, data):
    file = signed / data.draw(st.sampled_from(sorted(os.listdir(signed))))
    original = file.read_bytes()
    at = data.draw(st.integers(0, len(original) * 8 - 1))
    changed = bytearray(original)
    changed[at // 8] ^= 1 << at % 8
    file.write_bytes(changed)
    try:
        with pytest.raises(InputError) as error:
            load_bundle(pack(signed), trusted_keys=[PUBLIC]).verify()
    finally:
        file.write_bytes(original)
    assert_one_line(error, file.name)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_a_damaged_zip_is_refused_or_harmless(signed, data):
    original = zipped(signed).read_bytes()
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    path = signed.with_name("damaged.zip")
    path.write_bytes(changed[: data.draw(st.sampled_from([len(changed), len(changed) // 2]))])
    with warnings.catch_warnings(), suppress(InputError):
        warnings.simplefilter("ignore")  # zipfile warns of odd names
        bundle = load_bundle(path, trusted_keys=[PUBLIC])
        assert {bundle.part(name).file: bundle.read(name) for name in bundle.manifest.parts} == FILES


def test_a_missing_part_is_refused(signed):
    (signed / "net.onnx").unlink()
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC]).verify()
    assert_one_line(error, "net.onnx", "missing")


@pytest.mark.parametrize("keys", [[], [STRANGER.public_key()]], ids=["no key", "another key"])
def test_a_signature_by_an_unknown_key_is_refused(signed, keys):
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=keys)
    assert_one_line(error, "manifest.sig")


def test_a_bad_signature_is_refused_even_where_unsigned_bundles_are_let_in(signed):
    (signed / "manifest.sig").write_bytes(sign_manifest(b"something else", KEY))
    with pytest.raises(InputError):
        load_bundle(signed, trusted_keys=[PUBLIC], allow_unsigned=True)


def test_an_unsigned_bundle_needs_leave(tmp_path):
    path = write_bundle(tmp_path / "bundle", manifest_for(FILES), FILES).path
    with pytest.raises(InputError) as error:
        load_bundle(path, trusted_keys=[PUBLIC])
    assert_one_line(error, "not signed", "--allow-unsigned")
    load_bundle(path, allow_unsigned=True).verify()


@pytest.mark.parametrize("size", [0, 63, 65, 1 << 20])
def test_a_signature_of_the_wrong_size_is_refused(signed, size):
    (signed / "manifest.sig").write_bytes(bytes(size))
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC])
    assert_one_line(error, "manifest.sig")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema_version": "1"}'])
def test_a_manifest_that_is_not_one_is_refused(signed, text):
    resign(signed, text)
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC])
    assert_one_line(error, "manifest.json")


@pytest.mark.parametrize("version", [0, 2, 10**30, -1])
def test_an_unknown_schema_version_is_refused(signed, version):
    edit_manifest(signed, schema_version=version, something="new")
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC])
    assert_one_line(error, "schema")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("surprise", 1),
        ("created", "2026-01-01T00:00:00"),
        ("created", 0),
        ("thresholds", {"score": "0.5"}),
        ("thresholds", {"Not A Name": 0.5}),
        ("parts", None),
        ("training_fingerprint", "abc"),
    ],
)
def test_a_malformed_field_is_named(signed, field, value):
    edit_manifest(signed, **{field: value})
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC])
    assert_one_line(error, field)


@pytest.mark.parametrize(
    "file",
    ["../secret", "/etc/passwd", "a/b", "a\\b", "..", "", ".hidden", "manifest.json", "x\n", "labels.txt"],
)
def test_a_part_names_one_file_of_its_own_inside_the_bundle(signed, file):
    parts = json.loads((signed / "manifest.json").read_bytes())["parts"]
    parts["net"]["file"] = file
    edit_manifest(signed, parts=parts)
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC])
    assert_one_line(error, "manifest.json")


def test_a_link_out_of_the_bundle_is_not_followed(signed, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(FILES["net.onnx"])
    (signed / "net.onnx").unlink()
    (signed / "net.onnx").symlink_to(outside)
    with pytest.raises(InputError) as error:
        load_bundle(signed, trusted_keys=[PUBLIC]).read("net")
    assert_one_line(error, "net.onnx", "outside")


@pytest.mark.parametrize("name", ["../evil", "/evil", "folder/evil", "folder/", "a\\b"])
def test_a_zip_with_an_entry_that_is_not_at_its_top_level_is_refused(signed, name):
    path = zipped(signed)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError) as error:
        load_bundle(path, trusted_keys=[PUBLIC])
    assert_one_line(error, "top level")


def test_a_zip_with_two_manifests_is_refused(signed):
    path = zipped(signed)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("manifest.json", b"{}")
    with pytest.raises(InputError) as error:
        load_bundle(path, trusted_keys=[PUBLIC])
    assert_one_line(error, "twice")


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_with_another_compression_is_refused(signed, compression):
    with pytest.raises(InputError) as error:
        load_bundle(zipped(signed, compression), trusted_keys=[PUBLIC])
    assert_one_line(error, "deflate")


def test_a_stored_zip_is_as_good_as_a_compressed_one(signed):
    load_bundle(zipped(signed, zipfile.ZIP_STORED), trusted_keys=[PUBLIC]).verify()


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize("file", ["manifest.json", "net.onnx"])
def test_no_more_is_read_of_a_file_than_the_limit(signed, pack, file, monkeypatch):
    monkeypatch.setattr(bundle_module, "MAX_PART_BYTES", 100_000)
    (signed / file).write_bytes(bytes(8 << 20))  # compresses a thousandfold
    with pytest.raises(InputError) as error:
        load_bundle(pack(signed), trusted_keys=[PUBLIC]).read("net")
    assert_one_line(error, file, "larger than")


def test_a_zip_of_very_many_entries_is_refused(signed):
    path = zipped(signed)
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(300):
            archive.writestr(f"file{i}", b"")
    with pytest.raises(InputError) as error:
        load_bundle(path, trusted_keys=[PUBLIC])
    assert_one_line(error, "too many")


def test_what_is_no_bundle_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_bytes(b"hello")
    os.mkfifo(tmp_path / "pipe")
    for name in ("absent", "empty", "text.zip", "pipe", "nul\0"):
        with pytest.raises(InputError) as error:
            load_bundle(tmp_path / name, allow_unsigned=True)
        assert_one_line(error, name)


def test_writing_replaces_a_bundle_and_nothing_else(signed, tmp_path):
    files = {"net.onnx": b"new"}
    write_bundle(signed, manifest_for(files), files, KEY)
    assert sorted(os.listdir(signed)) == ["manifest.json", "manifest.sig", "net.onnx"]
    load_bundle(signed, trusted_keys=[PUBLIC]).verify()
    assert os.listdir(tmp_path) == ["bundle"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError) as error:
        write_bundle(tmp_path / "photos", manifest_for(files), files)
    assert_one_line(error, "photos")
    assert os.listdir(tmp_path / "photos") == ["holiday.jpg"]


def test_a_file_in_the_place_of_a_bundle_stays(tmp_path):
    (tmp_path / "key.pem").write_text("secret")
    with pytest.raises(InputError) as error:
        write_bundle(tmp_path / "key.pem", manifest_for(FILES), FILES)
    assert_one_line(error, "key.pem")
    assert (tmp_path / "key.pem").read_text() == "secret"


def test_files_that_are_not_those_of_the_manifest_are_not_written(tmp_path):
    with pytest.raises(DashgazeError):
        write_bundle(tmp_path / "bundle", manifest_for(FILES), {**FILES, "net.onnx": b"other"})
    assert not os.listdir(tmp_path)


def test_a_failed_write_leaves_the_old_bundle(signed, tmp_path, monkeypatch):
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DashgazeError) as error:
        write_bundle(signed, manifest_for({"net.onnx": b"new"}), {"net.onnx": b"new"}, KEY)
    assert_one_line(error, "no space left")
    assert os.listdir(tmp_path) == ["bundle"]
    load_bundle(signed, trusted_keys=[PUBLIC]).verify()


def test_keys_are_read_from_pem_and_base64(tmp_path, signed):
    private = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "private.pem").write_bytes(private)
    (tmp_path / "public.pem").write_bytes(PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "public.b64").write_bytes(b64encode(PUBLIC.public_bytes_raw()) + b"\n")
    assert read_private_key(tmp_path / "private.pem").public_key() == PUBLIC
    for name in ("public.pem", "public.b64"):
        load_bundle(signed, trusted_keys=[read_public_key(tmp_path / name)])


def test_a_file_that_holds_no_ed25519_key_is_refused(tmp_path):
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path = tmp_path / "key"
    for text in (b"", b"AAAA", b"not base64!", b"-----BEGIN PUBLIC KEY-----", pem, public):
        path.write_bytes(text)
        for read in (read_public_key, read_private_key):
            with pytest.raises(InputError) as error:
                read(path)
            assert_one_line(error, "key")
    with pytest.raises(InputError):
        read_public_key(tmp_path / "absent")


def test_the_packaged_bundle_is_the_pinned_one_and_complete():
    bundle = packaged_bundle()
    assert bundle.manifest_sha256 == PACKAGED_MANIFEST_SHA256
    bundle.verify()
    assert {"detector", "detector_full", "mesh", "blendshapes", "canonical_face"} <= set(bundle.manifest.parts)
    assert {p.name for p in bundle.path.iterdir()} == {
        "manifest.json",
        *(part.file for part in bundle.manifest.parts.values()),
    }
    assert sum(p.stat().st_size for p in bundle.path.iterdir()) < 20e6


def test_another_manifest_in_the_place_of_the_packaged_one_is_refused(monkeypatch):
    monkeypatch.setattr(bundle_module, "PACKAGED_MANIFEST_SHA256", "0" * 64)
    with pytest.raises(InputError) as error:
        packaged_bundle()
    assert_one_line(error, "manifest.json")
