"""Make sample_data/: one MR series with its mask and one film of a phantom knee. No patient.

python scripts/make_sample_data.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kneeimg.core.anatomy import Side
from kneeimg.io.dicom import FilmTags, Origin, write_enhanced_mr, write_radiograph
from kneeimg.io.label_maps import write_label_map
from kneeimg.phantoms.film import FilmKnee, FilmSetup, knee_film
from kneeimg.phantoms.grids import slice_grid
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.phantoms.mr import mr_image

OUT = Path(__file__).resolve().parents[1] / "sample_data"
SIDE = Side.RIGHT


def origin(description: str, number: int) -> Origin:
    """The same person and day for both scans."""
    return Origin(
        patient_id="SAMPLE", description=description, seed="sample data", series_number=number
    )


def main() -> None:
    """Write both scans."""
    grid = slice_grid("sagittal", (1.5, 0.7, 0.7), (64, 160, 160))
    label_map = KneePhantom(SIDE).label_map(grid)
    image = mr_image(label_map, "dess", rng=np.random.default_rng(7))
    image = image.with_data(np.rint(image.data).astype(np.uint16), unit="a.u.")
    folder = OUT / "mr"
    folder.mkdir(parents=True, exist_ok=True)
    write_enhanced_mr(
        [(4.7, image)], folder / "dess.dcm", side=SIDE, origin=origin("SAG DESS", 1),
        encoding="jpeg-ls",
    )  # fmt: skip
    write_label_map(label_map, folder / "dess_probseg.nii.gz", soft=True)
    setup = FilmSetup(pixel_mm=0.25, size_mm=(100.0, 120.0))
    film = knee_film(FilmKnee(side=SIDE, medial_jsw_mm=3.6), setup).radiograph.image
    write_radiograph(
        (film - film.min()) / np.ptp(film),
        OUT / "film" / "knee_pa.dcm",
        film=FilmTags(laterality="R", imager_pixel_spacing_mm=(0.25, 0.25)),
        origin=origin("KNEE PA", 2),
        encoding="jpeg2000",
    )


if __name__ == "__main__":
    main()
