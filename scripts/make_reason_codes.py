"""Write docs/reason-codes.md from the vocabulary in kneeimg/errors.py."""

from __future__ import annotations

from pathlib import Path

from kneeimg.errors import REASONS

HEAD = """# Reason codes

Every refusal, flag and note of kneeimg carries one of these stable codes, with where it was found,
what was expected, what was found and what to do. `kneeimg codes` prints this list.

- **refuse**: no number is given for the case or value.
- **skip**: not an input for this task; listed in `disposition.csv`.
- **flag**: measured; the code stands in `qc_flags` of every row concerned.
- **note**: measured; recorded once with the case.

| code | behaviour | meaning |
|---|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    rows = [f"| `{code}` | {behaviour} | {text} |" for code, (behaviour, text) in REASONS.items()]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / "docs" / "reason-codes.md"
    target.write_text(page(), encoding="utf-8")
