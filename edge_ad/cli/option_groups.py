"""The sections of a long help: the options of a verb, grouped by what they are about.

An option that no group names stands first, below "Options". A test compares the names with the
options of the verbs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

Groups = Mapping[str, Sequence[str]]

_HELP = "help"  # what click calls that option differs between its versions
GEOMETRY = {
    "Geometry": ("roi", "ignore", "tiles", "overlap", "shrink", "bit_depth"),
}
ENGINE = {"Engine": ("device", "runtime", "threads", "trust_host_code", "cuda_graph")}
PARTS = {"Parts": ("part_id", "parts_from")}
COMMON = {"Output and configuration": ("as_json", "config", "print_config", _HELP)}

# verb: sections in the order of its help, with the names of their parameters
GROUPS: Mapping[str, Groups] = {
    "run": {
        "Cameras": ("timeout_s", "reopen_for_s", "isolate", "require_cameras"),
        **GEOMETRY,
        "Verdicts": (
            *("threshold", "pixel_threshold", "part", "verdict_within_s"),
            *("expected_anomalous", "frames_per_part"),
        ),
        "Alarms": ("alarm_k", "alarm_n", "hysteresis"),
        "Triggers": ("trigger", "trigger_delay_ms", "trigger_within_ms"),
        "Output folder": (
            *("overwrite", "log_inspections", "keep_days", "keep_events", "keep_mib"),
            *("evidence_count", "evidence_mib", "keep_samples_mib"),
        ),
        **ENGINE,
        "End of the run": ("frames", "duration_s"),
        "Before the run": ("check", "schema"),
    },
    "train": {
        "Network and training": (
            *("size", "width", "steps", "batch", "budget_minutes", "branch", "prior"),
            *("rotation", "assigned", "seed", "resume"),
        ),
        "Parts": ("set_aside", "folds", *PARTS["Parts"]),
        **GEOMETRY,
        "This computer": ("device", "arithmetic", "threads", "workers"),
    },
    "calibrate": {
        "Ranges": (
            *("samples", "seed", "synthetic_anomalies", "method", "ranges", "merge"),
            *("read_cache", "write_cache", "cache_version"),
        ),
        "Layers": (
            *("exclude", "include", "float_precision", "no_fall_back", "max_float"),
            *("sensitivity_images", "list_nodes"),
        ),
        "Accuracy gate": (
            *("test", "layout", "leave_out_bad_masks", "max_auroc_loss", "max_pixel_ap_loss"),
            *("no_pixel_limit", "gate_images", "no_gate"),
        ),
        **PARTS,
    },
    "threshold": {
        "Guarantee": ("false_alarm_rate", "confidence", "at_best", "by", "allow_drift"),
        "Parts": (*PARTS["Parts"], "frames", "frames_per_part"),
        "Escapes": ("anomalies", "plot"),
        **GEOMETRY,
        **ENGINE,
    },
    "evaluate": {**PARTS, **GEOMETRY, **ENGINE},
    "bench": {
        "What is measured": (
            *("batches", "rate_hz", "streams", "capacity", "latency_ms", "roofline"),
            *("estimate", "scenario"),
        ),
        "How long": ("rounds", "frames", "warmup_ms", "duration_s"),
        "Result": ("limits", "older", "allow_unstable", "output", "figure"),
        **GEOMETRY,
        **ENGINE,
    },
    "rejudge": {**GEOMETRY, **ENGINE},
    "verify": ENGINE,
    "capture": {
        "Which frames": ("every", "every_s", "min_difference", "part", "trigger"),
        "End of the capture": ("count", "max_mib", "duration_s", "timeout_s"),
        **GEOMETRY,
    },
    "dataset": {
        **PARTS,
        "Split": ("split", "shares", "seed"),
        **GEOMETRY,
    },
    "import": {
        "What an ONNX file does not say": (
            *("adapter", "layout", "color", "scale", "mean", "std"),
            *("map_output", "score_output"),
        ),
    },
}


class GroupedCommand(click.Command):
    """A verb whose options stand in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section; see `GROUPS`."""
        for title, params in self._sections(ctx):
            records = [param.get_help_record(ctx) for param in params]
            if rows := [record for record in records if record is not None]:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _sections(self, ctx: click.Context) -> Iterator[tuple[str, list[click.Parameter]]]:
        groups = {**GROUPS.get(self.name or "", {}), **COMMON}
        params = {
            _HELP if "--help" in param.opts else param.name: param for param in self.get_params(ctx)
        }
        named = {name for names in groups.values() for name in names}
        yield "Options", [param for name, param in params.items() if name not in named]
        for title, names in groups.items():
            yield title, [params[name] for name in names if name in params]
