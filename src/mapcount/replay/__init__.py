"""Traces of mapping events: the format, the fast engine that replays them, and comparing schemes on them."""
