"""Two slots, broken: what is unmapped in part stays counted. `mapcount check` finds out in three events."""

from mapcount.schemes import slots


class KeptCount:
    """Two slots; a count is dropped only when nothing is left of the folio's mappings."""

    words = 5  # as the kernel's: the flag, and an mm and a count for each of two slots
    state_bytes = 16
    add = staticmethod(slots.add)
    maybe_shared = staticmethod(slots.maybe_shared)

    @staticmethod
    def remove(state, mm, page, pages, n, total):
        """`mm` has `n` mappings less."""
        if total == 0:
            state[:] = 0
        for i in range(2, len(state), 2):
            if state[i] == total:  # others may have a part in the total that a slot is equal to by mistake
                state[0] = 0
        return 0
