"""`python -m dreal_tf`: the same as `dreal-tf`."""

from dreal_tf.cli.main import main

main()
