"""Report formats by name: those of the package, and ones from elsewhere."""

from __future__ import annotations

import pytest

from hcbench.errors import ConfigError
from hcbench.reports.build import build_report
from hcbench.reports.formats import BUILT_IN, Document, Format, all_formats, find_formats


def titles(document: Document) -> str:
    return "\n".join([document.title, *(table.title for table in document.tables), *document.footer])


TITLES = Format(name="titles", suffix="txt", summary="Titles alone.", render=titles)


def test_every_format_says_what_it_is() -> None:
    assert list(all_formats()) == [one.name for one in BUILT_IN]
    for one in BUILT_IN:
        assert one.summary.endswith(".")
        assert (one.render is not None) + one.pictures + (one.name == "terminal") == 1
        assert one.needs_folder == one.pictures


def test_a_further_format_is_written_like_the_others(full, tmp_path) -> None:
    results = full(1).results(commit="abc")
    report = build_report(results, formats=["titles", "md"], out=tmp_path, further=[TITLES])
    assert [path.name for path in report.files] == ["report.md", "report.txt"]
    assert (tmp_path / "report.txt").read_text().startswith("hcbench report\nScores")
    assert report.texts["titles"].endswith("commit")


def test_bytes_are_written_and_are_no_text(full, tmp_path) -> None:
    packed = Format(
        name="packed", suffix="bin", summary="Bytes.", render=lambda document: b"\x00\xff", needs_folder=True
    )
    report = build_report(full(1).results(), formats=["packed"], out=tmp_path, further=[packed])
    assert (tmp_path / "report.bin").read_bytes() == b"\x00\xff"
    assert report.texts == {}
    with pytest.raises(ConfigError, match="packed needs a folder"):
        build_report(full(1).results(), formats=["packed"], further=[packed])


def test_figures_are_drawn_for_formats_that_want_them(full) -> None:
    def sizes(document: Document) -> str:
        return str({name: len(figure("png")) for name, figure in document.figures.items()})

    for draws in (True, False):
        drawn = Format(name="sizes", suffix="sizes", summary="Sizes.", render=sizes, draws=draws)
        report = build_report(full(1).results(), formats=["sizes"], further=[drawn])
        assert (report.texts["sizes"] != "{}") == draws


def test_formats_that_meet_are_explained() -> None:
    with pytest.raises(ConfigError, match="Two report formats are called 'md'"):
        all_formats([Format(name="md", suffix="mine", summary="S.", render=titles)])
    with pytest.raises(ConfigError, match=r"'mine' writes report\.md, as 'md' does"):
        all_formats([Format(name="mine", suffix="md", summary="S.", render=titles)])


def test_a_misspelt_format_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"(?s)'titlee' is no report format.*Did you mean 'titles'"):
        find_formats(["titlee"], [TITLES])
