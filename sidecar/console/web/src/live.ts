import { useEffect, useState } from "preact/hooks";
import type { Look } from "./api";

// Hour is the samples of the last hour, column by column; times are seconds since 1970.
export interface Hour { columns: string[]; times: number[]; rows: (number | null)[][] }
export interface Live { look?: Look; hour?: Hour; connected: boolean; version: number }

const hourSamples = 3600;

// useLive follows the sidecar's events. The browser connects again by itself.
export function useLive(): Live {
  const [live, setLive] = useState<Live>({ connected: false, version: 0 });
  useEffect(() => {
    let hour: Hour | undefined;
    let version = 0;
    const source = new EventSource("/console/api/events");
    source.addEventListener("hour", (e) => {
      const { columns, rows } = JSON.parse((e as MessageEvent).data);
      hour = { columns, times: rows[0].map((t: number) => t / 1000), rows: rows.slice(1) };
    });
    source.addEventListener("look", (e) => {
      const look = JSON.parse((e as MessageEvent).data) as Look;
      const at = look.at / 1000;
      if (hour && (hour.times.length === 0 || at > hour.times[hour.times.length - 1])) {
        hour.times.push(at);
        look.values.forEach((v, i) => hour!.rows[i].push(v));
        if (hour.times.length > hourSamples) {
          hour.times.shift();
          hour.rows.forEach((r) => r.shift());
        }
      }
      setLive({ look, hour, connected: true, version: ++version });
    });
    source.onerror = () => {
      setLive((l) => ({ ...l, connected: false }));
      // A browser gives up for good where the answer was no stream: ask why.
      if (source.readyState === EventSource.CLOSED) {
        fetch("/console/api/drift", { credentials: "same-origin" }).then((r) => {
          if (r.status === 401) window.dispatchEvent(new Event("console-unauthorized"));
          else setTimeout(() => window.dispatchEvent(new Event("console-reconnect")), 1000);
        }, () => setTimeout(() => window.dispatchEvent(new Event("console-reconnect")), 1000));
      }
    };
    return () => source.close();
  }, []);
  return live;
}
