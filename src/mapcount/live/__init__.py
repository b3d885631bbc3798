"""The running kernel, read and never written: who maps which pages, and what the kernel counts about them."""
