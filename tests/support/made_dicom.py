"""A DICOM file as a detector's console writes it, for tests that hand one in."""

import io
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

PATIENT = "Canary^Patient"


def as_dicom(pixels: np.ndarray, **tags: Any) -> bytes:
    """A uint8 image as 12 bits stored as a negative, with a patient's name that must show up nowhere.

    ``tags`` are further tags by their keyword.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset("image", {}, file_meta=meta, preamble=bytes(128))
    file.PatientName, file.Modality, file.ViewPosition, file.BurnedInAnnotation = PATIENT, "DX", "PA", "NO"
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME1"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.PixelSpacing = [0.2, 0.2]
    file.PixelData = (4095 - np.round(pixels * (4095 / 255)).astype(np.uint16)).tobytes()
    for keyword, value in tags.items():
        setattr(file, keyword, value)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
