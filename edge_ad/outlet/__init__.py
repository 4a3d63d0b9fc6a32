"""Outlets: receivers of inspections and alarms."""
