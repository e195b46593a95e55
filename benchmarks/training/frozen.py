"""A frozen run of the course against plain Keras, in four states.

``python -m benchmarks.training.frozen --data FOLDER``

Both train the course's head on a frozen backbone at 128 px, 5 epochs, batch 16, and evaluate it; with augmentation,
every image in five views, one per epoch, which the peer makes with Keras's own layers before the frozen base. See
``benchmarks.training.course`` for the states and for what is counted. Weights are ImageNet's where Keras has the file
already, else random; the line says which. Prints one JSON line per backbone and state.
"""

from benchmarks.training import course

MODELS = (*course.FROZEN, "mobilenet_v2_augmented")


def main() -> None:
    parser = course.options(__doc__)
    parser.add_argument("--backbone", nargs="+", choices=MODELS, default=["mobilenet_v2"])
    parser.add_argument("--until", choices=course.STATES, default=course.AGAIN, help="the last of the states")
    given = parser.parse_args()
    states = course.STATES[: course.STATES.index(given.until) + 1]
    with course.bench(given) as bench:
        for backbone in given.backbone:
            course.compare_states(bench, backbone, states, given.repeats)


if __name__ == "__main__":
    main()
