#!/usr/bin/env python3
"""Checks results of `lab run --format json`, and turns times into medians.

  results.py check RESULT [--flows-of OTHER | --same-as OTHER]
  results.py outcome|release|accelerator RESULT
  results.py stages RESULT NAME
  results.py run_s RESULT
  results.py rates FRAMES < lines of `KIND[-1]-watched|counted SECONDS`
  results.py fingerprints MATRIX...
  results.py table [SLOWER:FASTER ...] < lines of `NAME SECONDS`
"""

import json
import statistics
import sys


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"{path}: no result: {error}")


def flows(document):
    """What every kernel and machine of the same version must agree on."""
    return {
        "topology": document["topology"],
        "checks": document["checks"],
        "flows": document["flows"],
        "hypotheses": document["hypotheses"],
        "trials": [{"name": trial["name"], "flows": trial["flows"]} for trial in document["trials"]],
    }


def untimed(document):
    return {name: value for name, value in document.items() if name != "timing_ms"}


def differing(one, other, path="result"):
    """The path of the first difference; nothing when there is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(f"{path}.{key}", one.get(key), other.get(key)) for key in sorted(one.keys() | other.keys())]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(f"{path}[{number}]", *pair) for number, pair in enumerate(zip(one, other))]
    else:
        return None if one == other else f"{path} is {json.dumps(one):.200}, and elsewhere {json.dumps(other):.200}"
    return next((found for name, a, b in pairs if (found := differing(a, b, name))), None)


def incomplete(document):
    """Why this is not the whole result of a run that passed; nothing when it is."""
    if document.get("outcome") != "pass":
        return f"outcome {document.get('outcome')}: {document.get('reason', 'a check failed')}"
    every = [flow for trial in document["trials"] for flow in trial["flows"]]
    if not every or not document["flows"]:
        return "it has no flows"
    for flow in every:
        fates = sum(fate["frames"] for fate in flow["fates"])
        if flow["unattributed"] or flow["delivered"] + fates != flow["asked"]:
            return f"flow {flow['name']} does not account for its {flow['asked']} frames"
    return None


def check(path, how=None, other=None):
    document = read(path)
    wrong = incomplete(document)
    if not wrong and how:
        view = {"--flows-of": flows, "--same-as": untimed}[how]
        wrong = differing(view(document), view(read(other)))
    if wrong:
        sys.exit(f"{path}: {wrong}")


def percentile(times, share):
    """The smallest time that `share` of all do not exceed."""
    return sorted(times)[max(0, -(-len(times) * share // 100) - 1)]


def table(ratios):
    times = {}
    for line in sys.stdin:
        name, seconds = line.split()
        times.setdefault(name, []).append(float(seconds))
    print(f"{'':28}{'runs':>6}{'median':>9}{'p95':>9}{'min':>9}{'max':>9}   seconds")
    for name, of in times.items():
        columns = [statistics.median(of), percentile(of, 95), min(of), max(of)]
        print(f"{name:28}{len(of):6}" + "".join(f"{column:9.3f}" for column in columns))
    for ratio in ratios:
        over, under = ratio.split(":")
        factor = statistics.median(times[over]) / statistics.median(times[under])
        print(f"{under} is {factor:.1f} times as fast as {over}")


def rates(frames):
    """Frames per second, from the time of many frames less that of one."""
    times = {}
    for line in sys.stdin:
        name, seconds = line.split()
        times.setdefault(name, []).append(float(seconds))
    median = {name: statistics.median(of) for name, of in times.items()}
    for kind in ("delivered", "dropped"):
        rate = {}
        for how in ("watched", "counted"):
            rate[how] = (frames - 1) / (median[f"{kind}-{how}"] - median[f"{kind}-1-{how}"])
        cost = 100 * (1 - rate["watched"] / rate["counted"])
        print(f"{kind}: {rate['watched']:.0f} frames/s watched, {rate['counted']:.0f} not watched: {cost:.0f}% less")


OF_FLOWS = {"frames": "asked", "unattributed": "unattributed"}


def fingerprints(paths):
    """Whether each cell of each matrix says what was accepted. Exit code 1 when one does not. What a kernel skips has no
    fingerprint, nor has a run that came to no result: a machine that was too busy to boot in time."""
    cells, rounds, skipped, same, ended, frames, lost, causes, wrong = 0, 0, 0, 0, 0, 0, 0, set(), {}
    for path in paths:
        for cell in read(path)["cells"]:
            if cell["ran"] == "skip":
                skipped += 1
                continue
            cells += 1
            causes.add(cell["topology"])
            flows = [flow for trial in cell["trials"] for flow in trial["flows"]]
            once = {"rounds": 1, **{what: sum(flow[of] for flow in flows) for what, of in OF_FLOWS.items()}}
            all_rounds = cell.get("repetitions", once)
            rounds += all_rounds["rounds"]
            frames += all_rounds["frames"]
            lost += all_rounds["unattributed"]
            if cell["snapshot"]["standing"] == "same":
                same += 1
                continue
            if cell["ran"] not in ("pass", "fail", "xfail"):
                ended += 1
                reason = (cell.get("reason") or "no reason").splitlines()[0]
                what = f"no result: {cell['topology']} on {cell['kernel']['id']}: {cell['ran']}: {reason:.120}"
                wrong[what] = wrong.get(what, 0) + 1
                continue
            differences = [f"{one['item']}: {' | '.join(one['values'])}" for one in cell["snapshot"].get("differences", [])]
            told = "; ".join(differences) or cell.get("reason") or f"its snapshot: {cell['snapshot']['standing']}"
            what = f"{cell['topology']} on {cell['kernel']['id']}: {cell['ran']}: {told}"
            wrong[what] = wrong.get(what, 0) + 1
    print(f"{cells} cells of {len(causes)} topologies: {same} as accepted, {cells - same - ended} not; "
          f"{ended} without a result, {skipped} skipped")
    print(f"{rounds} rounds, {frames} frames, {lost} unattributed")
    for what, times in sorted(wrong.items(), key=lambda pair: -pair[1]):
        print(f"  {times} times: {what}")
    sys.exit(0 if cells and same == cells else 1)


def main(words):
    match words:
        case ["check", path]:
            check(path)
        case ["check", path, "--flows-of" | "--same-as" as how, other]:
            check(path, how, other)
        case ["outcome", path]:
            print(read(path).get("outcome", "none"))
        case ["release" | "accelerator" as field, path]:
            print(read(path)["kernel"][field])
        case ["stages", path, name]:
            for stage, milliseconds in read(path)["timing_ms"].items():
                print(f"{name}-{stage} {milliseconds / 1000}")
        case ["run_s", path]:
            print(read(path)["timing_ms"]["run"] / 1000)
        case ["rates", frames]:
            rates(int(frames))
        case ["fingerprints", *paths]:
            fingerprints(paths)
        case ["table", *ratios]:
            table(ratios)
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
