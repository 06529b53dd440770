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
  const editing = await editors(form).catch((error) => {
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
    outdate();
    plan("try", TRY_AFTER);
  };

  // What was reviewed is what is saved, as the service sees to, too.
  const outdate = () => {
    for (const one of document.querySelectorAll("#review [value=save]")) one.disabled = true;
    for (const one of document.querySelectorAll("#review [data-outdated]")) one.hidden = false;
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
    if (submitter.disabled) return;
    if (submitter.name === "over") form.elements.etag.value = submitter.value;
    submitter.disabled = true;
    const at = version;
    try {
      const sending = send(name);
      const sent = form.elements.mapping.value;
      const text = await sending;
      if (text === null) return;
      const place = show(name, text);
      if (at !== version) outdate();
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
      // A proxy's own page is no part of ours.
      if (!answer.headers.get("Vary")?.includes("HX-Request")) throw new Error(`answered with ${answer.status}`);
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

async function editors(form) {
  const { edited } = await import(new URL(form.dataset.editors, location.href));
  return edited(form);
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
