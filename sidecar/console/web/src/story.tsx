import { useEffect, useState } from "preact/hooks";
import { call, type Line, Refused } from "./api";

const phases = ["auth", "limit", "read", "forward", "queue", "prefill", "decode", "engine", "write"];

// Waterfall draws where the time of a request went, from its access line.
function Waterfall(p: { line: Line }) {
  const total = Number(p.line.duration_ms) || 0;
  let at = 0;
  return (
    <table class="waterfall">
      <caption>Waterfall, {total.toFixed(2)} ms in all</caption>
      <tbody>{phases.filter((f) => `${f}_ms` in p.line).map((f) => {
        const took = Number(p.line[`${f}_ms`]);
        const from = at;
        at += took;
        return (
          <tr>
            <th scope="row">{f}</th><td class="number">{took.toFixed(2)} ms</td>
            <td><svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true"><rect x={total ? (from / total) * 1000 : 0} width={total ? Math.max(2, (took / total) * 1000) : 0} height="10" /></svg></td>
          </tr>
        );
      })}</tbody>
    </table>
  );
}

const text = (v: unknown) => (typeof v === "object" ? JSON.stringify(v) : String(v));
const hidden = new Set(["ts", "boot", "seq", "level", "msg", "process", "request_id"]);

function Lines(p: { lines: Line[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Log lines">
      <table>
        <thead><tr><th>time</th><th>process</th><th>level</th><th>message</th><th>fields</th></tr></thead>
        <tbody>{p.lines.map((l) => (
          <tr>
            <td>{text(l.ts).slice(11, 23)}</td><td>{text(l.process)}</td><td class={`level-${l.level}`}>{text(l.level)}</td><td>{text(l.msg)}</td>
            <td class="fields">{Object.keys(l).filter((k) => !hidden.has(k)).map((k) => <span><i>{k}</i>={text(l[k])} </span>)}</td>
          </tr>
        ))}</tbody>
      </table>
    </div>
  );
}

export function Story(p: { id: string }) {
  const [id, setID] = useState(p.id.startsWith("at:") ? "" : p.id);
  const [lines, setLines] = useState<Line[]>([]);
  const [recent, setRecent] = useState<Line[]>([]);
  const [fault, setFault] = useState("");
  const list = () => call<{ requests: Line[] }>(`/console/api/requests${p.id.startsWith("at:") ? `?at=${p.id.slice(3)}` : ""}`).then((r) => setRecent(r.requests), (e: Refused) => setFault(e.message));
  // A request's last lines may be written a moment after its answer, so that Refresh looks for all again.
  const look = () => {
    setFault("");
    list();
    if (p.id && !p.id.startsWith("at:")) {
      call<{ lines: Line[] }>(`/console/api/requests/${encodeURIComponent(p.id)}`).then((r) => setLines(r.lines), (e: Refused) => setFault(e.message));
    }
  };
  useEffect(() => {
    setLines([]);
    if (p.id && !p.id.startsWith("at:")) setID(p.id);
    look();
  }, [p.id]);
  const access = lines.find((l) => l.msg === "request" && l.process === "proxy");
  return (
    <>
      <h1>A request's story</h1>
      <form class="row" onSubmit={(e) => { e.preventDefault(); if (id.trim()) location.hash = `request/${encodeURIComponent(id.trim())}`; }}>
        <label for="request-id">Request id</label>
        <input id="request-id" value={id} onInput={(e) => setID(e.currentTarget.value)} placeholder="123b44638e1759d0" spellcheck={false} />
        <button type="submit">Show</button>
      </form>
      <p role="alert" class="fault">{fault}</p>
      {access && (
        <section class="card">
          <h2>{text(access.request_id)} <span class="pill">{text(access.finish)}</span></h2>
          <p>{text(access.method)} {text(access.path)} → {text(access.status)} · tenant {text(access.tenant)}{access.agent ? ` · agent ${text(access.agent)}` : ""} · trace {access.trace_id ? text(access.trace_id) : "none"}</p>
          <p>{text(access.prompt_tokens ?? 0)} prompt tokens, {text(access.cached_tokens ?? 0)} of them cached, {text(access.completion_tokens ?? 0)} generated{access.ttft_ms ? `; first after ${text(access.ttft_ms)} ms` : ""}</p>
          <Waterfall line={access} />
        </section>
      )}
      {lines.length > 0 && <Lines lines={lines} />}
      <h2>{p.id.startsWith("at:") ? "Requests around that time" : "Latest requests"} <button id="refresh" class="quiet" onClick={look}>Refresh</button></h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Requests">
        <table>
          <thead><tr><th>time</th><th>request</th><th>path</th><th>status</th><th>finish</th><th>ms</th><th>tenant</th><th>agent</th><th>client</th></tr></thead>
          <tbody>{recent.map((l) => (
            <tr>
              <td>{text(l.ts).slice(11, 23)}</td><td><a href={`#request/${encodeURIComponent(text(l.request_id))}`}>{text(l.request_id)}</a></td>
              <td>{text(l.path)}</td><td>{text(l.status)}</td><td>{text(l.finish)}</td><td class="number">{Number(l.duration_ms).toFixed(1)}</td><td>{text(l.tenant)}</td><td>{l.agent ? text(l.agent) : ""}</td><td>{text(l.client ?? "")}</td>
            </tr>
          ))}</tbody>
        </table>
        {recent.length === 0 && <p class="dim">None.</p>}
      </div>
    </>
  );
}
