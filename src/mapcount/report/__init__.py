"""Results shown to people (a terminal) and to machines (JSON)."""
