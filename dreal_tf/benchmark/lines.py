"""What a benchmark found, for people to read."""

from dreal_tf.benchmark.arms import ESTIMATORS, PLAIN


def benchmark_lines(found):
    """The findings as lines of Markdown.

    Args:
        found: dict, what `dreal_tf.benchmark.benchmark` gave.
    Returns:
        List of str.
    """
    lines = [_heading(found), "", *_steps(found)]
    if "parts" in found:
        lines += ["", *_parts(found)]
    lines += ["", *_input(found), *_exchanged(found)]
    if "peers" in found:
        lines += ["", *_peers(found["peers"])]
    return lines


def _heading(found):
    height, width, channels = found["image_shape"]
    device = found["gpu"] or f"{len(found['devices'])} × {found['devices'][0]}"
    return (
        f"{found['recipe']}: {found['batch_size']} images of {height}×{width}×{channels} a step, "
        f"{found['precision']}, XLA {'on' if found['xla'] else 'off'}, {device}; critic "
        f"{found['critic']}, {found['modules']} modules, {found['reward_fraction']:g} of a batch measured."
    )


def _steps(found):
    rows = ["| arm | a step | images/s | of the plain step (95 %) | peak memory | of the plain |"]
    rows.append("|---|---|---|---|---|---|")
    for arm, seconds in found["seconds"].items():
        ratio = memory = peak = "-"
        if arm != PLAIN:
            low, high = found["ratio_interval"][arm]
            ratio = f"{found['ratio'][arm]:.3f} ({low:.3f} to {high:.3f})"
        if "memory" in found:
            peak = f"{found['memory'][arm]:.0f} MiB"
            memory = f"{found['memory_ratio'][arm]:.2f}" if arm != PLAIN else "-"
        rate = found["images_per_second"][arm]
        rows.append(f"| {arm} | {1e3 * seconds:.1f} ms | {rate:.1f} | {ratio} | {peak} | {memory} |")
    return rows


def _parts(found):
    rows = ["| part of a step | " + " | ".join(ESTIMATORS) + " |", "|---|" + "---|" * len(ESTIMATORS)]
    for part in found["parts"][ESTIMATORS[0]]:
        cells = (f"{1e3 * found['parts'][name][part]:.1f} ms" for name in ESTIMATORS)
        rows.append(f"| {part.replace('_', ' ')} | {' | '.join(cells)} |")
    separate = found["separate_passes"]
    low, high = separate["share_interval"]
    rows += [
        "",
        f"A separate pass for each of the {found['modules']} modules would take "
        f"{1e3 * separate['seconds']:.0f} ms; the exact counterfactual pass takes {separate['share']:.2f} of that "
        f"({low:.2f} to {high:.2f}).",
    ]
    return rows


def _input(found):
    given = found["input"]
    yield (
        f"The input pipeline alone gives {given['images_per_second']:.0f} images/s, "
        f"{given['times_step']:.1f} times what the plain step takes."
    )


def _exchanged(found):
    sums = {what: count / 2**20 for what, count in found["exchanged"].items()}
    plain = sums["network"] + sums["statistics"]
    yield (
        f"Replicas sum {plain:.2f} MiB a step without the method, "
        f"{plain + sums['critic'] + sums['trust']:.2f} MiB with it."
    )


def _peers(peers):
    for name, peer in peers.items():
        if name != "missing":
            ours, theirs = peer["seconds"].values()
            yield (
                f"Ours ({peer['ours']}) {1e3 * ours:.1f} ms a step, {peer['network']} "
                f"{1e3 * theirs:.1f} ms: {peer['ratio']:.3f} of it ({peer['low']:.3f} to "
                f"{peer['high']:.3f})."
            )
    for name, reason in peers["missing"].items():
        yield f"{name}: {reason}."
