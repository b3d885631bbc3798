"""Two slots, broken: whoever gives up a slot clears the flag. `mapcount check` finds out in four events."""

from mapcount.schemes import slots


class ClearsOnFree:
    """Two slots; the flag is cleared whenever one becomes free, as if no third mm could be there."""

    words = 5  # as the kernel's: the flag, and an mm and a count for each of two slots
    state_bytes = 16
    add = staticmethod(slots.add)
    maybe_shared = staticmethod(slots.maybe_shared)

    @staticmethod
    def remove(state, mm, page, pages, n, total):
        """`mm` has `n` mappings less."""
        for i in range(1, len(state), 2):
            if state[i] == mm:
                state[i + 1] -= n
                if state[i + 1] < 1:
                    state[i] = 0
                    state[i + 1] = 0
                    state[0] = 0  # right for two mms, but a third may be untracked
        return 0
