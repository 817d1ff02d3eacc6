import { useState } from "preact/hooks";
import { bytes, duration } from "./api";
import { Chart, type Line } from "./chart";
import type { Live } from "./live";

const classes = ["ok", "stop", "length", "tool_calls", "rejected", "shed", "client_gone", "engine_died", "deadline", "drained", "error"];
const finish: Line[] = classes.map((c, i) => ({ column: `finish_${c}`, label: c, color: i }));
const percentiles = (of: string): Line[] => ["p50", "p95", "p99"].map((q, i) => ({ column: `${of}_${q}`, label: q, color: i }));

export function Overview(p: { live: Live }) {
  const [minutes, setMinutes] = useState(10);
  const { look, hour, version } = p.live;
  const toRequests = (at: number) => { location.hash = `request/at:${Math.round(at)}`; };
  const chart = (title: string, unit: string, lines: Line[]) => <Chart {...{ title, unit, lines, hour, version, minutes }} onPoint={toRequests} />;
  return (
    <>
      <h1>Overview</h1>
      <ul class="processes">
        {(look?.processes ?? []).map((r) => (
          <li class="card" data-process={r.name}>
            <h2>{r.name} <span class={r.up ? "pill good" : "pill bad"}>{r.up ? r.state : "down"}</span></h2>
            <p>{r.up && r.started ? `up ${duration(Date.now() / 1000 - r.started)}` : r.error ?? "–"}</p>
            <p class="dim">{r.restarts} {r.restarts === 1 ? "restart" : "restarts"}{r.counted ? "" : " seen"}{r.memory ? ` · ${bytes(r.memory)}` : ""}</p>
          </li>
        ))}
      </ul>
      <p><label>Time shown <select value={minutes} onChange={(e) => setMinutes(+e.currentTarget.value)}>
        <option value="2">2 minutes</option><option value="10">10 minutes</option><option value="60">an hour</option>
      </select></label> <span class="dim">A click on a point lists the requests around it.</span></p>
      <div class="charts">
        {chart("Requests by finish class", "a second", finish)}
        {chart("Time to first token", "seconds", percentiles("ttft"))}
        {chart("Time between tokens", "seconds", percentiles("itl"))}
        {chart("Tokens", "a second", [{ column: "tokens", label: "generated", color: 0 }, { column: "prompt_tokens", label: "prompt", color: 1 }])}
        {chart("Queue and batch", "requests", [{ column: "queue", label: "queued", color: 3 }, { column: "running", label: "running", color: 0 }, { column: "batch", label: "batch size", color: 1 }])}
        {chart("KV pool in use", "share", [{ column: "pool", label: "pool", color: 0 }])}
      </div>
    </>
  );
}
