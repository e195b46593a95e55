"""The summary and the comparison: all runs side by side, ranked, tested in pairs, with their curves and confusions."""

from collections.abc import Iterator

import pandas as pd

from covid_core.data.summary import RECORDED
from covid_core.evaluation import calibration, comparison, metrics
from covid_core.evaluation.assessment import beats_majority
from covid_core.evaluation.comparison import Candidate, Ranking
from covid_core.evaluation.measures import CLASS_MEASURES, MEASURES
from covid_core.figures import evaluation as figures
from covid_core.formatting import count, duration, file_size, interval, milliseconds, p_value, plural, points, share
from covid_core.formatting import number as as_number
from covid_core.reports import comparison_text, evidence_text, repeats_tables, repeats_text, run_text, tables
from covid_core.reports.course import course_text
from covid_core.reports.course.document import Block, Bullets, Chart, Discussion, Paragraph, Table, call
from covid_core.reports.course.subject import Subject
from covid_core.reports.evidence_text import NOT_YET
from covid_core.runs import candidates

MOST_CURVES = 12  # runs in one figure; more lines cannot be told apart
MOST_MATRICES = 12
LEGEND_INSIDE = {"orientation": "v", "x": 1, "y": 0, "xanchor": "right", "font": {"size": 8}, "tracegroupgap": 0}
INSIDE_HEIGHT = 400  # pixels of a figure whose legend stands within it
CELL = 52  # pixels of a confusion cell: three matrices fit below each other on a page
MOST_PAIRS = 40  # rows of the table of pairs, those with the smallest p first


def summary(subject: Subject) -> list[Block]:
    outcome = comparison_text.summary(subject.ranking)
    texts = [*outcome.details, _evidence(subject), *outcome.warnings]
    blocks: list[Block] = [Paragraph(outcome.headline), Bullets(tuple(filter(None, texts)))]
    if subject.left_out:
        blocks.append(Bullets(subject.left_out))
    return blocks


def _evidence(subject: Subject) -> str:
    order = subject.ranking.order
    return evidence_text.sentence([one.name for one in order], [evidence_text.of(subject.run_of(one)) for one in order])


def blocks(subject: Subject) -> list[Block]:
    return [*_repeats(subject), *_ranked(subject), *_others(subject), Discussion(course_text.DISCUSS["comparison"])]


def subgroups(subject: Subject) -> list[Block]:
    """The chosen run's test images by what is on record of them; nothing where nothing is."""
    one = subject.chosen
    run = subject.run_of(one)
    dataset = subject.dataset_of(run)
    if isinstance(dataset, str):
        return []
    measured = candidates.subgroups(run, dataset.images)
    if not measured.rows:
        return []
    figure = figures.subgroups([(RECORDED[row.fact], row) for row in measured.rows], one.assessment.test.value)
    title, alt = f"Test accuracy of {one.name} in each subgroup", run_text.subgroups_in_words(measured)
    return [
        Paragraph(f"Run: {one.name}. {run_text.SUBGROUPS}"),
        Bullets(tuple(filter(None, (*run_text.subgroups(measured), run_text.subgroups_left_out(measured))))),
        Chart("subgroups-chart", title, "Bars: 95 % intervals. Dotted: all test images.", alt, figure),
        Table("subgroups", f"Subgroups of the test images of {one.name}", run_text.subgroup_table(measured)),
    ]


def _ranked(subject: Subject) -> Iterator[Block]:
    ranking = subject.ranking
    order, best = ranking.order, (0,) if beats_majority(subject.best.assessment) else ()
    runs = [subject.run_of(one) for one in order]
    yield Paragraph(course_text.compared(ranking))
    yield _dots(subject, order)
    yield Table(
        "performance",
        course_text.performance_caption(subject.best),
        _performance(subject, ranking),
        best,
        recipe=call("performance_of", 1),
    )
    chosen = tables.hyperparameters_as_text([one.name for one in order], [run.spec for run in runs])
    course = ["Model", "Learning rate", "Batch size", "Epochs", "Optimizer", "Special strategy", "Image size"]
    yield Table("hyperparameters", "Settings of the runs", chosen[course], best, recipe=call("settings_of_runs"))
    yield from _pairs(ranking)
    yield from _curves(subject, order[:MOST_CURVES])
    for number, one in enumerate(order[:MOST_MATRICES], start=1):
        counts = one.assessment.tested.confusion
        figure = figures.confusion_matrix(counts).update_layout(height=60 + CELL * len(counts))
        words, title = course_text.confusion(one), f"Confusion matrix of {one.name}"
        yield Chart(
            f"confusion-{number}",
            title,
            words,
            f"{title}. {words}",
            figure,
            is_small=True,
            recipe=call("confusion", one.name),
        )
    yield from _classes(order, best)
    yield Table("cost", "What the runs cost", _cost(subject, order), best, recipe=call("costs"))


def _dots(subject: Subject, order: tuple[Candidate, ...]) -> Chart:
    points = comparison.performance_table(order).head(len(order))
    groups = [subject.run_of(one).annotation.group for one in order]
    figure = figures.accuracies(
        points.assign(number=[one.number for one in order], group=groups), order[0].assessment.majority["test"].value
    )
    words = "; ".join(f"{one.name} {comparison_text.in_words(one.assessment.test)}" for one in order)
    caption = "One row per run, with its 95 % interval. Dotted: the majority baseline."
    return Chart(
        "accuracies",
        "Test accuracy of every run",
        caption,
        f"Test accuracy: {words}.",
        figure,
        recipe=call("accuracies"),
    )


def _performance(subject: Subject, ranking: Ranking[Candidate]) -> pd.DataFrame:
    table = comparison_text.performance_table(ranking.order)
    checks = [evidence_text.of(subject.run_of(one)) for one in ranking.order]
    verdicts = [one.in_short for one in checks] if {one.verdict for one in checks} != {NOT_YET} else []
    beaten = [p_value(one.assessment.p_majority) for one in ranking.order]
    rest = [""] * (len(table) - len(beaten))
    return pd.DataFrame(
        {
            "Model": table["name"],
            "Train": table["train"].map(share),
            "Validation": table["validation"].map(share),
            "Test [95 % interval]": [interval(*row) for row in table[["test", "test_low", "test_high"]].to_numpy()],
            **{row.title: table[name].map(share) for name, row in MEASURES.items() if row.headline},
            "p (above majority)": [*beaten, *rest],
            **({"Evidence check": [*verdicts, *rest]} if verdicts else {}),
            **({"Remarks": table["marks"]} if table["marks"].any() else {}),
        }
    )


def _pairs(ranking: Ranking[Candidate]) -> Iterator[Block]:
    if len(ranking.order) < 2:
        yield Paragraph("Only one run was tested on these images, so there is no pair to compare.")
        return
    table = comparison.pair_table(ranking).sort_values("p", kind="stable", ignore_index=True)
    caption = f"{course_text.PAIRED} All {plural(len(table), 'pair')}"
    if len(table) > MOST_PAIRS:
        caption = f"{course_text.PAIRED} The {MOST_PAIRS} of {count(len(table))} pairs with the smallest p"
    shown = table.head(MOST_PAIRS)
    differences = shown[["difference", "low", "high"]].to_numpy()
    view = pd.DataFrame(
        {
            "Better": shown["first"],
            "Other": shown["second"],
            "Difference [95 % interval]": [points(*row) for row in differences],
            "Only better right": shown["only_first"].map(count),
            "Only other right": shown["only_second"].map(count),
            "p (McNemar)": shown["p"].map(p_value),
            "p (Holm)": shown["p_holm"].map(p_value),
        }
    )
    yield Table("pairs", caption, view, recipe=call("pairs_of", MOST_PAIRS))
    few = list(range(min(len(ranking.order), MOST_CURVES)))
    names = [ranking.order[i].name for i in few]
    title = "Differences of test accuracy, row minus column, in percentage points"
    words = "Pale: not significant (exact McNemar test, Holm's correction at 5 %)."
    alt = f"{title}, of {', '.join(names)}. The table of pairs holds the numbers."
    yield Chart(
        "pairs-matrix", title, words, alt, figures.pair_matrix(names, ranking.pairs, few), recipe=call("pair_matrix")
    )


def _curves(subject: Subject, order: tuple[Candidate, ...]) -> Iterator[Block]:
    histories = [(one.name, subject.run_of(one).history()) for one in order]
    has_epochs = any(len(history) for _, history in histories)  # imported predictions have none
    lines = figures.run_lines(one.number for one in order)
    for quantity in ("accuracy", "loss") if has_epochs else ():
        title = f"{quantity.capitalize()} of all runs over the epochs"
        ends = [
            f"{name} {(share if quantity == 'accuracy' else as_number)(history[f'val_{quantity}'].iloc[-1])}"
            for name, history in histories
            if len(history)
        ]
        words = "Strong lines: validation. Pale lines: training. A diamond marks the beginning of a new stage. "
        words += course_text.WHILE_TRAINING
        figure = figures.learning_curves(histories, quantity, lines)
        alt = f"{title}. On validation images after the last epoch: {', '.join(ends)}."
        yield Chart(f"curves-{quantity}", title, words, alt, figure, recipe=call("curves", quantity))
    curves = {
        one.name: metrics.threshold_curves(metrics.answers(subject.run_of(one).predictions(), "test")) for one in order
    }
    for number, label in enumerate(order[0].assessment.classes, start=1):
        drawn = [(name, of[label].roc) for name, of in curves.items()]
        areas = {one.name: one.assessment.tested.per_class[label]["auroc"].value for one in order}
        title, words = f"ROC curves of {label}", course_text.areas(areas)
        alt = f"{title}. AUROC: {', '.join(f'{name} {share(area)}' for name, area in areas.items())}."
        figure = figures.roc_curves(drawn, lines)
        if len(order) > course_text.FEW:
            figure.update_layout(legend=LEGEND_INSIDE, height=INSIDE_HEIGHT)
        yield Chart(f"roc-{number}", title, words, alt, figure, is_small=True, recipe=call("roc", number - 1))
    yield from _reliability(subject, order[0])


def _reliability(subject: Subject, best: Candidate) -> Iterator[Block]:
    bins = calibration.reliability(metrics.answers(subject.run_of(best).predictions(), "test"))
    if bins:
        title, words = f"Calibration of {best.name}", course_text.calibrated(best)
        figure = figures.reliability([(best.name, bins)], figures.run_lines([best.number]))
        recipe = call("reliability", best.name)
        yield Chart("reliability", title, words, f"{title}. {words}", figure, is_small=True, recipe=recipe)


def _classes(order: tuple[Candidate, ...], best: tuple[int, ...]) -> Iterator[Block]:
    table = comparison.class_table({one.name: one.assessment.tested for one in order})
    own = table.head(len(order) * len(order[0].assessment.classes))
    view = pd.DataFrame(
        {
            "Model": own["name"],
            "Class": own["label"],
            "Images": own["images"].map(count),
            **{row.title: own[name].map(share) for name, row in CLASS_MEASURES.items()},
        }
    )
    highlighted = tuple(range(len(order[0].assessment.classes))) if best else ()
    yield Table("classes-measures", "Every class on the test images", view, highlighted, recipe=call("classes_of"))
    points = own[["name", "label", "sensitivity", "sensitivity_low", "sensitivity_high"]]
    points = points.set_axis(["run", "label", "value", "low", "high"], axis="columns")
    title = "Sensitivity of every class, with 95 % interval"
    figure = figures.class_measures(points, order[0].assessment.classes, "Sensitivity")
    alt = "; ".join(f"{row.run}, {row.label} {interval(row.value, row.low, row.high)}" for row in points.itertuples())
    yield Chart(
        "sensitivity",
        title,
        "One row per run, one dot per class.",
        f"{title}: {alt}.",
        figure,
        recipe=call("sensitivity"),
    )


def _cost(subject: Subject, order: tuple[Candidate, ...]) -> pd.DataFrame:
    costs = candidates.costs([subject.run_of(one) for one in order], [one.name for one in order])
    return pd.DataFrame(
        {
            "Model": costs["name"],
            "Training time": costs["training_seconds"].map(duration),
            "Epochs": costs["epochs_done"].map(count),
            "Parameters": costs["parameters"].map(count),
            "Trained": costs["parameters_trained"].map(count),
            "Model file": costs["model_bytes"].map(file_size),
            "Per image": costs["milliseconds_per_image"].map(milliseconds),
            "Device": costs["device"].map(run_text.device),
        }
    )


def _others(subject: Subject) -> Iterator[Block]:
    """Runs that were tested on other images: each set of images is ranked by itself."""
    for number, ranking in enumerate(subject.rankings[1:], start=2):
        yield Paragraph(course_text.other_images(subject.run_of(ranking.order[0]), ranking))
        best = (0,) if beats_majority(ranking.order[0].assessment) else ()
        caption = course_text.performance_caption(ranking.order[0])
        yield Table(
            f"performance-{number}",
            caption,
            _performance(subject, ranking),
            best,
            recipe=call("performance_of", number),
        )


def _repeats(subject: Subject) -> Iterator[Block]:
    """A study of repeats: its folds or seeds together, before any single one of them."""
    if subject.study is None or not subject.study.is_repeats:
        return
    compared = candidates.repeats([(subject.study, subject.runs)])
    outcome = repeats_text.summary(compared)
    yield Paragraph(outcome.headline)
    yield Bullets(tuple([*outcome.details, *outcome.warnings]))
    spreads = repeats_tables.spread_table(compared)
    view = pd.DataFrame(
        {
            "Measure": spreads["measure"].map(repeats_text.measure_in_words),
            **{name.capitalize(): spreads[name].map(share) for name in ("mean", "lowest", "highest")},
            "SD": spreads["spread"].map(points),
            "Runs": spreads["count"].map(count),
        }
    )
    names = [subject.name_of(run) for run in subject.runs]
    recipe = call("spreads", names, spreads["measure"].to_list())
    yield Table("repeats", "All folds and seeds of the study together", view, recipe=recipe)
