"""What an examination found, to be printed."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

#: The verdicts of a finding.
RIGHT, NOTE, WRONG = "right", "note", "WRONG"


@dataclass(frozen=True)
class Finding:
    """What one test found.

    Args:
        test: its name, one word.
        verdict: ``RIGHT``, ``NOTE`` (look at it: it may be what you mean) or ``WRONG``.
        text: what was found.
        mend: what to do about it; empty if nothing.
    """

    test: str
    verdict: str
    text: str
    mend: str = ""

    def __str__(self) -> str:
        head = f"{self.verdict:6}{self.test:11}"
        lines = textwrap.wrap(self.text, 55)
        lines += textwrap.wrap(self.mend, 55, initial_indent="-> ")
        return head + ("\n" + " " * len(head)).join(lines)


class Report:
    """What :func:`examine` found: printed, one finding a line.

    It is true if nothing is wrong and the warp was recognised: what could not be tested
    is not right.

    Args:
        findings: in the order of the tests.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)

    @property
    def wrong(self) -> list[str]:
        """The names of the tests that found a fault."""
        return [each.test for each in self.findings if each.verdict == WRONG]

    def __bool__(self) -> bool:
        known = [e.verdict for e in self.findings if e.test == "warp"]
        return not self.wrong and known == [RIGHT]

    def __getitem__(self, test: str) -> Finding:
        for each in self.findings:
            if each.test == test:
                return each
        raise KeyError(f"no test {test!r} among {[e.test for e in self.findings]}")

    def __repr__(self) -> str:
        return "\n".join(map(str, self.findings))
