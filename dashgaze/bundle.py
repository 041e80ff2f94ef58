"""Bundle, schema version 1: everything a device runs, in one folder or zip that is checked before use.

    manifest.json   what the bundle is; for each named part its file, SHA-256, licence, source, tensors
    *.onnx, ...     the files of the parts
    manifest.sig    Ed25519 signature (RFC 8032, 64 raw bytes) over the exact bytes of manifest.json

Trust runs from the manifest to the files: the manifest is trusted because its SHA-256 is pinned here (the
packaged bundle) or because a known key signed it; a file is trusted because the manifest holds its SHA-256,
which is compared on every read. Nothing of a zip is ever written to disk. A zip holds the files at its top
level (`zip -j`).
"""

import hashlib
import zipfile
import zlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from dashgaze.errors import DashgazeError, InputError
from dashgaze.tables import replace_folder

PACKAGED_MANIFEST_SHA256 = "bb39131f92da5871129ffe5f272e4d548f55abb59ec4a770b0899088833c8f26"
"""Pin of the packaged bundle; `make bundle` prints the new one."""

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"

MAX_MANIFEST_BYTES = 1 << 20
MAX_PART_BYTES = 64 << 20
MAX_ZIP_BYTES = 256 << 20
MAX_ZIP_ENTRIES = 256
SIGNATURE_BYTES = 64
MAX_KEY_BYTES = 4096

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Tensor(_Record):
    """One input or output of a network."""

    name: Text
    shape: tuple[int | Name, ...]
    """A name stands for a size that is free."""
    type: Literal["float32", "float16", "int64", "int32", "uint8", "int8", "bool"]
    range: tuple[float, float] | None = None
    """Smallest and largest value; None where unbounded."""
    colour_order: Literal["RGB", "BGR"] | None = None
    """Of an image, None for anything else."""
    meaning: Text


class Source(_Record):
    """Where a part's file was made from."""

    name: Text
    """Package or training run."""
    version: Text
    file: Text
    sha256: Sha256
    """Of `file`."""


class Part(_Record):
    """One file of the bundle."""

    file: FileName
    sha256: Sha256
    licence: Text
    """SPDX expression."""
    source: Source
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    labels: tuple[Text, ...] | None = None
    """Names of the values of the first output."""
    landmarks: tuple[int, ...] | None = None
    """Numbers of the face mesh landmarks that make up the first input, in order."""


class Manifest(_Record):
    """What is in a bundle."""

    schema_version: Literal[1] = 1
    name: Text
    version: Text
    created: AwareDatetime
    parts: dict[Name, Part]
    thresholds: dict[Name, float] = Field(default_factory=dict)
    calibration: dict[Name, JsonValue] = Field(default_factory=dict)
    metrics: dict[Name, float] = Field(default_factory=dict)
    """On the held-out split."""
    training_fingerprint: Sha256 | None = None
    """Of the training run; None where nothing was trained."""

    @model_validator(mode="after")
    def _check_files(self) -> "Manifest":
        files = [part.file for part in self.parts.values()]
        taken = {MANIFEST_FILE, SIGNATURE_FILE}.intersection(files)
        if taken or len(set(files)) < len(files):
            raise ValueError("every part needs a file of its own")
        return self

    def to_json(self) -> bytes:
        """The bytes of manifest.json."""
        return self.model_dump_json(indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose manifest is trusted. Its files are checked as they are read."""

    path: Path
    manifest: Manifest
    manifest_sha256: str

    def part(self, name: str) -> Part:
        """The manifest's entry of a part. Raises InputError when the bundle has no such part."""
        if name not in self.manifest.parts:
            have = ", ".join(sorted(self.manifest.parts))
            raise InputError(f"{self.path}", f"the bundle has no part {name!r}", f"it has {have}: use another bundle")
        return self.manifest.parts[name]

    def read(self, name: str) -> bytes:
        """The bytes of a part's file. Raises InputError when they are not those of the manifest."""
        part = self.part(name)
        data = _read(self.path, part.file, MAX_PART_BYTES)
        if data is None:
            raise InputError(f"{self.path}/{part.file}", f"the file of part {name!r} is missing", _RESTORE)
        if sha256_of(data) != part.sha256:
            raise InputError(f"{self.path}/{part.file}", f"its SHA-256 is not that of {MANIFEST_FILE}", _RESTORE)
        return data

    def verify(self) -> None:
        """Reads every part once. Raises InputError for the first that is missing or changed."""
        for name in self.manifest.parts:
            self.read(name)


_RESTORE = "the bundle is damaged or was tampered with: install it again"


def packaged_bundle() -> Bundle:
    """The bundle that comes with the package, trusted by the pinned hash of its manifest.

    Raises InputError when its manifest is not the pinned one.
    """
    path = Path(__file__).parent / "device" / "bundle"
    data = _read_manifest(path)
    if sha256_of(data) != PACKAGED_MANIFEST_SHA256:
        raise InputError(f"{path}/{MANIFEST_FILE}", "it is not the manifest this release was made with", _RESTORE)
    return Bundle(path, _parsed(data, path), sha256_of(data))


def load_bundle(
    path: Path | str, *, trusted_keys: Sequence[Ed25519PublicKey] = (), allow_unsigned: bool = False
) -> Bundle:
    """Opens a folder or a zip after checking who made it.

    A signature must be that of one of `trusted_keys`. `allow_unsigned` lets in a bundle without a signature
    and, where no key is given, one whose signature cannot be checked. Raises InputError for anything else:
    an unreadable or unsigned bundle, an unknown key, a manifest that is changed, malformed or of another
    schema version.
    """
    path = Path(path)
    data = _read_manifest(path)
    signature = _read(path, SIGNATURE_FILE, SIGNATURE_BYTES)
    if signature is None and not allow_unsigned:
        remedy = "get a signed bundle, or pass --allow-unsigned where its origin is known"
        raise InputError(f"{path}/{SIGNATURE_FILE}", "the bundle is not signed", remedy)
    if signature is not None and (trusted_keys or not allow_unsigned):
        _check_signature(data, signature, trusted_keys, f"{path}/{SIGNATURE_FILE}")
    return Bundle(path, _parsed(data, path), sha256_of(data))


def write_bundle(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes], private_key: Ed25519PrivateKey | None = None
) -> Bundle:
    """Writes a bundle as a folder, all of it or nothing; an older bundle in its place is replaced.

    `files` holds the bytes by file name, one for each part of the manifest; with a key the bundle is signed.
    Raises DashgazeError when files and manifest disagree, InputError when `folder` is something other than a
    bundle.
    """
    declared = {part.file: part.sha256 for part in manifest.parts.values()}
    if declared != {file: sha256_of(data) for file, data in files.items()}:
        raise DashgazeError(f"{folder}", "the files to write are not those of the manifest")
    occupied = folder.exists() and not (folder / MANIFEST_FILE).is_file()
    if occupied and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}", "it exists and is not a bundle", "choose another folder")
    data = manifest.to_json()
    contents = {**files, MANIFEST_FILE: data}
    if private_key is not None:
        contents[SIGNATURE_FILE] = sign_manifest(data, private_key)
    replace_folder(folder, contents)
    return Bundle(folder, manifest, sha256_of(data))


def sign_manifest(data: bytes, private_key: Ed25519PrivateKey) -> bytes:
    """The signature to store as manifest.sig beside the manifest whose exact bytes are `data`."""
    return private_key.sign(data)


def read_public_key(path: Path | str) -> Ed25519PublicKey:
    """An Ed25519 public key from a PEM file or from a file with its 32 bytes in base64.

    Raises InputError when the file is neither.
    """
    data = _read_key(Path(path))
    try:
        if not data.startswith(b"-----"):
            return Ed25519PublicKey.from_public_bytes(b64decode(data.strip(), validate=True))
        key = load_pem_public_key(data)
    except (ValueError, Base64Error, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}", "it is not an Ed25519 public key", "give a PEM or base64 file") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}", "the key is not an Ed25519 key", "give an Ed25519 public key")
    return key


def read_private_key(path: Path | str) -> Ed25519PrivateKey:
    """An Ed25519 private key from an unencrypted PEM file. Raises InputError when the file holds none."""
    try:
        key = load_pem_private_key(_read_key(Path(path)), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}", "it is not an unencrypted private key", "give a PEM file") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path}", "the key is not an Ed25519 key", "give an Ed25519 private key")
    return key


def sha256_of(data: bytes) -> str:
    """SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _read_manifest(path: Path) -> bytes:
    data = _read(path, MANIFEST_FILE, MAX_MANIFEST_BYTES)
    if data is None:
        remedy = f"name a folder or zip that has {MANIFEST_FILE} at its top level"
        raise InputError(f"{path}", f"it is not a bundle, {MANIFEST_FILE} is missing", remedy)
    return data


class _SchemaVersion(BaseModel):
    """The one field that every schema version has."""

    model_config = ConfigDict(extra="ignore", strict=True)
    schema_version: int


def _parsed(data: bytes, path: Path) -> Manifest:
    where = f"{path}/{MANIFEST_FILE}"
    try:
        found = _SchemaVersion.model_validate_json(data).schema_version
        if found != SCHEMA_VERSION:
            problem = f"schema version {found} is unknown, this release reads version {SCHEMA_VERSION}"
            raise InputError(where, problem, "use a bundle and a release that belong together")
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(where, f"{field}: {first['msg']}", "the bundle is malformed: export it again") from error


def _check_signature(data: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey], where: str) -> None:
    if not keys:
        remedy = "name the maker's public key in the configuration"
        raise InputError(where, "no trusted key is known to check the signature with", remedy)
    for key in keys:
        try:
            key.verify(signature, data)
            return
        except InvalidSignature:
            continue
    remedy = "get the bundle again, or name its maker's public key in the configuration"
    raise InputError(where, f"it is no trusted key's signature of {MANIFEST_FILE}", remedy)


def _read(path: Path, file: str, limit: int) -> bytes | None:
    """The bytes of one file of a bundle, None where there is none. Raises InputError beyond `limit` bytes."""
    where = f"{path}/{file}"
    try:
        data = _read_from_folder(path, file, limit) if path.is_dir() else _read_from_zip(path, file, limit)
    except FileNotFoundError as error:
        raise InputError(f"{path}", "there is no such bundle", "check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(where, f"it cannot be read ({reason})", "check the file and its rights") from error
    if data is not None and len(data) > limit:
        raise InputError(where, f"it is larger than {limit} bytes", "this is not a bundle for a device")
    return data


def _read_from_folder(path: Path, file: str, limit: int) -> bytes | None:
    inner = path / file
    if not inner.is_file():
        return None
    if inner.resolve().parent != path.resolve():
        raise InputError(f"{inner}", "it is a link to a file outside the bundle", "copy the file into the bundle")
    with inner.open("rb") as stream:
        return stream.read(limit + 1)


def _read_from_zip(path: Path, file: str, limit: int) -> bytes | None:
    if path.stat().st_size > MAX_ZIP_BYTES or not path.is_file():
        raise InputError(f"{path}", f"it is not a zip of at most {MAX_ZIP_BYTES} bytes", "check the path")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()  # as the archive's directory says, nothing is unpacked yet
            if len(names) > MAX_ZIP_ENTRIES or len(set(names)) < len(names):
                raise InputError(f"{path}", "the zip has too many entries, or one twice", "pack the bundle again")
            outside = next((n for n in names if Path(n).name != n or "\\" in n), None)
            if outside is not None:
                remedy = "pack the files without folders (zip -j)"
                raise InputError(f"{path}", f"the entry {outside!r} is not at the top level", remedy)
            if file not in names:
                return None
            if archive.getinfo(file).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError("its compression is not deflate")
            with archive.open(file) as stream:
                return stream.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}", f"the zip cannot be read ({error})", "pack or fetch the bundle again") from error


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_KEY_BYTES)
    except OSError as error:
        raise InputError(f"{path}", f"the key cannot be read ({error.strerror})", "check the path") from error
