"""The field's terms in one or two short sentences each. ``python -m covid_core.glossary`` prints docs/glossary.md."""

import re
from typing import NamedTuple

INTRODUCTION = """# Glossary

The terms that the app uses, in alphabetical order. Each page of the app shows its own terms behind "?".
`/?glossary=all` lists all, and `/?glossary=coverage` opens one.

This file is written by `python -m covid_core.glossary > docs/glossary.md`.
"""


class Term(NamedTuple):
    """A term, its definition (at most two sentences of at most 25 words) and, for a method, its source."""

    name: str
    definition: str
    source: str = ""

    @property
    def markdown(self) -> str:
        """The entry in one paragraph."""
        return f"**{self.name}**: {self.definition}{f' *{self.source}*' if self.source else ''}"

    @property
    def anchor(self) -> str:
        """The term in an address: ``test-time-augmentation``."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def _terms(*rows: tuple[str, ...]) -> dict[str, Term]:
    terms = [Term(*row) for row in sorted(rows, key=lambda row: row[0].lower())]
    return {term.anchor: term for term in terms}


def matching(text: str) -> list[Term]:
    """The terms that a search means: the term of that name alone, else all that hold the text, those by name first."""
    wanted = text.strip().lower()
    if exact := next((term for key, term in GLOSSARY.items() if wanted in (key, term.name.lower())), None):
        return [exact]
    found = [term for term in GLOSSARY.values() if wanted in f"{term.name} {term.definition}".lower()]
    return sorted(found, key=lambda term: wanted not in term.name.lower())


def page() -> str:
    """All terms as docs/glossary.md."""
    return "\n\n".join([INTRODUCTION.rstrip(), *(term.markdown for term in GLOSSARY.values())]) + "\n"


GLOSSARY = _terms(
    ("Accuracy", "The share of images that are predicted correctly. Always compare it with the majority baseline."),
    (
        "Augmentation",
        "Random changes of training images, such as small rotations and shifts. They keep a network from learning "
        "images by heart.",
    ),
    (
        "AUROC",
        "Area under the ROC curve: the chance that a random positive image scores higher than a random negative one. "
        "0.5 is guessing, 1 is perfect.",
        "Hanley and McNeil 1982",
    ),
    (
        "Backbone",
        "The large part of a network that turns an image into features. The head on top of it turns features into "
        "scores.",
    ),
    ("Balanced accuracy", "The mean of the sensitivities of all classes. A rare class counts as much as a common one."),
    (
        "Baseline CNN",
        "A small convolutional network, trained from random weights. A pretrained network must beat it to be worth its "
        "cost.",
    ),
    (
        "Bootstrap",
        "A way to compute a confidence interval: draw the test images again, with replacement, many times. The spread "
        "of the results gives the interval.",
        "Efron and Tibshirani 1993",
    ),
    (
        "Calibration",
        "The agreement of a score with reality. Of all images with a calibrated probability of 0.9, nine in ten have "
        "that class.",
        "Guo et al. 2017",
    ),
    (
        "Class imbalance",
        "The classes have very different numbers of images. A network then tends to neglect the rare class.",
    ),
    (
        "Class weights",
        "A mistake on a rare class counts more in training than one on a common class. No image is added or removed.",
    ),
    (
        "Cluster",
        "Images that are not independent: duplicates, or images of one patient. Intervals and tests treat a cluster as "
        "one unit.",
    ),
    (
        "Confidence interval",
        "The range in which the true value of a measure plausibly lies. In 95 of 100 studies like this one, a 95 % "
        "interval contains it.",
    ),
    (
        "Conformal prediction",
        "A method that gives sets of classes instead of one class. The sets contain the true class as often as you ask "
        "for.",
        "Vovk, Gammerman and Shafer 2005",
    ),
    (
        "Confounder",
        "Something that is linked to both the image and the class, such as the hospital. It can make a useless model "
        "look good.",
    ),
    (
        "Confusion matrix",
        "A table of true class against predicted class. The diagonal holds the correct predictions.",
    ),
    (
        "Coverage",
        "How often the prediction set contains the true class. Higher coverage gives larger sets.",
    ),
    (
        "Cross-validation",
        "The images are cut into folds, and each fold is the test set once. The results show how much a measure "
        "depends on the split.",
    ),
    (
        "Data leakage",
        "Information about test images reaches the training, for example through duplicates. The test result is then "
        "too good.",
    ),
    ("Dense units", "The neurons of a fully connected layer in the head. More units can learn more, and overfit more."),
    (
        "Dice",
        "The overlap of two outlines, from 0 (none) to 1 (equal). It is twice the common area divided by the sum of "
        "both areas.",
        "Dice 1945",
    ),
    (
        "Dropout",
        "Random units are switched off during training. This reduces overfitting.",
        "Srivastava et al. 2014",
    ),
    ("Duplicate", "An image that shows the same picture as another, even if it was resized or saved again."),
    (
        "Early stopping",
        "Training ends when the validation loss has not improved for some epochs. It saves time and reduces "
        "overfitting.",
    ),
    ("Epoch", "One pass of the training through all training images."),
    (
        "Evidence check",
        "A test of what a model uses: the lungs of one image are put into the frame of another. If predictions follow "
        "the frame, the model does not use the lungs alone.",
    ),
    (
        "External test set",
        "Images from another source than the training images. It shows whether a model works elsewhere.",
    ),
    ("F1", "The harmonic mean of sensitivity and PPV. It is high only when both are high.", "van Rijsbergen 1979"),
    (
        "Fine-tuning",
        "The last layers of a pretrained backbone are trained further on your images. It uses a small learning rate.",
    ),
    ("Fold", "One of the equal parts in cross-validation. Each fold is the test set once."),
    (
        "Frozen backbone",
        "The weights of the pretrained backbone do not change; only the head is trained. Each image passes the "
        "backbone once, so training is fast.",
    ),
    (
        "Grad-CAM",
        "A heat map of the places that speak for a class. It uses the gradient of the logit with respect to feature "
        "maps.",
        "Selvaraju et al. 2017",
    ),
    (
        "Group split",
        "All images of one cluster (one patient, or duplicates) go to the same part. This prevents data leakage.",
    ),
    (
        "Holm correction",
        "A correction of p values when several pairs are tested. It limits the risk of even one false alarm.",
        "Holm 1979",
    ),
    (
        "ImageNet weights",
        "Weights that were trained on 1.3 million photographs in 1,000 classes. They are a good start for X-rays, too.",
        "Russakovsky et al. 2015",
    ),
    ("Label noise", "Some images have the wrong class. It limits what any model can learn and what a test can show."),
    ("Logit", "The raw output of a network for a class, before softmax turns it into a score."),
    (
        "Macro average",
        "The plain mean of a measure over all classes. Every class counts the same, however rare it is.",
        "Sokolova and Lapalme 2009",
    ),
    (
        "Majority baseline",
        "The accuracy of always predicting the most common class. A model must clearly beat it.",
    ),
    (
        "MCC",
        "Matthews correlation coefficient: the correlation of true and predicted classes. 0 is no better than chance, "
        "1 is perfect.",
        "Gorodkin 2004",
    ),
    (
        "McNemar test",
        "A test of two models on the same images. It counts only images on which exactly one of them is correct.",
        "McNemar 1947",
    ),
    (
        "Near-duplicate",
        "An image that shows another one cropped, rotated, mirrored or with changed greys. It is almost as dangerous "
        "as a duplicate.",
    ),
    (
        "NPV",
        "Negative predictive value: the share of negative predictions that are correct. It depends on the prevalence.",
    ),
    (
        "Occlusion map",
        "Each place of the image is covered in turn. The map shows how much the score changes.",
        "Zeiler and Fergus 2014",
    ),
    (
        "Operating point",
        "The threshold on the score from which an image counts as positive. It sets the balance of sensitivity and "
        "specificity.",
    ),
    ("Overfitting", "The model learns the training images by heart. It is good on them and worse on new images."),
    ("Oversampling", "Images of rare classes are drawn several times per epoch. No information is added."),
    (
        "p value",
        "The chance of a difference at least this large if the two models were equally good. Small values speak for a "
        "real difference.",
    ),
    ("Patience", "The number of epochs without improvement after which early stopping ends the training."),
    (
        "PCA",
        "Principal component analysis: a map along the directions in which the data differ most. It keeps as much of "
        "the differences as two axes can.",
        "Pearson 1901",
    ),
    (
        "PPV",
        "Positive predictive value: the share of positive predictions that are correct. It depends on the prevalence.",
    ),
    (
        "Prediction set",
        "The classes that remain possible for an image. Several classes mean doubt; an empty set means that none fits.",
    ),
    ("Prevalence", "The share of people, or images, that have the disease. PPV and NPV change with it."),
    ("Probability", "A calibrated score. It holds for images like those in the data set, not for every hospital."),
    (
        "Random split",
        "Each image goes to training, validation or test by chance. Duplicates and patients can then cross the parts.",
    ),
    (
        "ROC curve",
        "Sensitivity against 1 minus specificity at every threshold. A curve near the upper left corner is good.",
    ),
    (
        "Score",
        "The output of the network for a class, between 0 and 1. It is not a probability until it is calibrated.",
    ),
    (
        "Seed",
        "The number that starts the random generator. Training with several seeds shows how much a result depends on "
        "chance.",
    ),
    ("Sensitivity", "The share of diseased images that are predicted as diseased. It is also called recall."),
    (
        "Shortcut learning",
        "The model predicts the class without the disease, for example from a letter or a border. It fails where the "
        "shortcut is missing.",
        "Geirhos et al. 2020",
    ),
    ("Source split", "Whole sources, such as one hospital, are kept for the test. It imitates an external test set."),
    ("Specificity", "The share of images without the disease that are predicted as without it."),
    (
        "Standard deviation",
        "How far values typically lie from their mean (SD). Over folds or seeds it shows how stable a result is.",
    ),
    (
        "t-SNE",
        "A map that puts similar images close together. Distances between groups on it have no meaning.",
        "van der Maaten and Hinton 2008",
    ),
    (
        "Tap",
        "The layer of the backbone from which features are taken. Middle layers are often better for X-rays than the "
        "last.",
    ),
    (
        "Temperature",
        "One number that divides all logits, fitted on validation images. It calibrates scores and changes no "
        "predicted class.",
        "Guo et al. 2017",
    ),
    (
        "Test set",
        "Images that no choice depends on. They are used to report how good the finished model is.",
    ),
    (
        "Test-time augmentation",
        "The model sees the image and its mirrored copy, and the mean of both predictions counts.",
    ),
    (
        "Transfer learning",
        "A network that was trained on other images is used as a start. It needs fewer images of your own.",
    ),
    ("Undersampling", "Common classes are cut to the size of the rarest class. The images left out teach nothing."),
    (
        "Validation set",
        "Images for choices: when to stop, which model, which temperature. The network is not trained on them.",
    ),
)

if __name__ == "__main__":
    print(page(), end="")
