"""Keep what a line must not lose: its events, statistics and part numbers, in SQLite."""
