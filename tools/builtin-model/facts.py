"""Collects what the repository says of itself into facts.json, from which corpus.py makes
questions and answers: metrics (docs/metrics.md), alerts (alerts/rules and runbooks), commands and
settings (what the binary's --help prints).

    facts.py REPOSITORY BINARY > facts.json
"""

import json
import pathlib
import re
import subprocess
import sys

import yaml

COMMANDS = ("serve", "proxy", "engine", "sidecar")


def metrics(root):
    """One fact a metric: its name, type, labels, process and help text."""
    row = re.compile(r"^\| `([a-z_:]+)` \| (\w+) \| (.*?) \| (.*?) \| (.*?) \|$")
    out = []
    for line in (root / "docs/metrics.md").read_text().splitlines():
        if m := row.match(line):
            name, kind, labels, of, text = m.groups()
            out.append({"name": name, "type": kind, "labels": re.findall(r"`(\w+)`", labels), "of": of, "text": text})
    return out


def alerts(root):
    """One fact an alert: severity, what it means and what its runbook begins with."""
    out = []
    for path in sorted((root / "alerts/rules").glob("*.yaml")):
        for rule in yaml.safe_load(path.read_text())["rules"]:
            name = rule.get("alert")
            page = root / "runbooks" / f"{name}.md"
            if not name or not page.exists():
                continue
            means = re.search(r"\*\*It means\*\* (.*)", page.read_text()).group(1)
            out.append({"name": name, "severity": rule["severity"], "means": means, "steps": rule.get("first_steps", "")})
    unique = {a["name"]: a for a in out}
    return list(unique.values())


def helped(binary, *args):
    env = {"HOME": "/root", "COLUMNS": "4000", "PATH": "/usr/bin"}
    return subprocess.run([binary, *args, "--help"], env=env, capture_output=True, text=True, check=True).stdout


def commands(binary):
    """One fact a command: its name and what the list of commands says."""
    out, inside = [], False
    for line in helped(binary).splitlines():
        if line == "Commands:":
            inside = True
        elif inside and (m := re.match(r"^  ([a-z][a-z -]*?)(?: \[?<.*?)?\s{2,}(\S.*)$", line)):
            out.append({"name": m.group(1), "text": m.group(2)})
        elif inside and out and re.match(r"^ {6,}\S", line):
            out[-1]["text"] += " " + line.strip()
        elif inside and line == "Flags:":
            break
    return out


def flags(binary):
    """One fact a setting of serve: its name, help text and variable."""
    out = []
    for line in helped(binary, "serve").splitlines():
        if m := re.match(r"^(?:  -\w, | {2,6})--(\[no-\])?([a-z0-9-]+)(?:=(\S*))?\s*(.*)$", line):
            default = (m.group(3) or "").strip('"')
            out.append({"name": m.group(2), "text": m.group(4), "default": default if re.match(r"[0-9a-z]", default) else ""})
        elif out and re.match(r"^ {12,}\S", line):
            out[-1]["text"] += " " + line.strip()
    for f in out:
        f["text"] = re.sub(r"\s*[,(]\s*\$SEMANTIC_[A-Z0-9_]+\)", lambda m: ")" if m.group(0)[0] == "," else "", f["text"]).strip()
        f["text"] = re.sub(r" \(default /[^)]*\)", "", f["text"])
    return [f for f in out if f["name"] != "help"]


def main():
    root, binary = pathlib.Path(sys.argv[1]), sys.argv[2]
    facts = {"metrics": metrics(root), "alerts": alerts(root), "commands": commands(binary), "flags": flags(binary)}
    json.dump(facts, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
