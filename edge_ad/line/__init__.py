"""The inspection line: cameras, inspector, alarm rule, supervisor."""
