"""Inspections become alarms, and alarms leave through sinks."""
