"""The scheme mended: a folio keeps two sums over its mappers' ids (docs/tutorial.md)."""


class IdSums:
    """One mm has all the mappings exactly when their ids do not vary."""

    words = 2  # integers of state for each folio: the sum, and the sum of squares
    state_bytes = 16  # what a kernel would need to hold them

    @staticmethod
    def add(state, mm, page, pages, n, total):
        """`mm` has `n` mappings more."""
        state[0] += n * mm
        state[1] += n * mm * mm
        return 0

    @staticmethod
    def remove(state, mm, page, pages, n, total):
        """`mm` has `n` mappings less."""
        state[0] -= n * mm
        state[1] -= n * mm * mm
        return 0

    @staticmethod
    def maybe_shared(state, nr_pages, total):
        """Do the ids vary? All are their average `mm` if that gives both sums."""
        if total <= 1:
            return False
        mm = state[0] // total
        return state[0] != total * mm or state[1] != total * mm * mm
