"""What is known of the networks without building them."""

import pytest

from covid_core.backbones import BACKBONES, backbone_named
from covid_core.errors import InvalidChoice


@pytest.mark.parametrize("name", ["mobilenet_v2", "MobileNetV2", "mobilenetv2", "MOBILENET_V2", "mobilenet-v2"])
def test_a_backbone_is_found_by_name_and_label_in_any_case(name):
    assert backbone_named(name).name == "mobilenet_v2"


def test_an_unknown_backbone_is_refused_with_the_names_that_exist():
    with pytest.raises(InvalidChoice, match="one of mobilenet_v2, .*baseline_cnn, received: 'alexnet'"):
        backbone_named("alexnet")


def test_mobilenet_has_weights_of_its_own_for_some_sizes():
    weights = backbone_named("mobilenet_v2")
    assert "_1.0_128_" in weights.weights_name(128)
    assert "_1.0_224_" in weights.weights_name(100)


def test_weights_are_fetched_from_where_keras_publishes_them():
    url = backbone_named("vgg16").weights_url(224)
    assert url.startswith("https://storage.googleapis.com/tensorflow/keras-applications/vgg16/")


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=lambda backbone: backbone.name)
def test_every_backbone_says_what_a_choice_needs(backbone):
    assert backbone.label and backbone.good_at and backbone.parameters > 0
    assert bool(backbone.weights_file) == bool(backbone.licence) == backbone.pretrained
