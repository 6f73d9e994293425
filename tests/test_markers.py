"""Markers of numbers in the prose: what is wrong with one is said."""

import markers
import pytest


@pytest.mark.parametrize(
    "text",
    [
        "No marker, but a comment <!-- here -->, $x$ and `code`.",
        "It is <!--= n -->3<!--/--> of <!--= f'{100 * share:.0f}' -->40<!--/-->%.",
        "| a |\n|---|\n| <!--= n -->3<!--/--> |",
        "- **<!--= n -->3<!--/-->** of $x$, then $y$",
    ],
)
def test_sound_markers_pass(text: str) -> None:
    assert list(markers.faults(text)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("It is <!--= n --><!--/-->.", "never filled"),
        ("It is <!--= n + -->3<!--/-->.", "no Python expression"),
        ("It is <!--= n", "not of the form"),
        ("It is <!--= n -->3", "not of the form"),
        ("It is 3<!--/-->.", "not of the form"),
        ("It is <!--= n -->\n3<!--/-->.", "not of the form"),
        ("It is <!--= 2--1 -->3<!--/-->.", "one of --"),
        ("It is <!--= n > 2 -->3<!--/-->.", "one of --"),
        ("<!--= n -->3<!--/--> are.", "begins a line"),
        ("They:\n- <!--= n -->3<!--/-->", "begins a line"),
        ("They:\n\n 1. <!--= n -->3<!--/-->", "begins a line"),
        ("## All <!--= n -->3<!--/-->", "in a heading"),
        ("Write `<!--= n -->3<!--/-->`.", "in code"),
        ("```\nn is <!--= n -->3<!--/-->\n```", "in code"),
        ("So $x = <!--= n -->3<!--/-->$.", "in code or mathematics"),
    ],
)
def test_markers_that_fail_or_would_show_are_found(text: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in markers.faults(text))
