"""Run an inspection line: inspector, alarm rule, loop and supervisor."""
