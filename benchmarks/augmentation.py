"""MobileNetV2 with augmentation against plain Keras: ``python -m benchmarks.augmentation --data FOLDER``.

Both see every image in five augmented views, one per epoch: rotation, shift, zoom and mirroring as in the course. The
peer augments with Keras's own layers before the frozen base. Prints one JSON line per state (``benchmarks.course``).
"""

from benchmarks import course

MODEL = "mobilenet_v2_augmented"


def main() -> None:
    given = course.options(__doc__).parse_args()
    with course.bench(given) as bench:
        course.compare_states(bench, MODEL, (course.NOTHING, course.TRUNK), given.repeats)


if __name__ == "__main__":
    main()
