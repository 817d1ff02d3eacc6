import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { Plugin } from "vite";

// Writes bundled.json, which says of each file of the bundle what packages lie in it, and
// copies their licence texts to LICENSES: the SBOM and NOTICE are made of both.
export function bundled(): Plugin {
  let root = "";
  return {
    name: "bundled",
    configResolved(config) { root = config.root; },
    writeBundle(options, bundle) {
      const files = new Map<string, Set<string>>(Object.keys(bundle).map((name) => [name, new Set()]));
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk") continue;
        for (const [id, module] of Object.entries(chunk.modules)) {
          const name = packageOf(relative(root, id.split("?")[0]).split(sep).join("/"));
          if (name === "") continue;
          const styles = id.endsWith(".css");
          if (!styles && module.renderedLength === 0) continue; // nothing of it is left
          for (const file of styles ? chunk.viteMetadata!.importedCss : [chunk.fileName]) files.get(file)!.add(name);
        }
      }
      const all = [...new Set([...files.values()].flatMap((names) => [...names]))].sort();
      const list = {
        files: [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, packages]) => ({
          name, sha256: createHash("sha256").update(readFileSync(join(options.dir!, name))).digest("hex"), packages: [...packages].sort(),
        })),
        packages: all.map((name) => describe(root, name)),
      };
      writeFileSync(join(root, "bundled.json"), JSON.stringify(list, null, 2) + "\n");
      copyTexts(root, all);
    },
  };
}

// packageOf names the package of a module, "" for a source of ours.
function packageOf(path: string): string {
  const found = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(path);
  if (found) return found[1];
  if (path === "index.html" || path.startsWith("src/")) return "";
  throw new Error(`${JSON.stringify(path)} is bundled, and no package that is known holds it: whose is it?`);
}

// describe repeats what a package says of itself.
function describe(root: string, name: string) {
  const own = JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8"));
  const person = (p: unknown) => (typeof p === "object" && p !== null && "name" in p ? String(p.name) : String(p ?? "").replace(/\s*[<(].*/, ""));
  return {
    name, version: own.version, licence: typeof own.license === "string" ? own.license : "",
    author: person(own.author), homepage: own.homepage ?? "", repository: (typeof own.repository === "object" ? own.repository.url : own.repository) ?? "",
  };
}

function copyTexts(root: string, names: string[]) {
  const to = join(root, "LICENSES");
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to);
  for (const name of names) {
    const from = join(root, "node_modules", name);
    const file = existsSync(from) && readdirSync(from).find((f) => /^(licen[cs]e|copying)([-._].*)?$/i.test(f));
    if (!file) throw new Error(`${name} is bundled and comes with no licence text`);
    writeFileSync(join(to, name.replace("/", "__") + ".txt"), readFileSync(join(from, file)));
  }
}
