"""Sphinx extension: what the site needs beyond `_config.yml`."""

import os
from collections.abc import Mapping
from typing import Any


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


def set_repository(app: Any, config: Any) -> None:
    """Put the repository into the theme's options."""
    options = config.html_theme_options
    options["repository_url"], options["repository_branch"] = repository(
        options["repository_url"], options["repository_branch"]
    )


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


FRONT_DOOR = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={home}">
<link rel="icon" href="{icon}">
<a href="{home}">{title}</a>
</html>
"""


def write_front_door(app: Any, exception: Exception | None) -> None:
    """Lead from the site's address to the book's first page.

    Jupyter Book's own redirect names no icon, so a browser asks the server for one
    that is not there.
    """
    if exception is None and app.builder.format == "html":
        page = FRONT_DOOR.format(
            title=app.config.html_title,
            home=app.builder.get_target_uri(app.config.master_doc),
            icon=f"_static/{os.path.basename(app.config.html_favicon)}",
        )
        with open(os.path.join(app.outdir, "index.html"), "w") as file:
            file.write(page)


def setup(app: Any) -> dict[str, bool]:
    """Connect the handlers to Sphinx."""
    app.connect("config-inited", set_repository)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", write_front_door, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
