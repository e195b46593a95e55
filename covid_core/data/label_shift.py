"""The course's label mistake, made again on purpose, so that a lesson can show what it does and what gives it away."""

from collections.abc import Mapping

import numpy as np

from covid_core.errors import DataError

ON_PURPOSE = (
    "The labels are cut off in class order and put beside other images, as the course's were. It is a mistake made on "
    "purpose: no figure of such a run says anything about the images."
)


def cut_off(folders: np.ndarray, in_list: Mapping[str, int], classes: tuple[str, ...]) -> np.ndarray:
    """What the course took for the labels of the images that it had drawn.

    Its list of labels was that of all images, in class order. It was cut to as many entries as there were images left,
    and put beside these in class order, whatever they show.

    Args:
        folders: class of each image's folder, of shape (images,).
        in_list: images of each class in the whole list, drawn or not.
        classes: in the order of the list.

    Returns:
        A label for each image, of shape (images,); the last classes may have none.

    Raises:
        DataError: the labels would be the right ones, so that there is no mistake to see.
    """
    whole = np.repeat(np.array(classes, dtype=object), [in_list.get(label, 0) for label in classes])
    place = {label: number for number, label in enumerate(classes)}
    in_class_order = np.argsort([place[folder] for folder in folders], kind="stable")
    labels = np.empty(len(folders), dtype=object)
    labels[in_class_order] = whole[: len(folders)]
    if (labels == folders).all():
        raise DataError(
            f"The first {len(folders):,} labels of the list are those of the images that were drawn, so nothing is "
            "shifted. Draw fewer images of each class than the first class has."
        )
    return labels
