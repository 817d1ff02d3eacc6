import { defineConfig } from "vite";
import { bundled } from "./bundled.ts";

// The bundle is committed: the same sources give the same bytes.
export default defineConfig({
  base: "/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [bundled()],
  build: { outDir: "../dist", emptyOutDir: true, assetsDir: "console/assets", assetsInlineLimit: 0, modulePreload: { polyfill: false }, sourcemap: false },
});
