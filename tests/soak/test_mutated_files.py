"""A hundred thousand mutated files, or as many as there is time for."""

import os

from hostile import fuzzing

SECONDS = float(os.environ.get("COVID_CORE_FUZZ_SECONDS", 1800))


def test_mutated_pictures_are_read_or_refused_and_nothing_else():
    fuzzing.pictures(2500, seed=3)


def test_mutated_dicom_files_are_read_or_refused_and_nothing_of_the_patient_is_told(caplog, capfd):
    fuzzing.dicom_files(2000, seed=4)
    out = capfd.readouterr()
    assert "CANARY" not in out.out + out.err + caplog.text


def test_mutated_files_in_the_process_for_strangers_are_read_or_refused_and_nothing_else():
    done = fuzzing.measured(100_000, seed=2, seconds=SECONDS)
    assert done["files"] > 1000
    assert not done["unmapped"]
    assert not done["late"]
