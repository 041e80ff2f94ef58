"""Keys and signatures of bundles: Ed25519 (RFC 8032), as `dashgaze.bundle` checks them.

The private key is a PKCS 8 PEM file without a password that only its owner can read, the public one the same name with
`.pub` behind it. A private key never belongs into a bundle, nor into version control.
"""

import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dashgaze.bundle import MANIFEST_FILE, SIGNATURE_FILE, load_bundle, read_private_key, sign_manifest
from dashgaze.errors import InputError
from dashgaze.tables import write_atomically, write_failure


def keygen(out: Path) -> Path:
    """Write a new private key to `out`, and beside it the public key, whose path is returned.

    Raises InputError where either file is there already, or `out` lies in a bundle.
    """
    public_path = out.with_name(f"{out.name}.pub")
    if (out.parent / MANIFEST_FILE).is_file():
        raise InputError(str(out), "lies in a bundle, which travels to devices", "keep private keys elsewhere")
    for path in (out, public_path):
        if path.exists() or path.is_symlink():
            raise InputError(str(path), "is there already", "no key is ever overwritten: name another file")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_new(out, private, 0o600)
    try:
        _write_new(public_path, public, 0o644)
    except BaseException:
        out.unlink()
        raise
    return public_path


def sign(path: Path, key: Path) -> None:
    """Sign a bundle's manifest, after reading every file of it. An older signature is replaced.

    Raises InputError for a bundle that is damaged, or a zip; for a key that is none, or lies in the bundle.
    """
    if not path.is_dir():
        raise InputError(str(path), "is not a folder", "sign the folder, then pack it")
    private_key = read_key_of_maker(key, path)
    bundle = load_bundle(path, allow_unsigned=True)
    bundle.verify()
    write_atomically(path / SIGNATURE_FILE, sign_manifest((path / MANIFEST_FILE).read_bytes(), private_key))


def read_key_of_maker(key: Path, bundle: Path) -> Ed25519PrivateKey:
    """The private key to sign a bundle with. Raises InputError where there is none, or it lies in the bundle."""
    if key.resolve().is_relative_to(bundle.resolve()):
        raise InputError(str(key), "lies in the bundle, which travels to devices", "keep private keys elsewhere")
    return read_private_key(key)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not be there yet, with its rights from the first byte on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise InputError(str(path), "is there already", "no key is ever overwritten: name another file") from None
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise write_failure(path, error) from error
