"""Alarm outlets: where inspections and alarms go."""
