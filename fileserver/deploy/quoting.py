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


def apache(value: str) -> Markup:
    """What stands inside of the quotes of an argument of Apache. `${` would begin a variable."""
    if "${" in value:
        raise ValueError("Apache has no way to write the characters '${'")
    _refuse(value, "*?[]", "Apache")  # In the path of a folder they would make it a pattern.
    if value.endswith("\\"):
        raise ValueError("Apache has no way to write a backslash at the end")
    return Markup(value.replace("\\", "\\\\").replace('"', '\\"'))


def uwsgi(value: str) -> Markup:
    """A value in uWSGI's ini. Magic variables and placeholders begin with `%` and `$(`, and `;` and `#` comments."""
    _refuse(value, "%$@;#\\\"'", "uWSGI")
    if value != value.strip():
        raise ValueError("uWSGI has no way to write blanks at the ends")
    return Markup(value)


def systemd(value: str) -> Markup:
    """What stands inside of double quotes in a unit.

    Its lines do not agree on what a dollar sign, a quote and a backslash mean; the path of a program takes none.
    """
    for character in "$\"'\\":
        _refuse(value, character, "a unit of systemd")
    return Markup(value.replace("%", "%%"))


def logrotate(value: str) -> Markup:
    """The path of a log, inside of double quotes; logrotate takes it for a pattern."""
    for character in '"\\*?[]{}':
        _refuse(value, character, "logrotate")
    return Markup(value)
