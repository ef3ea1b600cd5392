"""How the demo fails."""


class DemoFailed(Exception):
    """Something that errands promises did not come true, or the story could not be played."""
