"""Scans without a mask: planned with a model, segmented, measured, and signed with its hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kneeimg.core.anatomy import Bone, Side, Tissue
from kneeimg.core.label_map import LabelMap
from kneeimg.core.measurement import Status
from kneeimg.core.volume import Volume
from kneeimg.errors import KneeimgError, ModelError, ReasonCode, StudyError
from kneeimg.io.dicom import Origin, write_mr_series
from kneeimg.io.label_maps import read_label_map, write_label_map
from kneeimg.io.nifti import write_volume
from kneeimg.networks.bundle import METADATA, Bundle, write_bundle
from kneeimg.networks.cascade import KneeCascade
from kneeimg.phantoms.knee import KneePhantom
from kneeimg.pipeline.cases import Case
from kneeimg.pipeline.planning import plan_cases
from kneeimg.pipeline.runner import run_case
from kneeimg.pipeline.segmenting import segment_scan, segment_to, write_segmentation
from kneeimg.pipeline.sources import case_stem
from kneeimg.segment.models import open_segmenter
from kneeimg.settings.segmentation import SegmentationSettings
from kneeimg.settings.study import MaskSettings, StudyFile
from kneeimg.trial.study import load_study


@pytest.fixture(scope="module")
def labels(grey_net: Any) -> LabelMap:
    return grey_net.phantom_labels(Side.RIGHT)


@pytest.fixture(scope="module")
def scans(grey_net: Any, labels: LabelMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One DICOM series of the grey knee, without a mask."""
    folder = tmp_path_factory.mktemp("scans")
    image = grey_net.grey_image(labels)
    image = image.with_data(image.data.astype(np.uint16), unit="a.u.")
    origin = Origin(patient_id="HOSP-1", study_date="2024-01-10", description="SAG DESS")
    write_mr_series(image, folder / "knee01", side=Side.RIGHT, origin=origin)
    return folder


@pytest.fixture
def bundle(grey_net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle on disk whose networks, once loaded, read grey values."""
    torch.manual_seed(0)
    made = write_bundle(KneeCascade(grey_net.SPEC), tmp_path / "grey", version="3")
    monkeypatch.setattr("kneeimg.segment.bundle.load_cascade", lambda _: grey_net.grey_cascade())
    return made


def _settings(bundle: Bundle, **changes: Any) -> StudyFile:
    segmentation = SegmentationSettings(model=str(bundle.root), precision="fp32")
    return StudyFile(segmentation=segmentation.model_copy(update=changes))


def _plan(scans: Path, settings: StudyFile) -> Case:
    (case,) = plan_cases(scans, settings=settings).cases
    return case


def test_a_scan_without_a_mask_is_segmented_measured_and_signed(
    scans: Path, bundle: Bundle, labels: LabelMap, tmp_path: Path
) -> None:
    case = _plan(scans, _settings(bundle))
    assert case.mask is None
    (record,) = run_case(case, tmp_path / "out").records
    assert record.status == "measured"
    assert record.context.model_sha256 == bundle.sha256
    values = {m.name: m.value for m in record.measurements}
    true = KneePhantom(Side.RIGHT, menisci=True).truth()
    for plate in ("MT", "cMF"):  # voxels of 1.8 × 0.9 × 0.9 mm: some 30 µm in MT, 60 µm in cMF
        truth = true[plate, "ThCtAB_aMe"]
        assert values[f"{plate}_ThCtAB_aMe"] == pytest.approx(truth, abs=0.07)
    assert ("segmentation", f"grey 3 {bundle.sha256[:12]}") in record.protocol
    manifest = json.loads((tmp_path / "out" / case.folder / case.manifest).read_text())
    assert manifest["model"] == {"name": "grey", "version": "3", "sha256": bundle.sha256}
    assert "model" not in manifest["settings"]["segmentation"]  # a path; its hash stands above
    (dseg,) = (tmp_path / "out").rglob("*_dseg.nii.gz")
    written = read_label_map(dseg, image_grid=labels.grid)  # DICOM has its own order of axes
    assert np.array_equal(written.labels, labels.labels)


def test_the_same_model_keeps_a_case_and_another_one_makes_it_stale(
    scans: Path, bundle: Bundle, grey_net: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_case(_plan(scans, _settings(bundle)), out)
    moved = bundle.root.rename(tmp_path / "elsewhere")
    same = replace(bundle, root=moved)
    path = moved / METADATA
    path.write_text(path.read_text().replace('"name": "grey"', '"name":  "grey"'))
    assert run_case(_plan(scans, _settings(same)), out).reused
    torch.manual_seed(1)
    other = write_bundle(KneeCascade(grey_net.SPEC), moved, version="3", about={"name": "grey"})
    assert other.sha256 != bundle.sha256
    case = _plan(scans, _settings(other))
    report = run_case(case, out)
    assert not report.reused
    assert report.records[0].context.model_sha256 == other.sha256


def test_every_row_of_a_preview_model_says_so(
    scans: Path, bundle: Bundle, grey_net: Any, tmp_path: Path
) -> None:
    preview = write_bundle(KneeCascade(grey_net.SPEC), bundle.root, version="3", maturity="preview")
    case = _plan(scans, _settings(preview))
    (record,) = run_case(case, tmp_path / "out").records
    assert ReasonCode.MODEL_PREVIEW in {finding.code for finding in record.findings}
    measured = [row for row in record.measurements if row.status is Status.OK]
    assert len(measured) > 100
    assert all(ReasonCode.MODEL_PREVIEW in row.flags for row in measured)


def test_a_mask_wins_over_the_model(
    scans: Path, bundle: Bundle, labels: LabelMap, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    write_label_map(labels, masks / "knee01.nii.gz")
    (masks / "dataset.json").write_text("{}")  # as nnU-Net leaves them beside its predictions
    settings = _settings(bundle).model_copy(update={"masks": MaskSettings(folder=str(masks))})
    case = _plan(scans, settings)
    assert case.segmenter is None
    assert case.mask is not None
    assert case.mask.path == masks / "knee01.nii.gz"
    assert case.model()["name"] == "existing-mask"


def test_names_of_nnunet() -> None:
    assert case_stem("knee01_0000.nii.gz") == case_stem("knee01.nii.gz") == case_stem("knee01")
    assert case_stem("knee01_0001.nii.gz") == "knee01_0001"


def test_predictions_of_nnunet_for_listed_images(
    grey_net: Any, labels: LabelMap, tmp_path: Path
) -> None:
    write_volume(grey_net.grey_image(labels), tmp_path / "K1_0000.nii.gz")
    (tmp_path / "predictions").mkdir()
    write_label_map(labels, tmp_path / "predictions" / "K1.nii.gz")
    (tmp_path / "participants.csv").write_text("participant,index_knee\nP01,right\n")
    (tmp_path / "scans.csv").write_text(
        "participant,visit,side,kind,path\nP01,BL,right,mri,K1_0000.nii.gz\n"
    )
    (tmp_path / "study.toml").write_text(
        "[study]\nscans='scans.csv'\n[masks]\nfolder='predictions'\n[segmentation]\nmodel='none'\n"
    )
    (case,) = plan_cases(tmp_path, load_study(tmp_path / "study.toml")).cases
    assert case.mask is not None
    assert case.mask.path.name == "K1.nii.gz"
    assert "predictions" not in json.dumps(case.settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    "model, found", [("none", "switched off"), ("no-such-model", "no-such-model is installed")]
)
def test_no_model_means_no_mask_and_says_why(scans: Path, model: str, found: str) -> None:
    plan = plan_cases(scans, settings=StudyFile(segmentation=SegmentationSettings(model=model)))
    assert plan.cases == ()
    (absent,) = plan.absent
    assert absent.row.finding is not None
    assert absent.row.finding.code is ReasonCode.NO_MASK
    assert found in absent.row.finding.found


def test_a_refused_model_refuses_the_scans_and_not_the_batch(scans: Path, bundle: Bundle) -> None:
    (bundle.root / METADATA).write_text("{}")
    plan = plan_cases(scans, settings=_settings(bundle))
    (absent,) = plan.absent
    assert absent.row.finding is not None
    assert absent.row.finding.code is ReasonCode.MODEL_REFUSED


def test_weights_that_were_exchanged_are_a_refused_record(
    scans: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kneeimg.networks.bundle import WEIGHTS, load_cascade

    monkeypatch.setattr("kneeimg.segment.bundle.load_cascade", load_cascade)
    (bundle.root / WEIGHTS).write_bytes(b"something else")
    (record,) = run_case(_plan(scans, _settings(bundle)), tmp_path / "out").records
    assert record.status == "refused"
    assert record.findings[0].code is ReasonCode.MODEL_HASH_MISMATCH
    assert record.context.model_sha256 == bundle.sha256


def test_the_side_must_be_known_before_the_network_runs(
    scans: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = replace(_plan(scans, _settings(bundle)), sides=())
    monkeypatch.setattr("kneeimg.pipeline.mr.segment_with", None)  # must not be reached
    (record,) = run_case(case, tmp_path / "out").records
    assert record.findings[0].code is ReasonCode.NO_LATERALITY


def test_a_patella_in_doubt_has_no_values_and_the_rest_has(
    scans: Path, bundle: Bundle, tmp_path: Path
) -> None:
    from kneeimg.settings.segmentation import ConfidenceSettings

    strict = ConfidenceSettings(patellar_cartilage_mm3=(5_000.0, 9_000.0))
    case = _plan(scans, _settings(bundle, confidence=strict))
    (record,) = run_case(case, tmp_path / "out").records
    assert record.status == "measured"
    assert ReasonCode.LOW_CONFIDENCE in {f.code for f in record.findings}
    for row in record.measurements:
        if row.region in ("P", "mP", "lP", "patella"):
            assert row.status is Status.NOT_MEASURABLE
            assert row.reason is ReasonCode.LOW_CONFIDENCE
        elif row.region == "MT" and row.quantity == "ThCtAB_aMe":
            assert row.status is Status.OK
    assert not list((tmp_path / "out").rglob(f"*{Bone.PATELLA}.vtp"))


@pytest.fixture
def image(grey_net: Any, labels: LabelMap, tmp_path: Path) -> Path:
    return write_volume(grey_net.grey_image(labels), tmp_path / "my knee.nii.gz")


def test_segment_writes_labels_fractions_record_and_picture(
    image: Path, bundle: Bundle, labels: LabelMap, tmp_path: Path
) -> None:
    out = tmp_path / "seg"
    names = {Path(p).name for p in segment_to(image, out, model=bundle.root, side="right")}
    endings = ("dseg.nii.gz", "probseg.nii.gz", "probseg.json", "qc.png", "segmentation.json")
    assert names == {f"my-knee_{ending}" for ending in endings} == {p.name for p in out.iterdir()}
    assert np.array_equal(read_label_map(out / "my-knee_dseg.nii.gz").labels, labels.labels)
    assert read_label_map(out / "my-knee_probseg.nii.gz").is_soft
    record = json.loads((out / "my-knee_segmentation.json").read_text())
    assert record["model"]["sha256"] == bundle.sha256
    assert record["confidence"]["femur"]["certainty"] > 0.99
    assert set(record["seconds"]) >= {"reading", "networks", "resampling", "cleanup"}
    assert record["findings"] == []


def test_segment_without_a_side_has_no_picture_and_no_menisci(
    image: Path, bundle: Bundle, tmp_path: Path
) -> None:
    scan = segment_scan(image, None, _settings(bundle).segmentation)
    assert [f.code for f in scan.segmentation.findings] == [ReasonCode.NO_LATERALITY]
    assert Tissue.MEDIAL_MENISCUS not in scan.segmentation.label_map.tissues()
    names = {path.name.split("_")[-1] for path in write_segmentation(scan, tmp_path / "seg")}
    assert "qc.png" not in names


def test_segment_reads_the_side_of_a_series(scans: Path, bundle: Bundle) -> None:
    scan = segment_scan(scans / "knee01", None, _settings(bundle).segmentation)
    assert scan.side is Side.RIGHT
    with pytest.raises(KneeimgError) as caught:
        segment_scan(scans / "knee01", Side.LEFT, _settings(bundle).segmentation)
    assert caught.value.code is ReasonCode.LATERALITY_CONFLICT


def test_coarse_slices_are_segmented_and_flagged(
    grey_net: Any, bundle: Bundle, tmp_path: Path
) -> None:
    from kneeimg.phantoms.grids import sagittal_grid

    grid = sagittal_grid((3.6, 0.9, 0.9), (30, 130, 130))
    thick: Volume = grey_net.grey_image(grey_net.phantom_labels(Side.RIGHT, grid))
    path = write_volume(thick, tmp_path / "mese.nii.gz")
    scan = segment_scan(path, Side.RIGHT, _settings(bundle).segmentation)
    assert ReasonCode.COARSE_GRID in {f.code for f in scan.segmentation.findings}
    assert Tissue.FEMUR in scan.segmentation.label_map.tissues()


def test_a_scan_that_is_not_there(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(KneeimgError, match="no such scan"):
        segment_scan(tmp_path / "nothing", Side.RIGHT, _settings(bundle).segmentation)


def test_a_folder_of_masks_that_is_not_there(scans: Path, bundle: Bundle) -> None:
    masks = MaskSettings(folder="/no/such/folder")
    settings = _settings(bundle).model_copy(update={"masks": masks})
    with pytest.raises(StudyError, match="folder of masks"):
        plan_cases(scans, settings=settings)


def test_a_folder_that_is_no_model(bundle: Bundle) -> None:
    settings = _settings(bundle).segmentation
    with pytest.raises(ModelError):
        open_segmenter(settings.model_copy(update={"model": str(bundle.root / "configs")}))


def test_masks_settings_accept_a_relative_folder_of_the_study(
    tmp_path: Path, make_study: Callable[[str], Path]
) -> None:
    study = load_study(make_study("[masks]\nfolder='m'\n"))
    assert study.settings.masks.folder == str(tmp_path.resolve() / "m")


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        (tmp_path / "participants.csv").write_text("participant\nP01\n")
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return make
