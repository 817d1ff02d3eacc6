"""Draws bench/proxy.png from bench/proxy.json: bars are medians, whiskers the whole
spread over the rounds, dots the single rounds."""

import json
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PANELS = [  # case, metric, title
    ("small-64", "cpu_us", "small JSON, 64 connections:\nCPU µs a request"),
    ("1k-10k-32", "cpu_us", "1 KB in, 10 KB out, 32 connections:\nCPU µs a request"),
    ("1k-10k-256", "cpu_us", "1 KB in, 10 KB out, 256 connections:\nCPU µs a request"),
    ("1k-10k-32-half", "p99_us", "half load, 32 connections:\np99 µs"),
    ("1k-10k-256-half", "p99_us", "half load, 256 connections:\np99 µs"),
    ("streams-1000", "cpu_us", "1,000 streams:\nCPU µs a chunk"),
    ("streams-1000", "p50_us", "1,000 streams:\np50 µs of a chunk"),
    ("streams-5000", "rss_mib", "5,000 streams:\nresident MiB"),
    ("probes-100", "p95_us", "100 probes at once under load:\np95 µs"),
]


def draw(ax, peers, metric, title):
    names = [n for n in peers if metric in peers[n]]
    names.sort(key=lambda n: statistics.median(peers[n][metric]))
    for y, name in enumerate(names):
        runs = peers[name][metric]
        color = "#c44e52" if name.startswith("semantic") else "#8c8c8c"
        middle = statistics.median(runs)
        ax.barh(y, middle, color=color, alpha=0.5 if name.endswith("bare") else 0.85)
        ax.plot([min(runs), max(runs)], [y, y], color="black", linewidth=1)
        ax.plot(runs, [y] * len(runs), ".", color="black", markersize=3)
        ax.text(middle, y + 0.28, f" {middle:.3g}", fontsize=7, va="center")
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_title(title, fontsize=9)
    ax.tick_params(axis="x", labelsize=7)
    ax.invert_yaxis()


def main(source, target):
    with open(source, encoding="utf-8") as f:
        data = json.load(f)
    panels = [p for p in PANELS if p[0] in data["cases"]]
    fig, axes = plt.subplots((len(panels) + 2) // 3, 3, figsize=(13, 2.9 * ((len(panels) + 2) // 3)))
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax, (case, metric, title) in zip(axes.flat, panels):
        draw(ax, data["cases"][case], metric, title)
    m = data["machine"]
    fig.suptitle(f"{m['cpu']}, {m['cores']} cores, {m['kernel']}, {m['date']}; less is better", fontsize=9)
    fig.tight_layout()
    fig.savefig(target, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
