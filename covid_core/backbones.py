"""The networks that a run can build on: facts only, no TensorFlow.

Sources: parameters and layer names from ``keras.applications`` (Keras 3.15), ``include_top=False``; MobileNetV2's taps
were chosen by cross-validation on 1,124 real images (0.823 on the last layer, 0.878 on ``block_13_expand_relu``); the
others follow the same idea by depth (the last maps at stride 16) and were not tuned.
"""

from dataclasses import dataclass
from typing import Literal

from covid_core.errors import InvalidChoice

Preprocessing = Literal[
    "divide_by_255", "minus_one_to_one", "imagenet_mean_std", "imagenet_mean_bgr", "inside_the_model"
]

KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"
MOBILENET_SIZES = (96, 128, 160, 192, 224)  # sizes for which separate MobileNetV2 weights were published


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """What the app must know of a network before it is built.

    ``constructor`` is the name in ``keras.applications``, empty for the network that is trained from scratch.
    ``weights_file`` may hold ``{size}``, filled by ``weights_name``. ``weights_md5`` is the one that Keras publishes.
    """

    name: str
    label: str
    preprocessing: Preprocessing
    parameters: int
    last: str
    good_at: str
    constructor: str = ""
    weights_megabytes: float = 0.0
    weights_folder: str = ""
    weights_file: str = ""
    weights_md5: str = ""
    taps: tuple[str, ...] = ()
    minimum_size: int = 32
    licence: str = ""

    @property
    def pretrained(self) -> bool:
        """Whether ImageNet weights exist for it."""
        return bool(self.constructor)

    def taps_of(self, choice: str) -> tuple[str, ...]:
        """Names of the layers that the head pools, for a spec's ``taps``."""
        return self.taps if choice == "default" and self.taps else (self.last,)

    def weights_name(self, size: int) -> str:
        """File name of the ImageNet weights for images of ``size`` pixels; MobileNetV2 has several."""
        return self.weights_file.format(size=size if size in MOBILENET_SIZES else 224)

    def weights_url(self, size: int) -> str:
        """Where Keras publishes these weights."""
        return f"{KERAS_WEIGHTS}/{self.weights_folder}/{self.weights_name(size)}"


BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="mobilenet_v2",
            label="MobileNetV2",
            constructor="MobileNetV2",
            preprocessing="minus_one_to_one",
            parameters=2_257_984,
            weights_megabytes=9.4,
            weights_folder="mobilenet_v2",
            weights_file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5",
            last="out_relu",
            taps=("block_10_expand_relu", "block_13_expand_relu"),
            good_at="The fastest by far on a processor; with its middle layers also among the most accurate on X-rays.",
            licence="Apache-2.0",
        ),
        Backbone(
            name="efficientnet_v2_b0",
            label="EfficientNetV2B0",
            constructor="EfficientNetV2B0",
            preprocessing="inside_the_model",
            parameters=5_919_312,
            weights_megabytes=24.3,
            weights_folder="efficientnet_v2",
            weights_file="efficientnetv2-b0_notop.h5",
            weights_md5="893217f2bb855e2983157299931e43ff",
            last="top_activation",
            taps=("block5c_expand_activation", "block6a_expand_activation"),
            good_at="Modern and compact; a good second choice on a laptop.",
            licence="Apache-2.0",
        ),
        Backbone(
            name="densenet121",
            label="DenseNet121",
            constructor="DenseNet121",
            preprocessing="imagenet_mean_std",
            parameters=7_037_504,
            weights_megabytes=29.1,
            weights_folder="densenet",
            weights_file="densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_md5="30ee3e1110167f948a6b9946edeeb738",
            last="relu",
            taps=("conv4_block12_0_relu", "pool4_relu"),
            good_at="The usual choice in chest X-ray papers; few parameters, but slow for its size.",
            licence="BSD-3-Clause",
        ),
        Backbone(
            name="resnet50",
            label="ResNet50",
            constructor="ResNet50",
            preprocessing="imagenet_mean_bgr",
            parameters=23_587_712,
            weights_megabytes=94.8,
            weights_folder="resnet",
            weights_file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_md5="4d473c1dd8becc155b73f8504c6f6626",
            last="conv5_block3_out",
            taps=("conv4_block4_out", "conv4_block6_out"),
            good_at="The classic reference; its last block fine-tunes well.",
            licence="MIT",
        ),
        Backbone(
            name="inception_v3",
            label="InceptionV3",
            constructor="InceptionV3",
            preprocessing="minus_one_to_one",
            parameters=21_802_784,
            weights_megabytes=87.9,
            weights_folder="inception_v3",
            weights_file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_md5="bcbd6486424b2319ff4ef7d526e38f63",
            last="mixed10",
            taps=("mixed5", "mixed7"),
            minimum_size=75,
            good_at="Looks at several scales at once; wants larger images (224 px or more).",
            licence="Apache-2.0",
        ),
        Backbone(
            name="vgg16",
            label="VGG16",
            constructor="VGG16",
            preprocessing="imagenet_mean_bgr",
            parameters=14_714_688,
            weights_megabytes=58.9,
            weights_folder="vgg16",
            weights_file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_md5="6d6bbae143d832006294945121d1f1fc",
            last="block5_pool",
            taps=("block4_conv3", "block5_conv3"),
            good_at="Simple and easy to explain; the slowest on a processor.",
            licence="CC BY 4.0",
        ),
        Backbone(
            name="vgg19",
            label="VGG19",
            constructor="VGG19",
            preprocessing="imagenet_mean_bgr",
            parameters=20_024_384,
            weights_megabytes=80.1,
            weights_folder="vgg19",
            weights_file="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_md5="253f8cb515780f3b799900260a226db6",
            last="block5_pool",
            taps=("block4_conv4", "block5_conv4"),
            good_at="VGG16 with three more layers; as slow, seldom better.",
            licence="CC BY 4.0",
        ),
        Backbone(
            name="baseline_cnn",
            label="Baseline CNN",
            preprocessing="divide_by_255",
            parameters=18_816,
            last="pool_2",
            good_at="Two convolutions trained from nothing: the yardstick that a pretrained network has to beat.",
        ),
    )
}


def backbone_named(name: str) -> Backbone:
    """The backbone of that name (or label, in any case). Raises InvalidChoice with the names that exist."""
    wanted = name.lower().replace("-", "_")
    for backbone in BACKBONES.values():
        if wanted in (backbone.name, backbone.label.lower().replace(" ", "_"), backbone.label.lower()):
            return backbone
    raise InvalidChoice(f"The backbone must be one of {', '.join(BACKBONES)}, received: {name!r}.")
