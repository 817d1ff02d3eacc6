"""Draws bench/scale.png from bench/scale.json: predicted against measured, and 1 to 1,000 pods by routing.

    plot.py bench/scale.json bench/scale.png
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLORS = {"prefix affinity": "#1f6f8b", "least queue": "#c1666b", "random": "#8a8577", "any": "#333"}


def draw(results, target):
    figure, ((check, hits, uses), (first, hit, use)) = plt.subplots(2, 3, figsize=(12, 7))
    for axes, key, title in ((check, "ttft_p50_ms", "first token, p50, ms"), (hits, "hit_rate_percent", "hit rate, %"), (uses, "pool_use_percent", "pool in use, %")):
        names = []
        for at, c in enumerate(results["checks"]):
            names.append(f"{c['pods']}" if c["routing"] == "any" else f"{c['pods']} {c['routing'].split()[-1]}")
            axes.bar(at - 0.2, c["measured"][key], 0.4, color=COLORS[c["routing"]])
            axes.bar(at + 0.2, c["predicted"][key], 0.4, color=COLORS[c["routing"]], alpha=0.45, hatch="//")
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axes.set_title(f"{title}: real (full) and predicted (hatched)", fontsize=9)
    for routing in ("prefix affinity", "least queue", "random"):
        points = [p for p in results["scale"] if p["routing"] == routing]
        pods = [p["pods"] for p in points]
        color = COLORS[routing]
        first.plot(pods, [p["ttft_p50_ms"] for p in points], color=color, label=f"{routing}, p50")
        first.plot(pods, [p["ttft_p99_ms"] for p in points], color=color, linestyle="--", label=f"{routing}, p99")
        hit.plot(pods, [p["hit_rate_percent"] for p in points], color=color, label=routing)
        use.plot(pods, [p["pool_use_percent"] for p in points], color=color, label=routing)
    first.set_yscale("log")
    first.set_ylim(top=20 * max(p["ttft_p50_ms"] for p in results["scale"]))
    for axes, title in ((first, "simulated: first token, ms"), (hit, "simulated: hit rate, %"), (use, "simulated: pool in use, %")):
        axes.set_xscale("log")
        axes.set_xlabel("pods, at the same load each", fontsize=8)
        axes.set_title(title, fontsize=9)
        axes.legend(fontsize=7, ncols=2 if axes is first else 1)
        if axes is not first:
            axes.set_ylim(bottom=0)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    machine = results["machine"]
    figure.suptitle(f"{machine['cpu']}, {results['cores_of_a_pod']} cores a pod, {results['load']['turns_per_second_per_pod']} turns a second each", fontsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=120)


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        draw(json.load(f), sys.argv[2])
