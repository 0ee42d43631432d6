"""Write docs/trial-tables.md from the columns in kneeimg/trial/columns.py."""

from __future__ import annotations

from pathlib import Path

from kneeimg.trial.columns import ABOUT, TABLES

HEAD = """# Tables of the analysis by arm

`kneeimg trial` writes each as CSV and Parquet to `RESULTS/tables/trial/`. A number that was not
estimated is empty (CSV) or null (Parquet), and the row's `reason` and `message` say why. How the
numbers are made: [trial analysis](trial-analysis.md).
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for table, columns in TABLES.items():
        rows = [f"| `{c.name}` | {c.type} | {c.meaning} |" for c in columns]
        head = f"\n## {table}\n\n{ABOUT[table]}\n\n| column | type | meaning |\n|---|---|---|\n"
        parts.append(head + "\n".join(rows) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / "docs" / "trial-tables.md"
    target.write_text(page(), encoding="utf-8")
