import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Hour } from "./live";

export interface Line { column: string; label: string; color: number }

const palette = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];

// Chart draws columns of the last hour; a click on a point asks for the requests around it.
export function Chart(p: { title: string; unit: string; lines: Line[]; hour?: Hour; version: number; minutes: number; onPoint?: (at: number) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const pick = useRef(p.onPoint);
  pick.current = p.onPoint;
  useEffect(() => {
    const el = box.current!;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(name).trim();
    const axis = { stroke: color("--dim"), grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const u = new uPlot({
      width: el.clientWidth || 300, height: 150, legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 5 } },
      scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
      axes: [axis, { ...axis, size: 52, values: (_u, vs) => vs.map((v) => (v >= 1000 ? `${v / 1000}k` : `${+v.toPrecision(3)}`)) }],
      series: [{}, ...p.lines.map((l) => ({ label: l.label, stroke: color(palette[l.color % 8]), width: 1.5, points: { show: false }, spanGaps: false }))],
    }, [[], ...p.lines.map(() => [])] as uPlot.AlignedData, el);
    plot.current = u;
    const click = () => {
      const i = u.cursor.idx;
      if (i !== null && i !== undefined) pick.current?.(u.data[0][i] * 1000);
    };
    u.over.addEventListener("click", click);
    const resize = new ResizeObserver(() => u.setSize({ width: Math.max(el.clientWidth, 200), height: 150 }));
    resize.observe(el);
    return () => { resize.disconnect(); u.destroy(); };
  }, [p.lines.map((l) => l.column).join()]);
  useEffect(() => {
    const h = p.hour;
    if (!h || !plot.current) return;
    const from = Math.max(0, h.times.length - p.minutes * 60);
    const rows = p.lines.map((l) => h.rows[h.columns.indexOf(l.column)]?.slice(from) ?? []);
    plot.current.setData([h.times.slice(from), ...rows] as uPlot.AlignedData);
  }, [p.version, p.minutes]);
  const last = (l: Line) => {
    const row = p.hour?.rows[p.hour.columns.indexOf(l.column)];
    const v = row?.[row.length - 1];
    return v === null || v === undefined ? "–" : `${+v.toPrecision(3)}`;
  };
  return (
    <section class="card chart" aria-label={p.title}>
      <h3>{p.title} <small>{p.unit}</small></h3>
      <div ref={box} class="plot" role="img" aria-label={`${p.title} over time; now ${p.lines.map((l) => `${l.label} ${last(l)}`).join(", ")}`} />
      <ul class="legend">{p.lines.map((l) => <li><span class={`dot c${(l.color % 8) + 1}`} />{l.label} <b>{last(l)}</b></li>)}</ul>
    </section>
  );
}
