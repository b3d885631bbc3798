"""Proof: every reachable state of small worlds, every interleaving of small thread programs."""
