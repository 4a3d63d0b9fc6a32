"""What the options of `run` say about its outputs."""

from __future__ import annotations

from typing import Any

from edge_ad.cli.run_outputs import Outputs
from edge_ad.errors import UsageError
from edge_ad.line.config import LineConfig, is_named
from edge_ad.store.retention import Retention


def outputs_of(config: LineConfig, options: dict[str, Any], *, as_json: bool) -> Outputs:
    """Return the outputs that options ask for. Raises UsageError where they do not fit together."""
    _check_folder(options)
    if options["metrics"] is not None:
        from edge_ad.line.metrics import check_metrics

        check_metrics(options["metrics"])
    page = None
    if options["page"] is not None:
        from edge_ad.cli.run_page import RunPage

        page = RunPage(options["page"])
    return Outputs(
        as_json=as_json,
        quiet=options["quiet"],
        show=options["show"],
        folder=options["output"],
        overwrite=options["overwrite"],
        named=len(config.cameras) > 1 or any(map(is_named, config.cameras)),
        log_inspections=options["log_inspections"],
        retention=Retention(
            options["keep_days"], options["keep_events"], options["keep_mib"] << 20
        ),
        evidence_count=options["evidence_count"],
        evidence_bytes=options["evidence_mib"] << 20,
        metrics=options["metrics"],
        page=page,
        samples_bytes=options["keep_samples_mib"] << 20,
    )


def _check_folder(options: dict[str, Any]) -> None:
    needs = {
        "--log-inspections writes to": options["log_inspections"] != "none",
        "--page shows what is in": options["page"] is not None,
        "--keep-samples-mib writes to": options["keep_samples_mib"] > 0,
    }
    for what, asked in needs.items():
        if asked and options["output"] is None:
            raise UsageError(f"{what} the output folder. Give one with -o DIR.")
