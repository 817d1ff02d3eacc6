// What the sidecar answers.

export interface Process { name: string; up: boolean; state: string; error?: string; boot?: string; started?: number; restarts: number; counted: boolean; memory?: number }
export interface Look { ready: boolean; reason?: string; model?: string; processes: Process[]; at: number; values: (number | null)[] }
export interface Agent { tenant: string; id: string; tier: string; tokens: number; bytes: number; hits?: number; created: string; last_used: string; blocks?: number[] }
export interface AgentList { block_tokens: number; blocks: number; used: number; cached: number; total: number; agents: Agent[] | null }
export interface Key { name: string; tenant: string; admin?: boolean; used: number; limits: Record<string, unknown> }
export type Line = Record<string, unknown>;

export class Refused extends Error {
  constructor(public status: number, message: string) { super(message); }
}

// call asks the console's API; an answer that is no success becomes an error with its reason.
export async function call<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(path, { credentials: "same-origin", ...init });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    if (response.status === 401 && path !== "/console/api/login") window.dispatchEvent(new Event("console-unauthorized"));
    throw new Refused(response.status, (body as { error?: string }).error || `the sidecar answered ${response.status}`);
  }
  return body as T;
}

export const post = <T>(path: string, body?: unknown) =>
  call<T>(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });

export const bytes = (n: number) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${n >= 100 || i === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[i]}`;
};

export const duration = (seconds: number) => {
  if (!isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} d`;
};

export const ago = (iso: string) => `${duration((Date.now() - Date.parse(iso)) / 1000)} ago`;
export const short = (v: number | null | undefined, digits = 1) => (v === null || v === undefined ? "–" : v.toFixed(digits));
export const ms = (v: number | null | undefined) => (v === null || v === undefined ? "–" : v < 1 ? `${(v * 1000).toFixed(v < 0.01 ? 1 : 0)} ms` : `${v.toFixed(2)} s`);
