"""Send the alarms of a line to your own receiver, here a list of parts to sort out.

python examples/own_outlet.py                              the shipped footage and engine
python examples/own_outlet.py --camera 0 --engine destseg.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

import edge_ad
from edge_ad import LineConfig, Outlet, open_line
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.outlet.base import Evidence

SAMPLE = Path(edge_ad.__file__).parent / "sample"


class Ejector(Outlet):
    """Collects one entry for each alarm; a real one would trigger an output of the PLC.

    Calls come from camera threads, and the line waits for them: return quickly. Raise OSError for
    a record that could not be delivered.
    """

    def __init__(self) -> None:
        self.ejected: list[str] = []

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        if event.kind is AlarmKind.DEFECT and event.event is AlarmStep.NEW:
            self.ejected.append(f"{event.id}: frame {event.frame}, score {event.peak_score:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camera", default=str(SAMPLE / "footage.mp4"))
    parser.add_argument("--engine", type=Path, default=SAMPLE / "engine.onnx")
    parser.add_argument("--frames", type=int, default=200)
    options = parser.parse_args()

    ejector = Ejector()
    config = LineConfig((options.camera,), options.engine, frames=options.frames)
    with open_line(config, [ejector]) as line:
        line.start()
        line.wait(timeout_s=600)
        summary = line.finish()
    line.raise_errors()
    print("\n".join(ejector.ejected))
    print(f"{summary['judged']} frames, {len(ejector.ejected)} parts ejected")


if __name__ == "__main__":
    main()
