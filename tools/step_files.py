"""Lists the files of the package that one training step executes.

python tools/step_files.py [RECIPE]
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dreal_tf

PACKAGE = Path(dreal_tf.__file__).parent


def files_of_step(recipe):
    """The files that define what a training step calls, from the package's folder.

    Args:
        recipe: str, name of a bundled recipe; its shrunk form is built.
    Returns:
        Sorted list of str.
    """
    model, data, _ = dreal_tf.build(dreal_tf.load_recipe(recipe, smoke=True))
    batch = next(iter(data.train))
    model.train_step(batch)  # The first step also builds the compiled metrics.
    files = set()

    def note(frame, event, argument):
        files.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        model.train_step(batch)
    finally:
        sys.setprofile(None)
    paths = [Path(file) for file in files]
    return sorted(str(p.relative_to(PACKAGE)) for p in paths if p.is_relative_to(PACKAGE))


if __name__ == "__main__":
    names = files_of_step(*(sys.argv[1:] or ["digits_resnet8_se"]))
    print("\n".join([*names, f"{len(names)} files"]))
