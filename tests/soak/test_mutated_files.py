"""Thousands of mutated files."""

from hostile import fuzzing


def test_mutated_pictures_are_read_or_refused_and_nothing_else():
    fuzzing.pictures(2500, seed=3)


def test_mutated_dicom_files_are_read_or_refused_and_nothing_of_the_patient_is_told(caplog, capfd):
    fuzzing.dicom_files(2000, seed=4)
    out = capfd.readouterr()
    assert "CANARY" not in out.out + out.err + caplog.text


def test_mutated_files_in_the_process_for_strangers_are_read_or_refused_and_nothing_else():
    fuzzing.strangers_files(6000, seed=2)
