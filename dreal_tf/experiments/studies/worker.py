"""One job of a study in a process of its own: `python -m dreal_tf.experiments.studies.worker`."""

from dreal_tf.experiments.job import serve_job
from dreal_tf.experiments.studies.study import Study


def main():
    """Does one job of a study, see `dreal_tf.experiments.job`."""
    serve_job(_row)


def _row(job):
    from dreal_tf.experiments.studies.experiments import EXPERIMENTS, Place

    study = Study.model_validate(job["study"])
    return EXPERIMENTS[job["experiment"]](study, job["arm"], job["seed"], Place(**job["place"]))


if __name__ == "__main__":
    main()
