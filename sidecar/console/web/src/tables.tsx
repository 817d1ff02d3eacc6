import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ago, bytes, call, type Key, post, Refused, short } from "./api";

// useAnswer asks once, and again every so many seconds.
function useAnswer<T>(path: string, seconds = 0): { data?: T; fault: string; load: () => void } {
  const [data, setData] = useState<T>();
  const [fault, setFault] = useState("");
  const load = () => void call<T>(path).then((d) => { setData(d); setFault(""); }, (e: Refused) => setFault(e.message));
  useEffect(() => {
    load();
    if (!seconds) return;
    const timer = setInterval(load, seconds * 1000);
    return () => clearInterval(timer);
  }, [path]);
  return { data, fault, load };
}

function Table(p: { label: string; heads: string[]; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={p.label}>
      <table><thead><tr>{p.heads.map((h) => <th>{h}</th>)}</tr></thead><tbody>{p.children}</tbody></table>
    </div>
  );
}

export function Limits() {
  const { data, fault } = useAnswer<{ keys: Key[]; required: boolean }>("/console/api/limits", 2);
  return (
    <>
      <h1>Limits</h1>
      <p role="alert" class="fault">{fault}</p>
      <p class="dim">{data && (data.required ? "Requests need a key." : "No key is asked for: make one with semantic keys create.")}</p>
      <Table label="Keys" heads={["key", "tenant", "used of the nearest limit", "limits"]}>
        {(data?.keys ?? []).map((k) => (
          <tr>
            <th scope="row">{k.name}{k.admin ? " (admin)" : ""}</th><td>{k.tenant}</td>
            <td><meter min={0} max={1} high={0.8} value={k.used} aria-label={`${k.name}: ${short(k.used * 100, 0)} %`} /> {short(k.used * 100, 0)} %</td>
            <td>{Object.entries(k.limits).filter(([, v]) => v).map(([n, v]) => <span class="tag">{n} {String(v)}</span>)}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}

interface Rule { alert: string; severity: string; summary: string; state: string; silenced?: boolean; received?: boolean; value?: string }

export function Alerts() {
  const { data, fault } = useAnswer<{ alerts: Rule[]; prometheus: string; alertmanager: string }>("/console/api/alerts", 5);
  return (
    <>
      <h1>Alerts</h1>
      <p role="alert" class="fault">{fault}</p>
      <p class="dim">Prometheus: {data?.prometheus ?? "…"}. Alertmanager: {data?.alertmanager ?? "…"}.</p>
      <Table label="Alerts" heads={["alert", "severity", "Prometheus", "Alertmanager", "says"]}>
        {(data?.alerts ?? []).map((a) => (
          <tr>
            <th scope="row"><a href={`/runbooks/${encodeURIComponent(a.alert)}`}>{a.alert}</a></th>
            <td><span class={`pill severity-${a.severity}`}>{a.severity}</span></td>
            <td><span class={`pill state-${a.state}`}>{a.state}</span></td>
            <td>{a.silenced ? "silenced" : a.received ? "received" : "–"}</td><td>{a.summary}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}

interface Folder {
  dir: string; total: number; files: { name: string; bytes: number; modified: string; state: string }[];
  manifest: { Count?: number; count?: number; intact: boolean; error?: string }; health: { status: string; duties: Record<string, { ok: boolean; error?: string }> };
}
interface Report { Files: number; Removed: number; Shipped: number; Signed: number; Faults: unknown[] | null; Notices: string[] | null }

export function Logs() {
  const { data, fault, load } = useAnswer<Folder>("/console/api/logs", 10);
  const [proof, setProof] = useState("");
  const verify = () => {
    setProof("verifying…");
    post<Report>("/console/api/logs/verify").then(
      (r) => setProof(r.Faults?.length ? `NOT as the manifest says: ${r.Faults.length} faults, first ${JSON.stringify(r.Faults[0])}` : `verified: ${r.Files} files as they were written, ${r.Removed} removed by retention, ${r.Signed} signed entries`),
      (e: Refused) => setProof(`not verified: ${e.message}`)).finally(load);
  };
  return (
    <>
      <h1>Logs</h1>
      <p role="alert" class="fault">{fault}</p>
      {/* The line stands before the answer comes, so that the button below does not move from under a hand. */}
      {data ? (
        <p>{data.dir} · manifest {data.manifest.intact ? <span class="pill good">intact</span> : <span class="pill bad">changed: {data.manifest.error}</span>} · sidecar <span class={data.health.status === "ok" ? "pill good" : "pill bad"}>{data.health.status}</span></p>
      ) : <p class="dim">…</p>}
      <p class="row"><button id="verify" onClick={verify}>Verify every file</button><span role="status" id="proof">{proof}</span></p>
      <Table label="Log files" heads={["file", "state", "size", "changed"]}>
        {(data?.files ?? []).map((f) => <tr><th scope="row">{f.name}</th><td>{f.state}</td><td class="number">{bytes(f.bytes)}</td><td>{ago(f.modified)}</td></tr>)}
      </Table>
    </>
  );
}

interface Licence { name: string; version: string; licence: string }

export function Components() {
  const { data, fault } = useAnswer<Licence[]>("/licenses");
  const drift = useAnswer<{ serial: string; processes: { process: string; differences: number }[] }>("/console/api/drift", 10);
  const [find, setFind] = useState("");
  const found = (data ?? []).filter((c) => `${c.name} ${c.version} ${c.licence}`.toLowerCase().includes(find.toLowerCase()));
  return (
    <>
      <h1>SBOM</h1>
      <p role="alert" class="fault">{fault || drift.fault}</p>
      <p>{(drift.data?.processes ?? []).map((d) => <span class={d.differences ? "pill bad" : "pill good"}>{d.process}: {d.differences ? `${d.differences} differences` : "no drift"}</span>)} <span class="dim">{drift.data?.serial}</span> <a href="/sbom" download="sbom.cdx.json">CycloneDX</a></p>
      <p class="row"><label for="find">Search</label><input id="find" type="search" value={find} onInput={(e) => setFind(e.currentTarget.value)} /><span role="status">{found.length} components</span></p>
      <Table label="Components" heads={["component", "version", "licence"]}>
        {found.map((c) => <tr><th scope="row">{c.name}</th><td>{c.version}</td><td>{c.licence}</td></tr>)}
      </Table>
    </>
  );
}
