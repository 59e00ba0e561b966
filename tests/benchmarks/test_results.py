"""What the benchmarks print goes into their sections of RESULTS.md and nowhere else."""

from __future__ import annotations

from benchmarks.results import replaced

PAGE = "# Results\n\nAbove.\n\n<!-- begin one -->\nold table\n<!-- end one -->\n\nBelow.\n"


def test_a_section_is_replaced_and_the_text_around_it_stays():
    """A discussion above and below survives a new run."""
    page = replaced(PAGE, "one", "\nnew table\n\n")

    assert page == PAGE.replace("old table", "new table")


def test_a_section_that_is_not_there_is_added_at_the_end():
    """A second run then finds it."""
    page = replaced(PAGE, "two", "a table")

    assert page == f"{PAGE}\n<!-- begin two -->\na table\n<!-- end two -->\n"
    assert replaced(page, "two", "a table") == page
