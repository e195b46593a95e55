"""Both presets on the same images with nothing cached: ``python -m benchmarks.training.presets --data FOLDER``.

Each training has a workspace of its own and is a whole process, from the command to the finished run; importing is not
counted. ImageNet weights of MobileNetV2 must be in Keras's cache. To reach: ``holds-elsewhere`` within three times the
seconds of ``best-here``.
"""

import tempfile
from pathlib import Path

from benchmarks import measuring

PRESETS = ("best-here", "holds-elsewhere")


def main() -> None:
    given = measuring.options(__doc__).parse_args()
    if given.data is None:
        raise SystemExit("Name a folder of real images: --data FOLDER")
    seconds = measuring.in_turn(
        {preset: lambda preset=preset: trained(preset, given.data) for preset in PRESETS}, given.repeats
    )
    ratios = [round(slow / quick, 2) for quick, slow in zip(*(seconds[preset] for preset in PRESETS), strict=True)]
    measuring.show(measuring.result("presets", seconds, *reversed(PRESETS), data=given.data.name, ratios=ratios))


def trained(preset: str, data: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _, imported = measuring.command_line("import", str(data.resolve()), home=home)
        seconds, _ = measuring.command_line("train", imported["dataset"], "--preset", preset, "--wait", home=home)
    return seconds


if __name__ == "__main__":
    main()
