"""A contact sheet: every image at its place, labelled, on white."""

import numpy as np

from covid_core.images.contact_sheet import GAP, HEADING, MARGIN, TILE, Tile, contact_sheet


def test_a_contact_sheet_has_each_image_below_the_name_of_its_group_and_above_its_caption():
    groups = {
        "Normal": [
            Tile(np.full((64, 64), grey, np.uint8), f"image {grey}, predicted: COVID 93 %") for grey in (60, 120)
        ],
        "COVID": [Tile(np.full((512, 512), 200, np.uint8))],
    }

    sheet = contact_sheet(groups, per_row=2)

    assert sheet.shape[1] == 2 * (MARGIN + TILE) + GAP
    first = MARGIN + HEADING + GAP
    row = sheet[first + TILE // 2]
    assert list(row[[0, MARGIN, MARGIN + TILE, MARGIN + TILE + GAP]]) == [255, 60, 255, 120]
    assert sheet[MARGIN:first].min() < 100 and sheet[first + TILE :][: TILE // 10].min() < 100  # letters
    assert (sheet[-MARGIN - 1, MARGIN : MARGIN + TILE] == 200).all() and (sheet[-MARGIN:] == 255).all()
