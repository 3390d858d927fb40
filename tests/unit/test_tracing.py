"""How the calls of two runs are told apart: by what they concern, not by the content that they carry."""

from tests.crash.tracing import Call


def recorded(path: str, content: str) -> Call:
    return Call("fsetxattr", 1, f'fsetxattr(13<{path}>, "user.sha256", "{content}"..., 60, 0) = 0')


def test_content_that_looks_like_a_path_is_none() -> None:
    plain = recorded("/work/staging/1", r"\300\206\"x")
    for content in (r"\376</\376\6^", r"/\376\6", r"\"13</tmp", " = /"):
        assert recorded("/work/staging/1", content).is_like(plain)


def test_the_file_that_is_concerned_tells_calls_apart() -> None:
    assert not recorded("/work/staging/a", "x").is_like(recorded("/work/tasks/a", "x"))
    assert not Call("unlink", 1, 'unlink("/work/x") = 0').is_like(Call("unlink", 1, 'unlink("/work/y") = 0'))
