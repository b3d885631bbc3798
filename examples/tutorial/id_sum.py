"""A scheme that is nearly right: a folio keeps the sum of its mappers' ids (docs/tutorial.md)."""


class IdSum:
    """If one mm has all the mappings, the sum of their ids is its id times their number."""

    words = 1  # integers of state for each folio: the sum
    state_bytes = 8  # what a kernel would need to hold it

    @staticmethod
    def add(state, mm, page, pages, n, total):
        """`mm` has `n` mappings more."""
        state[0] += n * mm
        return 0

    @staticmethod
    def remove(state, mm, page, pages, n, total):
        """`mm` has `n` mappings less."""
        state[0] -= n * mm
        return 0

    @staticmethod
    def maybe_shared(state, nr_pages, total):
        """Is the average id none that anybody could have?"""
        return total > 1 and state[0] % total != 0
