"""One run of a search in a process of its own: `python -m dreal_tf.experiments.tuning.worker`."""

from dreal_tf.experiments.job import serve_job
from dreal_tf.recipe import Recipe
from dreal_tf.training.run_directory import RunDirectory


def main():
    """Trains one recipe of a search, see `dreal_tf.experiments.job`."""
    serve_job(_train)


def _train(job):
    """Just what `dreal-tf train` does, so that it gives the same; a trial reads no test split."""
    from dreal_tf.experiments.tuning.halt import Halt
    from dreal_tf.experiments.tuning.scores import Objective
    from dreal_tf.training.train import train

    recipe, run = Recipe.from_json(job["recipe"]), RunDirectory(job["run"])
    if job["conclude"]:
        return train(recipe, run.path, job["strategy"])
    halt = Halt(Objective(job["objective"]), run.history, job["epochs"], job["patience"])
    if not halt.due:
        train(recipe, run.path, job["strategy"], callbacks=[halt], conclude=False)
    return None


if __name__ == "__main__":
    main()
