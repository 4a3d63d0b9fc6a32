"""`edge-ad ctl`: look at a running line and change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.types import RULE_FRAMES, Number, NumberRange
from edge_ad.errors import UsageError

_LONGEST_REASON = 500
_OPTIONS = {  # of each command, besides --json
    "state": (),
    "threshold": ("camera", "undo", "reason"),
    "rule": ("camera", "alarm_k", "alarm_n", "hysteresis", "undo", "reason"),
    "pause": ("camera", "all", "reason"),
    "resume": ("camera", "all", "reason"),
    "ack": ("reason",),
    "trigger": ("camera",),
}


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("action", metavar="COMMAND", type=click.Choice(list(_OPTIONS)))
@click.argument("values", metavar="[VALUE]...", nargs=-1)
@click.option("--camera", metavar="NAME", help="Camera; not needed where the line has one.")
@click.option("--all", "all_", is_flag=True, help="All cameras, for pause and resume.")
@click.option("--undo", is_flag=True, help="Return to the value before, of threshold or rule.")
@click.option("--alarm-k", type=RULE_FRAMES, help="Rejects that raise an alarm, for rule.")
@click.option("--alarm-n", type=RULE_FRAMES, help="Frames that --alarm-k looks back on, for rule.")
@click.option(
    "--hysteresis",
    type=NumberRange(0, 1),
    help="Share by which the threshold is lower while an alarm is raised, for rule.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the change.")
@shared
def command(
    *, folder: Path, action: str, values: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Control the line that runs in an output folder.

    COMMAND is state, threshold VALUE, rule, pause [CAMERA], resume [CAMERA], trigger [CAMERA], or
    ack ID... A change holds from the next frame and over restarts, and is an event with who, when
    and why.
    """
    from edge_ad.control.client import request

    options["all"] = options.pop("all_")
    options["reason"] = " ".join(options["reason"].split())
    if len(options["reason"]) > _LONGEST_REASON:
        raise UsageError(f"--reason has more than {_LONGEST_REASON} characters.")
    _refuse_useless(action, options)
    answer = request(folder, _message(action, values, options))
    emit(answer) if as_json else click.echo("\n".join(_lines(answer)))


def _refuse_useless(action: str, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value not in (None, False, "") and name not in _OPTIONS[action]:
            raise UsageError(f"--{name.replace('_', '-')} has no effect with {action}.")


def _message(action: str, values: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return the request of a command, without what was not given."""
    if options["all"] and options["camera"]:
        raise UsageError("--all and --camera exclude each other. Give one.")
    camera = "*" if options["all"] else options["camera"]
    message: dict[str, Any] = {"camera": camera, "reason": options["reason"] or None}
    message |= _SPECIFIC.get(action, _plain)(action, values, options)
    return {key: value for key, value in message.items() if value is not None}


def _plain(action: str, values: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    _no_values(action, values)
    return {"command": action}


def _threshold(action: str, values: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    if options["undo"]:
        _no_values("threshold --undo", values)
        return {"command": "undo", "setting": "threshold"}
    if len(values) != 1:
        raise UsageError("threshold takes one VALUE, like 0.42, or --undo.")
    try:
        return {"command": "set_threshold", "threshold": Number().convert(values[0], None, None)}
    except click.BadParameter as error:
        raise UsageError(f"threshold: {error.message}") from error


def _rule(action: str, values: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    _no_values(action, values)
    given = {key: options[f"alarm_{key}"] for key in ("k", "n")}
    given["hysteresis"] = options["hysteresis"]
    if options["undo"]:
        if any(value is not None for value in given.values()):
            raise UsageError("--undo and a new rule exclude each other. Give one.")
        return {"command": "undo", "setting": "rule"}
    if all(value is None for value in given.values()):
        raise UsageError("rule takes --alarm-k, --alarm-n, --hysteresis, or --undo.")
    return {"command": "set_rule", **given}


def _of_camera(action: str, values: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Take the camera as a value too: `pause top`."""
    if not values:
        return {"command": action}
    if len(values) > 1:
        raise UsageError(f"{action} takes one camera, got {' '.join(values)}. Or give --all.")
    if options["camera"] or options["all"]:
        raise UsageError(f"{action}: '{values[0]}' and --camera or --all exclude each other.")
    return {"command": action, "camera": values[0]}


def _ack(action: str, values: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    if not values:
        raise UsageError("ack takes one ID or more, as printed by edge-ad events.")
    return {"command": "acknowledge", "ids": list(values)}


_SPECIFIC = {
    "threshold": _threshold,
    "rule": _rule,
    "ack": _ack,
    **dict.fromkeys(("pause", "resume", "trigger"), _of_camera),
}


def _no_values(action: str, values: tuple[str, ...]) -> None:
    if values:
        raise UsageError(f"{action} takes no value, got '{values[0]}'.")


def _lines(answer: dict[str, Any]) -> list[str]:
    """Return an answer for people."""
    if answer["type"] == "state":
        return _state_lines(answer)
    if answer["type"] == "settings":
        return [_setting_line(setting) for setting in answer["settings"]]
    if answer["type"] == "trigger":
        done = "triggered" if answer["accepted"] else "missed: the camera cannot take it now"
        return [f"{answer['camera']}: {done}"]
    return [f"{', '.join(answer['ids'])}: acknowledged by {answer['who']}"]


def _setting_line(setting: dict[str, Any]) -> str:
    from edge_ad.setting import Setting, SettingChange, SettingStep, change_text

    values = {key: setting[key] for key in ("camera", "old", "new", "who", "time_utc")}
    change = SettingChange(
        setting=Setting(setting["setting"]),
        step=SettingStep(setting["step"]),
        reason=setting.get("reason", ""),
        **values,
    )
    if change.old == change.new:
        return f"{change.camera}: {change.setting.value} is so already"
    later = "" if setting["kept"] else "  (holds now, but is not on the disk yet)"
    return f"{change.camera}: {change_text(change)}{later}"


def _state_lines(state: dict[str, Any]) -> list[str]:
    from edge_ad.cli.run_format import aligned

    head = ("camera", "state", "threshold", "alarm at", "judged", "rejected", "invalid", "alarms")
    lines = list(aligned([head, *map(_camera_row, state["cameras"])]))
    if state["store"]["problem"]:
        lines.append(f"the store cannot be written: {state['store']['problem']}")
    lines += [
        f"{reason} ({count} records lost)" for reason, count in state["outlet_faults"].items()
    ]
    if state["refused_messages"]:
        lines.append(f"refused control messages: {state['refused_messages']}")
    return lines


def _camera_row(camera: dict[str, Any]) -> tuple[str, ...]:
    from edge_ad.setting import value_text

    rule = value_text(camera["rule"]) if "rule" in camera else "every reject"
    by_hand = {name: " by hand" for name in camera["set_by_hand"]}
    return (
        camera["camera"],
        camera["state"],
        f"{camera['threshold']:.4g}{by_hand.get('threshold', '')}",
        f"{rule}{by_hand.get('rule', '')}",
        *(str(camera[key]) for key in ("judged", "rejected", "invalid")),
        ", ".join(alarm["kind"] for alarm in camera["alarms"]) or "-",
    )
