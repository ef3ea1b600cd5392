"""What a program says in passing, made storable: nothing else is lost over one odd character."""


def storable(text: object, length_max: int) -> str:
    """Cut, and with what UTF-8 cannot hold (half a surrogate pair) and NUL spelt out."""
    cut = (text if isinstance(text, str) else str(text))[:length_max]
    if "\0" not in cut and cut.isascii():
        return cut
    clean = cut.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return clean[:length_max]
