"""What the search indexes: each section alone, as prose, without code."""

import pytest
from search_extension import Record, as_page, plain, records

PAGE = r"""<html><body>
<nav class="bd-links"><a class="current" href="#">3. Pooling</a></nav>
<article class="bd-article">
<section id="top"><h1>Pooling: more<a class="headerlink" href="#top">#</a></h1>
<p>Opening with <em>word</em>s.</p><p>And <span class="math">\(\theta^{-1}\)</span>.</p>
<section id="one"><h2>One</h2>
<div class="cell"><div class="highlight"><pre>torch.zeros(1)</pre></div>
<figure><figcaption><span class="caption-number">Figure 3 </span>Caption.</figcaption>
</figure></div>
<section id="deep"><h3>Deep</h3><p>Inner.</p></section></section>
<dl class="py class"><dt id="stn_tutorial.a.Net">class Net(x)</dt><dd><p>A net.</p>
<dl class="py method"><dt id="stn_tutorial.a.Net.run">run()</dt><dd>Goes.</dd></dl>
<dl class="py attribute"><dt id="stn_tutorial.a.Net.x">x</dt><dd>Held.</dd></dl>
</dd></dl>
<dl class="glossary"><dt id="term-box">box</dt><dt id="term-frame">frame</dt>
<dd>Edges.</dd></dl>
<div class="citation" id="id9"><span class="label">[A1]</span><p>A. Author.</p></div>
</section></article></body></html>"""


def test_each_part_is_a_record_of_its_own() -> None:
    net = "stn_tutorial.a.Net"
    assert records(PAGE, "c/3.html") == [
        Record("c/3.html", "3. Pooling", "", "Opening with words. And θ⁻¹."),
        Record("c/3.html#one", "One", "3. Pooling", "Caption."),
        Record("c/3.html#deep", "Deep", "3. Pooling", "Inner."),
        Record(f"c/3.html#{net}", "Net", "stn_tutorial.a", "A net. x Held."),
        Record(f"c/3.html#{net}.run", "Net.run", "stn_tutorial.a", "Goes."),
        Record("c/3.html#term-box", "box", "3. Pooling", "Edges."),
        Record("c/3.html#term-frame", "frame", "3. Pooling", "Edges."),
        Record("c/3.html#id9", "3. Pooling", "", "A. Author."),
    ]


def test_a_page_without_an_article_has_no_records() -> None:
    assert records("<html><body></body></html>", "search.html") == []


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (r"\(0.6 \cdot 48 / 24 = 1.2\)", "0.6 · 48 / 24 = 1.2"),
        (r"\(U_{nm}\)", "Unm"),
        (r"\(\frac{1}{2}\)", ""),
    ],
)
def test_formulas_are_written_without_tex(formula: str, text: str) -> None:
    assert plain(formula) == text


def test_what_stands_after_a_dot_is_found_alone() -> None:
    record = Record("a.html", "f", "stn_tutorial.pixels", "As cv2.warpAffine does. So")
    page = as_page(record, 'TPS "x"')
    assert '="dotted[title]" title="warpAffine">' in page
    assert '="terms[title]" title="TPS &quot;x&quot;">' in page
