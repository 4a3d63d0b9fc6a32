"""A bundle made for tests, a folder that it is installed in, and the keys that sign it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_ad.bundle.archive import Head, header, write_bundle
from edge_ad.bundle.install import InstallRequest, InstallResult, install
from edge_ad.bundle.manifest import (
    DEVICE_LINE,
    BundledFile,
    BundleManifest,
    SelfTest,
    SelfTestCamera,
    SelfTestImage,
    WatchLimits,
)
from edge_ad.bundle.signing import PublicKey, Signatures, SigningKey, new_key
from edge_ad.bundle.trust import Trust, TrustedKey
from edge_ad.files import sha256
from edge_ad.store.reading import EventFilter, read_events
from tests.conftest import ROOT, engine_name, part_image

pytest.importorskip("cryptography")


@dataclass
class Workshop:
    """Makes bundles of one product from the files in `staging`."""

    folder: Path
    staging: Path
    key: SigningKey
    trust: Trust
    installed: Path

    def manifest(self, version: int, **changes: Any) -> BundleManifest:
        paths = sorted(path for path in self.staging.rglob("*") if path.is_file())
        files = tuple(
            BundledFile(
                name=path.relative_to(self.staging).as_posix(),
                size=path.stat().st_size,
                sha256=sha256(path),
            )
            for path in paths
        )
        camera = SelfTestCamera(
            camera="top", engine="green.onnx", threshold=0.5, pixel_threshold=0.5, geometry={}
        )
        answers = (("good", 59 / 255, "PASS"), ("bad", 250 / 255, "REJECT"))
        images = tuple(
            SelfTestImage.model_validate(
                {"camera": "top", "image": f"self_test/{name}.png", "tolerance": 0.01}
                | {"score": score, "verdict": verdict}
            )
            for name, score, verdict in answers
        )
        content: dict[str, Any] = {
            "product": "plates",
            "version": version,
            "created_utc": "2026-01-01T00:00:00+00:00",
            "self_test": SelfTest(cameras=(camera,), images=images),
            "files": files,
        }
        return BundleManifest(**content | changes)

    def bundle(
        self, version: int = 1, keys: list[SigningKey] | None = None, **changes: Any
    ) -> Path:
        """Write a bundle; `changes` are fields of its manifest."""
        manifest = self.manifest(version, **changes)
        return self.write(manifest.to_bytes(), [(f, f.name) for f in manifest.files], keys)

    def write(
        self,
        manifest: bytes,
        files: list[tuple[BundledFile, str]],
        keys: list[SigningKey] | None = None,
    ) -> Path:
        """Write a bundle of any manifest, with files of the staging folder by name."""
        signatures = Signatures()
        for key in [self.key] if keys is None else keys:
            signatures = key.sign(manifest, signatures)
        path = self.folder / f"{len(list(self.folder.glob('*.edgead')))}.edgead"
        with path.open("wb") as file:
            write_bundle(
                file,
                Head(manifest, signatures.to_bytes()),
                [(entry, self.staging / name) for entry, name in files],
            )
        return path

    def raw(self, manifest: bytes, members: list[bytes]) -> Path:
        """Write a bundle with a signed manifest and members given byte by byte."""
        path = self.write(manifest, [])
        head = path.read_bytes()[:-1024]
        path.write_bytes(head + b"".join(members) + bytes(1024))
        return path

    def install(
        self,
        bundle: Path | Callable[[], Path],
        into: Path | None = None,
        *,
        allow_older: bool = False,
        again: bool = False,
        on_step: Callable[[str], None] = lambda step: None,
        trust: Trust | None = None,
    ) -> InstallResult:
        return install(
            InstallRequest(
                folder=into or self.folder / "device",
                bundle=bundle,
                trust=trust or self.trust,
                write_line=write_line,
                source=str(bundle),
                who="test",
                allow_older=allow_older,
                again=again,
                on_step=on_step,
            )
        )

    @property
    def device(self) -> Path:
        return self.folder / "device"

    def have_installed(self) -> None:
        """Let the device run version 1."""
        shutil.copytree(self.installed, self.device, symlinks=True)

    def running(self) -> tuple[str, dict[str, bytes]]:
        """Return what the line of the device reads: the folder and all files in it."""
        link = self.device / "current"
        if not link.is_symlink():
            return "", {}
        files = {
            path.relative_to(link).as_posix(): path.read_bytes()
            for path in sorted(link.rglob("*"))
            if path.is_file()
        }
        return link.resolve().name, files


def two_versions(workshop: Workshop) -> Path:
    limits = WatchLimits(minutes=1e-9)
    workshop.install(workshop.bundle(1, watch=limits))
    workshop.install(workshop.bundle(2, watch=limits))
    return workshop.device / "output"


def reasons(output: Path) -> list[tuple[str, str]]:
    events = read_events(output, EventFilter(types=("bundle",)))
    return [(event["step"], event["reason"]) for event in events]


def write_line(staging: Path, version: Path, engines: dict[str, str]) -> None:
    """Write a device's line file without checking it."""
    output = version.parent.parent / "output"
    text = f"output: {json.dumps(str(output))}\nengine: {version}/green.onnx\n"
    (staging / DEVICE_LINE).write_text(text, encoding="utf-8")


def member(name: str, data: bytes) -> bytes:
    """Return a tar member as bundles have it."""
    return header(name, len(data)) + data + bytes(-len(data) % 512)


def trusting(*keys: PublicKey) -> Trust:
    return Trust(keys=tuple(TrustedKey(name=f"key {n}", key=str(k)) for n, k in enumerate(keys)))


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return new_key()


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of a bundle."""
    staging = tmp_path_factory.mktemp("staging")
    shutil.copy(ROOT / "tests" / "engines" / engine_name(32, 1), staging / "green.onnx")
    (staging / "line.yaml").write_text("engine: green.onnx\n")
    (staging / "self_test").mkdir()
    for name, spot in (("good", False), ("bad", True)):
        cv2.imwrite(str(staging / "self_test" / f"{name}.png"), part_image(spot=spot, hw=(32, 32)))
    return staging


@pytest.fixture(scope="session")
def installed(
    tmp_path_factory: pytest.TempPathFactory, staged: Path, signing_key: SigningKey
) -> Path:
    """Return a device's folder with version 1."""
    folder = tmp_path_factory.mktemp("installed")
    made = Workshop(folder, staged, signing_key, trusting(signing_key.public), folder)
    made.install(made.bundle(1))
    return made.device


@pytest.fixture
def workshop(tmp_path: Path, staged: Path, signing_key: SigningKey, installed: Path) -> Workshop:
    return Workshop(tmp_path, staged, signing_key, trusting(signing_key.public), installed)
