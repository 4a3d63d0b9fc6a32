"""Measure speed: the engine, each stage, the whole loop, a fixed rate, and how many cameras fit."""
