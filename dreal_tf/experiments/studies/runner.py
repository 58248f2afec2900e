"""Carries out a study: every arm and seed in a fresh process, one after another."""

import time

from dreal_tf.errors import unknown_name
from dreal_tf.experiments.job import run_job
from dreal_tf.experiments.studies.comparison import comparison_lines
from dreal_tf.experiments.studies.networks import check_network, network_run
from dreal_tf.experiments.studies.result_tables import results_lines
from dreal_tf.experiments.studies.rows import StudyDirectory, read_known_rows
from dreal_tf.experiments.studies.table import table_lines
from dreal_tf.recipe import whole_path
from dreal_tf.training.run_directory import write_whole


def run_study(study, out, arms=None, seeds=None, networks=None, data_dir=None, known=None, say=print):
    """Runs what is not done yet of a study, and sums up.

    Args:
        study: `Study`.
        out: str or path, the study's folder.
        arms: sequence of str; None for all.
        seeds: sequence of int; None for the study's own.
        networks: str or path of a folder that holds the trained networks `seed<N>`, or None: they are
            trained into the study's folder.
        data_dir: str, path or None. Folder of the data; None for the recipe's own.
        known: str, path or None. A file of rows that were made elsewhere by the same settings, such as
            those under `recipes/studies/results/`; it is not known by what settings they were made.
        say: callable that takes a line of progress.
    Returns:
        List of dicts: all rows of the folder, see `dreal_tf.experiments.studies.rows`.
    Raises:
        InputError: if an arm is unknown, or folder, networks or data are not what they should be.
        RunError: if a run broke off; finished rows are kept.
    """
    arms = list(study.arms) if arms is None else list(dict.fromkeys(arms))
    for arm in arms:
        if arm not in study.arms:
            raise unknown_name(f"arm of {study.name}", arm, study.arms)
    seeds = list(study.seeds if seeds is None else dict.fromkeys(seeds))
    data_dir = None if data_dir is None else whole_path(data_dir)
    folder = StudyDirectory(out)
    known = [] if known is None else read_known_rows(known, study)
    place = {
        "networks": str(folder.networks if networks is None else networks),
        "runs": str(folder.runs),
        "data_dir": data_dir,
    }
    if networks is not None and study.what != "train":
        for seed in seeds:
            check_network(network_run(networks, seed), study.network_recipe(seed))
    with folder.begin(study, arms):
        folder.take_rows(known)
        _run_missing(study, folder, arms, seeds, place, say)
        rows = in_order(study, folder.read_rows())
        conclude(study, folder, rows)
    return rows


def in_order(study, rows):
    """Rows in the order of the study's arms, then of the seeds.

    Args:
        study: `Study`.
        rows: sequence of dicts; arms that the study no longer has come last.
    Returns:
        List of dicts.
    """
    order = {arm: position for position, arm in enumerate(study.arms)}
    return sorted(rows, key=lambda row: (order.get(row["arm"], len(order)), row["seed"]))


def study_lines(study, rows):
    """What a study comes to, as one reads it at its end.

    Args:
        study: `Study`.
        rows: sequence of dicts.
    Returns:
        List of str, Markdown: of trainings that are held to one arm a line an arm, otherwise every
        quantity of each arm, and what it gains over the arm that the study names.
    """
    return _lines_of_arms(study, rows) or _lines_of_quantities(study, rows)


def conclude(study, folder, rows):
    """Writes the table, with every quantity, and the figure.

    Args:
        study: `Study`.
        folder: `StudyDirectory`.
        rows: sequence of dicts.
    """
    first = _lines_of_arms(study, rows)
    lines = [f"# {study.name}", "", *first, *([""] if first else [])]
    lines += _lines_of_quantities(study, rows)
    write_whole(folder.table, "\n".join(lines) + "\n")
    from dreal_tf.experiments.studies.figures import study_figure

    figure = study_figure(study.what, rows)
    for path in (folder.figure, folder.figure.with_suffix(".svg")):
        figure.savefig(path, dpi=160)


def _lines_of_arms(study, rows):
    """A line an arm; none where the study is no training held to one arm."""
    told = study.what == "train" and study.against is not None
    return results_lines(study, rows) if told else []


def _lines_of_quantities(study, rows):
    """All that was measured, arm by arm, and less the arm that the study names."""
    lines = table_lines(rows)
    return lines if study.against is None else lines + comparison_lines(rows, study.against)


def _run_missing(study, folder, arms, seeds, place, say):
    done = {(row["arm"], row["seed"]) for row in folder.read_rows()}
    missing = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in done]
    total = len(arms) * len(seeds)
    if len(missing) < total:
        say(f"{total - len(missing)} of {total} runs are done; going on.")
    spent = []
    for number, (arm, seed) in enumerate(missing, start=total - len(missing) + 1):
        if study.what != "train" and not network_run(place["networks"], seed).finished:
            started = time.perf_counter()
            _answer(study, folder, "network", None, seed, place)
            say(f"network of seed {seed}: {time.perf_counter() - started:.0f} s")
        started = time.perf_counter()
        row = _answer(study, folder, study.what, arm, seed, place)
        seconds = time.perf_counter() - started
        folder.add_row({"arm": arm, "seed": seed, "seconds": round(seconds, 1)} | row)
        spent.append(seconds)
        remaining = sum(spent) / len(spent) * (total - number)
        say(f"{number}/{total}  {arm}, seed {seed}: {seconds:.0f} s{_left(remaining)}")


def _left(seconds):
    if not seconds:
        return ""
    return f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"


def _answer(study, folder, experiment, arm, seed, place):
    """Has a worker do one job."""
    name = f"network_seed{seed}" if arm is None else f"{arm}_seed{seed}"
    job = {
        "study": study.model_dump(mode="json"),
        "experiment": experiment,
        "arm": arm,
        "seed": seed,
        "place": place,
    }
    answer, log = folder.path / "answer.json", folder.logs / f"{name}.log"
    return run_job("dreal_tf.experiments.studies.worker", job, answer, log)
