"""Bundles that are not what they should be: each is refused before anything is unpacked."""

from __future__ import annotations

import json
import os
import random
import re
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from edge_ad.bundle.archive import header
from edge_ad.bundle.checks import verify_bundle
from edge_ad.bundle.manifest import BundleManifest, name_problem, names_problems
from edge_ad.bundle.signing import parse_signatures
from edge_ad.errors import DataError, EdgeAdError, UsageError
from tests.bundle.conftest import Workshop, member


def refused(workshop: Workshop, bundle: Path, message: str) -> None:
    """Check that a bundle is refused while another version runs, which stays as it is."""
    workshop.have_installed()
    before = workshop.running()
    with pytest.raises(DataError, match=message) as info:
        workshop.install(bundle)
    assert info.value.exit_code == 2 and str(bundle) in str(info.value)
    assert workshop.running() == before
    assert sorted(path.name for path in workshop.device.iterdir()) == [
        "current", "install.lock", "state.json", "versions"
    ]  # fmt: skip
    assert len(list((workshop.device / "versions").iterdir())) == 1


def content(workshop: Workshop) -> tuple[BundleManifest, list[bytes]]:
    manifest = workshop.manifest(2)
    members = [
        member(entry.name, (workshop.staging / entry.name).read_bytes()) for entry in manifest.files
    ]
    return manifest, members


def test_a_bundle_is_a_tar_archive_that_others_can_read(workshop: Workshop) -> None:
    with tarfile.open(workshop.bundle(1)) as archive:
        names = archive.getnames()
        line = archive.extractfile("line.yaml")
        assert line is not None and line.read() == b"engine: green.onnx\n"
    assert names[:2] == ["manifest.json", "signatures.json"] and len(names) == 6


def test_no_changed_byte_is_accepted(workshop: Workshop) -> None:
    bundle = workshop.bundle(1)
    data, rng = bundle.read_bytes(), random.Random(0)
    verify_bundle(bundle, workshop.trust)
    for place in [*range(0, len(data), 499), len(data) - 1]:
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        bundle.write_bytes(changed)
        with pytest.raises(EdgeAdError):
            verify_bundle(bundle, workshop.trust)


@pytest.mark.parametrize("left", [0, 1, 511, 512, 1000, 5000, -1024, -512, -1])
def test_a_truncated_bundle_is_refused(workshop: Workshop, left: int) -> None:
    bundle = workshop.bundle(2)
    bundle.write_bytes(bundle.read_bytes()[:left])
    refused(workshop, bundle, "truncated|not a bundle")


@pytest.mark.parametrize("extra", [b"\0", b"x", bytes(512), bytes(9216)])
def test_what_follows_the_end_is_refused(workshop: Workshop, extra: bytes) -> None:
    bundle = workshop.bundle(2)
    with bundle.open("ab") as file:
        file.write(extra)
    refused(workshop, bundle, "does not end where it should")


Change = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda all_: all_[:-1], "self_test/good.png is missing"),
        (lambda all_: all_[1:], "'line.yaml' stands in another place"),
        (lambda all_: [*all_, member("more.onnx", b"x")], "'more.onnx' is not in its manifest"),
        (lambda all_: [*all_, all_[0]], "'green.onnx' stands in another place.*or twice"),
        (lambda all_: [all_[0], *all_], "'green.onnx' stands in another place.*or twice"),
        (lambda all_: [member("../x", b"x"), *all_], "'../x' leads outside the bundle"),
        (lambda all_: [member("/etc/x", b"x"), *all_], "'/etc/x' leads outside the bundle"),
        (lambda all_: [member("GREEN.onnx", b"x"), *all_], "'GREEN.onnx' is not in its manifest"),
        (lambda all_: [raw("grün.onnx"), *all_], r"'gr\\xfcn.onnx' may have letters a-z"),
        (lambda all_: [raw("green.onnx", tarfile.SYMTYPE, "/etc/passwd"), *all_], "is a link to"),
        (lambda all_: [raw("green.onnx", tarfile.LNKTYPE, "line.yaml"), *all_], "is a link to"),
        (lambda all_: [raw("green.onnx", tarfile.CHRTYPE), *all_], "is a device, not a file"),
        (lambda all_: [raw("green.onnx", tarfile.FIFOTYPE), *all_], "is a device, not a file"),
        (lambda all_: [raw("green.onnx", tarfile.DIRTYPE), *all_], "is a folder, not a file"),
        (lambda all_: [raw("green.onnx", b"x"), *all_], "extended header or unknown kind"),
        (lambda all_: [raw("green.onnx", b"S"), *all_], "extended header or unknown kind"),
        (lambda all_: [header("green.onnx", 1 << 32), *all_], "has 4294967296 bytes, its manifest"),
        (lambda all_: [raw("green.onnx", size=679), *all_[1:]], "is not as edge-ad bundle create"),
    ],
)
def test_members_that_do_not_belong_there_are_refused(
    workshop: Workshop, change: Change, message: str
) -> None:
    manifest, members = content(workshop)
    refused(workshop, workshop.raw(manifest.to_bytes(), change(members)), message)


def raw(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> bytes:
    """Return a tar header as Python writes it."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mtime = kind, link, size, 1
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8")


def test_a_changed_file_is_named(workshop: Workshop) -> None:
    manifest, members = content(workshop)
    members[0] = members[0].replace(b"image", b"imago", 1)
    refused(workshop, workshop.raw(manifest.to_bytes(), members), "green.onnx was changed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../../etc/cron.d/x"}, "leads outside the bundle"),
        ({"name": "/etc/x"}, "leads outside the bundle"),
        ({"name": "a/../../x"}, "leads outside the bundle"),
        ({"name": "Line.yaml"}, "stands 2 times, capitals aside"),
        ({"name": "line.yaml"}, "stands 2 times"),
        ({"name": "line.yaml/x"}, "is both a file and a folder"),
        ({"name": "stra\u00dfe.onnx"}, "may have letters a-z"),
        ({"name": "run.yaml"}, "is reserved"),
        ({"name": "Manifest.json"}, "is reserved"),
        ({"name": "a\\b"}, "may have letters a-z"),
        ({"name": "x" * 101}, "more than 100 characters"),
        ({"name": ""}, "may have letters a-z"),
        ({"size": -1}, "files.0.size"),
        ({"size": 8**11}, "files.0.size"),
        ({"sha256": "0"}, "files.0.sha256"),
        ({"mode": 511}, "files.0.mode"),
    ],
)
def test_a_signed_manifest_with_a_wrong_file_is_refused(
    workshop: Workshop, changes: dict[str, Any], message: str
) -> None:
    manifest = json.loads(workshop.manifest(2).to_bytes())
    entry = {"name": "more.txt", "size": 1, "sha256": "0" * 64} | changes
    manifest["files"] = [entry, *manifest["files"]]
    bundle = workshop.raw(json.dumps(manifest).encode(), [])
    refused(workshop, bundle, f"manifest.json is not valid.*{message}")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"nul", b"[" * 100_000, b'{"format": 1}'])
def test_a_signed_manifest_that_is_none_is_refused(workshop: Workshop, data: bytes) -> None:
    refused(workshop, workshop.raw(data, []), "manifest.json is not")


def test_a_newer_format_asks_for_an_update(workshop: Workshop) -> None:
    bundle = workshop.raw(b'{"format": 2, "files": {}}', [])
    with pytest.raises(EdgeAdError, match=r"has format 2, this edge-ad reads 1. Update"):
        workshop.install(bundle)


@pytest.mark.parametrize("kind", ["gz", "zip", "html", "tar"])
def test_another_kind_of_file_is_named(workshop: Workshop, kind: str) -> None:
    path = workshop.folder / f"x.{kind}"
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(workshop.staging / "line.yaml", "line.yaml")
    data = {"gz": b"\x1f\x8b\x08", "zip": b"PK\x03\x04", "html": b"<html>"}
    path.write_bytes(data.get(kind, buffer.getvalue()))
    expected = {"gz": "gzip", "zip": "a zip archive", "html": "HTML", "tar": "other bytes"}[kind]
    refused(workshop, path, f"not a bundle: manifest.json was expected at byte 0, got {expected}")


@pytest.mark.parametrize("path", ["/dev/null", "/", "absent.edgead"])
def test_what_is_no_file_is_refused(workshop: Workshop, path: str) -> None:
    with pytest.raises(UsageError, match=r"not a file|cannot be read"):
        workshop.install(Path(path))
    assert workshop.running() == ("", {})


def test_a_pipe_is_refused_at_once(workshop: Workshop, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.edgead")
    with pytest.raises(UsageError, match="a pipe cannot be"):
        workshop.install(tmp_path / "p.edgead")


def test_signatures_have_one_way_to_be_written(workshop: Workshop) -> None:
    bundle = workshop.bundle(2)
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(b'"signatures": [', b'"signatures":[ '))
    refused(workshop, bundle, "signatures.json is damaged")
    text = re.search(rb'"signature": "(.{85})(.)==', data)
    assert text is not None
    other = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same = other[other.index(text[2]) ^ 1 : (other.index(text[2]) ^ 1) + 1]  # of unused bits
    bundle.write_bytes(data.replace(text[1] + text[2], text[1] + same))
    with pytest.raises(DataError, match=r"signatures.json is damaged"):
        verify_bundle(bundle, workshop.trust)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"signatures": 1}',
        b'{"signatures": [{"key_id": "a"}]}',
        b'{"signatures": [{"key_id": "a", "signature": "A"}]}',
        b'{"signatures": [{"key_id": "a", "signature": "QUJD"}]}',
        b'{"signatures": [{"key_id": "a", "signature": "\xc3\xa4"}]}',
        b"\xff\xfe",
    ],
)
def test_signatures_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^plates: signatures\.json is damaged\.$"):
        parse_signatures(data, "plates")


def test_a_signature_of_another_manifest_is_refused(workshop: Workshop) -> None:
    first, second = workshop.bundle(2), workshop.bundle(2, note="x")
    head = first.read_bytes()
    manifest = workshop.manifest(2).to_bytes()
    other = workshop.manifest(2, note="x").to_bytes()
    tail = head[len(member("manifest.json", manifest)) :]
    second.write_bytes(member("manifest.json", other) + tail)
    refused(workshop, second, "does not fit its manifest")


@pytest.mark.parametrize("name", ["a", "a.b-c_d/e.onnx", "0", "_x"])
def test_ordinary_names_are_accepted(name: str) -> None:
    assert name_problem(name) == "" and list(names_problems([name])) == []
