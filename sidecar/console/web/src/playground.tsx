import { useRef, useState } from "preact/hooks";
import { ms } from "./api";

interface Turn { role: "user" | "assistant"; content: string; figures?: string; failed?: boolean }

interface Chunk { error?: { message: string }; choices?: { delta?: { content?: string } }[]; usage?: { completion_tokens: number; prompt_tokens: number; prompt_tokens_details?: { cached_tokens?: number } } }

// stream sends a chat and gives each event of its answer.
async function stream(key: string, agent: string, messages: { role: string; content: string }[], signal: AbortSignal, give: (c: Chunk) => void): Promise<string> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (agent) headers["X-Agent-ID"] = agent;
  const response = await fetch("/console/api/chat", { method: "POST", headers, signal, credentials: "same-origin", body: JSON.stringify({ model: "default", messages, stream: true, stream_options: { include_usage: true }, temperature: 0, max_tokens: 256 }) });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Error(body.error?.message ?? body.error ?? `status ${response.status}`);
  }
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let whole = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") { whole = true; continue; }
      const chunk = JSON.parse(line.slice(6)) as Chunk;
      if (chunk.error) throw new Error(chunk.error.message);
      give(chunk);
    }
  }
  if (!whole) throw new Error("the answer was cut off");
  return response.headers.get("X-Request-ID") ?? "";
}

function Chat(p: { name: string; chatKey: string }) {
  const [agent, setAgent] = useState(p.name);
  const [turns, setTurns] = useState<Turn[]>([]);
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const abort = useRef<AbortController>();
  const send = async (e: Event) => {
    e.preventDefault();
    const question = text.trim();
    if (!question || busy) return;
    const asked: Turn[] = [...turns.filter((t) => !t.failed), { role: "user", content: question }];
    setText("");
    setBusy(true);
    setTurns([...asked, { role: "assistant", content: "" }]);
    const began = performance.now();
    let first = 0;
    let answer = "";
    let usage: Chunk["usage"];
    abort.current = new AbortController();
    try {
      const id = await stream(p.chatKey, agent, asked.map(({ role, content }) => ({ role, content })), abort.current.signal, (c) => {
        const piece = c.choices?.[0]?.delta?.content;
        if (piece) {
          first ||= performance.now();
          answer += piece;
          setTurns([...asked, { role: "assistant", content: answer }]);
        }
        if (c.usage) usage = c.usage;
      });
      const seconds = (performance.now() - first) / 1000;
      const n = usage?.completion_tokens ?? 0;
      const figures = `first token after ${ms(first ? (first - began) / 1000 : null)} · ${n > 1 && seconds > 0 ? ((n - 1) / seconds).toFixed(0) : "–"} tokens/s · ${usage?.prompt_tokens_details?.cached_tokens ?? 0} of ${usage?.prompt_tokens ?? 0} prompt tokens cached · ${id}`;
      setTurns([...asked, { role: "assistant", content: answer, figures }]);
    } catch (err) {
      setTurns([...asked, { role: "assistant", content: answer, figures: `failed: ${(err as Error).message}`, failed: true }]);
    } finally {
      setBusy(false);
    }
  };
  const field = `agent-${p.name}`;
  return (
    <section class="card chat" aria-label={`Chat ${p.name}`}>
      <p class="row"><label for={field}>Agent</label><input id={field} value={agent} onInput={(e) => setAgent(e.currentTarget.value)} spellcheck={false} /><button class="quiet" onClick={() => setTurns([])}>Clear</button></p>
      <ol class="turns" aria-live="polite">{turns.map((t) => <li class={t.role}><p>{t.content}</p>{t.figures && <small class={t.failed ? "fault" : "dim"}>{t.figures}</small>}</li>)}</ol>
      <form onSubmit={send}>
        <label for={`text-${p.name}`} class="hidden">Message</label>
        <input id={`text-${p.name}`} value={text} onInput={(e) => setText(e.currentTarget.value)} placeholder="What is the KV pool?" autocomplete="off" />
        {busy ? <button type="button" onClick={() => abort.current?.abort()}>Stop</button> : <button type="submit">Send</button>}
      </form>
    </section>
  );
}

export function Playground() {
  const [key, setKey] = useState("");
  return (
    <>
      <h1>Playground</h1>
      <p class="row"><label for="chat-key">API key</label><input id="chat-key" type="password" autocomplete="off" value={key} onInput={(e) => setKey(e.currentTarget.value)} placeholder="none" /><span class="dim">is kept in this page's memory alone.</span></p>
      <div class="pair"><Chat name="left" chatKey={key} /><Chat name="right" chatKey={key} /></div>
    </>
  );
}
