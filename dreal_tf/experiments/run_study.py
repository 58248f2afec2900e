"""Runs a study: every arm and seed in a fresh process, one after another."""

import math
import time
from typing import NamedTuple

import pandas as pd

from dreal_tf.errors import unknown_name
from dreal_tf.experiments.comparison import (
    comparison_tables,
    comparisons,
    results_table,
    summaries,
    summary_tables,
)
from dreal_tf.experiments.directory import StudyDirectory, read_known_rows
from dreal_tf.experiments.study import Study, check_network, network_run
from dreal_tf.experiments.worker import run_job
from dreal_tf.training.recipe import whole_path


class StudyResult(NamedTuple):
    """All rows of a study's folder.

    Attributes:
        study: `Study`.
        rows: list of dicts, see `dreal_tf.experiments.directory.parse_rows`, in the order of the study's arms
            and seeds; arms that the study no longer has come last.
    Example:
        >>> study = load_study("critic_training", smoke=True)
        >>> result = StudyResult(study, [{"arm": "paper", "seed": 0, "seconds": 1.0, "accuracy": 0.5}])
        >>> result.to_pandas()["accuracy"].tolist()
        [0.5]
    """

    study: Study
    rows: list

    def to_pandas(self):
        """`pandas.DataFrame` with a row for each arm and seed."""
        return pd.DataFrame(self.rows)

    def to_json(self):
        """The dict that `dreal-tf study --json` prints; null stands for what is not finite.

        Returns:
            Dict: `study`, `what`, `rows`; `arms`, by arm and quantity the summary over seeds; with an arm
            `against` also its name and `compared`, by arm and quantity the differences.
        """
        values = {
            "study": self.study.name,
            "what": self.study.what,
            "rows": [_finite(row) for row in self.rows],
            "arms": _nested(summaries(self.rows).rename(columns={"std": "deviation"}), self.arms),
        }
        if (against := self.study.against) is not None:
            others = [arm for arm in self.arms if arm != against]
            compared = _nested(comparisons(self.rows, against), others)
            values |= {"against": against, "compared": compared}
        return values

    @property
    def arms(self):
        """List of str: the arms that have rows."""
        return list(dict.fromkeys(row["arm"] for row in self.rows))

    def tables(self):
        """The tables to print at the end.

        Returns:
            List of `dreal_tf.experiments.comparison.Table`: one line for each arm of a study of trainings,
            otherwise every quantity.
        """
        return self._arm_tables() or self._quantity_tables()

    def _arm_tables(self):
        return [results_table(self.study, self.rows)] if self.study.what == "train" else []

    def _quantity_tables(self):
        tables = summary_tables(self.rows)
        if self.study.against is not None:
            tables += comparison_tables(self.rows, self.study.against)
        return tables

    def write(self, folder):
        """Writes the table, with every quantity, and the figure.

        Args:
            folder: `StudyDirectory`.
        """
        from dreal_tf.experiments.figures import study_figure

        lines = [f"# {self.study.name}", ""]
        for table in self._arm_tables() + self._quantity_tables():
            lines += [*table.markdown(), ""]
        folder.write_summary(lines, study_figure(self.study.what, self.rows))
        folder.finish()


def run_study(study, out, arms=None, seeds=None, networks=None, data_dir=None, known=None, say=print):
    """Runs the arms and seeds of a study that have no row yet, and sums up.

    Args:
        study: `Study`.
        out: str or path, the study's folder.
        arms: sequence of str; None for all.
        seeds: sequence of int; None for the study's own.
        networks: str or path of a folder that holds the trained networks `seed<N>`, or None: they are
            trained into the study's folder.
        data_dir: str, path or None. Folder of the data; None for the recipe's own.
        known: str, path or None. A file of rows that were made elsewhere with the same settings, such
            as those under `recipes/studies/results/`; the file cannot tell with which.
        say: callable that takes a line of progress.
    Returns:
        `StudyResult` with all rows of the folder.
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
    folders = {
        "networks": str(folder.networks if networks is None else networks),
        "runs": str(folder.runs),
        "data_dir": data_dir,
    }
    if networks is not None and study.what != "train":
        for seed in seeds:
            check_network(network_run(networks, seed), study.network_recipe(seed))
    with folder.begin(study.settings(arms)):
        folder.add_rows(known)
        _run_missing(study, folder, arms, seeds, folders, say)
        result = StudyResult(study, in_order(study, folder.read_rows()))
        result.write(folder)
    return result


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


def _run_missing(study, folder, arms, seeds, folders, say):
    done = {(row["arm"], row["seed"]) for row in folder.read_rows()}
    missing = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in done]
    total = len(arms) * len(seeds)
    if len(missing) < total:
        say(f"{total - len(missing)} of {total} runs are done; going on.")
    durations = []
    for number, (arm, seed) in enumerate(missing, start=total - len(missing) + 1):
        if study.what != "train" and not network_run(folders["networks"], seed).finished:
            started = time.perf_counter()
            _run_one(study, folder, "network", None, seed, folders)
            say(f"network of seed {seed}: {time.perf_counter() - started:.0f} s")
        started = time.perf_counter()
        row = _run_one(study, folder, study.what, arm, seed, folders)
        seconds = time.perf_counter() - started
        folder.add_rows([{"arm": arm, "seed": seed, "seconds": round(seconds, 1)} | row])
        durations.append(seconds)
        remaining = sum(durations) / len(durations) * (total - number)
        say(f"{number}/{total}  {arm}, seed {seed}: {seconds:.0f} s{_time_left(remaining)}")


def _time_left(seconds):
    if not seconds:
        return ""
    return f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"


def _run_one(study, folder, experiment, arm, seed, folders):
    """Runs one job in a worker."""
    arguments = {
        "experiment": experiment,
        "study": study.model_dump(mode="json"),
        "arm": arm,
        "seed": seed,
        "folders": folders,
    }
    name = "network" if arm is None else arm
    log = folder.logs / f"{name}_seed{seed}.log"
    return run_job("experiment", arguments, folder.path / "answer.json", log)


def _nested(frame, arms):
    """A table by arm and quantity as nested dicts."""
    nested = {arm: {} for arm in arms}
    for (arm, quantity), values in frame.to_dict("index").items():
        nested[arm][quantity] = _finite(values)
    return nested


def _finite(values):
    """JSON knows no nan: None stands for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
