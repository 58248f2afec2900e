"""The confusion matrix, and the most confident mistakes."""

import numpy as np
from sklearn.metrics import confusion_matrix

from dreal_tf.analysis.report.evidence import images_at
from dreal_tf.analysis.report.page import Column, Picture, ReportSection, Table
from dreal_tf.visualization.heatmaps import reduced
from dreal_tf.visualization.mistakes import confusion_figure, mistakes_figure


def mistakes_section(evidence):
    """The confusion matrix, and the most confident mistakes.

    Args:
        evidence: `dreal_tf.analysis.report.evidence.Evidence`.
    Returns:
        `ReportSection`.
    """
    name, title = "mistakes", "Mistakes"
    wrong = confident_mistakes(evidence.ours.probabilities, evidence.labels)
    if not len(wrong):
        why = "The network predicted every image of the test split correctly."
        return ReportSection(name, title, (why,), empty=True)
    classes = range(len(evidence.class_names))
    counts = {
        run: confusion_matrix(evidence.labels, of_run.probabilities.argmax(axis=1), labels=classes)
        for run, of_run in evidence.runs.items()
    }
    text = (
        "Rows are labels, columns predictions; the diagonal holds the correct ones. The images are the wrong "
        "predictions of the test split with the greatest probability, without exception: the label in "
        "bold, the prediction below it. If a label itself is doubtful, the data is at fault and not the "
        "network.",
    )
    pictures = _matrix(evidence.class_names, counts), _confident(evidence, wrong)
    return ReportSection(name, title, text, pictures, (_pairs(evidence.class_names, counts),))


def most_confused(counts, most=12):
    """The pairs of label and wrong prediction that occur most often.

    Args:
        counts: int array (classes, classes): rows by label, columns by prediction.
        most: int. Number of pairs, at most.
    Returns:
        List of (label, prediction, count, fraction of the label's images), most frequent first; among
        equally frequent ones the first in the order of the classes.
    Example:
        >>> most_confused(np.array([[5, 1], [3, 7]]))
        [(1, 0, 3, 0.3), (0, 1, 1, 0.16666666666666666)]
    """
    wrong, of_label = np.array(counts), np.asarray(counts).sum(axis=1)
    np.fill_diagonal(wrong, 0)
    pairs = sorted(np.argwhere(wrong).tolist(), key=lambda pair: -wrong[*pair])[:most]
    return [(*pair, int(wrong[*pair]), float(wrong[*pair] / of_label[pair[0]])) for pair in pairs]


def confident_mistakes(probabilities, labels, most=12):
    """The wrong predictions with the greatest probability.

    Args:
        probabilities: float array (n, classes).
        labels: int array (n,).
        most: int. Number of mistakes, at most.
    Returns:
        Int array of positions, most confident first; among equal ones the first in the data.
    Example:
        >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
        >>> confident_mistakes(p, np.array([1, 1, 0])).tolist()
        [0, 2]
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order][:most]


def _matrix(names, counts):
    rows = [
        (names[label], names[answer], *(int(of_run[label, answer]) for of_run in counts.values()))
        for label, answer in np.argwhere(sum(counts.values()))
    ]
    columns = ["label", "answer", *counts]
    caption = (
        "The confusion matrix of this run: for each label, the fraction of its images by prediction."
    )
    ours = counts["this run"]
    percent = 100 * ours.diagonal() / ours.sum(axis=1).clip(1)
    alt = (
        f"Matrix of {len(names)} classes. Correct predictions range from {percent.min():.0f} % of the images "
        f"of {names[percent.argmin()]} to {percent.max():.0f} % of those of {names[percent.argmax()]}."
    )
    numbers = Table("confusion", columns, rows, caption)
    return Picture(confusion_figure(ours, names), numbers, alt)


def _pairs(names, counts):
    other = counts.get("baseline")
    rows = [
        (names[label], names[answer], count, 100 * fraction)
        + (() if other is None else (int(other[label, answer]),))
        for label, answer, count, fraction in most_confused(counts["this run"])
    ]
    columns = ["label", "answered", Column("images", "d")]
    columns.append(Column("of the label's (%)", ".1f"))
    columns += [] if other is None else [Column("baseline, images", "d")]
    return Table("most_confused", columns, rows, "The confusions that occur most often.")


def _confident(evidence, wrong):
    names = evidence.class_names
    images = reduced(images_at(evidence.data.test, wrong))
    images = evidence.data.preprocessing.pixels(images).numpy()
    rows = []
    for position in wrong:
        row = (int(position), names[evidence.labels[position]])
        for run in evidence.runs.values():
            answer = int(run.probabilities[position].argmax())
            row += (names[answer], float(run.probabilities[position, answer]))
        rows.append(row)
    columns = ["position in the test split", "label"]
    for name in evidence.runs:
        columns += [f"answer of {name}", f"probability of {name}"]
    _, labels, answers, probabilities, *_ = zip(*rows, strict=True)
    caption = "The most confident mistakes of this run: the label in bold, the prediction and its probability."
    return Picture(
        mistakes_figure(images, labels, answers, probabilities),
        Table("confident_mistakes", columns, rows, caption),
        "; ".join(f"{row[1]} taken for {row[2]} ({100 * row[3]:.1f} %)" for row in rows) + ".",
    )
