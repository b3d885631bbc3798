"""The simulated kernel: address spaces that drive the counters, and /proc as each flavour prints it."""
