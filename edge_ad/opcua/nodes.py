"""The variables of a line and of each camera: path and type. docs/opcua.md explains them."""

from __future__ import annotations

# of OPC UA's variant types
LINE = {
    "Heartbeat": "UInt32",
    "State": "String",
    "Version": "String",
    "StartTime": "DateTime",
}
CAMERA = {
    "VisionState": "String",
    "Reason": "String",
    "Heartbeat": "UInt32",
    "Result.ResultId": "String",
    "Result.PartNumber": "UInt64",
    "Result.CreationTime": "DateTime",
    "Result.IsSimulated": "Boolean",
    "Result.ProcessingTime": "Double",
    "Result.Verdict": "String",
    "Result.Pass": "Boolean",
    "Result.Fail": "Boolean",
    "Result.Score": "Double",
    "Result.Threshold": "Double",
    "Result.Regions": "String",
    "Result.Frame": "UInt64",
    "Counters.Passed": "UInt64",
    "Counters.Rejected": "UInt64",
    "Counters.Invalid": "UInt64",
}
CONDITIONS = {"defect": "Defect", "camera_fault": "CameraFault", "reject_rate": "RejectRate"}
CONDITION = {
    "ActiveState": "LocalizedText",
    "ActiveState.Id": "Boolean",
    "AckedState": "LocalizedText",
    "AckedState.Id": "Boolean",
    "Severity": "UInt16",
    "Message": "LocalizedText",
    "Retain": "Boolean",
    "Time": "DateTime",
    "EventId": "ByteString",
    "AlarmId": "String",
    "Comment": "LocalizedText",
    "ClientUserId": "String",
}
OWN = ("AlarmId",)  # of these, what OPC UA does not define
# fields of ResultReadyEventType beside those of BaseEventType
RESULT_EVENT = {
    path.removeprefix("Result."): kind for path, kind in CAMERA.items() if path[:7] == "Result."
}
