// Keys, palette and small comforts of the console's pages. Every page works without it.
"use strict";

(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const palette = document.getElementById("palette");
  const allKeys = document.getElementById("all-keys");

  // What is of use with scripts alone, or without them alone.
  const arrange = (within) => {
    for (const one of all("[data-copy][hidden], [data-palette][hidden]", within)) one.hidden = false;
    for (const one of all("[data-without-script]", within)) one.hidden = true;
  };

  const zone = document.querySelector("[data-zone]");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && own && ![...zone.options].some((one) => one.value === own)) {
    zone.add(new Option(own, own));
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // Browsers have no clipboard for pages that came over plain http; then the text is selected, and copied as by hand.
  const copied = async (source) => {
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      return true;
    } catch {
      if (source.select) source.select();
      else getSelection().selectAllChildren(source);
      return document.execCommand("copy");
    }
  };

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const text = copy.parentElement.querySelector("code, input, textarea");
      copy.dataset.label ??= copy.textContent;
      copy.textContent = await copied(text) ? "Copied" : "Press Ctrl C";
      setTimeout(() => { copy.textContent = copy.dataset.label; }, 1500);
    }
    if (event.target.closest("[data-palette]")) openPalette();
    for (const one of all("details[data-closes][open]")) {
      if (!one.contains(event.target)) one.open = false;
    }
  });

  // A second click on a button would do it twice; and what is shown once would be lost with the first answer.
  const sent = new Set();
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    if (sent.has(event.target)) event.preventDefault();
    sent.add(event.target);
    setTimeout(() => sent.delete(event.target), 5000);
  });
  addEventListener("pageshow", () => sent.clear());

  // The palette: sections, and whatever else of the page is marked as a place to go.

  const places = () => all("a[data-command]").map((link) => ({
    text: link.dataset.command || link.textContent.trim(), keys: link.dataset.keys ?? "", go: () => link.click(),
  }));
  let shown = [];
  let chosen = 0;

  const fits = (text, words) => words.every((word) => text.toLowerCase().includes(word));

  const showPlaces = () => {
    const input = palette.querySelector("input");
    const list = palette.querySelector("ul");
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = places().filter((one) => fits(one.text, words));
    chosen = Math.max(0, Math.min(chosen, shown.length - 1));
    list.replaceChildren(...shown.map((one, number) => {
      const item = document.createElement("li");
      item.role = "option";
      item.id = `palette-${number}`;
      item.setAttribute("aria-selected", String(number === chosen));
      item.append(one.text);
      if (one.keys) {
        const keys = document.createElement("kbd");
        keys.textContent = one.keys;
        item.append(keys);
      }
      item.addEventListener("click", () => { palette.close(); one.go(); });
      return item;
    }));
    if (shown.length) input.setAttribute("aria-activedescendant", `palette-${chosen}`);
    else input.removeAttribute("aria-activedescendant");
  };

  const openPalette = () => {
    if (palette.open) return;
    palette.querySelector("input").value = "";
    chosen = 0;
    palette.showModal();
    showPlaces();
  };

  if (palette) {
    palette.querySelector("input").addEventListener("input", () => { chosen = 0; showPlaces(); });
    palette.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        const step = event.key === "ArrowDown" ? 1 : -1;
        chosen = (chosen + step + shown.length) % Math.max(1, shown.length);
        showPlaces();
        palette.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
      } else if (event.key === "Enter" && shown[chosen]) {
        event.preventDefault();
        palette.close();
        shown[chosen].go();
      }
    });
    for (const dialog of [palette, allKeys]) {
      dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    }
  }

  // Keys

  const showKeys = () => {
    const lines = [
      ["Ctrl K", "go to a place by its name"], ["/", "search"], ["j, k", "next, previous row"],
      ["Enter", "open the row"], ["Esc", "close what is open"], ["?", "these keys"],
      ...places().filter((one) => one.keys).map((one) => [one.keys, one.text]),
      ...all("[data-key-help]").map((one) => one.dataset.keyHelp.split(/:\s*(.*)/, 2)),
    ];
    allKeys.querySelector("dl").replaceChildren(...lines.flatMap(([keys, text]) => {
      const term = document.createElement("dt");
      term.append(...keys.split(", ").flatMap((key, number) => {
        const shownKey = document.createElement("kbd");
        shownKey.textContent = key;
        return number ? [" ", shownKey] : [shownKey];
      }));
      const meaning = document.createElement("dd");
      meaning.textContent = text;
      return [term, meaning];
    }));
    allKeys.showModal();
  };

  const step = (by) => {
    const rows = all("[data-row]").filter((one) => one.getClientRects().length);
    const now = rows.indexOf(document.activeElement?.closest("[data-row]"));
    const next = rows[now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, now + by))];
    if (!next) return;
    if (!next.hasAttribute("tabindex")) next.tabIndex = -1;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };

  let goes = 0;
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable], .cm-editor");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && palette) {
      event.preventDefault();
      openPalette();
      return;
    }
    if (event.key === "Escape") {
      for (const one of all("details[data-closes][open]")) one.open = false;
      if (typing && !document.querySelector("dialog[open]")) event.target.blur();
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog:modal")) return;
    if (performance.now() < goes) {
      goes = 0;
      const place = places().find((one) => one.keys === `g ${event.key}`);
      if (place) {
        event.preventDefault();
        place.go();
        return;
      }
    }
    const row = document.activeElement?.matches("[data-row]") ? document.activeElement : null;
    if (event.key === "g") goes = performance.now() + 1500;
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "?" && allKeys) showKeys();
    else if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
      search.select?.();
    } else if (event.key === "Enter" && row) row.querySelector("a[href]")?.click();
    else return;
    if (event.key !== "g") goes = 0;
  });

  // Where a part of the page failed to come, it is said, and not only in the browser's log; in a dialog, since the page
  // behind that is out of reach.
  const problemOf = (event) =>
    event.detail.requestConfig?.elt.closest("dialog[open]")?.querySelector("[data-problem]") ?? document.getElementById("problem");
  const tell = (event, text) => {
    const notice = document.createElement("div");
    notice.className = "notice bad";
    notice.textContent = text;
    problemOf(event)?.replaceChildren(notice);
  };
  document.addEventListener("htmx:sendError", (event) => tell(event, "The service does not answer; try again."));
  document.addEventListener("htmx:timeout", (event) => tell(event, "The service took too long; try again."));
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target } = event.detail;
    if (!xhr.getResponseHeader("Vary")?.includes("HX-Request")) {
      // A proxy's own page is no part of ours.
      event.detail.shouldSwap = false;
      tell(event, `The service did not answer, but something in front of it, with ${xhr.status}; try again.`);
    } else if (target.id === "problem") event.detail.target = problemOf(event);
  });
  document.addEventListener("htmx:beforeRequest", () => {
    for (const one of all("#problem, [data-problem]")) one.replaceChildren();
  });
  document.addEventListener("htmx:load", (event) => arrange(event.target));

  arrange(document);
})();
