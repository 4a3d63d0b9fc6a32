"""Offer a device damaged bundles, and kill its installs in every step.

    python benchmarks/soak_bundle.py [--mutations 1000] [--kills 20] [--seed 0]

Each mutated bundle is offered to the whole install; counted are those accepted, and changes of what
the line runs. Then an install is killed (SIGKILL) in each of its steps, at the step's beginning and
at random moments within it, and another install follows; counted are broken lines: a link that
leads nowhere, a file that is missing or changed, a status or a next install that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from results import write_result  # the script's own folder is on the path

from edge_ad.bundle.archive import Head, write_bundle
from edge_ad.bundle.create import BundleConfig, make_manifest, make_self_test
from edge_ad.bundle.health import read_status
from edge_ad.bundle.install import STEPS, InstallRequest, install
from edge_ad.bundle.manifest import BundleManifest, SelfTestCamera
from edge_ad.bundle.signing import Signatures, SigningKey, new_key
from edge_ad.bundle.trust import Trust, TrustedKey
from edge_ad.errors import EdgeAdError

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "tests" / "engines" / "green-32-b1.onnx"
_SHORTEST_S = 0.002  # of a step, for the moment of a kill
_MUTATED = ("offered", "accepted", "line changed")
_KILLED = (
    *("kills", "broken lines", "new version after the kill", "failed", "ended before the kill"),
    *("next install failed", "next install not current"),
)


@dataclass
class Factory:
    """Makes bundles of one product, each with its own version."""

    folder: Path
    staging: Path
    manifest: BundleManifest
    key: SigningKey
    version: int = 0

    @property
    def trust(self) -> Trust:
        """The trust of the device."""
        return Trust(keys=(TrustedKey(name="soak", key=str(self.key.public)),))

    def next_bundle(self) -> Path:
        """Write the bundle of the next version."""
        self.version += 1
        data = self.manifest.model_copy(update={"version": self.version}).to_bytes()
        signatures = self.key.sign(data, Signatures()).to_bytes()
        files = [(entry, self.staging / entry.name) for entry in self.manifest.files]
        path = self.folder / "next.edgead"
        with path.open("wb") as file:
            write_bundle(file, Head(data, signatures), files)
        return path

    def install(self, bundle: Path, on_step: Callable[[str], None] = lambda step: None) -> None:
        """Install a bundle on the device."""
        device = self.folder / "device"
        install(InstallRequest(device, bundle, self.trust, write_line, "soak", "soak",
                               on_step=on_step))  # fmt: skip


def write_line(staging: Path, version: Path, engines: dict[str, str]) -> None:
    """Write a line file; the check of the line is not what is measured."""
    (staging / "run.yaml").write_text(f"engine: {version}/green.onnx\noutput: output\n")


def make_factory(folder: Path) -> Factory:
    """Stage the files of a bundle. Runs in a child: engines must not be opened before a fork."""
    staging = folder / "staging"
    (folder / "known").mkdir(parents=True)
    staging.mkdir()
    rng = np.random.default_rng(0)
    for name, peak in (("good", 60), ("bad", 250)):
        image = rng.integers(20, peak, (32, 32, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "known" / f"{name}.png"), image)
    shutil.copy(ENGINE, staging / "green.onnx")
    (staging / "line.yaml").write_text("engine: green.onnx\n")
    config = BundleConfig("soak", 1)

    def stage() -> None:
        camera = SelfTestCamera(
            camera="top", engine="green.onnx", threshold=0.5, pixel_threshold=0.5, geometry={}
        )
        test = make_self_test(staging, [camera], folder / "known", config)
        data = make_manifest(staging, test, config).to_bytes()
        (folder / "manifest.json").write_bytes(data)

    assert in_child(stage) == 0
    manifest = BundleManifest.model_validate_json((folder / "manifest.json").read_bytes())
    return Factory(folder, staging, manifest, new_key())


def in_child(call: Callable[[], object]) -> int:
    """Run a call in a fork and return its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def mutate(data: bytes, other: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return a kind of damage and the damaged bytes."""
    place, length = rng.randrange(len(data)), rng.choice((1, 2, 16, 512, 1024, 4096))
    block = place // 512 * 512
    kinds: dict[str, Callable[[], bytes]] = {
        "bit": lambda: data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)])
        + data[place + 1 :],
        "bytes": lambda: data[:place] + rng.randbytes(length) + data[place + length :],
        "zeros": lambda: data[:place] + bytes(length) + data[place + length :],
        "removed": lambda: data[:place] + data[place + length :],
        "inserted": lambda: data[:place] + rng.randbytes(length) + data[place:],
        "doubled block": lambda: data[: block + 512] + data[block:],
        "removed block": lambda: data[:block] + data[block + 512 :],
        "swapped blocks": lambda: data[:block] + data[block + 512 : block + 1024]
        + data[block : block + 512] + data[block + 1024 :],
        "truncated": lambda: data[:place],
        "extended": lambda: data + rng.randbytes(length),
        "mixed with another version": lambda: data[:block] + other[block:],
    }  # fmt: skip
    kind = rng.choice(list(kinds))
    return kind, kinds[kind]()


def offer_mutations(factory: Factory, count: int, seed: int) -> Counter[str]:
    """Return how many mutated bundles were accepted, by kind how many were offered, and why not."""
    rng, counts = random.Random(seed), Counter[str]()
    other = factory.next_bundle().read_bytes()
    data = factory.next_bundle().read_bytes()
    before, path = tree(factory), factory.folder / "mutated.edgead"
    while counts["offered"] < count:
        kind, mutated = mutate(data, other, rng)
        if mutated in (data, other):
            continue
        counts["offered"] += 1
        counts[f"kind: {kind}"] += 1
        path.write_bytes(mutated)
        try:
            factory.install(path)
            counts["accepted"] += 1
            print("ACCEPTED", kind)
        except EdgeAdError as error:
            counts[f"exit code {error.exit_code}"] += 1
    counts["line changed"] += tree(factory) != before
    return counts


def tree(factory: Factory) -> dict[str, bytes]:
    """Return all that the line reads."""
    link = factory.folder / "device" / "current"
    return {str(path): path.read_bytes() for path in link.rglob("*") if path.is_file()}


def step_times(factory: Factory) -> dict[str, float]:
    """Return the seconds of each step, measured in a child."""
    file = factory.folder / "times.json"

    def measure() -> None:
        marks: list[tuple[str, float]] = []
        bundle = factory.next_bundle()
        factory.install(bundle, lambda step: marks.append((step, time.perf_counter())))
        ends = [*(at for _, at in marks[1:]), time.perf_counter()]
        file.write_text(
            json.dumps({step: end - at for (step, at), end in zip(marks, ends, strict=True)})
        )

    assert in_child(measure) == 0
    factory.version += 1
    return dict(json.loads(file.read_text()))


def kill_installs(factory: Factory, kills: int, seed: int) -> tuple[Counter[str], dict[str, float]]:
    """Return the counts of broken lines after kills in each step, and the steps' times."""
    rng, counts, times = random.Random(seed), Counter[str](), step_times(factory)
    for step in STEPS:
        killed = 0
        while killed < kills:
            bundle, version = factory.next_bundle(), factory.version
            delay_s = rng.uniform(0, max(times[step], _SHORTEST_S)) * (killed % 2)
            code = in_child(lambda: factory.install(bundle, killing(step, delay_s)))  # noqa: B023
            killed += code == -signal.SIGKILL
            counts["kills"] += code == -signal.SIGKILL
            counts["ended before the kill"] += code == 0
            counts["failed"] += code not in (0, -signal.SIGKILL)
            if examine(factory, version, counts) == version and code:
                counts["new version after the kill"] += 1
            bundle = factory.next_bundle()
            counts["next install failed"] += in_child(lambda: factory.install(bundle)) != 0  # noqa: B023
            counts["next install not current"] += (
                examine(factory, factory.version, counts) != factory.version
            )
    return counts, times


def killing(step: str, delay_s: float) -> Callable[[str], None]:
    """Return a function that kills this process when a step begins, or some time later."""

    def on_step(now: str) -> None:
        if now == step and not delay_s:
            os.kill(os.getpid(), signal.SIGKILL)
        if now == step:
            threading.Timer(delay_s, os.kill, [os.getpid(), signal.SIGKILL]).start()

    return on_step


def examine(factory: Factory, version: int, counts: Counter[str]) -> int:
    """Count what is broken on the device, and return the version that it runs."""
    try:
        status = read_status(factory.folder / "device", factory.trust)
    except EdgeAdError as error:
        print("BROKEN", error)
        counts["broken lines"] += 1
        return 0
    current = status.current.version if status.current else 0
    if status.problems or current not in range(version - 1, version + 1):
        print("BROKEN", version, current, status.problems)
        counts["broken lines"] += 1
    return current


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        factory = make_factory(Path(name))
        first = factory.next_bundle()
        assert in_child(lambda: factory.install(first)) == 0
        kills, times = kill_installs(factory, given.kills, given.seed)
        mutations = offer_mutations(factory, given.mutations, given.seed)
    settings = {"seed": given.seed, "kills_a_step": given.kills, "steps": list(STEPS)}
    samples = {"step_s": {step: round(seconds, 5) for step, seconds in times.items()}}
    save("mutated", mutations, _MUTATED, settings, {})
    save("killed", kills, _KILLED, settings, samples)


def save(
    model: str,
    counts: Counter[str],
    shown: Sequence[str],
    settings: dict[str, Any],
    samples: dict[str, Any],
) -> None:
    """Write the counts that are shown as metrics, the others as samples."""
    metrics = {name.replace(" ", "_"): counts[name] for name in shown}
    others = {name: count for name, count in sorted(counts.items()) if name not in shown}
    path = write_result(
        "bundle", model, "all", metrics=metrics, settings=settings, samples=samples | others
    )
    print(path, json.dumps(metrics))


if __name__ == "__main__":
    main()
