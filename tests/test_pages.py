"""What is done to the site's pages once they are written."""

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from pages_extension import FONTS, THEME, cut_font, finish_page, icons, policy

# The hash that the specification gives as its example.
HELLO = "alert('Hello, world.');"
HASH = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


def scripts_rule(page: str) -> str:
    """The rule for scripts, of a page's policy."""
    (rule,) = [r for r in policy(page).split("; ") if r.startswith("script-src")]
    return rule


def test_a_policy_allows_each_inline_script_by_its_hash() -> None:
    page = f"<script>{HELLO}</script><script defer>{HELLO}</script>"
    assert scripts_rule(page) == f"script-src 'self' {HASH}"
    changed = scripts_rule(page.replace("Hello", "Hallo", 1))
    assert changed.count("sha256") == 2


def test_a_policy_knows_scripts_from_data() -> None:
    page = f'<script src="a.js"></script><script type="text/x-data">{HELLO}</script>'
    page += f"<pre>&lt;script&gt;{HELLO}&lt;/script&gt;</pre>"
    assert scripts_rule(page) == "script-src 'self'"


def test_only_pages_with_saved_figures_may_run_code_that_they_make() -> None:
    saved = '<script type="application/vnd.jupyter.widget-state+json">{}</script>'
    assert scripts_rule(saved) == "script-src 'self' blob:"


PAGE = """\
<meta charset="utf-8" />
<script>let a = 1;</script>
<script defer src="_static/scripts/fontawesome.js?digest=1"></script>
<script src="doctools.js"></script>
<script src="documentation_options.js"></script>
<button onclick="window.print()"></button><button onclick="toggleFullScreen()"></button>
<a href="../notebooks/one.ipynb" target="_blank"
   class="btn btn-download-source-button"></a><a href="two" class="btn"></a>
"""


def test_a_finished_page() -> None:
    """Its policy comes first, scripts wait, attributes hold none; a download is one."""
    page = finish_page(PAGE)
    lines = page.splitlines()
    assert lines[0] == '<meta charset="utf-8" />'
    assert lines[1].startswith('<meta http-equiv="Content-Security-Policy"')
    assert lines[2:] == [
        "<script>let a = 1;</script>",
        '<script defer src="doctools.js"></script>',
        '<script src="documentation_options.js"></script>',
        "<button></button>" * 2,
        '<a download href="../notebooks/one.ipynb" target="_blank"',
        '   class="btn btn-download-source-button"></a><a href="two" class="btn"></a>',
    ]


def test_a_page_without_a_place_for_the_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="names its character set"):
        finish_page("<p>text</p>")


STYLE = (
    '.fa-house:before,.fa-home:before{content:"\\f015"}.fa-bell:before{content:"\\f0f3"}'
    ':root{--a:1rem;--icon-note:"\uf05a";--icon-tip:"\uf0eb"}'
    'a:after{color:red;content:"\\f107"}'
)


def test_icons_are_those_that_pages_name_and_styles_show_elsewhere() -> None:
    pages = ['<i class="fas fa-home"></i>', "<p>fa-solid</p>"]
    assert icons(pages, [STYLE]) == {0xF015, 0xF05A, 0xF0EB, 0xF107}


def test_a_font_is_cut_to_its_icons_and_says_whose_it_is(tmp_path: Path) -> None:
    copies = [tmp_path / "one.woff2", tmp_path / "two.woff2"]
    for copy in copies:
        cut_font(THEME / FONTS / "fa-solid-900.ttf", copy, {0xF015, 0xF107})
    with TTFont(copies[0]) as font:
        assert set(font.getBestCmap()) == {0xF015, 0xF107}
        assert "Font Awesome" in font["name"].getDebugName(0)
    assert copies[0].read_bytes() == copies[1].read_bytes()
    assert copies[0].stat().st_size < 2000
