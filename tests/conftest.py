"""Property tests try the same examples in each run: `pytest --hypothesis-profile=random` tries others."""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile("same")
