"""TLS settings of outlets: whom to trust, and who the line is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.errors import UsageError

if TYPE_CHECKING:
    import ssl

    from edge_ad.uri import Uri

TLS_OPTIONS = {
    "ca": "file of certificates to trust instead of the system's",
    "cert": "file of the line's own certificate",
    "key": "file of its private key, if that is not in `cert`",
}
TLS_PATHS: dict[str, tuple[str, ...]] = {"ca": (), "cert": (), "key": ()}


def tls_context(uri: Uri) -> ssl.SSLContext:
    """Return the TLS settings of a URI's options. Raises UsageError for a file that is unfit.

    The other side's certificate and host name are always checked.
    """
    import ssl

    files = {name: uri.options.get(name) for name in TLS_OPTIONS}
    for name, file in files.items():
        if file is not None and not Path(file).is_file():
            raise UsageError(f"{uri}: there is no file '{file}' for {name}.")
    if files["key"] and not files["cert"]:
        raise UsageError(f"{uri}: key belongs to a certificate. Give cert too.")
    name = "ca"
    try:
        context = ssl.create_default_context(cafile=files["ca"])
        name = "cert"
        if files["cert"]:
            context.load_cert_chain(files["cert"], files["key"], password=no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error.args[-1] if error.args else error
        raise UsageError(
            f"{uri}: '{files[name]}' cannot be used for {name} ({reason}). Expected PEM files, "
            "without a password on the key."
        ) from error
    return context


def certificate_files(uri: Uri) -> dict[str, str]:
    """Return the certificates that a URI's options name: absolute paths, and what they are for.

    That is `ca` (whom to trust) or `own` (who the line is).
    """
    options = uri.options
    files = {
        "ca": options.get("ca"),
        "own": options.get("cert") or options.get("certificate"),
    }
    if options.get("pki"):
        files["own"] = str(Path(options["pki"]) / "certificate.pem")
    return {str(Path(file).absolute()): use for use, file in files.items() if file}


def refuse_tls_options(uri: Uri) -> None:
    """Raise UsageError for TLS options of a URI that does not use TLS."""
    for name in TLS_OPTIONS:
        if name in uri.options:
            raise UsageError(f"{uri}: {name} is for TLS. Write {uri.scheme}s:// instead.")


def no_password() -> str:
    """Refuse a key with a password, for which OpenSSL would ask at the terminal."""
    raise ValueError("its key has a password")
