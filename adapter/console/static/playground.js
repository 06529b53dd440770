// The playground: editors in the places of its text fields, and answers while one types. The page works without it, by
// its buttons. What is shown comes from the service, which has escaped it.

const form = document.getElementById("playground");

// After the last key, milliseconds: until the table is tried, and until it is checked, which takes longer.
const TRY_AFTER = 250;
const CHECK_AFTER = 900;
// After a failure, until it is asked again by itself: twice as long each time.
const AGAIN_AFTER = 2000;

if (form) start(form);

async function start(form) {
  const editing = await edited(form).catch((error) => {
    // Text fields do all that editors do, less comfortably.
    console.error(error);
    return fields(form);
  });
  const answers = asking(form, editing);
  editing.onChange(() => answers.changed());

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answers.act(event.submitter);
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    if (event.key === "s") {
      event.preventDefault();
      answers.act(button("review"));
    } else if (event.key === "Enter" && form.contains(event.target)) {
      event.preventDefault();
      answers.act(button("try"));
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (!editing.isSaved()) event.preventDefault();
  });
  answers.begin();

  function button(act) {
    return document.querySelector(`button[form="playground"][value="${act}"], #playground button[value="${act}"]`);
  }
}

// Questions

function asking(form, editing) {
  const busy = form.querySelector("[data-busy]");
  const places = { try: "tried", check: "checked", example: "example", compare: "stored" };
  // One question at a time is under way by itself: what was changed meanwhile is asked when it is answered.
  let timer = 0;
  let version = 0;
  const asked = { try: -1, check: -1 };
  let underway = false;
  let failures = 0;

  const begin = () => plan("try", 0);

  const changed = () => {
    version += 1;
    for (const id of ["tried", "checked"]) document.getElementById(id).classList.add("stale");
    // What was looked at is what is saved.
    for (const one of document.querySelectorAll("#review [value=save]")) one.disabled = true;
    for (const one of document.querySelectorAll("#review [data-outdated]")) one.hidden = false;
    plan("try", TRY_AFTER);
  };

  const plan = (act, after) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(act), after);
  };

  const run = async (act) => {
    if (underway) return;
    underway = true;
    const at = version;
    busy.textContent = act === "try" ? "trying…" : "checking…";
    try {
      const text = await send(act);
      failures = text === null ? failures + 1 : 0;
      // An answer about what is not there any more is of no use.
      if (at === version && text !== null) {
        asked[act] = at;
        show(act, text);
      }
    } finally {
      underway = false;
      busy.textContent = "";
    }
    if (failures) plan("try", AGAIN_AFTER * 2 ** Math.min(failures, 5));
    else if (asked.try !== version) plan("try", TRY_AFTER);
    else if (asked.check !== version) plan("check", CHECK_AFTER);
  };

  // What a button stands for.
  const act = async (submitter) => {
    const name = submitter?.dataset.act ?? submitter?.value ?? "try";
    if (name === "try" || name === "check") {
      asked[name] = -1;
      clearTimeout(timer);
      await run(name);
      return;
    }
    if (submitter.name === "over") form.elements.etag.value = submitter.value;
    submitter.disabled = true;
    const at = version;
    try {
      const sending = send(name);
      const sent = form.elements.mapping.value;
      const text = await sending;
      if (text === null) return;
      const place = show(name, text);
      if (name === "save" && place.querySelector("[data-saved]")) editing.saved(sent, at === version);
      if (place.id === "review") {
        place.focus({ preventScroll: true });
        place.scrollIntoView({ block: "nearest" });
      }
    } finally {
      submitter.disabled = false;
    }
  };

  const send = async (name) => {
    editing.store();
    const body = new URLSearchParams(new FormData(form));
    body.set("act", name);
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
      const place = answer.headers.get("HX-Redirect");
      if (place) {
        tell("Your session has ended. What you wrote is still here: copy it, and sign in again.");
        return null;
      }
      const text = await answer.text();
      if (answer.headers.get("HX-Retarget")) {
        swap(document.getElementById("problem"), text);
        return null;
      }
      document.getElementById("problem").replaceChildren();
      return text;
    } catch {
      tell("The service does not answer; what you wrote is still here.");
      return null;
    }
  };

  const show = (name, text) => {
    const place = document.getElementById(places[name] ?? "review") ?? document.getElementById("review");
    const open = [...place.querySelectorAll("details")].map((one) => one.open);
    swap(place, text);
    place.classList.remove("stale");
    if (name === "try") {
      [...place.querySelectorAll("details")].forEach((one, number) => {
        if (number < open.length) one.open = open[number];
      });
    }
    if (name === "example") {
      const made = place.querySelector("[data-file-name]");
      if (made) {
        editing.add(made.dataset.fileName, made.value);
        changed();
      }
    }
    if (name === "try" || name === "check") editing.mark(findings());
    const saved = place.querySelector("[data-saved]");
    if (saved) form.elements.etag.value = saved.dataset.saved;
    return place;
  };

  return { begin, changed, act };
}

function swap(place, text) {
  if (window.htmx) window.htmx.swap(place, text, { swapStyle: "innerHTML", settleDelay: 0 });
  else place.innerHTML = text;
}

function tell(text) {
  const notice = document.createElement("div");
  notice.className = "notice bad";
  notice.textContent = text;
  document.getElementById("problem").replaceChildren(notice);
}

// What the service found, by file: line and column from 1.
function findings() {
  const seen = new Set();
  const found = [];
  const current = "#tried:not(.stale) [data-finding][data-line], #checked:not(.stale) [data-finding][data-line]";
  for (const one of document.querySelectorAll(current)) {
    const finding = {
      file: one.dataset.file, line: Number(one.dataset.line), column: Number(one.dataset.column),
      error: one.dataset.error === "1", text: one.querySelector("[data-text]").textContent,
    };
    const key = JSON.stringify(finding);
    if (!seen.has(key)) found.push(finding);
    seen.add(key);
  }
  return found;
}

// Text fields, where there are no editors

function fields(form) {
  const texts = () => form.elements.mapping.value + "\0" + form.elements.files.value;
  let before = texts();
  return {
    onChange: (tell) => form.addEventListener("input", tell),
    store: () => {},
    mark: () => {},
    add: (name, text) => {
      const files = JSON.parse(form.elements.files.value || "{}");
      form.elements.files.value = JSON.stringify({ ...files, [name]: text });
    },
    isSaved: () => texts() === before,
    saved: (sent, all) => {
      if (!all) return;
      form.elements.files.value = "{}";
      before = texts();
    },
  };
}

// Editors

async function edited(form) {
  const cm = await import(new URL(form.dataset.codemirror, location.href));
  const words = fetch(form.dataset.words, { headers: { Accept: "application/json" } })
    .then((answer) => (answer.ok ? answer.json() : null))
    .catch(() => null);
  let changed = () => {};

  const base = [
    cm.lineNumbers(), cm.highlightActiveLineGutter(), cm.highlightSpecialChars(), cm.history(), cm.foldGutter(),
    cm.drawSelection(), cm.indentOnInput(), cm.bracketMatching(), cm.closeBrackets(), cm.highlightActiveLine(),
    cm.highlightSelectionMatches(), cm.indentUnit.of("  "), cm.syntaxHighlighting(colours(cm)), cm.lintGutter(),
    cm.keymap.of([
      ...cm.closeBracketsKeymap, ...cm.defaultKeymap.filter((one) => one.key !== "Mod-Enter"), ...cm.searchKeymap,
      ...cm.historyKeymap, ...cm.foldKeymap, ...cm.completionKeymap, ...cm.lintKeymap,
    ]),
    look(cm),
    cm.EditorView.updateListener.of((update) => { if (update.docChanged) changed(); }),
  ];
  const tables = [...base, cm.yaml(), cm.autocompletion({ override: [completing(words)] })];

  const stateOf = (text, extensions, label) => cm.EditorState.create({
    doc: text, extensions: [...extensions, cm.EditorView.contentAttributes.of({ "aria-label": label })],
  });
  const put = (field, state) => {
    const host = document.createElement("div");
    host.className = "editor cm-editor";
    host.dataset.editorOf = field.id;
    field.before(host);
    field.hidden = true;
    // Its styles are sheets of a shadow root: the page's policy takes no others.
    const root = host.attachShadow({ mode: "open", delegatesFocus: true });
    const view = new cm.EditorView({ state, parent: root, root });
    host.view = view;
    // It closes what is open in the editor, which keeps the focus.
    host.addEventListener("keydown", (event) => { if (event.key === "Escape") event.stopPropagation(); });
    document.querySelector(`label[for="${field.id}"]`)?.addEventListener("click", () => view.focus());
    return view;
  };

  const samples = put(form.elements.samples, stateOf(form.elements.samples.value, [...base, cm.json()], "Samples"));
  // By name: the state of each file that is open; the one that is shown is the editor's own. The table has no name.
  const states = new Map([["", stateOf(form.elements.mapping.value, tables, "Table")]]);
  const table = put(form.elements.mapping, states.get(""));
  let shown = "";
  for (const [name, text] of Object.entries(JSON.parse(form.elements.files.value || "{}"))) {
    if (text !== null) states.set(name, stateOf(text, tables, name));
  }
  const choice = form.querySelector("[data-files]");
  const list = () => {
    choice.replaceChildren(...[...states.keys()].map((name) => new Option(name || "mapping.yaml", name, false, name === shown)));
  };
  const open = (name) => {
    states.set(shown, table.state);
    shown = name;
    table.setState(states.get(name));
    marks(lastFound);
    list();
  };
  choice.addEventListener("change", () => open(choice.value));
  for (const one of form.querySelectorAll(".of-scripts")) one.hidden = false;
  list();

  const textOf = (name) => (name === shown ? table.state : states.get(name)).doc.toString();
  const names = () => [...states.keys()].filter(Boolean);
  let savedTable = form.elements.mapping.value;
  let lastFound = [];
  const marks = (found) => {
    lastFound = found;
    const doc = table.state.doc;
    const here = found.filter((one) => (shown ? one.file === shown : one.file.endsWith("/mapping.yaml")));
    const diagnostics = here.map((one) => {
      const line = doc.line(Math.max(1, Math.min(one.line, doc.lines)));
      const from = Math.min(line.from + Math.max(0, (one.column || 1) - 1), line.to);
      return {
        from, to: line.to, severity: one.error ? "error" : "warning", message: one.text,
      };
    });
    table.dispatch(cm.setDiagnostics(table.state, diagnostics));
  };

  return {
    onChange: (tell) => { changed = tell; },
    store: () => {
      form.elements.samples.value = samples.state.doc.toString();
      form.elements.mapping.value = textOf("");
      form.elements.files.value = JSON.stringify(Object.fromEntries(names().map((name) => [name, textOf(name)])));
    },
    mark: marks,
    add: (name, text) => {
      states.set(name, stateOf(text, tables, name));
      open(name);
    },
    isSaved: () => textOf("") === savedTable && names().length === 0,
    // ``sent``: the table's text; ``all``: nothing was written since it was sent.
    saved: (sent, all) => {
      savedTable = sent;
      if (!all) return;
      if (shown) open("");
      for (const name of names()) states.delete(name);
      list();
    },
  };
}

function look(cm) {
  return cm.EditorView.theme({
    "&": { height: "100%", color: "var(--ink)", backgroundColor: "var(--surface)", fontSize: "0.75rem" },
    "&.cm-focused": { outline: "none" },
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", overflow: "auto" },
    ".cm-content": { caretColor: "var(--ink)" },
    ".cm-gutters": { color: "var(--soft)", backgroundColor: "var(--sunken)", borderRight: "1px solid var(--line)" },
    ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent-soft) 45%, transparent)" },
    ".cm-activeLineGutter": { backgroundColor: "var(--accent-soft)", color: "var(--ink)" },
    ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--ink)" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground":
      { backgroundColor: "color-mix(in srgb, var(--accent) 30%, transparent)" },
    ".cm-selectionMatch": { backgroundColor: "var(--warn-soft)" },
    "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)" },
    ".cm-specialChar": { color: "var(--bad)" },
    ".cm-foldPlaceholder": { color: "var(--soft)", backgroundColor: "var(--sunken)", border: "none" },
    ".cm-tooltip, .cm-panels": { color: "var(--ink)", backgroundColor: "var(--raised)", border: "1px solid var(--line)" },
    ".cm-tooltip-autocomplete > ul > li[aria-selected]": { color: "var(--on-accent)", backgroundColor: "var(--accent)" },
    ".cm-completionDetail": { color: "inherit", fontStyle: "normal", marginLeft: "1em" },
    ".cm-completionInfo": { maxWidth: "20rem", padding: "0.5rem" },
    ".cm-diagnostic": { fontFamily: "var(--sans)", padding: "0.25rem 0.5rem" },
    ".cm-diagnostic-error": { borderLeft: "3px solid var(--bad)" },
    ".cm-diagnostic-warning": { borderLeft: "3px solid var(--warn)" },
    ".cm-textfield, .cm-button": { color: "var(--ink)", backgroundColor: "var(--raised)", backgroundImage: "none", border: "1px solid var(--strong-line)" },
  });
}

function colours(cm) {
  const t = cm.tags;
  return cm.HighlightStyle.define([
    { tag: [t.propertyName, t.definition(t.propertyName)], color: "var(--accent)" },
    { tag: [t.string, t.special(t.string), t.attributeValue], color: "var(--good)" },
    { tag: [t.number, t.bool, t.null, t.keyword, t.typeName], color: "var(--warn)" },
    { tag: [t.comment, t.lineComment], color: "var(--soft)", fontStyle: "italic" },
    { tag: [t.separator, t.punctuation, t.squareBracket, t.brace, t.meta], color: "var(--soft)" },
    { tag: t.invalid, color: "var(--bad)" },
  ]);
}

// Completion: where the cursor stands in the YAML, and what its JSON Schema has there

function completing(loading) {
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
