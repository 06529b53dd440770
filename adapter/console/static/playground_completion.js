// What the playground's editor offers: where the cursor stands in the YAML, and what its JSON Schema has there

// ``loading``: what the service says of the language, once it has.
export function completing(loading) {
  return async (context) => {
    const words = await loading;
    if (!words) return null;
    const where = whereIs(context.state.doc.sliceString(0, context.pos));
    if (!where || (!context.explicit && !where.typed)) return null;
    const schemas = below(words.words, where.path);
    const options = where.isKey
      ? keysOf(words.words, schemas)
      : valuesOf(words.words, schemas).map((value) => meant(words, value));
    if (!options.length) return null;
    return {
      from: context.pos - where.typed.length,
      options: where.isKey ? options.map((one) => ({ ...one, apply: `${one.label}: ` })) : options,
      validFor: /^[\w.@-]*$/,
    };
  };
}

function meant(words, value) {
  const text = String(value);
  return { label: text, type: "constant", info: words.types[text] ?? words.reasons[text] };
}

// The keys that lead to the end of a text, whether a key or a value begins there, and what of it is typed already.
// Lists are "*" among the keys.
export function whereIs(text) {
  const lines = text.split("\n");
  let blocks = [];
  let flow = [];
  let last = { isKey: true, typed: "", path: [] };
  lines.forEach((line, number) => {
    const isLast = number === lines.length - 1;
    let rest = line;
    let indent = 0;
    if (!flow.length) {
      if (!isLast && /^\s*(#|$)/.test(line)) return;
      indent = line.match(/^ */)[0].length;
      rest = line.slice(indent);
      if (rest.startsWith("#")) {
        if (isLast) last = null;
        return;
      }
      // A list may stand as deep as the key that it belongs to.
      const isItem = /^-( |$)/.test(rest);
      blocks = blocks.filter((one) => one.indent < indent || (isItem && one.indent === indent && !one.item));
      for (let item; (item = rest.match(/^-( +|$)/)); ) {
        blocks.push({ indent, key: "*", item: true });
        indent += item[0].length;
        rest = rest.slice(item[0].length);
      }
      const key = rest.match(/^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#{}[\],"'&*!|>%@`](?:[^:#]|:(?!\s|$)|#(?<!\s#))*?)\s*:(?=\s|$)/);
      if (key) {
        blocks = blocks.filter((one) => one.indent < indent);
        blocks.push({ indent, key: plain(key[1]) });
        rest = rest.slice(key[0].length);
        if (isLast && /^\s*$/.test(rest)) last = { isKey: false, typed: "", path: pathOf(blocks, flow) };
      } else if (isLast && !/[{[]/.test(rest)) {
        last = { isKey: true, typed: rest, path: pathOf(blocks.filter((one) => one.indent < indent), flow) };
        return;
      }
    }
    let pending = "";
    for (let at = 0; at < rest.length; at += 1) {
      const sign = rest[at];
      if ((sign === '"' || sign === "'") && !pending.trim()) {
        const end = rest.indexOf(sign, at + 1);
        if (end < 0) { pending = rest.slice(at); break; }
        pending = rest.slice(at, end + 1);
        at = end;
      } else if (sign === "#" && (at === 0 || /\s/.test(rest[at - 1]))) {
        if (isLast) last = null;
        return;
      } else if ((sign === "{" || sign === "[") && !pending.trim()) {
        flow.push({ list: sign === "[", key: sign === "[" ? "*" : null });
        pending = "";
      } else if (flow.length && (sign === "}" || sign === "]")) {
        flow.pop();
        pending = "";
      } else if (flow.length && sign === ",") {
        if (!flow.at(-1).list) flow.at(-1).key = null;
        pending = "";
      } else if (flow.length && sign === ":" && !flow.at(-1).list && flow.at(-1).key === null && /^(\s|$)/.test(rest.slice(at + 1))) {
        flow.at(-1).key = plain(pending.trim());
        pending = "";
      } else pending += sign;
    }
    if (isLast) {
      const typed = pending.trimStart();
      const isKey = flow.length > 0 && !flow.at(-1).list && flow.at(-1).key === null;
      last = { isKey, typed, path: pathOf(blocks, flow) };
    }
  });
  return last && /^[\w.@-]*$/.test(last.typed) ? last : null;
}

function pathOf(blocks, flow) {
  return [...blocks.map((one) => one.key), ...flow.map((one) => one.key).filter((one) => one !== null)];
}

function plain(key) {
  return /^["']/.test(key) ? key.slice(1, -1) : key;
}

// All schemas that a schema stands for.
function meanings(root, schema, depth = 0) {
  if (!schema || typeof schema !== "object" || depth > 12) return [];
  const found = [schema];
  if (schema.$ref?.startsWith("#/")) {
    const target = schema.$ref.slice(2).split("/").reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], root);
    found.push(...meanings(root, target, depth + 1));
  }
  for (const word of ["anyOf", "oneOf", "allOf"]) {
    for (const one of schema[word] ?? []) found.push(...meanings(root, one, depth + 1));
  }
  return found;
}

function below(root, path) {
  let schemas = meanings(root, root);
  for (const key of path) {
    const next = schemas.flatMap((schema) => {
      if (key === "*") return [schema.items];
      const own = schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : null;
      return [own ?? (typeof schema.additionalProperties === "object" ? schema.additionalProperties : null)];
    });
    schemas = next.flatMap((schema) => meanings(root, schema));
  }
  return schemas;
}

function keysOf(root, schemas) {
  const found = new Map();
  for (const schema of schemas) {
    for (const [name, one] of Object.entries(schema.properties ?? {})) {
      const info = one.description ?? meanings(root, one).find((part) => part.description)?.description;
      if (!found.has(name)) found.set(name, { label: name, type: "property", info });
    }
  }
  return [...found.values()];
}

function valuesOf(root, schemas) {
  const found = new Set();
  for (const schema of schemas) {
    for (const value of [...(schema.enum ?? []), ...(schema.examples ?? [])]) if (value !== null) found.add(value);
    if (schema.const !== undefined) found.add(schema.const);
    if (schema.type === "boolean") [true, false].forEach((value) => found.add(value));
  }
  return [...found];
}
