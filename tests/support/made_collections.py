"""Small data sets in the form of public collections: their folders, file names and tables, with drawn images."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from made_dicom import as_dicom
from PIL import Image

from covid_core.images.codec import png_bytes
from covid_core.synthetic import phantom


class Collection(NamedTuple):
    """``images``: paths, each drawn. ``tables``: text by path. ``counts`` and ``patients``: of the import."""

    images: tuple[str, ...]
    tables: dict[str, str]
    counts: dict[str, int]
    patients: int = 0


CHEXPERT = "CheXpert-v1.0-small/train"
MIMIC = "mimic-cxr-2.0.0"
COLLECTIONS = {
    "COVID-19 Radiography Database": Collection(
        ("COVID/images/COVID-1.png", "COVID/images/COVID-2.png", "Normal/images/Normal-1.png"),
        {"COVID.metadata.csv": "FILE NAME,FORMAT,SIZE,URL\nCOVID-1,PNG,256*256,https://a.org/1\n"},
        {"COVID": 2, "Normal": 1},
    ),
    "Kermany": Collection(
        (
            "chest_xray/train/NORMAL/IM-0115-0001.jpeg",
            "chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg",
            "chest_xray/test/NORMAL/IM-0001-0001.jpeg",
            "chest_xray/test/PNEUMONIA/person1_virus_6.jpeg",
        ),
        {},
        {"NORMAL": 2, "PNEUMONIA": 2},
        3,
    ),
    "COVIDx": Collection(
        ("train/a.png", "train/b.png", "test/c.png"),
        {
            "train_split.txt": "1 a.png positive bimcv\n2 b.png negative rsna\n",
            "test_split.txt": "3 c.png positive bimcv\n",
        },
        {"negative": 1, "positive": 2},
        3,
    ),
    "ChestX-ray14": Collection(
        (
            "images_001/images/00000001_000.png",
            "images_001/images/00000001_001.png",
            "images_002/images/00000002_000.png",
        ),
        {
            "Data_Entry_2017.csv": "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
            "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
            "00000001_000.png,Effusion,0,1,58,M,PA,2682,2749,0.143,0.143\n"
            "00000001_001.png,Effusion,1,1,58,M,PA,2894,2729,0.143,0.143\n"
            "00000002_000.png,No Finding,0,2,81,F,AP,2500,2048,0.168,0.168\n",
            "train_val_list.txt": "00000001_000.png\n00000001_001.png\n",
            "test_list.txt": "00000002_000.png\n",
        },
        {"Effusion": 2, "No Finding": 1},
        2,
    ),
    "CheXpert": Collection(
        tuple(f"{CHEXPERT}/patient0000{number}/study1/view1_frontal.jpg" for number in (1, 2, 3)),
        {
            "CheXpert-v1.0-small/train.csv": "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema\n"
            f"{CHEXPERT}/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,\n"
            f"{CHEXPERT}/patient00002/study1/view1_frontal.jpg,Male,87,Frontal,PA,,1.0\n"
            f"{CHEXPERT}/patient00003/study1/view1_frontal.jpg,Male,20,Frontal,PA,0.0,1.0\n"
        },
        {"Edema": 2, "No Finding": 1},
        3,
    ),
    "MIMIC-CXR-JPG": Collection(
        ("files/p10/p10000032/s50414267/a.jpg", "files/p11/p11000001/s51000001/b.jpg"),
        {
            f"{MIMIC}-chexpert.csv.gz": "subject_id,study_id,Edema,No Finding\n10000032,50414267,1.0,\n"
            "11000001,51000001,,1.0\n",
            f"{MIMIC}-metadata.csv.gz": "dicom_id,subject_id,study_id,ViewPosition\na,10000032,50414267,PA\n"
            "b,11000001,51000001,AP\n",
            f"{MIMIC}-split.csv.gz": "dicom_id,study_id,subject_id,split\na,50414267,10000032,train\n"
            "b,51000001,11000001,test\n",
        },
        {"Edema": 1, "No Finding": 1},
        2,
    ),
    "RSNA pneumonia": Collection(
        ("stage_2_train_images/a.dcm", "stage_2_train_images/b.dcm"),
        {
            "stage_2_train_labels.csv": "patientId,x,y,width,height,Target\na,1,2,3,4,1\na,5,6,7,8,1\nb,,,,,0\n",
            "stage_2_detailed_class_info.csv": "patientId,class\na,Lung Opacity\na,Lung Opacity\nb,Normal\n",
        },
        {"Lung Opacity": 1, "Normal": 1},
        2,
    ),
    "VinDr": Collection(
        ("train/a.dicom", "train/b.dicom"),
        {
            "train.csv": "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\na,No finding,14,R1,,,,\n"
            "a,No finding,14,R2,,,,\nb,Nodule/Mass,8,R1,1,2,3,4\n"
        },
        {"No finding": 1, "Nodule/Mass": 1},
    ),
    "PadChest": Collection(
        ("1.png", "2.png"),
        {
            "PADCHEST_chest_x_ray_images_labels_160K.csv": "ImageID,StudyDate_DICOM,StudyID,PatientID,PatientBirth,"
            "PatientSex_DICOM,Projection,Labels\n1.png,20140915,s,p,1950.0,M,PA,['normal']\n"
            "2.png,20140915,t,q,,F,AP,\"['edema']\"\n"
        },
        {"edema": 1, "normal": 1},
        2,
    ),
    "covid-chestxray": Collection(
        ("images/a.jpg", "images/b.png"),
        {
            "metadata.csv": "patientid,offset,sex,age,finding,view,modality,date,location,folder,filename,license\n"
            "2,0,M,65,Pneumonia/Viral/COVID-19,PA,X-ray,2020,Spain,images,a.jpg,CC BY\n"
            "4,3,F,52,No Finding,PA,X-ray,2020,Spain,images,b.png,CC BY\n"
        },
        {"No Finding": 1, "Pneumonia/Viral/COVID-19": 1},
        2,
    ),
}


def write(collection: Collection, root: Path) -> Path:
    """Write its files below a folder."""
    for number, name in enumerate(collection.images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = phantom.image_at(number, 60, 1, (), 64).pixels
        (root / name).write_bytes(ENCODERS[Path(name).suffix](pixels))
    for name, text in collection.tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return root


def _as_jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    ".png": png_bytes,
    ".jpg": _as_jpeg,
    ".jpeg": _as_jpeg,
    ".dcm": as_dicom,
    ".dicom": as_dicom,
}
