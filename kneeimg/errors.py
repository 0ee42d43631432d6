"""One error tree and the reason codes, the vocabulary in which kneeimg refuses and warns.

Error tree::

    KneeimgError
    ├── InputError            a file, series, mask or film that cannot be trusted
    │   ├── DicomError        reading and assembling DICOM
    │   └── MaskError         a segmentation that does not fit its image or its scheme
    ├── ModelError            a segmentation model that is refused, or cannot run here
    ├── StudyError            study file, participants, visits, settings
    ├── GeometryError         grids, frames of reference and transforms that do not agree
    ├── MeasurementError      a quantity that cannot be measured on this anatomy
    ├── RegistrationError     two visits that could not be aligned
    ├── AnalysisError         a statistic that the data do not allow
    └── OutputError           a result that could not be written

Every error carries one :class:`Finding`: a stable reason code, where it was found, what was
expected, what was found and what to do. A warning is the same `Finding`, recorded and not raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Self


class ExitStatus(IntEnum):
    """Exit status of the command line and of a batch: the numbers a script can rely on."""

    MEASURED = 0
    USAGE = 1
    SOME_REFUSED = 2
    ALL_REFUSED = 3
    ENVIRONMENT = 4


class Behaviour(StrEnum):
    """What kneeimg does when a reason code applies."""

    REFUSE = "refuse"  # no number is given
    SKIP = "skip"  # not an input for this task; recorded
    FLAG = "flag"  # measured; every row carries the flag
    NOTE = "note"  # measured; recorded once with the case


class ReasonCode(StrEnum):
    """Stable public names for everything that can be wrong with an input or a result."""

    # DICOM series assembly
    MISSING_SLICES = "MISSING_SLICES"
    EXTENT_MISMATCH = "EXTENT_MISMATCH"
    DUPLICATE_DROPPED = "DUPLICATE_DROPPED"
    CONFLICTING_DUPLICATE = "CONFLICTING_DUPLICATE"
    NONUNIFORM_SPACING = "NONUNIFORM_SPACING"
    SHEARED_STACK = "SHEARED_STACK"
    MIXED_ORIENTATION = "MIXED_ORIENTATION"
    MIXED_FRAMES = "MIXED_FRAMES"
    LOCALIZER = "LOCALIZER"
    SPACING_TAG_DISAGREES = "SPACING_TAG_DISAGREES"
    AMBIGUOUS_SERIES = "AMBIGUOUS_SERIES"
    NO_GEOMETRY = "NO_GEOMETRY"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    UNSUPPORTED_TRANSFER_SYNTAX = "UNSUPPORTED_TRANSFER_SYNTAX"
    LOSSY_COMPRESSED = "LOSSY_COMPRESSED"
    TRUNCATED_PIXEL_DATA = "TRUNCATED_PIXEL_DATA"
    NOT_DICOM = "NOT_DICOM"
    BAD_DICOM = "BAD_DICOM"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    UNSUPPORTED_IMAGE = "UNSUPPORTED_IMAGE"
    TOO_LARGE = "TOO_LARGE"
    NO_RULE_MATCHES = "NO_RULE_MATCHES"
    # radiographs
    NO_PIXEL_SPACING = "NO_PIXEL_SPACING"
    ZERO_PIXEL_SPACING = "ZERO_PIXEL_SPACING"
    INVERTED_POLARITY = "INVERTED_POLARITY"
    IMPLANT_SUSPECTED = "IMPLANT_SUSPECTED"
    OBJECT_IN_VIEW = "OBJECT_IN_VIEW"
    JOINT_OUT_OF_VIEW = "JOINT_OUT_OF_VIEW"
    KNEE_NOT_FOUND = "KNEE_NOT_FOUND"
    BONE_ON_BONE = "BONE_ON_BONE"
    MARGIN_UNCERTAIN = "MARGIN_UNCERTAIN"
    WIDTH_UNCERTAIN = "WIDTH_UNCERTAIN"
    MARGINS_DISAGREE = "MARGINS_DISAGREE"
    COARSE_PIXELS = "COARSE_PIXELS"
    KL_UNCERTAIN = "KL_UNCERTAIN"
    KL_OUT_OF_RANGE = "KL_OUT_OF_RANGE"
    # side, person, visit, study
    NO_LATERALITY = "NO_LATERALITY"
    LATERALITY_CONFLICT = "LATERALITY_CONFLICT"
    SUBJECT_MISMATCH = "SUBJECT_MISMATCH"
    VISIT_OUT_OF_WINDOW = "VISIT_OUT_OF_WINDOW"
    VISIT_MISSING = "VISIT_MISSING"
    DUPLICATE_SCAN = "DUPLICATE_SCAN"
    DUPLICATE_PARTICIPANT = "DUPLICATE_PARTICIPANT"
    DATES_BACKWARDS = "DATES_BACKWARDS"
    NOT_IN_STUDY = "NOT_IN_STUDY"
    PROTOCOL_CHANGED = "PROTOCOL_CHANGED"
    BAD_STUDY_FILE = "BAD_STUDY_FILE"
    BAD_STUDY_ID = "BAD_STUDY_ID"
    # masks and label maps
    NO_MASK = "NO_MASK"
    AMBIGUOUS_MASK = "AMBIGUOUS_MASK"
    BAD_MASK_FILE = "BAD_MASK_FILE"
    MASK_GRID_MISMATCH = "MASK_GRID_MISMATCH"
    MASK_SERIES_MISMATCH = "MASK_SERIES_MISMATCH"
    OVERLAPPING_SEGMENTS = "OVERLAPPING_SEGMENTS"
    EMPTY_MASK = "EMPTY_MASK"
    NO_BONE = "NO_BONE"
    UNKNOWN_LABEL = "UNKNOWN_LABEL"
    # segmentation models
    MODEL_HASH_MISMATCH = "MODEL_HASH_MISMATCH"
    MODEL_REFUSED = "MODEL_REFUSED"
    MODEL_NOT_TRUSTED = "MODEL_NOT_TRUSTED"
    NOT_A_KNEE = "NOT_A_KNEE"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    MODEL_PREVIEW = "MODEL_PREVIEW"
    MEMORY_FALLBACK = "MEMORY_FALLBACK"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    # measurement
    TISSUE_MISSING = "TISSUE_MISSING"
    REGION_EMPTY = "REGION_EMPTY"
    FRAME_UNDEFINED = "FRAME_UNDEFINED"
    SEVERAL_BONES = "SEVERAL_BONES"
    LABELS_SWAPPED = "LABELS_SWAPPED"
    RAY_MISSED = "RAY_MISSED"
    UNDETERMINED_SHARE = "UNDETERMINED_SHARE"
    IMPLAUSIBLE_THICKNESS = "IMPLAUSIBLE_THICKNESS"
    BONE_CUT_BY_VIEW = "BONE_CUT_BY_VIEW"
    SHORT_SHAFT = "SHORT_SHAFT"
    FRAGMENTED_CARTILAGE = "FRAGMENTED_CARTILAGE"
    COARSE_GRID = "COARSE_GRID"
    GEOMETRY_INVALID = "GEOMETRY_INVALID"
    # longitudinal
    REGISTRATION_FAILED = "REGISTRATION_FAILED"
    NO_BASELINE = "NO_BASELINE"
    PROTOCOL_DRIFT = "PROTOCOL_DRIFT"
    # analysis by arm
    UNKNOWN_PARTICIPANT = "UNKNOWN_PARTICIPANT"
    UNKNOWN_VISIT = "UNKNOWN_VISIT"
    UNKNOWN_COLUMN = "UNKNOWN_COLUMN"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    DUPLICATE_ENTRY = "DUPLICATE_ENTRY"
    NO_ARM = "NO_ARM"
    ONE_ARM = "ONE_ARM"
    AMBIGUOUS_KNEE = "AMBIGUOUS_KNEE"
    UNIT_CONFLICT = "UNIT_CONFLICT"
    NOT_A_NUMBER = "NOT_A_NUMBER"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    TOO_FEW_PARTICIPANTS = "TOO_FEW_PARTICIPANTS"
    NO_VARIANCE = "NO_VARIANCE"
    NO_REPEATABILITY_DATA = "NO_REPEATABILITY_DATA"
    NO_DIRECTION = "NO_DIRECTION"
    NOT_CONVERGED = "NOT_CONVERGED"
    UNBOUNDED = "UNBOUNDED"
    NO_REPEATABILITY = "NO_REPEATABILITY"
    NO_REPEATS = "NO_REPEATS"
    # output and environment
    OUTPUT_NOT_WRITABLE = "OUTPUT_NOT_WRITABLE"
    OUTPUT_FULL = "OUTPUT_FULL"
    OUTPUT_CHANGED = "OUTPUT_CHANGED"
    # audit, exclusion, lock
    EXCLUDED = "EXCLUDED"
    NO_SUCH_SCAN = "NO_SUCH_SCAN"
    REASON_MISSING = "REASON_MISSING"
    LOCKED = "LOCKED"
    AUDIT_BROKEN = "AUDIT_BROKEN"
    AUDIT_NOTE = "AUDIT_NOTE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed about an input or a result.

    Attributes
    ----------
    code : Stable reason code.
    message : One sentence for a person.
    where : File (relative), series or value it concerns.
    expected : What kneeimg needed.
    found : What was there instead.
    action : What the user can do about it; left empty, what usually helps with this code.
    """

    code: ReasonCode
    message: str
    where: str = ""
    expected: str = ""
    found: str = ""
    action: str = ""

    def __post_init__(self) -> None:
        if not self.action:
            object.__setattr__(self, "action", USUAL_ACTIONS.get(self.code, ""))

    def as_dict(self) -> dict[str, str]:
        """Plain values, empty parts left out.

        >>> Finding(ReasonCode.EMPTY_MASK, "no voxel", action="draw it").as_dict()
        {'code': 'EMPTY_MASK', 'message': 'no voxel', 'action': 'draw it'}
        """
        names = ("code", "message", "where", "expected", "found", "action")
        return {name: str(getattr(self, name)) for name in names if getattr(self, name)}

    def __str__(self) -> str:
        parts = [f"{self.code}: {self.message}"]
        for name in ("where", "expected", "found", "action"):
            value = getattr(self, name)
            if value:
                parts.append(f"  {name}: {value}")
        return "\n".join(parts)


class KneeimgError(Exception):
    """Base of every error that kneeimg raises on purpose; `finding` says what and why."""

    default_code: ClassVar[ReasonCode] = ReasonCode.INTERNAL_ERROR

    def __init__(
        self,
        message: str,
        *,
        code: ReasonCode | None = None,
        where: str = "",
        expected: str = "",
        found: str = "",
        action: str = "",
    ) -> None:
        self.finding = Finding(code or self.default_code, message, where, expected, found, action)
        super().__init__(str(self.finding))

    @property
    def code(self) -> ReasonCode:
        """Reason code of this error."""
        return self.finding.code

    @classmethod
    def from_finding(cls, finding: Finding) -> Self:
        """Raise-able error that carries an existing finding unchanged."""
        error = cls(finding.message, code=finding.code)
        error.finding = finding
        error.args = (str(finding),)
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross the process pool; keyword-only arguments need help to unpickle.
        return (type(self).from_finding, (self.finding,))


class InputError(KneeimgError):
    """An input that cannot be trusted."""

    default_code = ReasonCode.BAD_DICOM


class DicomError(InputError):
    """A DICOM file or series that is refused."""


class MaskError(InputError):
    """A segmentation that is refused."""

    default_code = ReasonCode.BAD_MASK_FILE


class ModelError(KneeimgError):
    """A segmentation model that is refused, or that cannot run on this machine."""

    default_code = ReasonCode.MODEL_REFUSED


class StudyError(KneeimgError):
    """A study file, participant list, visit or setting that is refused."""

    default_code = ReasonCode.BAD_STUDY_FILE


class GeometryError(KneeimgError):
    """Grids, frames of reference or transforms that do not agree."""

    default_code = ReasonCode.GEOMETRY_INVALID


class MeasurementError(KneeimgError):
    """A quantity that cannot be measured on this anatomy."""

    default_code = ReasonCode.REGION_EMPTY


class RegistrationError(KneeimgError):
    """Two visits that could not be aligned."""

    default_code = ReasonCode.REGISTRATION_FAILED


class AnalysisError(KneeimgError):
    """A statistic that the data do not allow."""

    default_code = ReasonCode.TOO_FEW_PARTICIPANTS


class OutputError(KneeimgError):
    """A result that could not be written."""

    default_code = ReasonCode.OUTPUT_NOT_WRITABLE


def unreadable_table(name: str, error: Exception, *, action: str = "") -> InputError:
    """The refusal of a table of results that cannot be read any more."""
    return InputError(
        "a result table cannot be read",
        code=ReasonCode.OUTPUT_CHANGED,
        where=name,
        found=type(error).__name__,
        action=action or "run again: the tables are then written anew",
    )


_R, _S, _F, _N = Behaviour.REFUSE, Behaviour.SKIP, Behaviour.FLAG, Behaviour.NOTE

#: What every code means and what kneeimg does about it; the documentation page is made from this.
REASONS: dict[ReasonCode, tuple[Behaviour, str]] = {
    ReasonCode.MISSING_SLICES: (_R, "A slice inside the stack is missing; nothing is interpolated"),
    ReasonCode.EXTENT_MISMATCH: (
        _F,
        "Fewer or other end slices than the protocol; than the baseline: change is refused",
    ),
    ReasonCode.DUPLICATE_DROPPED: (_N, "The same slice twice with equal pixels; one was dropped"),
    ReasonCode.CONFLICTING_DUPLICATE: (_R, "Two different images at one slice position"),
    ReasonCode.NONUNIFORM_SPACING: (_R, "The distance between slices varies"),
    ReasonCode.SHEARED_STACK: (_R, "Slice origins do not lie on one line along the normal"),
    ReasonCode.MIXED_ORIENTATION: (_R, "Slices of one series do not lie parallel"),
    ReasonCode.MIXED_FRAMES: (_R, "Slices of one series have different frames of reference"),
    ReasonCode.LOCALIZER: (_S, "A scout or localizer, not a measurement series"),
    ReasonCode.SPACING_TAG_DISAGREES: (
        _N,
        "SpacingBetweenSlices differs from the slice positions; the positions are used",
    ),
    ReasonCode.AMBIGUOUS_SERIES: (_R, "Several series fit and no rule picks one"),
    ReasonCode.NO_GEOMETRY: (_R, "Position, orientation or pixel spacing is missing"),
    ReasonCode.TOO_FEW_SLICES: (_R, "Too few slices to make a volume"),
    ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX: (_R, "Pixel compression that kneeimg does not read"),
    ReasonCode.LOSSY_COMPRESSED: (_F, "Pixels went through lossy compression"),
    ReasonCode.TRUNCATED_PIXEL_DATA: (_R, "The file holds fewer pixels than its header says"),
    ReasonCode.NOT_DICOM: (_S, "The file is not DICOM"),
    ReasonCode.BAD_DICOM: (_R, "The DICOM file cannot be parsed"),
    ReasonCode.NOT_AN_IMAGE: (_S, "A DICOM object without an image (report, state, directory)"),
    ReasonCode.UNSUPPORTED_IMAGE: (_S, "An image of a kind that kneeimg does not measure"),
    ReasonCode.TOO_LARGE: (_R, "The header announces more pixels than the limit"),
    ReasonCode.NO_RULE_MATCHES: (_S, "No series-selection rule takes this series"),
    ReasonCode.NO_PIXEL_SPACING: (_F, "No pixel spacing: ratios only, no millimetres"),
    ReasonCode.ZERO_PIXEL_SPACING: (_F, "Pixel spacing is zero: ratios only, no millimetres"),
    ReasonCode.INVERTED_POLARITY: (_N, "Grey values were inverted against the tag; corrected"),
    ReasonCode.IMPLANT_SUSPECTED: (_R, "Metal in the joint: prosthesis, plate or screws"),
    ReasonCode.OBJECT_IN_VIEW: (_F, "A small dense object (marker, bead) is in view"),
    ReasonCode.JOINT_OUT_OF_VIEW: (_R, "The joint is cut by the edge of the image"),
    ReasonCode.KNEE_NOT_FOUND: (_R, "No knee joint was recognised"),
    ReasonCode.BONE_ON_BONE: (_F, "Joint space is closed: measured 0 mm"),
    ReasonCode.MARGIN_UNCERTAIN: (_F, "A joint margin was found with low confidence"),
    ReasonCode.WIDTH_UNCERTAIN: (_F, "The film leaves open where an edge of the femur lies"),
    ReasonCode.MARGINS_DISAGREE: (_R, "Two searches for the margins disagree, or no knee has such"),
    ReasonCode.COARSE_PIXELS: (_R, "Pixels too large to show trabeculae: no texture"),
    ReasonCode.KL_UNCERTAIN: (_R, "KL support is uncertain: probabilities, but no grade"),
    ReasonCode.KL_OUT_OF_RANGE: (
        _F,
        "A feature of the film lies outside those that the KL model learned from: no grade",
    ),
    ReasonCode.NO_LATERALITY: (_R, "No source says left or right"),
    ReasonCode.LATERALITY_CONFLICT: (_R, "Two sources of the side disagree"),
    ReasonCode.SUBJECT_MISMATCH: (_R, "The person in the file is not the one in the study file"),
    ReasonCode.VISIT_OUT_OF_WINDOW: (_F, "The scan date lies outside every visit window"),
    ReasonCode.VISIT_MISSING: (_R, "A planned visit has no usable scan"),
    ReasonCode.DUPLICATE_SCAN: (_S, "Another scan of this visit was nearer to its target day"),
    ReasonCode.DUPLICATE_PARTICIPANT: (
        _R,
        "Two rows with one participant id, or one PatientID for several participants",
    ),
    ReasonCode.DATES_BACKWARDS: (_R, "A follow-up is dated before a visit that it must follow"),
    ReasonCode.NOT_IN_STUDY: (_S, "Results of a participant who is not in the study any more"),
    ReasonCode.PROTOCOL_CHANGED: (
        _N,
        "Scanner, sequence, voxel size or software differ from the participant's baseline",
    ),
    ReasonCode.BAD_STUDY_FILE: (_R, "The study file, or a table it names, has a mistake"),
    ReasonCode.BAD_STUDY_ID: (_R, "A study id outside [A-Za-z0-9-]{1,32}"),
    ReasonCode.NO_MASK: (_R, "The series has no segmentation beside it and none was made"),
    ReasonCode.AMBIGUOUS_MASK: (_R, "Several masks could belong to the series"),
    ReasonCode.BAD_MASK_FILE: (_R, "The mask file cannot be read"),
    ReasonCode.MASK_GRID_MISMATCH: (_R, "The mask lies on another grid than its image"),
    ReasonCode.MASK_SERIES_MISMATCH: (_R, "The DICOM mask was drawn on another series"),
    ReasonCode.OVERLAPPING_SEGMENTS: (_R, "Segments of different tissues share voxels"),
    ReasonCode.EMPTY_MASK: (_R, "The mask holds no labelled voxel"),
    ReasonCode.NO_BONE: (_R, "The mask has cartilage but not the bone it lies on"),
    ReasonCode.UNKNOWN_LABEL: (_R, "A label value that the scheme does not name"),
    ReasonCode.MODEL_HASH_MISMATCH: (_R, "The weights are not those that the model names"),
    ReasonCode.MODEL_REFUSED: (
        _R,
        "The model's files are incomplete, damaged, hold code, or do not fit its network",
    ),
    ReasonCode.MODEL_NOT_TRUSTED: (_R, "The model file can run code; it needs the user's consent"),
    ReasonCode.NOT_A_KNEE: (_R, "The network finds no knee in the image"),
    ReasonCode.LOW_CONFIDENCE: (
        _R,
        "The network is unsure, or sees the joint only in part; a bone alone loses its rows",
    ),
    ReasonCode.MODEL_PREVIEW: (
        _F,
        "The segmentation model is a preview: do not use its thickness; see its model card",
    ),
    ReasonCode.MEMORY_FALLBACK: (_N, "Memory ran short: a smaller window or the CPU was used"),
    ReasonCode.OUT_OF_MEMORY: (_R, "The image does not fit into memory for segmentation"),
    ReasonCode.TISSUE_MISSING: (_R, "The label map does not hold the tissue of this region"),
    ReasonCode.REGION_EMPTY: (_R, "The region has no surface on this knee"),
    ReasonCode.FRAME_UNDEFINED: (_R, "The bones do not determine an anatomical frame"),
    ReasonCode.SEVERAL_BONES: (_R, "One label holds two bones, as in a map of both knees"),
    ReasonCode.LABELS_SWAPPED: (
        _R,
        "The femur lies below the tibia: swapped labels or orientation",
    ),
    ReasonCode.RAY_MISSED: (_F, "A ray from bone met no articular surface: undetermined, not 0"),
    ReasonCode.UNDETERMINED_SHARE: (_F, "A notable share of the region is undetermined"),
    ReasonCode.IMPLAUSIBLE_THICKNESS: (_F, "Mean thickness far outside the published range"),
    ReasonCode.BONE_CUT_BY_VIEW: (_F, "The edge of the field of view cuts the joint surface"),
    ReasonCode.SHORT_SHAFT: (_F, "Too little shaft in view to place the femoral borders well"),
    ReasonCode.FRAGMENTED_CARTILAGE: (_F, "Cartilage consists of many islands"),
    ReasonCode.COARSE_GRID: (_F, "Voxels too large for the thickness that is claimed"),
    ReasonCode.GEOMETRY_INVALID: (_R, "Grids, frames or transforms do not agree"),
    ReasonCode.REGISTRATION_FAILED: (_R, "Follow-up bone could not be aligned with baseline"),
    ReasonCode.NO_BASELINE: (_R, "No measured baseline to compare with"),
    ReasonCode.PROTOCOL_DRIFT: (
        _R,
        "Pixel sizes of the two films come from different sources: no change in millimetres",
    ),
    ReasonCode.UNKNOWN_PARTICIPANT: (_S, "A row for a participant who is not in the results"),
    ReasonCode.UNKNOWN_VISIT: (_S, "A row for a visit that is not in the results"),
    ReasonCode.UNKNOWN_COLUMN: (_S, "A column that the analysis by arm does not know"),
    ReasonCode.UNKNOWN_OUTCOME: (_R, "An outcome to analyse that is not in the change table"),
    ReasonCode.DUPLICATE_ENTRY: (_S, "The same participant (and visit) twice in a table"),
    ReasonCode.NO_ARM: (_S, "A participant without an arm: left out of every comparison"),
    ReasonCode.ONE_ARM: (_R, "Only one arm has participants: nothing to compare with"),
    ReasonCode.AMBIGUOUS_KNEE: (_S, "Both knees were measured and none is the index knee"),
    ReasonCode.UNIT_CONFLICT: (_S, "Two clinical tables give one column in different units"),
    ReasonCode.NOT_A_NUMBER: (_S, "A cell that should hold a number and does not"),
    ReasonCode.OUT_OF_RANGE: (_S, "A number outside the range that its scale allows"),
    ReasonCode.TOO_FEW_PARTICIPANTS: (_R, "Fewer participants than the statistic needs"),
    ReasonCode.NO_VARIANCE: (_R, "Values that do not vary enough for the statistic"),
    ReasonCode.NO_REPEATABILITY_DATA: (
        _R,
        "No repeatability data: a single change cannot be classed",
    ),
    ReasonCode.NO_DIRECTION: (_R, "A quantity of which neither more nor less is better"),
    ReasonCode.NOT_CONVERGED: (_R, "The fit of the mixed model did not converge"),
    ReasonCode.UNBOUNDED: (_N, "A limit of an interval, or a sample size, is not finite"),
    ReasonCode.NO_REPEATABILITY: (
        _N,
        "The repeatability table holds for other software, model, masks or settings: not used",
    ),
    ReasonCode.NO_REPEATS: (_R, "No knee was scanned and measured twice"),
    ReasonCode.OUTPUT_NOT_WRITABLE: (_R, "The output folder cannot be written"),
    ReasonCode.OUTPUT_FULL: (_R, "No space left for the output"),
    ReasonCode.OUTPUT_CHANGED: (_R, "A result file is gone or no longer what kneeimg wrote"),
    ReasonCode.EXCLUDED: (_R, "The scan was excluded by hand, with a reason; see the audit log"),
    ReasonCode.NO_SUCH_SCAN: (_R, "The results hold no measured scan with these ids"),
    ReasonCode.REASON_MISSING: (_R, "Overwriting, excluding and locking need a reason"),
    ReasonCode.LOCKED: (_R, "The results are locked: nothing is written until they are unlocked"),
    ReasonCode.AUDIT_BROKEN: (_R, "The audit log is not, or not all of, what kneeimg wrote"),
    ReasonCode.AUDIT_NOTE: (
        _N,
        "A reader of the audit log should know: a repaired line, a run that did not end",
    ),
    ReasonCode.INTERNAL_ERROR: (_R, "A bug in kneeimg: please report it with the traceback"),
}


_EXPORT = "copy or export the file again"
_OTHER_EXPORT = "export the series again; if it is so on the scanner, leave it out"

#: What usually helps, for findings that have nothing more precise to say.
USUAL_ACTIONS: dict[ReasonCode, str] = {
    ReasonCode.DUPLICATE_DROPPED: "none needed; remove the second copy",
    ReasonCode.NONUNIFORM_SPACING: _OTHER_EXPORT,
    ReasonCode.LOCALIZER: "none needed",
    ReasonCode.SPACING_TAG_DISAGREES: "none needed; check the export if slices look missing",
    ReasonCode.NO_GEOMETRY: _OTHER_EXPORT,
    ReasonCode.TOO_FEW_SLICES: "give the folder with all slices of the series",
    ReasonCode.LOSSY_COMPRESSED: "use the original images if they exist",
    ReasonCode.TRUNCATED_PIXEL_DATA: _EXPORT,
    ReasonCode.NOT_DICOM: "none needed; export it again if it should be an image",
    ReasonCode.BAD_DICOM: _EXPORT,
    ReasonCode.NOT_AN_IMAGE: "none needed",
    ReasonCode.UNSUPPORTED_IMAGE: "none needed; give MR series, or grey films (CR, DX)",
    ReasonCode.TOO_LARGE: "raise the limit in [reading] if the size is right",
    ReasonCode.NO_MASK: "put a mask beside the series, or name it in scans.csv",
    ReasonCode.BAD_MASK_FILE: "export the mask again as NIfTI, NRRD or MHA with whole numbers",
    ReasonCode.MASK_SERIES_MISMATCH: "give the mask of this series, or the series of this mask",
    ReasonCode.EMPTY_MASK: "export the mask again; it may be of another structure or scan",
    ReasonCode.MODEL_HASH_MISMATCH: "install the model again; do not use these weights",
    ReasonCode.MODEL_REFUSED: "install the model again, or choose another one (--model)",
    ReasonCode.NOT_A_KNEE: "look at the picture; if it shows a knee, put a mask beside the scan",
    ReasonCode.LOW_CONFIDENCE: "look at the picture; correct the mask and put it beside the scan",
    ReasonCode.MODEL_PREVIEW: "check the picture; use a corrected mask, or a model of your own",
    ReasonCode.MEMORY_FALLBACK: "none needed",
    ReasonCode.OUT_OF_MEMORY: "close other programs, use fewer workers, or crop the image",
    ReasonCode.COARSE_PIXELS: "none needed; texture wants a film of 0.2 mm per pixel or finer",
    ReasonCode.KL_UNCERTAIN: "look at the film and its margins; let a reader grade it",
    ReasonCode.KL_OUT_OF_RANGE: "look at the margins on the film; let a reader grade it",
    ReasonCode.LATERALITY_CONFLICT: "find out which side is right and correct the other source",
    ReasonCode.SUBJECT_MISMATCH: "correct participants.csv or the file name, or remove the scan",
    ReasonCode.BAD_STUDY_FILE: "correct it and run again",
    ReasonCode.BAD_STUDY_ID: "use 1 to 32 letters, digits or hyphens",
    ReasonCode.REGION_EMPTY: "look at the label map on its image",
    ReasonCode.FRAME_UNDEFINED: "look at the bones on the picture; they may be cut or mislabelled",
    ReasonCode.SEVERAL_BONES: "give each knee a label map of its own",
    ReasonCode.UNKNOWN_PARTICIPANT: "correct the id, or remove the row",
    ReasonCode.UNKNOWN_VISIT: "use the visit names of the study",
    ReasonCode.UNKNOWN_COLUMN: "correct its name if it should be analysed",
    ReasonCode.UNKNOWN_OUTCOME: "use a name of the wide table, such as MFTC_ThCtAB_aMe",
    ReasonCode.DUPLICATE_ENTRY: "keep the right row and remove the other",
    ReasonCode.NO_ARM: "add the participant to the arms if it was randomised",
    ReasonCode.ONE_ARM: "give the arms of all participants",
    ReasonCode.AMBIGUOUS_KNEE: "name the index knee in participants.csv and run again",
    ReasonCode.UNIT_CONFLICT: "convert one of the columns, and say its unit in the header",
    ReasonCode.NOT_A_NUMBER: "correct the cell, or leave it empty when the value is missing",
    ReasonCode.OUT_OF_RANGE: "correct the cell, or leave it empty when the value is missing",
    ReasonCode.NO_REPEATABILITY_DATA: "measure repeated scans with this software",
    ReasonCode.NO_REPEATABILITY: "make a table for this set-up with kneeimg precision",
    ReasonCode.NO_REPEATS: "name visits that repeat each other with --pairs",
    ReasonCode.OUTPUT_NOT_WRITABLE: "choose an output folder that you may write to",
    ReasonCode.OUTPUT_FULL: "free some space and run again: finished cases are kept",
    ReasonCode.OUTPUT_CHANGED: "run again: what is missing is measured again",
    ReasonCode.EXCLUDED: "none needed; `kneeimg include` takes it back",
    ReasonCode.NO_SUCH_SCAN: "look at disposition.csv for the ids of the measured scans",
    ReasonCode.REASON_MISSING: 'say why with --reason "..."',
    ReasonCode.LOCKED: "if it must change: `kneeimg unlock RESULTS --reason ...`",
    ReasonCode.AUDIT_BROKEN: "run `kneeimg audit verify RESULTS`; restore the log from a backup",
    ReasonCode.INTERNAL_ERROR: "please report it with the log",
}


def behaviour(code: ReasonCode) -> Behaviour:
    """What kneeimg does for a code.

    >>> behaviour(ReasonCode.MISSING_SLICES)
    <Behaviour.REFUSE: 'refuse'>
    """
    return REASONS[code][0]
