"""`edge-ad bundle create` and `sign`."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bundle_options import FILE, FOLDER, open_key
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.types import NumberRange
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.bundle.create import BundleConfig
    from edge_ad.bundle.manifest import BundleManifest, SelfTestCamera

_SHARE = NumberRange(0, 1)
_FINITE = NumberRange(0, 1e6, min_open=True)


class Expiry(click.ParamType[Any]):
    """A time as text in UTC: `90d` from now, or a date."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        from edge_ad.clock import as_utc, parse_time

        number, unit = str(value)[:-1], str(value)[-1:]
        now, moment = datetime.now(timezone.utc), ""
        if unit in {"d", "w"} and number.isdecimal() and len(number) < 6:
            moment = as_utc(now + timedelta(days=int(number) * (7 if unit == "w" else 1)))
        else:
            with suppress(UsageError):
                moment = parse_time(str(value))
        if moment <= as_utc(now):
            self.fail(f"expected a span from now (90d, 12w) or a date to come; got '{value}'")
        return moment


@click.command()
@click.argument("line", metavar="LINE.YAML", type=FILE)
@click.option("--product", required=True, help="What the bundle is for; a device keeps to one.")
@click.option(
    "--version",
    required=True,
    type=click.IntRange(1, 10**15),
    help="Whole number, higher than that of every earlier bundle of the product.",
)
@click.option(
    "--self-test",
    required=True,
    type=FOLDER,
    metavar="DIR",
    help="Images that every device judges before it switches; those in a folder with a camera's "
    "name are for that camera.",
)
@click.option("-o", "--output", required=True, type=FILE, help="Bundle to write, like 7.edgead.")
@click.option("--key", type=FILE, help="Private key to sign with; without one, sign it later.")
@click.option("--expires", type=Expiry(), help="Not to be installed after: 90d, 12w or a date.")
@click.option(
    "--architecture", default="", help="For these processors only, like aarch64 or x86_64."
)
@click.option(
    "--machine", "machines", multiple=True, metavar="NAME", help="For these host names only, like "
    "line-*; repeats."
)  # fmt: skip
@click.option("--note", default="", help="What is new, in a sentence.")
@click.option(
    "--score-tolerance",
    default=0.02,
    show_default=True,
    type=NumberRange(0, 1, min_open=True),
    help="How far a score may differ on a device, as a share of the threshold.",
)
@click.option("--latency-ms", type=_FINITE, help="Longest median time for an image on a device.")
@click.option(
    "--build-plans", is_flag=True, help="Let devices with a GPU build and run TensorRT plans."
)
@click.option("--watch-minutes", default=10.0, show_default=True, type=_FINITE,
              help="How long a device watches a new version.")  # fmt: skip
@click.option("--watch-parts", default=50, show_default=True, type=click.IntRange(1),
              help="Fewest parts on which it decides.")  # fmt: skip
@click.option("--watch-reject-rate", default=0.05, show_default=True, type=_SHARE,
              help="Share of rejected parts up to which it keeps the version.")  # fmt: skip
@click.option("--watch-invalid-rate", default=0.02, show_default=True, type=_SHARE,
              help="Likewise of invalid parts.")  # fmt: skip
@click.option("--watch-rise", default=3.0, show_default=True, type=NumberRange(1, 1e6),
              help="Times the rate of the version before that is allowed, if more.")  # fmt: skip
@click.option("--watch-faults", default=3, show_default=True, type=click.IntRange(0),
              help="Camera faults that are allowed.")  # fmt: skip
@click.option("--watch-restarts", default=3, show_default=True, type=click.IntRange(0),
              help="Starts after the first that are allowed.")  # fmt: skip
@click.option("--watch-start-s", default=120.0, show_default=True, type=_FINITE,
              help="Time for the line to start at all.")  # fmt: skip
@shared
def create(*, line: Path, output: Path, key: Path | None, as_json: bool, **options: Any) -> None:
    """Make a bundle from a line file, its engines with their sidecars, and images to test with.

    The line is checked, and the images are judged as on a device: their scores and verdicts are
    what devices must answer.
    """
    from edge_ad.bundle.create import save_bundle
    from edge_ad.files import sha256

    signer = open_key(key) if key else None
    with output_file(output, ".edgead"), tempfile.TemporaryDirectory(prefix="edge-ad-") as name:
        manifest = _stage(line, options["self_test"], _config(options), Path(name))
        save_bundle(output, Path(name), manifest, signer)
    result = {
        "type": "bundle",
        "bundle": str(output),
        "bytes": output.stat().st_size,
        "sha256": sha256(output),
        "signed_by": [signer.public.key_id] if signer else [],
        "manifest": manifest.model_dump(mode="json"),
    }
    emit(result) if as_json else click.echo(_summary(result, manifest))


@click.command()
@click.argument("bundle", type=FILE)
@click.option("--key", required=True, type=FILE, help="Private key, from edge-ad keys new.")
@shared
def sign(*, bundle: Path, key: Path, as_json: bool) -> None:
    """Add a signature to BUNDLE, after checking every byte of it.

    A device needs one signature by a key that it trusts, so a bundle with those of an old and a new
    key passes on devices that know either.
    """
    from edge_ad.bundle.create import sign_bundle

    signer = open_key(key)
    with output_file(bundle, ".edgead"):
        ids = sign_bundle(bundle, signer)
    if as_json:
        emit({"type": "bundle", "bundle": str(bundle), "signed_by": ids})
    else:
        click.echo(f"{bundle}: signed by {', '.join(ids)}")


def _stage(line: Path, images: Path, config: BundleConfig, staging: Path) -> BundleManifest:
    """Put all files of the bundle into the staging folder and return its manifest."""
    from edge_ad.bundle.create import collect_files, make_manifest, make_self_test
    from edge_ad.bundle.manifest import LINE, name_problem
    from edge_ad.cli.bundle_line import (
        bundled_line,
        check_line_file,
        device_line,
        for_any_machine,
    )
    from edge_ad.strict_yaml import dump_yaml

    keys, files = bundled_line(line)
    for name in files:
        if problem := name_problem(name):
            raise UsageError(f"{files[name]}: the name {problem}. Rename it.")
    collect_files(staging, files)
    home = staging / "home"
    tried = for_any_machine(device_line(keys, {}, home, staging, {}))
    check = check_line_file(tried, str(line))
    shutil.rmtree(home, ignore_errors=True)
    cameras = _cameras(check, staging)
    (staging / LINE).write_text(dump_yaml(keys), encoding="utf-8")
    return make_manifest(staging, make_self_test(staging, cameras, images, config), config)


def _cameras(check: dict[str, Any], staging: Path) -> list[SelfTestCamera]:
    from edge_ad.bundle.manifest import SelfTestCamera

    return [
        SelfTestCamera(
            camera=camera["camera"],
            engine=Path(camera["engine"]).relative_to(staging).as_posix(),
            threshold=float(camera["threshold"]),
            pixel_threshold=float(camera["pixel_threshold"]),
            geometry=camera["geometry"],
        )
        for camera in check["cameras"]
    ]


def _config(options: dict[str, Any]) -> BundleConfig:
    from edge_ad.bundle.create import BundleConfig
    from edge_ad.bundle.manifest import Target, WatchLimits

    return BundleConfig(
        product=options["product"],
        version=options["version"],
        expires_utc=options["expires"],
        target=Target(architecture=options["architecture"], machines=options["machines"]),
        note=options["note"],
        tolerance=options["score_tolerance"],
        latency_ms=options["latency_ms"],
        build_plans=options["build_plans"],
        watch=WatchLimits(**{name: options[f"watch_{name}"] for name in WatchLimits.model_fields}),
    )


def _summary(result: dict[str, Any], manifest: BundleManifest) -> str:
    tested = len(manifest.self_test.images)
    lines = [
        f"{result['bundle']}: {manifest.product} version {manifest.version}, "
        f"{len(manifest.files)} files, {result['bytes'] / 1e6:.1f} MB, {tested} images to test with"
    ]
    if result["signed_by"]:
        lines.append(f"signed by {', '.join(result['signed_by'])}")
    else:
        lines.append(f"not signed; next: edge-ad bundle sign {result['bundle']} --key FILE")
    return "\n".join(lines)
