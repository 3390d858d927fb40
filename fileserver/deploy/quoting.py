"""How one value is written in each format, so that the program that reads it sees exactly that value.

Values have passed `values.text`: they are single lines without control characters. Where a format has no way to write
a character, the functions raise ValueError.
"""

from markupsafe import Markup


def nginx(value: str) -> Markup:
    """An argument of nginx, or what stands inside of the quotes of one.

    A dollar sign would begin a variable, and cannot be escaped.
    """
    _refuse(value, "$", "nginx")
    return Markup(value.replace("\\", "\\\\").replace('"', '\\"'))


def python(value: str) -> Markup:
    """A literal of Python."""
    return Markup(ascii(value))


def _refuse(value: str, characters: str, reader: str) -> None:
    for character in characters:
        if character in value:
            raise ValueError(f"{reader} has no way to write the character {character!r}")
