import { useEffect, useRef, useState } from "preact/hooks";
import { ago, type Agent, type AgentList, bytes, call, post, Refused } from "./api";

// BlockMap draws the pool's blocks, those of one agent in colour.
function BlockMap(p: { list: AgentList; agent: Agent }) {
  const shown = Math.min(p.list.blocks, 1024);
  const across = 64;
  // A pool that is larger than the map has several blocks in a cell.
  const per = p.list.blocks / shown;
  const own = new Set((p.agent.blocks ?? []).map((b) => Math.floor(b / per)));
  const cells = [];
  for (let i = 0; i < shown; i++) if (own.has(i)) cells.push(<rect x={(i % across) * 4} y={Math.floor(i / across) * 4} width="3.4" height="3.4" />);
  const high = Math.ceil(shown / across) * 4;
  return (
    <svg class="blocks" viewBox={`0 0 ${across * 4} ${high}`} role="img" aria-label={`${p.agent.blocks?.length ?? 0} of the pool's ${p.list.blocks} blocks`}>
      <rect class="pool" width={across * 4} height={high} />{cells}
    </svg>
  );
}

// Confirm asks before something is done that cannot be taken back.
function Confirm(p: { text: string; onYes: () => void; onNo: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} onClose={p.onNo} aria-label="Confirm">
      <p>{p.text}</p>
      <div class="row"><button id="confirm" class="danger" onClick={p.onYes}>Yes</button><button onClick={p.onNo}>No</button></div>
    </dialog>
  );
}

export function Agents() {
  const [list, setList] = useState<AgentList>();
  const [fault, setFault] = useState("");
  const [said, setSaid] = useState("");
  const [asked, setAsked] = useState<{ agent: Agent; order: string }>();
  const load = () => call<AgentList>("/console/api/agents").then((l) => { setList(l); setFault(""); }, (e: Refused) => setFault(e.message));
  useEffect(() => {
    load();
    const timer = setInterval(load, 2000);
    return () => clearInterval(timer);
  }, []);
  const run = (agent: Agent, order: string) => {
    setAsked(undefined);
    post(`/console/api/agents/${encodeURIComponent(agent.tenant)}/${encodeURIComponent(agent.id)}/${order}`)
      .then(() => setSaid(`${order}: ${agent.id}`), (e: Refused) => setFault(`${order} ${agent.id}: ${e.message}`)).finally(load);
  };
  const agents = list?.agents ?? [];
  return (
    <>
      <h1>Agents</h1>
      <p class="dim">{list ? `${list.total} agents; the pool has ${list.blocks} blocks of ${list.block_tokens} tokens, ${list.used} held by running requests, ${list.cached} cached.` : "…"}</p>
      <p role="alert" class="fault">{fault}</p>
      <p role="status">{said}</p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Agents">
        <table>
          <thead><tr><th>agent</th><th>tenant</th><th>tier</th><th>tokens</th><th>size</th><th>blocks</th><th>hits</th><th>last use</th><th>orders</th></tr></thead>
          <tbody>{agents.map((a) => (
            <tr key={`${a.tenant}/${a.id}`}>
              <th scope="row">{a.id}</th><td>{a.tenant}</td><td><span class={`pill tier-${a.tier}`}>{a.tier}</span></td>
              <td class="number">{a.tokens}</td><td class="number">{bytes(a.bytes)}</td>
              <td>{a.tier === "hot" && list ? <BlockMap list={list} agent={a} /> : a.tier === "cold" ? "in object storage" : "on disk"}</td>
              <td class="number">{a.hits ?? 0}</td><td>{ago(a.last_used)}</td>
              <td><div class="row">
                {a.tier === "hot" ? <button onClick={() => setAsked({ agent: a, order: "evict" })} aria-label={`Evict ${a.id}`}>Evict</button> : <button onClick={() => setAsked({ agent: a, order: "restore" })} aria-label={`Restore ${a.id}`}>Restore</button>}
                <button class="danger" onClick={() => setAsked({ agent: a, order: "delete" })} aria-label={`Delete ${a.id}`}>Delete</button>
              </div></td>
            </tr>
          ))}</tbody>
        </table>
        {agents.length === 0 && <p class="dim">No agents. A request with X-Agent-ID makes one.</p>}
      </div>
      {asked && <Confirm text={`${asked.order} the agent ${asked.agent.id} of ${asked.agent.tenant}?`} onYes={() => run(asked.agent, asked.order)} onNo={() => setAsked(undefined)} />}
    </>
  );
}
