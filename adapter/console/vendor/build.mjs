// Writes the files that the console's pages load, and what is in them: name, version, licence and hash of each.
// Run by `make vendor`: node build.mjs MODULES TARGET, where MODULES is a node_modules as package.json wants it.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const [modules, target] = process.argv.slice(2).map((path) => resolve(path));
const { build } = createRequire(join(modules, "here.js"))("esbuild");

const outputs = {
  "htmx.min.js": { entry: join(modules, "htmx.org/dist/htmx.min.js"), bundle: false },
  "uplot.min.js": { entry: join(modules, "uplot/dist/uPlot.esm.js"), bundle: true },
  "uplot.min.css": { entry: join(modules, "uplot/dist/uPlot.min.css"), bundle: false },
  "codemirror.min.js": { entry: join(here, "codemirror.js"), bundle: true },
};

const files = {};
const packages = new Set();
for (const [name, { entry, bundle }] of Object.entries(outputs)) {
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle,
    minify: true,
    format: bundle ? "esm" : undefined,
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    metafile: true,
    nodePaths: [modules],
    // Paths stand in what is written only where names of modules do: they are to be the same on every machine.
    absWorkingDir: modules,
    write: false,
  });
  const [{ contents }] = outputFiles;
  writeFileSync(join(target, name), contents);
  const parts = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const found = /^((?:@[^/]+\/)?[^/]+)\//.exec(input.replace(/^(\.\.\/)*.*node_modules\//, ""));
    if (found && !input.endsWith("codemirror.js")) parts.add(found[1]);
  }
  for (const part of parts) packages.add(part);
  files[name] = {
    sha256: createHash("sha256").update(contents).digest("hex"),
    bytes: contents.length,
    packages: [...parts].sort(),
  };
}

const licences = {};
let texts = "";
for (const name of [...packages].sort()) {
  const { version, license } = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"));
  const text = readFileSync(join(modules, name, "LICENSE"), "utf8").trim();
  licences[name] = { version, license };
  texts += `${name} ${version} (${license})\n${"-".repeat(72)}\n${text}\n\n\n`;
}
writeFileSync(join(target, "LICENSES.txt"), texts.trimEnd() + "\n");
writeFileSync(join(target, "vendor.json"), JSON.stringify({ files, packages: licences }, null, 2) + "\n");
