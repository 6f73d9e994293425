"""Print what the changelog says of a version, as the notes of its release.

python tools/release_notes.py 0.1.0
"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"


def release_notes(changelog: str, version: str) -> str:
    """Take the section of a version out of a changelog.

    GitHub shows each end of a line as one, so every entry becomes one line.

    Args:
        changelog: The text of a changelog, in the form of Keep a Changelog.
        version: The version, such as "0.1.0".

    Returns:
        The section without its heading.

    Raises:
        ValueError: If the changelog has no section with a date for the version.
    """
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    found = re.search(rf"{heading}(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if found is None:
        raise ValueError(f"the changelog has no section with a date for {version}")
    return re.sub(r"\n +(?=\S)", " ", found[1].strip())


if __name__ == "__main__":
    print(release_notes(CHANGELOG.read_text("utf-8"), sys.argv[1]))
