"""What is taken for what, and the mistakes that were made with most confidence."""

import numpy as np

from dreal_tf.analysis.report.gathering import confident_mistakes, confusion_counts, most_confused
from dreal_tf.analysis.report.page import Column, Picture, Section, Table, left_out
from dreal_tf.analysis.report.views import images_at
from dreal_tf.visualization.mistakes import confusion_figure, mistakes_figure

NAME, TITLE = "mistakes", "Mistakes"


def mistakes_section(evidence):
    """The confusion matrix, and the most confident mistakes.

    Args:
        evidence: `dreal_tf.analysis.report.gathering.Evidence`.
    Returns:
        `Section`.
    """
    wrong = confident_mistakes(evidence.ours.probabilities, evidence.labels)
    if not len(wrong):
        return left_out(NAME, TITLE, "Every image of the test split was answered right.")
    counts = {name: _counts(evidence, run) for name, run in evidence.runs.items()}
    text = (
        "Rows are labels, columns answers; the diagonal is what was right. The images are those of the "
        "test split that were answered wrong with the greatest probability, none left out: bold the "
        "label, beneath it the answer. Where the label itself is doubtful, the data is at fault and not "
        "the network.",
    )
    pictures = _matrix(evidence, counts), _confident(evidence, wrong)
    return Section(NAME, TITLE, text, pictures, (_pairs(evidence, counts),))


def _counts(evidence, run):
    answered = run.probabilities.argmax(axis=1)
    return confusion_counts(evidence.labels, answered, len(evidence.class_names))


def _matrix(evidence, counts):
    names = evidence.class_names
    rows = [
        (names[label], names[answer], *(int(found[label, answer]) for found in counts.values()))
        for label, answer in np.argwhere(sum(counts.values()))
    ]
    columns = [Column("label"), Column("answer"), *map(Column, counts)]
    caption = (
        "The confusion matrix of this run: of each label's images, the share that got each answer."
    )
    ours = counts["this run"]
    right = 100 * ours.diagonal() / ours.sum(axis=1).clip(1)
    alt = (
        f"Matrix of {len(names)} classes. Right answers range from {right.min():.0f} % of the images of "
        f"{names[right.argmin()]} to {right.max():.0f} % of those of {names[right.argmax()]}."
    )
    return Picture(confusion_figure(ours, names), Table("confusion", columns, rows, caption), alt)


def _pairs(evidence, counts):
    names = evidence.class_names
    other = counts.get("baseline")
    rows = [
        (names[label], names[answer], count, 100 * share)
        + (() if other is None else (int(other[label, answer]),))
        for label, answer, count, share in most_confused(counts["this run"])
    ]
    columns = [
        Column("label"),
        Column("answered"),
        Column("images", "d"),
        Column("of the label's (%)", ".1f"),
    ]
    columns += [] if other is None else [Column("baseline, images", "d")]
    return Table("most_confused", columns, rows, "The confusions that occur most often.")


def _confident(evidence, wrong):
    names, labels = evidence.class_names, evidence.labels
    images = evidence.data.preprocessing.pixels(images_at(evidence.data.test, wrong)).numpy()
    rows = []
    for place in wrong:
        row = (int(place), names[labels[place]])
        for run in evidence.runs.values():
            answer = int(run.probabilities[place].argmax())
            row += (names[answer], float(run.probabilities[place, answer]))
        rows.append(row)
    columns = [Column("position in the test split"), Column("label")]
    for name in evidence.runs:
        columns += [Column(f"answer of {name}"), Column(f"probability of {name}")]
    figure = mistakes_figure(
        images, [row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows]
    )
    alt = "; ".join(f"{row[1]} taken for {row[2]} ({100 * row[3]:.1f} %)" for row in rows) + "."
    caption = "The most confident mistakes of this run: label in bold, answer and its probability."
    return Picture(figure, Table("confident_mistakes", columns, rows, caption), alt)
