// Page Events: completion of filters, and the drawer. The page works without it.

// Completion: a combobox with a list (ARIA 1.2), which asks as one types.

const combobox = (form) => {
  const input = form.querySelector("#events-value");
  const list = form.querySelector("#events-values");
  const field = form.querySelector("#events-field");
  const told = form.querySelector("#events-told");
  let values = [];
  let chosen = -1;
  let asking = null;
  let waiting = 0;

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");

  const close = () => {
    clearTimeout(waiting);
    asking?.abort();
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  const choose = (number) => {
    chosen = number;
    [...list.children].forEach((one, at) => one.setAttribute("aria-selected", String(at === chosen)));
    if (chosen < 0) {
      input.removeAttribute("aria-activedescendant");
      return;
    }
    input.setAttribute("aria-activedescendant", list.children[chosen].id);
    list.children[chosen].scrollIntoView({ block: "nearest" });
  };

  const take = (number) => {
    input.value = values[number].value;
    close();
  };

  const show = () => {
    list.replaceChildren(...values.map((one, number) => {
      const item = document.createElement("li");
      item.id = `events-value-${number}`;
      item.role = "option";
      item.setAttribute("aria-selected", "false");
      const text = document.createElement("span");
      text.textContent = one.shown;
      item.append(text);
      if (one.count) {
        const count = document.createElement("span");
        count.className = "soft";
        count.textContent = one.count;
        item.append(" ", count);
      }
      item.addEventListener("mousedown", (event) => {
        event.preventDefault();
        take(number);
        input.form.requestSubmit();
      });
      return item;
    }));
    list.hidden = values.length === 0;
    input.setAttribute("aria-expanded", String(values.length > 0));
    told.textContent = values.length === 1 ? "1 value" : `${values.length} values`;
    choose(-1);
  };

  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    const query = new URLSearchParams({ field: field.value, prefix: input.value });
    try {
      const answer = await fetch(`${form.dataset.values}?${query}`, { signal: asking.signal });
      if (!answer.ok || document.activeElement !== input) return;
      values = (await answer.json()).values;
      show();
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  };

  const askSoon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(ask, 80);
  };

  input.addEventListener("input", askSoon);
  field.addEventListener("change", () => { input.value = ""; close(); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) {
        ask();
        return;
      }
      const step = event.key === "ArrowDown" ? 1 : -1;
      choose(chosen < 0 && step < 0 ? values.length - 1 : (chosen + step + values.length) % values.length);
    } else if (event.key === "Enter" && chosen >= 0) {
      // The first Enter takes the value, the next one searches.
      event.preventDefault();
      take(chosen);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
};

const bar = document.querySelector(".events-bar");
if (bar) combobox(bar);

// The drawer: the page of an event, beside the table. Its address is that of the event while it is open.

const drawer = document.getElementById("events-drawer");

// The event that is wanted last: who chooses another one meanwhile does not get the one before.
let wanted = 0;

// Whether the event is shown now.
const open = async (address) => {
  const body = document.getElementById("events-drawer-body");
  wanted += 1;
  const mine = wanted;
  window.htmx.trigger(body, "htmx:abort");
  // What was shown before is not taken for an event that does not come.
  body.replaceChildren();
  // What went wrong is told by the page.
  await window.htmx.ajax("GET", address, { source: body, target: body, swap: "innerHTML" }).catch(() => {});
  if (mine !== wanted || !body.querySelector("[data-event]")) return false;
  body.querySelector("[data-close]").hidden = false;
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
  return true;
};

if (drawer && window.htmx) {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-drawer]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const row = link.closest("[data-row]");
    if (!await open(link.href)) return;
    history.pushState({ event: link.href }, "", link.href);
    drawer.addEventListener("close", () => row?.focus(), { once: true });
    if (row && !row.hasAttribute("tabindex")) row.tabIndex = -1;
  });

  drawer.addEventListener("click", (event) => {
    if (event.target === drawer || event.target.closest("[data-close]")) drawer.close();
  });

  drawer.addEventListener("close", () => {
    if (history.state?.event) history.back();
  });

  window.addEventListener("popstate", (event) => {
    if (event.state?.event) {
      open(event.state.event);
      return;
    }
    wanted += 1;
    if (drawer.open) drawer.close();
  });
}

// After a reload of an event's address, the browser takes the list before it for a state of the same page. A link within
// the page is one.
const here = location.pathname;
if (!drawer) window.addEventListener("popstate", () => { if (location.pathname !== here) location.reload(); });
