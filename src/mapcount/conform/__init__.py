"""Real processes act out a scenario on the running kernel; its answers are held against the simulator's."""
