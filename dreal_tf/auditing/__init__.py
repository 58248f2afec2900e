"""What is measured on a trained network, without training.

What its modules are worth is a dict of plain numbers, as `audit.json` holds it: `images` (int),
`accuracy` (fraction), `modules` (by module name, in depth order: `stage`, `mean`, `static`), `stages`
(by name: `mean`, `static`, all modules of the stage ablated together) and `classes` (by name, then by
module: `mean`, `static`). "mean" and "static" are the baseline actions; under each lies a value:
`value`, `low`, `high` (nats), and but for classes `accuracy_drop` (fraction, above 0: accuracy falls
without the module), `p_value`, and the fractions of images `helped`, `harmed` and `untouched`.
"""
