"""Group files: who has which role, and what is refused because Apache would read it in another way."""

import pytest

from fileserver.core.roles import Role, format_group_line, parse_group_line, parse_groups


def test_lines_add_up_and_other_groups_are_told() -> None:
    groups = parse_groups("# a comment: x\n\nworker: a b\n api: b\nworker: c\nothers: d\n")
    assert groups.of("b") == {Role.WORKER, Role.API}
    assert groups.of("c") == {Role.WORKER}
    assert not groups.of("d")
    assert groups.others == ("others",)


@pytest.mark.parametrize(
    "text", ["API: a", "Admin: a", "worker: a\nWorker: b", "worker a", ": a", "api: a \\", 'api: "a']
)
def test_what_apache_would_read_in_another_way_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line [12]"):
        parse_groups(text)


@pytest.mark.parametrize("name", ["a", "a b", 'a"b', "a'b", "a\\b", "a\\\\b", "\\", "ä", "#a"])
def test_every_name_can_be_written(name: str) -> None:
    assert parse_group_line(format_group_line("api", [name, "x"]), 1) == ("api", [name, "x"])
