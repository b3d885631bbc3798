"""What fork, munmap and copy-on-write cost on the running kernel, per page and per batch."""
