"""The pages in docs/ say what the code does."""

import dataclasses
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from fileserver.cli.main import cli
from fileserver.core.settings import SECTIONS
from fileserver.web.problems import STATUSES

ROOT = Path(__file__).parents[2]


def table_rows(page: str) -> list[list[str]]:
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def shown(name: str, value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:04o}" if name.endswith("_mode") and isinstance(value, int) else str(value)


def test_every_setting_is_documented_with_its_default():
    documented = {(row[0], row[1], row[2]) for row in table_rows("settings.md")[1:]}
    defined = {
        (section, item.name, shown(item.name, item.default))
        for section, cls in SECTIONS.items()
        for item in dataclasses.fields(cls)
    }
    assert documented == defined


def test_the_page_of_settings_is_what_the_code_makes():
    made = CliRunner().invoke(cli, ["settings", "--markdown"])
    assert (made.exit_code, made.output) == (0, (ROOT / "docs" / "settings.md").read_text()), "run: make docs"


def test_every_error_is_documented_with_its_status():
    documented = {row[1]: row[0] for row in table_rows("http-api.md") if re.fullmatch("[45][0-9][0-9]", row[0])}
    internal = {"settings"}  # raised at start only
    for error, status in STATUSES.items():
        if error.code not in internal:
            assert documented[error.code] == str(status)


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_between_pages_work(page: str):
    for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / "docs" / page).read_text(encoding="utf-8")):
        assert (ROOT / "docs" / target).exists()


def test_links_of_the_readme_work():
    for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / target).exists()
