"""Draws bench/observability.png from bench/observability.json: bars are medians,
whiskers the whole spread over the rounds, dots the single rounds."""

import json
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def bars(ax, rows, title, goals=()):
    for y, (name, runs, color) in enumerate(rows):
        middle = statistics.median(runs)
        ax.barh(y, middle, color=color, alpha=0.85)
        ax.plot([min(runs), max(runs)], [y, y], color="black", linewidth=1)
        ax.plot(runs, [y] * len(runs), ".", color="black", markersize=3)
        ax.text(middle, y + 0.28, f" {middle:.3g}", fontsize=7, va="center")
    for at, label in goals:
        ax.axvline(at, color="#4c72b0", linestyle="--", linewidth=1)
        ax.text(at, -0.55, label, fontsize=7, color="#4c72b0", ha="center")
    ax.set_yticks(range(len(rows)), [r[0] for r in rows], fontsize=8)
    ax.set_title(title, fontsize=9, pad=14)
    ax.tick_params(axis="x", labelsize=7)
    ax.invert_yaxis()


def main(source, target):
    with open(source, encoding="utf-8") as f:
        data = json.load(f)
    order = ["off", "metrics", "metrics, log", "metrics, log, 1 % traced", "metrics, log, 100 % traced"]
    proxy = [n for n in order if n in data["proxy"]]
    fig, axes = plt.subplots(1, 3, figsize=(13, 2.9))
    bars(axes[0], [(n, data["proxy"][n]["cpu_us_rounds"], "#8c8c8c" if n == "off" else "#c44e52") for n in proxy], "the proxy's CPU µs a request")
    bars(
        axes[1],
        [(n, data["proxy"][n]["added_us_rounds"], "#c44e52") for n in proxy if n != "off"],
        "added to the proxy that tells nothing, µs",
        [(5, "goal"), (15, "goal at 100 %")],
    )
    s = data["scrape"]
    bars(
        axes[2],
        [("scrape p50", [s["idle"]["p50_ms"]], "#c44e52"), ("scrape p99", [s["idle"]["p99_ms"]], "#c44e52"), ("scrape p50, cores busy", [s["loaded"]["p50_ms"]], "#c44e52")],
        "a scrape of proxy and engine, ms",
        [(2, "goal")],
    )
    m = data["machine"]
    fig.suptitle(f"{m['cpu']}, {m['cores']} cores, {m['kernel']}, {m['date']}; less is better", fontsize=9)
    fig.tight_layout()
    fig.savefig(target, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
