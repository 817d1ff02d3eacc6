"""Draws bench/engine.png from bench/engine.json: tokens a second beside llama.cpp's.

    plot.py bench/engine.json bench/engine.png
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

OURS, PEERS = "#1f6f8b", "#c9c5bb"


def draw(results, target):
    models = results["models"]
    figure, axes = plt.subplots(1, len(models), figsize=(5 * len(models), 3.6), sharey=False)
    for ax, model in zip(axes if len(models) > 1 else [axes], models):
        cases = model["cases"]
        for shift, key, label, color in ((-0.2, "semantic", "Semantic", OURS), (0.2, "llama_cpp", "llama.cpp", PEERS)):
            places = [i + shift for i in range(len(cases))]
            heights = [c[key + "_median"] for c in cases]
            spread = [[h - min(c[key]) for h, c in zip(heights, cases)], [max(c[key]) - h for h, c in zip(heights, cases)]]
            ax.bar(places, heights, 0.38, yerr=spread, label=label, color=color, error_kw={"linewidth": 0.8, "ecolor": "#555"})
        for i, c in enumerate(cases):
            top = max(max(c["semantic"]), max(c["llama_cpp"]))
            ax.annotate(f"{c['ratio']:.2f}×", (i, top), ha="center", va="bottom", fontsize=9)
        names = [c["case"] + ("\nbusy cores" if c["busy_loop_on_every_core"] else "") for c in cases]
        ax.set_xticks(range(len(cases)), names, fontsize=8)
        ax.set_title(model["model"], fontsize=10)
        ax.set_ylabel("tokens a second")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    machine = results["machine"]
    figure.suptitle(f"{machine['cpu']}, {results['threads']} threads, kernels {results['kernels']}; {results['peer']}", fontsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        draw(json.load(f), sys.argv[2])
