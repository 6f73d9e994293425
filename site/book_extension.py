"""Sphinx extension: what the site needs beyond `_config.yml`."""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit


def repository(
    url: str, branch: str, environ: Mapping[str, str] = os.environ
) -> tuple[str, str]:
    """Say which repository and branch the site's buttons lead to.

    A site that GitHub builds leads to the repository that builds it, so a fork's
    site launches the fork. Anywhere else the values of `_config.yml` stand.

    Args:
        url: The repository's address from `_config.yml`.
        branch: Its branch from `_config.yml`.
        environ: The build's environment variables.

    Returns:
        The address and the branch.
    """
    if "GITHUB_REPOSITORY" not in environ:
        return url, branch
    server = environ.get("GITHUB_SERVER_URL", "https://github.com")
    if environ.get("GITHUB_REF", "").startswith("refs/heads/"):
        branch = environ["GITHUB_REF_NAME"]
    return f"{server}/{environ['GITHUB_REPOSITORY']}", branch


def site_address(url: str) -> str:
    """Say where GitHub Pages puts the site of a repository."""
    owner, name = urlsplit(url).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


NOT_FOUND = """\
<h1>There is no such page</h1>
<p>It may have moved, or the address has a mistake.</p>
<ul>
<li>All chapters are in the menu of this page, and on
<a href="{path}">the book's first page</a>.</li>
<li><a href="{path}search.html">Search the book</a>.</li>
<li>Has a link on one of our pages brought you here? Please
<a href="{url}/issues/new?template=page.yml">tell us which</a>.</li>
</ul>
"""


def set_addresses(app: Any, config: Any) -> None:
    """Tell the theme and the other extensions where book and repository are."""
    options = config.html_theme_options
    url, branch = repository(options["repository_url"], options["repository_branch"])
    options["repository_url"], options["repository_branch"] = url, branch
    config.html_baseurl = config.ogp_site_url = site_address(url)
    config.ogp_site_name = config.html_title
    path = urlsplit(config.html_baseurl).path
    config.notfound_urls_prefix = path
    body = NOT_FOUND.format(path=path, url=url)
    config.notfound_context = {"title": "There is no such page", "body": body}


def name_issue_form(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Let the button "open issue" lead to the form for pages, with the page filled in.

    The theme's own link would open an issue that says "Your issue content here".
    """
    query = urlencode({"template": "page.yml", "page": page})
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if "/issues/new" in button.get("url", ""):
                button["url"] = button["url"].split("?")[0] + f"?{query}"


def drop_thebe(app: Any, page: str, template: str, context: dict, doctree: Any) -> None:
    """Leave Thebe's scripts out: the book does not use it.

    Jupyter Book always loads the extension, and its inline script comes twice, which
    is an error in the browser's console.
    """
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body')}".lower()
    ]


def drop_mathjax(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Leave MathJax out where no formula is: the front page is there half as soon.

    Sphinx counts the formulas of the chapters that a page leads to, for their titles'
    sake. None of ours has one in its title.
    """
    if not app.env.domaindata["math"]["has_equations"].get(page):
        context["script_files"] = [
            script
            for script in context["script_files"]
            if "MathJax" not in str(script.attributes.get("body"))
            and "mathjax" not in str(script.filename)
        ]


# A long signature: Sphinx lists its parameters as definitions without terms.
PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")


def mend_markup(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Put right what Sphinx writes and screen readers stumble over.

    Parameters become a plain list. The bibliography loses roles that are deprecated,
    or do not fit: it stays a list of texts, as everyone sees it.
    """
    body = context.get("body", "")
    body = PARAMETERS.sub(
        lambda found: f'<ul class="sig-params">\n{found[1]}</ul>'.replace(
            "<dd>", "<li>"
        ).replace("</dd>", "</li>"),
        body,
    )
    body = body.replace(' role="doc-biblioentry"', "")
    context["body"] = body.replace(' role="list" class="citation-list"', "")


def mend_signature(
    app: Any,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write a signature so that Sphinx can read it, and shorten the types in it.

    A dataclass says "<factory>" where a field starts with, say, its own empty list.
    """
    return signature and signature.replace("<factory>", "..."), returns


FRONT_DOOR = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={home}">
<link rel="icon" href="data:,">
<a href="{home}">{title}</a>
</html>
"""


def write_front_door(app: Any, exception: Exception | None) -> None:
    """Lead from the site's address to the book's first page.

    Jupyter Book's own redirect names no icon, so a browser asks the server for one
    that is not there. This one names an empty icon: a real one would still be on its
    way when the browser leaves.
    """
    if exception is None and app.builder.format == "html":
        page = FRONT_DOOR.format(
            title=app.config.html_title,
            home=app.builder.get_target_uri(app.config.master_doc),
        )
        with open(os.path.join(app.outdir, "index.html"), "w") as file:
            file.write(page)


def setup(app: Any) -> dict[str, bool]:
    """Connect the handlers to Sphinx."""
    app.connect("config-inited", set_addresses)
    app.connect("autodoc-process-signature", mend_signature)
    app.connect("html-page-context", name_issue_form, priority=900)
    app.connect("html-page-context", mend_markup)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", drop_mathjax, priority=900)
    app.connect("build-finished", write_front_door, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
