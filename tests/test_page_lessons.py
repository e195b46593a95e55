"""The Lessons page as a student and an instructor see it, in every state; nothing here trains."""

from page_tests import opened, words


def test_without_anything_prepared_all_four_lessons_are_offered(workspace):
    page = opened("lessons")
    said = words(page)
    for title in ("The shifted labels", "The corner tag", "The rare class", "The twin"):
        assert title in said
    assert "0 of 4 lessons are prepared" in said
    assert not (workspace.root / "lessons").exists()


def test_a_link_to_the_outcome_leads_to_the_prediction_first(workspace):
    page = opened("lessons", lesson="corner-tag", step="4")
    assert page.query_params["step"] == "2"
    assert "The outcome comes after your prediction." in words(page)


def test_a_prediction_can_be_kept_only_when_it_is_there(workspace):
    page = opened("lessons", lesson="corner-tag", step="2")
    assert page.button(key="keep-prediction").disabled
    page.number_input(key="prediction-corner-tag").set_value(70).run()
    page.button(key="keep-prediction").click().run()
    assert page.query_params["step"] == "3"
    page.button(key="step-2").click().run()
    assert "You predicted 70 %." in words(page)
