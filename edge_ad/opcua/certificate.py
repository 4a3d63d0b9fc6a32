"""Make and check the certificate that a server encrypts with."""

from __future__ import annotations

import ipaddress
import os
import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_ad.errors import UsageError

_YEARS = 10
_KEY_BITS = 2048  # the most that Basic256Sha256 is sure to be tested with by clients
CERTIFICATE_FILES = ("certificate.pem", "key.pem")


def own_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Return certificate and key in a folder, and make them when there are none. Raises OSError."""
    certificate, key = (folder / name for name in CERTIFICATE_FILES)
    if certificate.exists() or key.exists():
        return certificate, key
    folder.mkdir(parents=True, exist_ok=True)
    secret = rsa.generate_private_key(65537, _KEY_BITS)
    _write(
        key,
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        0o600,
    )
    signed = _self_signed(secret, host)
    _write(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def valid_until(certificate: Path, *, last: bool = False) -> datetime:
    """Return when the first certificate of a file in PEM form ends, or the one that ends `last`.

    Raises OSError, ValueError.
    """
    read = x509.load_pem_x509_certificates(certificate.read_bytes())
    ends = [each.not_valid_after_utc for each in read]
    return max(ends) if last else ends[0]


def application_uri(certificate: Path, key: Path) -> str:
    """Return the application URI of a certificate.

    Raises UsageError when it is none, has expired, does not belong to the key or lacks the URI.
    """
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        secret = serialization.load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{certificate} and {key}: expected a certificate and its RSA key without a password, "
            f"both in PEM form ({error})."
        ) from error
    if not isinstance(secret, rsa.RSAPrivateKey) or secret.public_key() != read.public_key():
        raise UsageError(f"{key} is not the RSA key of {certificate}.")
    _check_time(read, certificate)
    return _uri(read, certificate)


def _check_time(read: x509.Certificate, path: Path) -> None:
    now = datetime.now(timezone.utc)
    if not read.not_valid_before_utc <= now <= read.not_valid_after_utc:
        raise UsageError(
            f"{path} is valid from {read.not_valid_before_utc:%Y-%m-%d} to "
            f"{read.not_valid_after_utc:%Y-%m-%d}, not today. Check this machine's clock, and "
            "renew the certificate; edge-ad's own is made again once it and its key are gone."
        )


def _uri(read: x509.Certificate, path: Path) -> str:
    try:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    if not uris:
        raise UsageError(
            f"{path} names no application URI (subjectAltName URI:…), without which OPC UA clients "
            "refuse it. Leave it out and give pki=DIR to have one made."
        )
    return str(uris[0])


def _self_signed(secret: rsa.RSAPrivateKey, host: str) -> x509.Certificate:
    machine = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edge-ad on {machine}"[:64])])
    now = datetime.now(timezone.utc)
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:edge-ad:{machine}"),
        *(x509.DNSName(each) for each in dict.fromkeys([machine, "localhost"])),
        *_address(host),
    ]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    identifier = x509.SubjectKeyIdentifier.from_public_key(secret.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(server, critical=False)
        .add_extension(identifier, critical=False)
        .sign(secret, hashes.SHA256())
    )


def _address(host: str) -> list[x509.GeneralName]:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return [x509.DNSName(host)]
    return [] if address.is_unspecified else [x509.IPAddress(address)]


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
