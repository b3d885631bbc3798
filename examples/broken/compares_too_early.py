"""Two slots, broken: compared before they are updated. `mapcount check` finds out in three events."""

from mapcount.schemes import slots


class ComparesTooEarly:
    """Two slots; the counts are compared with the total before what goes is subtracted."""

    words = 5  # as the kernel's: the flag, and an mm and a count for each of two slots
    state_bytes = 16
    add = staticmethod(slots.add)
    maybe_shared = staticmethod(slots.maybe_shared)

    @staticmethod
    def remove(state, mm, page, pages, n, total):
        """`mm` has `n` mappings less."""
        for i in range(2, len(state), 2):
            if state[i] == total:  # what an mm had before may happen to be what all have now
                state[0] = 0
        for i in range(1, len(state), 2):
            if state[i] == mm:
                state[i + 1] -= n
                if state[i + 1] < 1:
                    state[i] = 0
                    state[i + 1] = 0
        return 0
