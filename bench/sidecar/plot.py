"""Draws bench/sidecar.png from bench/sidecar.json: the sidecar's CPU, memory, and what it does to p99.

    plot.py bench/sidecar.json bench/sidecar.png
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

OURS, PEERS = "#1f6f8b", "#c9c5bb"


def draw(results, target):
    idle, flow, path = results["idle"], results["flow"], results["request_path"]
    figure, (cpu, memory, p99) = plt.subplots(1, 3, figsize=(11, 3.4))
    shares = [("idle", idle["cpu_percent_of_a_core"]),
              (f"{flow['lines_per_second'] / 1000:.0f},000 lines/s:\nrotating", flow["cpu_percent_of_a_core_without_compression"]),
              ("archiving\n(least nice)", flow["cpu_percent_of_a_core_archiving"])]
    bars = cpu.bar([n for n, _ in shares], [v for _, v in shares], color=[OURS, OURS, PEERS])
    cpu.bar_label(bars, fmt="%.2f %%", fontsize=8)
    cpu.set_title("CPU, % of a core", fontsize=10)
    sizes = [("idle,\nits own", idle["rss_mib_of_its_own"]), ("idle, with\nthe binary", idle["rss_mib"]), ("peak in flow", flow["peak_rss_mib"])]
    bars = memory.bar([n for n, _ in sizes], [v for _, v in sizes], color=[OURS, PEERS, PEERS])
    memory.bar_label(bars, fmt="%.1f", fontsize=8)
    memory.axhline(idle["goal_rss_mib"], color="#888", linewidth=0.8, linestyle="--")
    memory.set_title("resident memory, MiB", fontsize=10)
    for at, key, color in ((0, "p99_ms_resting_runs", PEERS), (1, "p99_ms_compressing_runs", OURS)):
        p99.plot([at] * len(path[key]), path[key], "o", color=color, markersize=4)
        p99.plot([at - 0.2, at + 0.2], [sorted(path[key])[(len(path[key]) - 1) // 2]] * 2, color="#333", linewidth=1)
    p99.set_xticks([0, 1], ["resting", "compressing"])
    p99.set_xlim(-0.6, 1.6)
    p99.set_yscale("log")
    p99.set_title("request path's p99, ms, by rounds", fontsize=10)
    for ax in (cpu, memory, p99):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    machine = results["machine"]
    figure.suptitle(f"{machine['cpu']}, {machine['cores']} cores, load before {machine['load_average_before']}", fontsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        draw(json.load(f), sys.argv[2])
