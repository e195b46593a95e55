"""What an import would take, in lines: each class with what is special, and what a person should check."""

from covid_core.data.imports.layouts import understood
from covid_core.reports.layout_text import layout_lines, layout_notes, layout_table


def test_a_class_has_a_line_with_what_there_is_of_it_alone():
    layout = understood(["train/a/person1_x.png", "test/a/person2_x.png", "train/b/person3_x.png"], "it")
    assert layout_lines(layout)[:2] == [
        "a: 2 images, train 1, test 1, patients 2",
        "b: 1 image, train 1, test 0, patients 1",
    ]
    assert layout_table(layout).columns.tolist() == ["Class", "Images", "Train", "Test", "Patients", "First image"]


def test_a_single_class_beside_a_table_names_the_table():
    notes = list(layout_notes(understood(["set/1.png", "set/labels.csv"], "it")))
    assert len(notes) == 2 and "set/labels.csv" in notes[1]


def test_what_is_left_out_is_a_line_with_its_reason():
    layout = understood(["a/1.png", "b/1.png", "loose.png"], "it")
    assert layout_lines(layout)[-1].startswith("left out: loose.png: ")
