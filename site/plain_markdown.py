"""Write a page that Sphinx has read and numbered as plain Markdown.

What is MyST's own, such as directives and roles, becomes what every reader of Markdown
shows: a quote for a note, `<details>` for what is folded, a link for a reference.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import PurePosixPath
from textwrap import indent
from urllib.parse import urljoin

from docutils import nodes

# What Markdown would not take for text: within a line, and where one begins.
SPECIAL = re.compile(
    r"[\\`*$]|(?<![^\W_])_|_(?![^\W_])|~(?=~)|<(?=[\w/!?])|&(?=#?\w+;)|\](?=[(:])"
)
BEGINNING = re.compile(
    r"^([ \t]*)([#>=|:]|[-+](?=[-|:\s]|$)|\d+(?=[.)](?:\s|$)))", re.MULTILINE
)


def quoted(text: str) -> str:
    """Make a quote of a text."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def anchor(node: nodes.Element) -> str:
    """Mark the place of a figure or an equation, for links to it."""
    return f'<a id="{node["ids"][0]}"></a>'


class Markdown:
    """Writes nodes of a page, each as its kind of Markdown.

    Args:
        page: The page's address on the website, which links start from.
        numbers: The book's numbers of the page's figures and equations, by their ids.
    """

    def __init__(self, page: str, numbers: dict[str, str]) -> None:
        self.page = page
        self.numbers = numbers
        self.in_table = False

    def write(self, node: nodes.Node) -> str:
        """Write a node with all that it holds.

        Raises:
            NotImplementedError: for a kind of node that no chapter has had so far.
        """
        for kind in type(node).__mro__:
            if method := getattr(self, f"write_{kind.__name__}", None):
                return method(node)
        raise NotImplementedError(
            f"{self.page} holds a {type(node).__name__}, which site/plain_markdown.py "
            "cannot write yet: give it a method"
        )

    def line(self, node: nodes.Element) -> str:
        """Write what stands in one paragraph."""
        return "".join(map(self.write, node.children))

    def blocks(self, children: Iterable[nodes.Node]) -> str:
        """Write blocks with an empty line between them."""
        return "\n\n".join(filter(None, map(self.write, children)))

    def nothing(self, node: nodes.Node) -> str:
        """Leave out what no reader sees."""
        return ""

    write_comment = write_target = write_index = nothing

    # Within a paragraph

    write_paragraph = write_inline = write_abbreviation = line

    def write_Text(self, node: nodes.Text) -> str:
        """Escape what Markdown would not take for text."""
        text = SPECIAL.sub(
            lambda found: escape(found[0]) if found[0] in "<&" else f"\\{found[0]}",
            node.astext(),
        )
        if node.parent and node.parent[0] is not node:
            head, newline, text = text.partition("\n")
            return head + newline + BEGINNING.sub(self.escape_beginning, text)
        return BEGINNING.sub(self.escape_beginning, text)

    def escape_beginning(self, found: re.Match[str]) -> str:
        """Keep a line from becoming a heading, a table, or an item of a list."""
        space, mark = found.groups()
        return f"{space}{mark}\\" if mark.isdigit() else f"{space}\\{mark}"

    def write_emphasis(self, node: nodes.emphasis) -> str:
        """Write in italics."""
        return f"*{self.line(node)}*"

    def write_strong(self, node: nodes.strong) -> str:
        """Write in bold."""
        return f"**{self.line(node)}**"

    def write_literal(self, node: nodes.literal) -> str:
        """Write code between more backticks than it holds in a row."""
        text = node.astext()
        ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
        space = " " * text.startswith("`") or " " * text.endswith("`")
        return f"{ticks}{space}{text}{space}{ticks}"

    def write_math(self, node: nodes.math) -> str:
        """Write a formula in a line. In a table, its bars would divide columns."""
        text = node.astext()
        if self.in_table:
            text = text.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
        return f"${text}$"

    def write_reference(self, node: nodes.reference) -> str:
        """Write a link."""
        return f"[{self.line(node)}]({self.address(node)})"

    def address(self, link: nodes.reference) -> str:
        """Say where a link leads: to this notebook's figures, or to the website."""
        if "refuri" in link:
            return urljoin(self.page, link["refuri"])
        return f"#{link['refid']}"

    def write_raw(self, node: nodes.raw) -> str:
        """Keep a page's own HTML, without its comments."""
        if node["format"] != "html":
            return ""
        return re.sub(r"<!--.*?-->", "", node.astext(), flags=re.S)

    # Blocks

    def write_title(self, node: nodes.title) -> str:
        """Write a heading, as deep as its section is."""
        depth, place = 0, node.parent
        while isinstance(place, nodes.section):
            depth, place = depth + 1, place.parent
        # Beside the title's own, a section has the names that links give it.
        names = node.parent["ids"][1:] if isinstance(node.parent, nodes.section) else []
        anchors = "".join(f'<a id="{name}"></a>' for name in names)
        heading = f"{'#' * depth} {self.line(node)}"
        return f"{anchors}\n\n{heading}" if anchors else heading

    def write_math_block(self, node: nodes.math_block) -> str:
        """Write a formula, with its number in the book."""
        lines = ["$$", node.astext().strip(), "$$"]
        if node["ids"]:
            lines.insert(0, f"{anchor(node)}\n")
            lines.insert(-1, rf"\tag{{{self.numbers[node['ids'][0]]}}}")
        return "\n".join(lines)

    def write_figure(self, node: nodes.figure) -> str:
        """Write a drawing of the website's, and its caption."""
        (picture,) = node.findall(nodes.image)
        file = urljoin(self.page, f"../_images/{PurePosixPath(picture['uri']).name}")
        return f"![{picture['alt']}]({file})\n\n{self.caption(node)}"

    def caption(self, figure: nodes.figure) -> str:
        """Write a figure's caption, with its number."""
        (text,) = figure.findall(nodes.caption)
        number = f"Figure {self.numbers[figure['ids'][0]]}."
        return f"{anchor(figure)}**{number}** {self.line(text)}"

    def write_literal_block(self, node: nodes.literal_block) -> str:
        """Write code between fences."""
        language = node.get("language", "")
        return f"```{language}\n{node.astext().rstrip()}\n```"

    def write_bullet_list(self, node: nodes.bullet_list) -> str:
        """Write a list with dashes."""
        return self.items(node, ["- "] * len(node))

    def write_enumerated_list(self, node: nodes.enumerated_list) -> str:
        """Write a list with numbers."""
        start = node.get("start", 1)
        return self.items(node, [f"{start + i}. " for i in range(len(node))])

    def items(self, node: nodes.Element, marks: list[str]) -> str:
        """Write a list: close together, where each item is one paragraph."""
        texts = [
            mark + indent(self.blocks(item.children), " " * len(mark)).lstrip()
            for mark, item in zip(marks, node.children, strict=True)
        ]
        close = all(len(item.children) == 1 for item in node.children)
        return ("\n" if close else "\n\n").join(texts)

    def write_block_quote(self, node: nodes.block_quote) -> str:
        """Write a quote."""
        return quoted(self.blocks(node.children))

    def write_Admonition(self, node: nodes.Element) -> str:
        """Write a note as a quote that begins with its title, or with its kind."""
        text = list(node.children)
        title = type(node).__name__.capitalize()
        if isinstance(node, nodes.admonition):
            title = self.line(text.pop(0))
        return quoted(f"**{title}**\n\n{self.blocks(text)}")

    def write_container(self, node: nodes.container) -> str:
        """Write what is folded on the site so that it is folded here."""
        if node.get("design_component") != "dropdown":
            return self.blocks(node.children)
        title, *text = node.children
        summary = Html(self.page, self.numbers).line(title)
        body = self.blocks(text)
        return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"

    def write_table(self, node: nodes.table) -> str:
        """Write a table, its columns aligned as they are on the site."""
        rows = list(node.findall(nodes.row))
        lines = [[self.cell(entry) for entry in row.children] for row in rows]
        right = ["text-right" in entry["classes"] for entry in rows[0].children]
        lines.insert(1, ["---:" if each else "---" for each in right])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def cell(self, entry: nodes.entry) -> str:
        """Write a table's cell in one line."""
        self.in_table = True
        text = self.blocks(entry.children)
        self.in_table = False
        return text.replace("|", r"\|").replace("\n", " ")


class Html(Markdown):
    """Writes what stands in a line of HTML, in which Markdown means nothing."""

    def write_Text(self, node: nodes.Text) -> str:
        """Escape what HTML would not take for text."""
        return escape(node.astext(), quote=False)

    def write_emphasis(self, node: nodes.emphasis) -> str:
        """Write in italics."""
        return f"<em>{self.line(node)}</em>"

    def write_strong(self, node: nodes.strong) -> str:
        """Write in bold."""
        return f"<strong>{self.line(node)}</strong>"

    def write_literal(self, node: nodes.literal) -> str:
        """Write code."""
        return f"<code>{escape(node.astext(), quote=False)}</code>"

    def write_math(self, node: nodes.math) -> str:
        """Write a formula in a line."""
        return f"${escape(node.astext(), quote=False)}$"

    def write_reference(self, node: nodes.reference) -> str:
        """Write a link."""
        return f'<a href="{escape(self.address(node))}">{self.line(node)}</a>'


def parts(node: nodes.Element) -> Iterator[nodes.Node]:
    """List what a page holds, one after the other, its sections opened."""
    for child in node.children:
        if isinstance(child, nodes.section):
            yield from parts(child)
        else:
            yield child
