import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { call, post, Refused } from "./api";
import { useLive } from "./live";
import { Overview } from "./overview";
import { Story } from "./story";
import { Agents } from "./agents";
import { Alerts, Components, Limits, Logs } from "./tables";
import { Playground } from "./playground";

const views = ["overview", "request", "agents", "limits", "alerts", "logs", "sbom", "playground"] as const;
const names: Record<string, string> = { overview: "Overview", request: "Request", agents: "Agents", limits: "Limits", alerts: "Alerts", logs: "Logs", sbom: "SBOM", playground: "Playground" };

const place = () => {
  const [view, ...rest] = location.hash.slice(1).split("/");
  return { view: (views as readonly string[]).includes(view) ? view : "overview", rest: decodeURIComponent(rest.join("/")) };
};

function Login(p: { onIn: () => void }) {
  const [key, setKey] = useState("");
  const [fault, setFault] = useState("");
  const submit = (e: Event) => {
    e.preventDefault();
    post("/console/api/login", { key }).then(() => { setKey(""); p.onIn(); }, (err: Refused) => setFault(err.message));
  };
  return (
    <main class="login">
      <h1>Semantic console</h1>
      <form onSubmit={submit}>
        <label for="key">Admin key</label>
        <input id="key" type="password" autocomplete="off" value={key} onInput={(e) => setKey(e.currentTarget.value)} autofocus />
        <button type="submit">Enter</button>
      </form>
      <p role="alert" class="fault">{fault}</p>
      <p class="dim">Or open the link that <code>semantic serve</code> printed. It is good once.</p>
    </main>
  );
}

function Shell(p: { onOut: () => void }) {
  const live = useLive();
  const [at, setAt] = useState(place());
  useEffect(() => {
    const moved = () => { setAt(place()); document.getElementById("view")?.focus(); };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const look = live.look;
  const well = live.connected && look?.ready;
  return (
    <>
      <a class="skip" href="#view" onClick={(e) => { e.preventDefault(); document.getElementById("view")?.focus(); }}>Skip to the view</a>
      <header>
        <strong>Semantic</strong>
        <span id="state" role="status" class={well ? "pill good" : "pill bad"}>
          {!live.connected ? "no connection to the sidecar" : look?.ready ? "ready" : `not ready: ${look?.reason ?? "?"}`}
        </span>
        <span class="dim model">{look?.model}</span>
        <nav aria-label="Views">{views.map((v) => <a href={`#${v}`} aria-current={at.view === v ? "page" : undefined}>{names[v]}</a>)}</nav>
        <button class="quiet" onClick={() => post("/console/api/logout").finally(p.onOut)}>Leave</button>
      </header>
      <main id="view" tabIndex={-1}>
        {at.view === "overview" && <Overview live={live} />}
        {at.view === "request" && <Story id={at.rest} />}
        {at.view === "agents" && <Agents />}
        {at.view === "limits" && <Limits />}
        {at.view === "alerts" && <Alerts />}
        {at.view === "logs" && <Logs />}
        {at.view === "sbom" && <Components />}
        <div hidden={at.view !== "playground"}><Playground /></div>
      </main>
    </>
  );
}

function App() {
  const [inside, setInside] = useState<boolean>();
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const out = () => setInside(false);
    const again = () => setTurn((n) => n + 1);
    call<{ inside: boolean }>("/console/api/session").then((s) => setInside(s.inside), () => setInside(true));
    addEventListener("console-unauthorized", out);
    addEventListener("console-reconnect", again);
    return () => { removeEventListener("console-unauthorized", out); removeEventListener("console-reconnect", again); };
  }, []);
  if (inside === undefined) return null;
  return inside ? <Shell key={turn} onOut={() => setInside(false)} /> : <Login onIn={() => setInside(true)} />;
}

const root = document.getElementById("app")!;
root.textContent = "";
render(<App />, root);
