"""Draft a study for a folder of label maps, so that `kneeimg run` measures them all.

    python scripts/study_of_labels.py LABELS STUDY --side right
    kneeimg run LABELS -o RESULTS --study STUDY/study.toml

LABELS holds `index.csv` with the columns file, participant and month. Writes study.toml,
participants.csv and scans.csv into STUDY.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

DAYS_PER_MONTH = 365.25 / 12


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="folder with label maps and index.csv")
    parser.add_argument("study", type=Path, help="folder for the study files")
    parser.add_argument("--side", choices=("left", "right"), required=True)
    parser.add_argument("--scheme", default="knee-v1")
    given = parser.parse_args()
    with (given.labels / "index.csv").open(newline="", encoding="utf-8") as file:
        scans = list(csv.DictReader(file))
    given.study.mkdir(parents=True, exist_ok=True)
    people = sorted({row["participant"] for row in scans})
    table(
        given.study / "participants.csv",
        ("participant", "index_knee"),
        [(name, given.side) for name in people],
    )
    columns = ("participant", "visit", "side", "kind", "path", "mask", "scheme", "day")
    rows = []
    for row in scans:
        month = int(row["month"])
        visit = "BL" if month == 0 else f"M{month:02d}"
        mask = (given.labels / row["file"]).resolve()
        day = round(month * DAYS_PER_MONTH)
        rows.append((row["participant"], visit, given.side, "mri", "", mask, given.scheme, day))
    table(given.study / "scans.csv", columns, rows)
    (given.study / "study.toml").write_text(
        '[study]\nid = "LABELS"\nparticipants = "participants.csv"\nscans = "scans.csv"\n',
        encoding="utf-8",
    )


def table(path: Path, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """One CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
