"""Every pretrained backbone that the tests of every day leave out."""

import kerass_backbones
import pytest


@pytest.mark.parametrize("name", sorted({*kerass_backbones.MODULES} - {*kerass_backbones.OF_EVERY_DAY}))
def test_preprocessing_and_facts_of_a_backbone_are_those_of_keras(name):
    kerass_backbones.agree(name)
