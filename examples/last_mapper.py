"""A scheme in a few lines: a folio remembers only who mapped it last (docs/schemes.md)."""


class LastMapper:
    """The mm that mapped last, and how many mappings it added since another did."""

    words = 2  # integers of state for each folio: the mm, and its count
    state_bytes = 8  # what a kernel would need to hold them

    @staticmethod
    def add(state, mm, page, pages, n, total):
        """`mm` has `n` mappings more."""
        if state[0] != mm:
            state[0] = mm
            state[1] = 0
        state[1] += n
        return 0

    @staticmethod
    def remove(state, mm, page, pages, n, total):
        """`mm` has `n` mappings less."""
        if state[0] == mm:
            state[1] -= min(n, state[1])
        return 0

    @staticmethod
    def maybe_shared(state, nr_pages, total):
        """Are there mappings that the last mapper did not add?"""
        return total > 1 and state[1] != total
