// The editors of the playground, in the places of its text fields: of the table with the files beside it, and of samples.

export async function edited(form) {
  const [cm, { completing }] = await Promise.all(
    [form.dataset.codemirror, form.dataset.completion].map((address) => import(new URL(address, location.href))),
  );
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
